// The parts of a tokenizer.json around its model: normalizer, pre_tokenizer, post_processor, decoder.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/model/tokenizer/encoder.h"
#include "src/model/tokenizer/normalizer.h"

namespace apr::model::tok {

using Json = nlohmann::json;

struct JsonPipeline {
  Normalizer normalizer;
  PreTokenizer pre;
  bool byte_level = false;
  std::optional<WpmOptions> bert;  // set by BertNormalizer
  bool bert_words = false;         // BertPreTokenizer
  bool strips_first_space = false;
  bool closes_up_marks = false;  // WordPiece with cleanup: no space in front of . ? ! ,
  bool decodes_bytes = false;    // ByteFallback
  std::vector<std::int32_t> prefix_ids, suffix_ids;
};

/// Reads all four. Throws ModelLoad, naming the part, for a type or an option that apr does not have.
[[nodiscard]] JsonPipeline read_pipeline(const Json& root, const std::string& path);

/// A refusal at a place of the document.
[[nodiscard]] Error json_refusal(const std::string& path, std::string field, std::string rule);
/// A member of an object, or null where there is none.
[[nodiscard]] const Json& member(const Json& object, const char* key);
/// A member that must be of the type of `fallback` when it is there and not null.
[[nodiscard]] bool bool_member(const Json& object, const char* key, bool fallback, const std::string& path,
                               const std::string& field);
[[nodiscard]] std::string text_member(const Json& object, const char* key, const std::string& path,
                                      const std::string& field);

}  // namespace apr::model::tok
