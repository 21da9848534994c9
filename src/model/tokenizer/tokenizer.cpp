#include "apr/model/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "src/model/tokenizer/state.h"

namespace apr::model {
namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;  // positions are 32-bit

std::size_t checked_id(const tok::Vocab& vocab, std::int32_t id) {
  if (id < 0 || id >= vocab.size()) {
    throw Error(ErrorCode::Usage, "no such token in the vocabulary")
        .want(fmt::format("an id from 0 to {}", vocab.size() - 1))
        .got(std::to_string(id));
  }
  return static_cast<std::size_t>(id);
}

}  // namespace

std::string_view name(TokenizerKind kind) noexcept {
  switch (kind) {
    case TokenizerKind::Bpe: return "bpe";
    case TokenizerKind::Spm: return "spm";
    case TokenizerKind::Wpm: return "wpm";
    case TokenizerKind::Unigram: return "unigram";
  }
  return "unknown";
}

std::string_view name(TokenKind kind) noexcept {
  switch (kind) {
    case TokenKind::Undefined: return "undefined";
    case TokenKind::Normal: return "normal";
    case TokenKind::Unknown: return "unknown";
    case TokenKind::Control: return "control";
    case TokenKind::UserDefined: return "user-defined";
    case TokenKind::Unused: return "unused";
    case TokenKind::Byte: return "byte";
  }
  return "undefined";
}

Tokenizer Tokenizer::from_model(const format::ModelFile& model) {
  if (model.format != format::Format::SafeTensors) return Tokenizer(tok::load_from_metadata(model));
  for (const auto& path : model.companions) {
    if (std::filesystem::path(path).filename() == "tokenizer.json") return from_json_file(path);
  }
  throw Error(ErrorCode::ModelLoad, "there is no tokenizer beside the model")
      .at(model.path)
      .want("a file tokenizer.json in the same folder")
      .help("copy the model's tokenizer.json and tokenizer_config.json into the folder");
}

Tokenizer Tokenizer::from_json_file(const std::string& path) { return Tokenizer(tok::load_from_json(path)); }

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() > kMaxTextBytes) {
    throw Error(ErrorCode::Usage, "the text is too long")
        .want(fmt::format("at most {} bytes", kMaxTextBytes))
        .got(std::to_string(text.size()));
  }
  std::vector<std::int32_t> ids;
  if (options.add_special) ids = state_->prefix_ids;
  for (const auto& fragment : state_->partition->split(state_->vocab, text, options.parse_special)) {
    if (fragment.token >= 0) {
      ids.push_back(fragment.token);
      continue;
    }
    const auto raw = text.substr(fragment.begin, fragment.end - fragment.begin);
    if (state_->normalizer.empty()) {
      state_->encoder->encode(raw, ids);
    } else {
      state_->encoder->encode(state_->normalizer.apply(raw, fragment.begin == 0), ids);
    }
  }
  if (options.add_special) ids.insert(ids.end(), state_->suffix_ids.begin(), state_->suffix_ids.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, DecodeOptions options) const {
  const auto& vocab = state_->vocab;
  bool drop_space = vocab.add_space_prefix;
  if (options.strip_ends) {
    if (vocab.add_bos && vocab.special.bos && !ids.empty() && ids.front() == *vocab.special.bos) ids = ids.subspan(1);
    if (vocab.add_eos && vocab.special.eos && !ids.empty() && ids.back() == *vocab.special.eos)
      ids = ids.first(ids.size() - 1);
  }
  std::string out;
  for (const auto id : ids) {
    const auto& piece = state_->pieces[checked_id(vocab, id)];
    const bool shown = options.keep_special || !is_special(id);
    if (shown) out.append(piece, drop_space && piece.starts_with(' ') ? 1 : 0);
    if (shown || !vocab.drop_first_shown) drop_space = false;
  }
  return vocab.clean_spaces ? tok::with_clean_spaces(std::move(out)) : out;
}

const std::string& Tokenizer::piece(std::int32_t id) const { return state_->pieces[checked_id(state_->vocab, id)]; }

std::string_view Tokenizer::text(std::int32_t id) const {
  static_cast<void>(checked_id(state_->vocab, id));
  return state_->vocab.text(id);
}

TokenKind Tokenizer::kind_of(std::int32_t id) const {
  const auto attr = state_->vocab.attrs[checked_id(state_->vocab, id)];
  if ((attr & tok::kAttrControl) != 0) return TokenKind::Control;
  if ((attr & tok::kAttrUnknown) != 0) return TokenKind::Unknown;
  if ((attr & tok::kAttrUserDefined) != 0) return TokenKind::UserDefined;
  if ((attr & tok::kAttrByte) != 0) return TokenKind::Byte;
  if ((attr & tok::kAttrUnused) != 0) return TokenKind::Unused;
  return (attr & tok::kAttrNormal) != 0 ? TokenKind::Normal : TokenKind::Undefined;
}

std::optional<std::int32_t> Tokenizer::find(std::string_view token_text) const {
  const auto id = state_->vocab.find(token_text);
  return id < 0 ? std::nullopt : std::optional(id);
}

bool Tokenizer::is_special(std::int32_t id) const {
  return (state_->vocab.attrs[checked_id(state_->vocab, id)] & (tok::kAttrUnknown | tok::kAttrControl)) != 0;
}

bool Tokenizer::is_end_of_generation(std::int32_t id) const noexcept {
  return std::binary_search(state_->vocab.eog.begin(), state_->vocab.eog.end(), id);
}

std::int32_t Tokenizer::n_vocab() const noexcept { return state_->vocab.size(); }
const SpecialTokens& Tokenizer::special() const noexcept { return state_->vocab.special; }
std::span<const std::int32_t> Tokenizer::end_of_generation_ids() const noexcept { return state_->vocab.eog; }
bool Tokenizer::adds_bos() const noexcept { return state_->vocab.add_bos; }
bool Tokenizer::adds_eos() const noexcept { return state_->vocab.add_eos; }
bool Tokenizer::adds_space_prefix() const noexcept { return state_->vocab.add_space_prefix; }
TokenizerKind Tokenizer::kind() const noexcept { return state_->vocab.kind; }
std::string_view Tokenizer::model_name() const noexcept { return state_->vocab.model; }
std::string_view Tokenizer::pre_tokenizer() const noexcept { return state_->vocab.pre; }
const std::vector<Finding>& Tokenizer::findings() const noexcept { return state_->vocab.findings; }

}  // namespace apr::model
