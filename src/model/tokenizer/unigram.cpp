// Unigram language model: dynamic programming over the byte positions of a word for the segmentation of the greatest
// score.
#include <algorithm>
#include <limits>
#include <set>

#include "src/model/tokenizer/encoder.h"
#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

constexpr double kUnknownPenalty = 10.0;  // below the lowest score, as in SentencePiece

class UnigramEncoder final : public Encoder {
 public:
  UnigramEncoder(const Vocab& vocab, UnigramOptions options) : vocab_(vocab), options_(std::move(options)) {
    double lowest = std::numeric_limits<double>::infinity();
    std::set<std::size_t> lengths;
    for (std::int32_t id = 0; id < vocab.size(); ++id) {
      lowest = std::min(lowest, static_cast<double>(vocab.score(id)));
      if (!vocab.text(id).empty()) lengths.insert(vocab.text(id).size());
    }
    unknown_score_ = lowest - kUnknownPenalty;
    lengths_.assign(lengths.begin(), lengths.end());
    for (int byte = 0; byte < 256; ++byte) {
      byte_tokens_.push_back(options_.byte_fallback ? vocab.find(byte_token_text(static_cast<unsigned char>(byte)))
                                                    : -1);
    }
  }

  void encode(std::string_view text, std::vector<std::int32_t>& out) const override {
    const SplitText split(text);
    for (const auto& word : options_.pre.split(split)) encode_word(split.bytes(word.begin, word.end), out);
  }

 private:
  struct Step {
    double score = 0;
    std::uint32_t begin = 0;
    std::int32_t id = kUnset;
  };
  static constexpr std::int32_t kUnset = -2, kUnknown = -1;

  void encode_word(std::string_view word, std::vector<std::int32_t>& out) const {
    const auto best = best_steps(word);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> parts;  // back to front
    for (auto end = static_cast<std::uint32_t>(word.size()); end > 0; end = best[end].begin) {
      const bool fuse = best[end].id == kUnknown && !parts.empty() && best[parts.back().second].id == kUnknown &&
                        parts.back().first == end;
      if (fuse) {
        parts.back().first = best[end].begin;
      } else {
        parts.emplace_back(best[end].begin, end);
      }
    }
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      if (best[part->second].id >= 0) {
        out.push_back(best[part->second].id);
      } else {
        emit_unknown(word.substr(part->first, part->second - part->first), out);
      }
    }
  }

  [[nodiscard]] std::vector<Step> best_steps(std::string_view word) const {
    const PrefixHashes hashes(word, vocab_.max_token_bytes);
    std::vector<Step> best(word.size() + 1);
    const auto offer = [&](std::size_t begin, std::size_t end, double score, std::int32_t id) {
      auto& step = best[end];
      const double total = best[begin].score + score;
      if (step.id == kUnset || total > step.score) step = {total, static_cast<std::uint32_t>(begin), id};
    };
    for (std::size_t begin = 0; begin < word.size();) {
      const auto one = std::min(announced_length(word[begin]), word.size() - begin);
      bool has_single = false;
      for (const auto length : lengths_) {
        if (length > word.size() - begin) break;
        const auto id = vocab_.find(word.substr(begin, length), hashes.of(begin, begin + length));
        if (id < 0) continue;
        offer(begin, begin + length, vocab_.score(id), vocab_.special.unk == id ? kUnknown : id);
        has_single = has_single || length == one;
      }
      if (!has_single) offer(begin, begin + one, unknown_score_, kUnknown);
      begin += one;
    }
    return best;
  }

  void emit_unknown(std::string_view bytes, std::vector<std::int32_t>& out) const {
    if (const auto id = vocab_.find(bytes); id >= 0) {  // the text of the unknown token itself
      out.push_back(id);
      return;
    }
    const auto token = [&](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
    if (std::all_of(bytes.begin(), bytes.end(), [&](char c) { return token(c) >= 0; })) {
      for (const char c : bytes) out.push_back(token(c));
    } else if (vocab_.special.unk) {
      out.push_back(*vocab_.special.unk);
    }
  }

  const Vocab& vocab_;
  UnigramOptions options_;
  double unknown_score_ = 0;
  std::vector<std::size_t> lengths_;  // of tokens, ascending
  std::vector<std::int32_t> byte_tokens_;
};

}  // namespace

std::unique_ptr<Encoder> make_unigram(const Vocab& vocab, UnigramOptions options) {
  return std::make_unique<UnigramEncoder>(vocab, std::move(options));
}

}  // namespace apr::model::tok
