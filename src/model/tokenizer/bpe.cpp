// Byte pair encoding: the neighbours of the lowest rank merge first, the leftmost of equal rank before the others.
// A heap of candidate pairs makes a word of n symbols cost O(n log n); merges work on symbol numbers, not on text.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/model/tokenizer/encoder.h"
#include "src/model/tokenizer/merge_queue.h"
#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

constexpr std::uint32_t kNoSymbol = TextIndex::kNone;

struct Symbol {
  std::int32_t prev, next;
  std::uint32_t begin, length;  // bytes of the word; length 0: merged into its left neighbour
  std::uint32_t number;         // in symbols_, or kNoSymbol
  std::uint32_t rank, merged;   // of the pair that it forms with the next symbol; kNever where there is no merge
};

/// Memory that one encode() call uses for all of its words.
struct Scratch {
  std::vector<Symbol> symbols;
  MergeQueue queue;
};

class BpeEncoder final : public Encoder {
 public:
  BpeEncoder(Vocab& vocab, const Merges& merges, BpeOptions options) : vocab_(vocab), options_(std::move(options)) {
    add_tokens();
    add_merges(vocab, merges);
    add_bytes(vocab);
  }

  void encode(std::string_view text, std::vector<std::int32_t>& out) const override {
    const SplitText split(text);
    Scratch scratch;
    for (const auto& word : options_.pre.split(split)) encode_word(split.bytes(word.begin, word.end), scratch, out);
  }

 private:
  /// Every token by its bytes; a spelling outside of the byte alphabet can never be reached by merging.
  void add_tokens() {
    symbols_.reserve(static_cast<std::size_t>(vocab_.size()) + 256);
    token_of_symbol_.reserve(static_cast<std::size_t>(vocab_.size()) + 256);
    for (std::int32_t id = 0; id < vocab_.size(); ++id) {
      bool exact = true;
      const auto bytes = vocab_.byte_level ? bytes_of_letters(vocab_.text(id), exact) : std::string(vocab_.text(id));
      if (exact) token_of_symbol_[symbol(bytes)] = id;
    }
  }

  std::uint32_t symbol(std::string_view bytes) {
    const auto number = symbols_.insert(bytes);
    if (number == token_of_symbol_.size()) token_of_symbol_.push_back(-1);
    return number;
  }

  void add_merges(Vocab& vocab, const Merges& merges) {
    merges_.reserve(merges.size());
    std::size_t n_without_token = 0, first = 0;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      bool left_exact = true, right_exact = true;
      const auto& [left_text, right_text] = merges[rank];
      const auto left = vocab.byte_level ? bytes_of_letters(left_text, left_exact) : std::string(left_text);
      const auto right = vocab.byte_level ? bytes_of_letters(right_text, right_exact) : std::string(right_text);
      if (!left_exact || !right_exact || left.size() + right.size() > 2 * kMaxTokenBytes) continue;
      const auto left_number = symbol(left), right_number = symbol(right), merged = symbol(left + right);
      if (token_of_symbol_[merged] < 0 && n_without_token++ == 0) first = rank;
      merges_.insert(left_number, right_number, static_cast<std::uint32_t>(rank), merged);
    }
    if (n_without_token > 0) {
      vocab.warn("tokenizer.merges.token", fmt::format("{} merges make a text that is no token", n_without_token),
                 fmt::format("merges[{}]", first),
                 std::string(merges[first].first) + " " + std::string(merges[first].second));
    }
  }

  void add_bytes(Vocab& vocab) {
    std::size_t n_missing = 0;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      auto& entry = bytes_[static_cast<std::size_t>(byte)];
      if (vocab.byte_level) {
        entry.symbol = symbols_.find({&c, 1});
        entry.token = entry.symbol == kNoSymbol ? -1 : token_of_symbol_[entry.symbol];
      } else if (options_.byte_fallback) {
        entry.token = vocab.find(byte_token_text(static_cast<unsigned char>(byte)));
      }
      if (entry.token < 0) ++n_missing;
    }
    if (n_missing > 0 && options_.byte_fallback) {
      vocab.warn("tokenizer.bytes", "some bytes have no token: text with them loses them", "tokenizer.ggml.tokens",
                 fmt::format("{} of 256 bytes without a token", n_missing));
    }
  }

  [[nodiscard]] bool is_whole(std::string_view word, std::uint32_t number) const {
    if (number == kNoSymbol || token_of_symbol_[number] < 0) return false;
    return options_.ignore_merges ||
           (options_.whole_line_ends && word.find_first_not_of('\n') == std::string_view::npos);
  }

  void encode_word(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& out) const {
    if (options_.ignore_merges || options_.whole_line_ends || word.size() == 1) {
      const auto number = symbols_.find(word);
      if (is_whole(word, number)) {
        out.push_back(token_of_symbol_[number]);
        return;
      }
    }
    cut_into_symbols(word, scratch.symbols);
    merge_all(scratch);
    bool after_unknown = false;
    for (const auto& part : scratch.symbols) {
      if (part.length > 0) after_unknown = emit(part, word.substr(part.begin, part.length), after_unknown, out);
    }
  }

  void cut_into_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
    symbols.clear();
    for (std::size_t at = 0; at < word.size();) {
      const auto length = vocab_.byte_level ? 1 : std::min(announced_length(word[at]), word.size() - at);
      const auto i = static_cast<std::int32_t>(symbols.size());
      const auto number = vocab_.byte_level ? bytes_[static_cast<unsigned char>(word[at])].symbol
                                            : symbols_.find(word.substr(at, length));
      symbols.push_back({i - 1, i + 1, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(length), number,
                         MergeQueue::kNever, 0});
      at += length;
    }
    if (!symbols.empty()) symbols.back().next = -1;
  }

  /// Looks up the merge of a symbol and its next one. Whether there is one.
  bool look_up(std::vector<Symbol>& symbols, Symbol& left) const {
    left.rank = MergeQueue::kNever;
    if (left.next < 0 || left.number == kNoSymbol) return false;
    const auto& right = symbols[static_cast<std::size_t>(left.next)];
    const auto* merge = right.number == kNoSymbol ? nullptr : merges_.find(left.number, right.number);
    if (merge == nullptr) return false;
    left.rank = merge->first;
    left.merged = merge->second;
    return true;
  }

  void merge_all(Scratch& scratch) const {
    auto& [symbols, queue] = scratch;
    queue.clear();
    for (std::uint32_t i = 0; i < symbols.size(); ++i) {
      if (look_up(symbols, symbols[i])) queue.append({symbols[i].rank, i});
    }
    queue.heapify();
    while (!queue.empty()) {
      const auto best = queue.pop();
      auto& left = symbols[best.left];
      if (left.length == 0 || left.rank != best.priority) continue;  // merged or grown since
      auto& right = symbols[static_cast<std::size_t>(left.next)];
      left.length += right.length;
      left.number = left.merged;
      left.next = right.next;
      right.length = 0;
      if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].prev = static_cast<std::int32_t>(best.left);
      if (left.prev >= 0) {
        auto& before = symbols[static_cast<std::size_t>(left.prev)];
        if (look_up(symbols, before)) queue.push({before.rank, static_cast<std::uint32_t>(left.prev)});
      }
      if (look_up(symbols, left)) queue.push({left.rank, best.left});
    }
  }

  /// Whether the part ended in an unknown token.
  bool emit(const Symbol& part, std::string_view bytes, bool after_unknown, std::vector<std::int32_t>& out) const {
    if (part.number != kNoSymbol && token_of_symbol_[part.number] >= 0) {
      out.push_back(token_of_symbol_[part.number]);
      return false;
    }
    const auto has_token = [&](char c) { return bytes_[static_cast<unsigned char>(c)].token >= 0; };
    if (options_.emit_unknown && !std::all_of(bytes.begin(), bytes.end(), has_token)) {
      if (!(after_unknown && options_.fuse_unknown) && vocab_.special.unk) out.push_back(*vocab_.special.unk);
      return true;
    }
    for (const char c : bytes) {
      if (has_token(c)) out.push_back(bytes_[static_cast<unsigned char>(c)].token);
    }
    return false;
  }

  struct ByteEntry {
    std::uint32_t symbol = kNoSymbol;
    std::int32_t token = -1;
  };

  const Vocab& vocab_;
  BpeOptions options_;
  TextIndex symbols_;  // tokens and everything that a merge takes or makes, by their bytes
  std::vector<std::int32_t> token_of_symbol_;
  PairMap merges_;  // pair of symbols -> rank, merged symbol
  std::array<ByteEntry, 256> bytes_;
};

}  // namespace

std::unique_ptr<Encoder> make_bpe(Vocab& vocab, const Merges& merges, BpeOptions options) {
  return std::make_unique<BpeEncoder>(vocab, merges, std::move(options));
}

}  // namespace apr::model::tok
