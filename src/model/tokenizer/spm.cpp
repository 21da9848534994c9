// SentencePiece BPE: of all neighbours that together are a token, the one of the highest score merges first, the
// leftmost of equal scores before the others. What ends up as no token becomes byte tokens.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/model/tokenizer/encoder.h"
#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

struct Symbol {
  std::int32_t prev, next;
  std::uint32_t begin, length;  // length 0: merged into its left neighbour
};

struct Candidate {
  float score;
  std::int32_t left, right;
  std::uint32_t length;  // of both together: tells a stale candidate
};
struct Later {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.score < b.score || (a.score == b.score && a.left > b.left);
  }
};

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
      work.symbols.push_back({i - 1, i + 1, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(length)});
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
    std::vector<Candidate> heap;
  };

  [[nodiscard]] std::int32_t token_at(const Work& work, std::uint32_t begin, std::uint32_t length) const {
    if (length > vocab_.max_token_bytes) return -1;
    return vocab_.find(work.text.substr(begin, length), work.hashes.of(begin, begin + length));
  }

  void propose(Work& work, std::int32_t left, std::int32_t right, bool in_order) const {
    if (left < 0 || right < 0) return;
    const auto& a = work.symbols[static_cast<std::size_t>(left)];
    const auto length = a.length + work.symbols[static_cast<std::size_t>(right)].length;
    const auto id = token_at(work, a.begin, length);
    if (id < 0) return;
    work.heap.push_back({vocab_.score(id), left, right, length});
    if (in_order) std::push_heap(work.heap.begin(), work.heap.end(), Later{});
  }

  void merge_all(Work& work) const {
    auto& heap = work.heap;
    for (std::int32_t i = 1; i < static_cast<std::int32_t>(work.symbols.size()); ++i) propose(work, i - 1, i, false);
    std::make_heap(heap.begin(), heap.end(), Later{});
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), Later{});
      const Candidate best = heap.back();
      heap.pop_back();
      auto& left = work.symbols[static_cast<std::size_t>(best.left)];
      auto& right = work.symbols[static_cast<std::size_t>(best.right)];
      if (left.length == 0 || right.length == 0 || left.length + right.length != best.length) continue;
      left.length = best.length;
      left.next = right.next;
      right.length = 0;
      if (right.next >= 0) work.symbols[static_cast<std::size_t>(right.next)].prev = best.left;
      propose(work, left.prev, best.left, true);
      propose(work, best.left, left.next, true);
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

std::unique_ptr<Encoder> make_spm(Vocab& vocab) {
  return std::make_unique<SpmEncoder>(vocab);
}

}  // namespace apr::model::tok
