// tokenizer.json: loaded, and used in both directions.
#include <algorithm>

#include "apr/model/tokenizer.h"
#include "tests/fuzz/fuzz_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static apr::fuzz::MemoryFile file;
  file.fill({data, size});
  try {
    const auto tokenizer = apr::model::Tokenizer::from_json_file(file.path());
    const std::string_view text(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 256));
    const auto ids = tokenizer.encode(text);
    for (const std::int32_t id : ids)
      if (id < 0 || id >= tokenizer.n_vocab()) apr::fuzz::broken("an id is a token of the vocabulary");
    (void)tokenizer.decode(ids);
  } catch (const apr::Error& error) {
    if (error.code != apr::ErrorCode::ModelLoad && error.code != apr::ErrorCode::Inference)
      apr::fuzz::broken(std::string("a vocabulary is refused as such: ") + error.what());
  }
  return 0;
}
