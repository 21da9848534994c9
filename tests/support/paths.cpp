#include "tests/support/paths.h"

namespace apr::test {

const std::string& source_dir() {
  static const std::string path = APR_SOURCE_DIR;
  return path;
}

const std::string& apr_binary() {
  static const std::string path = APR_BINARY;
  return path;
}

const std::string& fake_cuda_library() {
  static const std::string path = APR_FAKE_CUDA;
  return path;
}

}  // namespace apr::test
