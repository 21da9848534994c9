// From ids to text: the bytes of each token, and the tidying that some families do afterwards.
#include "apr/core/text.h"
#include "src/model/tokenizer/state.h"
#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

std::string piece_of(const Vocab& vocab, std::int32_t id) {
  const auto text = vocab.text(id);
  const auto attr = vocab.attr(id);
  if ((attr & (kAttrUnknown | kAttrControl | kAttrUserDefined)) != 0) return std::string(text);
  if ((attr & kAttrNormal) != 0) {
    if (vocab.byte_level) {
      bool exact = true;
      return bytes_of_letters(text, exact);
    }
    return replaced(text, kVisibleSpace, " ");
  }
  if ((attr & kAttrByte) != 0) {
    const int byte = byte_of_token_text(text);
    return byte < 0 ? std::string(text) : std::string(1, static_cast<char>(byte));
  }
  return {};  // unused and undefined tokens stand for nothing
}

/// " ?" -> "?" and the like.
std::string close_up_marks(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i > 0 && text[i - 1] == ' ' && (c == '?' || c == '!' || c == '.' || c == ',')) out.pop_back();
    out.push_back(c);
  }
  return out;
}

/// "a ' b" -> "a'b".
std::string close_up_lone_apostrophes(std::string text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i > 0 && c == '\'' && i + 1 < text.size() && text[i - 1] == ' ' && text[i + 1] == ' ') {
      out.pop_back();
      text[++i] = '\0';  // so that it is no space for what follows
    }
    out.push_back(c);
  }
  return out;
}

/// "it 's" -> "it's"; also 'm, 're, 've, but neither 't, 'd nor 'll.
std::string close_up_contractions(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i > 0 && text[i - 1] == ' ' && text[i] == '\'') {
      const auto rest = std::string_view(text).substr(i + 1);
      if (rest.starts_with('s') || rest.starts_with('m') || rest.starts_with("re") || rest.starts_with("ve"))
        out.pop_back();
    }
    out.push_back(text[i]);
  }
  return out;
}

}  // namespace

std::string with_clean_spaces(std::string text) {
  return close_up_contractions(close_up_lone_apostrophes(close_up_marks(text)));
}

void finish_state(TokenizerState& state) {
  state.pieces.reserve(static_cast<std::size_t>(state.vocab.size()));
  for (std::int32_t id = 0; id < state.vocab.size(); ++id) state.pieces.push_back(piece_of(state.vocab, id));
  state.partition.emplace(state.vocab);
}

}  // namespace apr::model::tok

namespace apr::model {

std::string Detokenizer::push(std::int32_t id) {
  const auto& piece = tokenizer_.piece(id);
  if (keep_special_ || !tokenizer_.is_special(id)) held_.append(piece);
  // A character is at most four bytes: only a lead byte among the last three can be waiting for more.
  std::size_t keep = 0;
  for (std::size_t back = 1; back <= 3 && back <= held_.size(); ++back) {
    const auto byte = static_cast<unsigned char>(held_[held_.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    if (byte >= 0xC2 && byte <= 0xF4 && tok::announced_length(static_cast<char>(byte)) > back) keep = back;
    break;
  }
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return out;
}

std::string Detokenizer::finish() {
  std::string out;
  out.swap(held_);
  return out;
}

}  // namespace apr::model
