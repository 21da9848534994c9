// SentencePiece BPE: of all neighbours that together are a token, the one of the highest score merges first, the
// leftmost of equal scores before the others. What ends up as no token becomes byte tokens.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "src/model/tokenizer/encoder.h"
#include "src/model/tokenizer/merge_queue.h"
#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

struct Symbol {
  std::int32_t prev, next;
  std::uint32_t begin, length;  // length 0: merged into its left neighbour
  std::uint32_t priority;       // of the pair that it forms with the next symbol; kNever where that is no token
};

/// Maps scores to integers in falling order. No NaN comes here.
std::uint32_t priority_of(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score == 0.0F ? 0.0F : score);
  const auto rising = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return ~rising;
}

class SpmEncoder final : public Encoder {
 public:
  explicit SpmEncoder(Vocab& vocab) : vocab_(vocab) {
    std::size_t n_missing = 0;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      auto id = vocab.find(byte_token_text(static_cast<unsigned char>(byte)));
      if (id < 0) id = vocab.find({&c, 1});
      if (id < 0) {
        ++n_missing;
        id = vocab.special.unk.value_or(-1);
      }
      byte_tokens_[static_cast<std::size_t>(byte)] = id;
    }
    if (n_missing > 0) {
      vocab.warn("tokenizer.bytes", "some bytes have no token: text with them becomes the unknown token",
                 "tokenizer.ggml.tokens", fmt::format("{} of 256 bytes without a token", n_missing));
    }
  }

  void encode(std::string_view text, std::vector<std::int32_t>& out) const override {
    if (text.empty()) return;
    Work work{text, PrefixHashes(text, vocab_.max_token_bytes), {}, {}};
    for (std::size_t at = 0; at < text.size();) {
      const auto length = std::min(announced_length(text[at]), text.size() - at);
      const auto i = static_cast<std::int32_t>(work.symbols.size());
      work.symbols.push_back(
          {i - 1, i + 1, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(length), MergeQueue::kNever});
      at += length;
    }
    work.symbols.back().next = -1;
    merge_all(work);
    for (const auto& symbol : work.symbols) {
      if (symbol.length > 0) emit(work, symbol, out);
    }
  }

 private:
  struct Work {
    std::string_view text;
    PrefixHashes hashes;
    std::vector<Symbol> symbols;
    MergeQueue queue;
  };

  [[nodiscard]] std::int32_t token_at(const Work& work, std::uint32_t begin, std::uint32_t length) const {
    if (length > vocab_.max_token_bytes) return -1;
    return vocab_.find(work.text.substr(begin, length), work.hashes.of(begin, begin + length));
  }

  /// Looks up the token of a symbol and its next one. Whether there is one.
  bool look_up(Work& work, Symbol& left) const {
    left.priority = MergeQueue::kNever;
    if (left.next < 0) return false;
    const auto id = token_at(work, left.begin, left.length + work.symbols[static_cast<std::size_t>(left.next)].length);
    if (id < 0) return false;
    left.priority = priority_of(vocab_.score(id));
    return true;
  }

  void merge_all(Work& work) const {
    auto& [text, hashes, symbols, queue] = work;
    for (std::uint32_t i = 0; i < symbols.size(); ++i) {
      if (look_up(work, symbols[i])) queue.append({symbols[i].priority, i});
    }
    queue.heapify();
    while (!queue.empty()) {
      const auto best = queue.pop();
      auto& left = symbols[best.left];
      if (left.length == 0 || left.priority != best.priority) continue;  // merged or grown since
      auto& right = symbols[static_cast<std::size_t>(left.next)];
      left.length += right.length;
      left.next = right.next;
      right.length = 0;
      if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].prev = static_cast<std::int32_t>(best.left);
      if (left.prev >= 0) {
        auto& before = symbols[static_cast<std::size_t>(left.prev)];
        if (look_up(work, before)) queue.push({before.priority, static_cast<std::uint32_t>(left.prev)});
      }
      if (look_up(work, left)) queue.push({left.priority, best.left});
    }
  }

  void emit(const Work& work, const Symbol& symbol, std::vector<std::int32_t>& out) const {
    if (const auto id = token_at(work, symbol.begin, symbol.length); id >= 0) {
      out.push_back(id);
      return;
    }
    for (const char c : work.text.substr(symbol.begin, symbol.length)) {
      if (const auto id = byte_tokens_[static_cast<unsigned char>(c)]; id >= 0) out.push_back(id);
    }
  }

  const Vocab& vocab_;
  std::array<std::int32_t, 256> byte_tokens_{};
};

}  // namespace

std::unique_ptr<Encoder> make_spm(Vocab& vocab) { return std::make_unique<SpmEncoder>(vocab); }

}  // namespace apr::model::tok
