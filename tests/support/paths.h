// Where the sources and the built program are. The paths live in one object file, so that the compiler cache can serve
// every test of another clone.
#pragma once
#include <string>

namespace apr::test {

/// The root of the source tree, without a slash at its end.
[[nodiscard]] const std::string& source_dir();
/// The apr program that was built with these tests.
[[nodiscard]] const std::string& apr_binary();
/// A libcuda.so.1 that is none (support/fake_cuda).
[[nodiscard]] const std::string& fake_cuda_library();

}  // namespace apr::test
