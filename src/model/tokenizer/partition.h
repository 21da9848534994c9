// Cutting the tokens that are found by their text (control, unknown, user-defined) out of a text.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "src/model/tokenizer/vocab.h"

namespace apr::model::tok {

/// A token, or (token < 0) a stretch of text.
struct Fragment {
  std::int32_t token = -1;
  std::size_t begin = 0, end = 0;
};

/// The rule of llama.cpp: tokens in the order of falling length, each at its leftmost occurrences in the text that is
/// left.
class SpecialPartition {
 public:
  /// Throws ModelLoad for such a token longer than 1 KiB.
  explicit SpecialPartition(const Vocab& vocab);
  /// Fragments in order; no stretch of text is empty. Without `parse_special` only user-defined tokens are cut out.
  [[nodiscard]] std::vector<Fragment> split(const Vocab& vocab, std::string_view text, bool parse_special) const;

 private:
  struct Node {
    std::uint32_t id = TextIndex::kNone;  // rank of the token that ends here
  };
  [[nodiscard]] std::vector<bool> occurring(std::string_view text) const;

  std::vector<std::int32_t> ids_;  // longest text first, then by id; of equal texts one
  PairMap edges_;                  // trie: node, byte -> node
  std::vector<Node> nodes_;
  std::vector<bool> is_first_byte_;
};

}  // namespace apr::model::tok
