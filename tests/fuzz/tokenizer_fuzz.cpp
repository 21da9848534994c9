// The vocabulary of a GGUF file: loaded, and used in both directions.
#include <algorithm>
#include <cstring>

#include "apr/model/tokenizer.h"
#include "tests/fuzz/fuzz_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static apr::fuzz::MemoryFile file;
  file.fill({data, size});
  const auto model = apr::fuzz::open_and_check(file.path());
  if (!model) return 0;
  try {
    const auto tokenizer = apr::model::Tokenizer::from_model(*model);
    // The text to encode is a part of the file itself: the words of the vocabulary are in it.
    const std::string_view text(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 512));
    const auto ids = tokenizer.encode(text, {.add_special = true, .parse_special = size % 2 == 0});
    for (const std::int32_t id : ids)
      if (id < 0 || id >= tokenizer.n_vocab()) apr::fuzz::broken("an id is a token of the vocabulary");
    (void)tokenizer.decode(ids, {.keep_special = true, .strip_ends = false});
    apr::model::Detokenizer pieces(tokenizer);
    for (std::int32_t id = 0; id < std::min(tokenizer.n_vocab(), 64); ++id) (void)pieces.push(id);
    (void)pieces.finish();
  } catch (const apr::Error& error) {
    if (error.code != apr::ErrorCode::ModelLoad && error.code != apr::ErrorCode::Inference)
      apr::fuzz::broken(std::string("a vocabulary is refused as such: ") + error.what());
  }
  return 0;
}
