// The GGUF reader, then the hyperparameters that it would be run with.
#include <algorithm>
#include <cstring>

#include "apr/model/hparams.h"
#include "tests/fuzz/fuzz_support.h"
#include "tests/fuzz/gguf_mutator.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  const std::string out =
      apr::fuzz::mutate_gguf(std::string(reinterpret_cast<char*>(data), size), seed, LLVMFuzzerMutate);
  const std::size_t n = std::min(out.size(), max_size);
  std::memcpy(data, out.data(), n);
  return n;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static apr::fuzz::MemoryFile file;
  file.fill({data, size});
  if (const auto model = apr::fuzz::open_and_check(file.path())) {
    std::vector<apr::Finding> findings;
    (void)apr::model::parse_hparams(*model, findings);
  }
  return 0;
}
