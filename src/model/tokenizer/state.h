// Everything a Tokenizer holds, put together by one of the loaders.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/model/tokenizer/encoder.h"
#include "src/model/tokenizer/normalizer.h"
#include "src/model/tokenizer/partition.h"

namespace apr::model::tok {

struct TokenizerState {
  Vocab vocab;
  Normalizer normalizer;
  std::unique_ptr<Encoder> encoder;
  std::optional<SpecialPartition> partition;
  std::vector<std::int32_t> prefix_ids, suffix_ids;  // that add_special puts around a text
  std::vector<std::string> pieces;                   // per id
};

/// Fills `pieces` and `partition` once the vocabulary is final.
void finish_state(TokenizerState& state);

/// From the metadata of a GGUF or APR file.
[[nodiscard]] std::shared_ptr<const TokenizerState> load_from_metadata(const format::ModelFile& model);
/// From a tokenizer.json (and tokenizer_config.json beside it).
[[nodiscard]] std::shared_ptr<const TokenizerState> load_from_json(const std::string& path);

/// Removes the spaces in front of punctuation and contractions, as llama.cpp does where clean_spaces holds.
[[nodiscard]] std::string with_clean_spaces(std::string text);

}  // namespace apr::model::tok
