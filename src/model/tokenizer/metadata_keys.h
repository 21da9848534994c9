// Reading the tokenizer keys of a GGUF or APR file, each with its rule.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/error.h"
#include "apr/format/model_file.h"

namespace apr::model::tok {

/// Spellings of one key: GGUF's first, then APR's.
using KeyNames = std::initializer_list<std::string_view>;

class MetadataKeys {
 public:
  explicit MetadataKeys(const format::ModelFile& model) : model_(model) {}

  [[nodiscard]] const format::MetadataEntry* find(KeyNames names) const;
  [[nodiscard]] std::optional<std::string_view> text(KeyNames names) const;
  [[nodiscard]] std::optional<bool> flag(KeyNames names) const;
  /// A token id. Throws ModelLoad when it is no integer or not below `n_tokens`.
  [[nodiscard]] std::optional<std::int32_t> token_id(KeyNames names, std::size_t n_tokens) const;
  /// An array of strings. Throws ModelLoad for another type.
  [[nodiscard]] std::optional<std::vector<std::string>> texts(KeyNames names) const;
  /// An array of f32 or i32 with at least `n_tokens` elements, none NaN.
  [[nodiscard]] std::optional<std::vector<float>> scores(KeyNames names, std::size_t n_tokens) const;
  /// An array of i32 with at least `n_tokens` elements.
  [[nodiscard]] std::optional<std::vector<std::int64_t>> integers(KeyNames names, std::size_t n_tokens) const;

  /// A refusal that names the entry and where it stands.
  [[nodiscard]] Error refusal(const format::MetadataEntry& entry, std::string rule) const;
  [[nodiscard]] const format::ModelFile& model() const noexcept { return model_; }

 private:
  /// The array of the entry; its elements must be of one of the `allowed` types (JSON: checked one by one later).
  [[nodiscard]] const format::ArrayRef& array(const format::MetadataEntry& entry,
                                              std::initializer_list<format::ValueType> allowed) const;
  void check_count(const format::MetadataEntry& entry, std::uint64_t count, std::size_t n_tokens) const;
  const format::ModelFile& model_;
};

}  // namespace apr::model::tok
