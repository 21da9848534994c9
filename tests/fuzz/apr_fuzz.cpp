// The APR reader: header, metadata, index, data. Checksums are findings, so they hide nothing from the fuzzer.
#include "tests/fuzz/fuzz_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static apr::fuzz::MemoryFile file;
  file.fill({data, size});
  (void)apr::fuzz::open_and_check(file.path());
  return 0;
}
