// A fault on purpose, deep enough that only a fuzzer that measures coverage reaches it: run.sh must report it.
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 2 && data[0] == 'A')
    if (data[1] == 'P')
      if (data[2] == 'R') std::abort();
  return 0;
}
