// The SafeTensors reader. The length of the header is put right for most inputs, or nearly all would end there.
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static apr::fuzz::MemoryFile file;
  std::vector<std::uint8_t> bytes(data, data + size);
  if (size > 9 && data[7] == 0) {  // the JSON ends at its last closing brace
    std::size_t end = size;
    while (end > 9 && data[end - 1] != '}') --end;
    const std::uint64_t length = end - 8;
    std::memcpy(bytes.data(), &length, 8);
  }
  file.fill(bytes);
  (void)apr::fuzz::open_and_check(file.path());
  return 0;
}
