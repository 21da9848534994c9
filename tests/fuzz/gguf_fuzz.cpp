// The GGUF reader, then the hyperparameters that it would be run with.
#include <algorithm>
#include <cstring>

#include "apr/model/hparams.h"
#include "tests/fuzz/fuzz_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static apr::fuzz::MemoryFile file;
  file.fill({data, size});
  if (const auto model = apr::fuzz::open_and_check(file.path())) {
    std::vector<apr::Finding> findings;
    (void)apr::model::parse_hparams(*model, findings);
  }
  return 0;
}
