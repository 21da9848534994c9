// WordPiece (BERT): words are cut at white space and around punctuation, then matched longest token first. One part of
// a word without a token makes the whole word unknown.
#include <algorithm>

#include "src/model/tokenizer/encoder.h"
#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

/// The ranges that BERT's tokenizer puts spaces around. 0x2B920 is what the tokenizers library has for 0x2B820.
bool is_bert_han(std::uint32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

class WpmEncoder final : public Encoder {
 public:
  WpmEncoder(const Vocab& vocab, WpmOptions options) : vocab_(vocab), options_(options) {}

  void encode(std::string_view text, std::vector<std::int32_t>& out) const override {
    for (const auto& word : words_of(text)) encode_word(word, out);
  }

 private:
  [[nodiscard]] bool is_dropped(std::uint32_t c, CharClass group) const {
    if (options_.strip_accents && (options_.bert_normalizer ? is_nonspacing_mark(c) : group == kMark)) return true;
    return options_.clean_text &&
           (c == 0 || c == kReplacement || (group == kControl && c != '\t' && c != '\n' && c != '\r'));
  }

  [[nodiscard]] bool stands_alone(std::uint32_t c, CharClass group) const {
    return group == kPunctuation || (c < 0x7F && group == kSymbol) || (options_.split_han && is_bert_han(c));
  }

  [[nodiscard]] std::vector<std::string> words_of(std::string_view text) const {
    std::string decomposed;
    const bool full = options_.strip_accents && options_.bert_normalizer;
    if (full) {
      decomposed = normalized(text, NormalForm::Nfd);
      text = decomposed;
    }
    std::vector<std::string> words(1);
    const auto finish = [&] {
      if (!words.back().empty()) words.emplace_back();
    };
    for (std::size_t at = 0; at < text.size();) {
      auto c = next_code_point(text, at);
      if (options_.strip_accents && !full) c = base_of(c);
      const auto group = category(c);
      const bool dropped = is_dropped(c, group);
      if (is_space(c) && !(dropped && options_.bert_normalizer)) {
        finish();
        continue;
      }
      if (dropped) continue;
      const bool alone = stands_alone(c, group);
      if (alone) finish();
      append_utf8(words.back(), options_.lowercase ? to_lower(c) : c);
      if (alone) finish();
    }
    if (words.back().empty()) words.pop_back();
    return words;
  }

  void encode_word(const std::string& word, std::vector<std::int32_t>& out) const {
    const auto n_chars = std::count_if(word.begin(), word.end(), [](char c) { return (c & 0xC0) != 0x80; });
    const auto n_before = out.size();
    const bool too_long = options_.max_word_chars > 0 && static_cast<std::size_t>(n_chars) > options_.max_word_chars;
    if (too_long || !match_all(std::string(kVisibleSpace) + word, out)) {
      out.resize(n_before);
      if (vocab_.special.unk) out.push_back(*vocab_.special.unk);
    }
  }

  bool match_all(std::string_view marked, std::vector<std::int32_t>& out) const {
    const PrefixHashes hashes(marked, vocab_.max_token_bytes);
    for (std::size_t begin = 0; begin < marked.size();) {
      auto end = std::min(marked.size(), begin + vocab_.max_token_bytes);
      std::int32_t id = -1;
      for (; end > begin; --end) {
        id = vocab_.find(marked.substr(begin, end - begin), hashes.of(begin, end));
        if (id >= 0) break;
      }
      if (id < 0) return false;
      out.push_back(id);
      begin = end;
    }
    return true;
  }

  const Vocab& vocab_;
  WpmOptions options_;
};

}  // namespace

std::unique_ptr<Encoder> make_wpm(const Vocab& vocab, WpmOptions options) {
  return std::make_unique<WpmEncoder>(vocab, options);
}

}  // namespace apr::model::tok
