// The vocabulary of a GGUF file (keys tokenizer.ggml.*) or of an APR file (keys tokenizer.*).
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "src/model/tokenizer/metadata_keys.h"
#include "src/model/tokenizer/state.h"

namespace apr::model::tok {
namespace {

constexpr std::string_view kFamilies[] = {"gpt2", "gemma4", "llama", "bert"};

struct SpecialKey {
  std::optional<std::int32_t> SpecialTokens::*field;
  std::string_view key, second;  // the second one replaces the first where both are there
};
constexpr SpecialKey kSpecialKeys[] = {
    {&SpecialTokens::bos, "tokenizer.ggml.bos_token_id", "tokenizer.bos_token_id"},
    {&SpecialTokens::eos, "tokenizer.ggml.eos_token_id", "tokenizer.eos_token_id"},
    {&SpecialTokens::eot, "tokenizer.ggml.eot_token_id", ""},
    {&SpecialTokens::eom, "tokenizer.ggml.eom_token_id", ""},
    {&SpecialTokens::unk, "tokenizer.ggml.unknown_token_id", "tokenizer.unknown_token_id"},
    {&SpecialTokens::sep, "tokenizer.ggml.seperator_token_id", ""},  // the key is spelled that way
    {&SpecialTokens::pad, "tokenizer.ggml.padding_token_id", "tokenizer.padding_token_id"},
    {&SpecialTokens::mask, "tokenizer.ggml.mask_token_id", ""},
    {&SpecialTokens::fim_prefix, "tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
    {&SpecialTokens::fim_suffix, "tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
    {&SpecialTokens::fim_middle, "tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
    {&SpecialTokens::fim_pad, "tokenizer.ggml.fim_pad_token_id", ""},
    {&SpecialTokens::fim_repo, "tokenizer.ggml.fim_rep_token_id", ""},
    {&SpecialTokens::fim_file, "tokenizer.ggml.fim_sep_token_id", ""},
};

/// What the family and the name of the pre-tokenizer imply, before the keys of the file are asked.
struct Defaults {
  SpecialTokens special;
  unsigned flags = 0;  // PreTokenizerFlags
  const NamedPreTokenizer* pre = nullptr;
};

class MetadataLoader {
 public:
  explicit MetadataLoader(const format::ModelFile& model) : keys_(model), state_(std::make_shared<TokenizerState>()) {}

  std::shared_ptr<const TokenizerState> load() {
    vocab().path = keys_.model().path;
    read_family();
    if (vocab().kind == TokenizerKind::Bpe) read_pre_tokenizer();
    read_tokens();
    read_special_ids();
    read_flags();
    const auto merges = read_merges();
    make_encoder(merges);
    detect_special_tokens(vocab(), true);
    set_strip_attributes();
    finish_state(*state_);
    return state_;
  }

 private:
  Vocab& vocab() { return state_->vocab; }

  void read_family() {
    const KeyNames names = {"tokenizer.ggml.model", "tokenizer.model", "tokenizer.model_type"};
    const auto family = keys_.text(names);
    if (!family) {
      throw Error(ErrorCode::ModelLoad, "the model has no tokenizer")
          .at(keys_.model().path)
          .in("tokenizer.ggml.model")
          .want("the name of a tokenizer family")
          .got("no such key")
          .help("the file was written without its vocabulary; convert the model again");
    }
    vocab().model = *family;
    auto& special = defaults_.special;
    if (*family == "gpt2" || *family == "BPE" || *family == "gemma4") {
      vocab().kind = TokenizerKind::Bpe;
      if (*family != "gemma4") special.bos = special.eos = 11;  // llama.cpp's default for GPT-2 vocabularies
    } else if (*family == "llama") {
      vocab().kind = TokenizerKind::Spm;
      special.bos = 1;
      special.eos = 2;
      special.unk = 0;
    } else if (*family == "bert") {
      vocab().kind = TokenizerKind::Wpm;
      special.bos = 101;
      special.unk = 100;
      special.sep = 102;
      special.pad = 0;
      special.mask = 103;
    } else {
      refuse_family(*keys_.find(names), *family);
    }
  }

  [[noreturn]] void refuse_family(const format::MetadataEntry& entry, std::string_view family) {
    throw keys_.refusal(entry, "is a tokenizer family that apr does not run")
        .want("gpt2, gemma4, llama or bert")
        .got(std::string(family))
        .help(suggestion(family, kFamilies));
  }

  static std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
    const auto near = nearest(word, known);
    return near.empty() ? "" : fmt::format("nearest known: {}", fmt::join(near, ", "));
  }

  void read_pre_tokenizer() {
    const KeyNames names = {"tokenizer.ggml.pre", "tokenizer.pre_type"};
    auto named = keys_.text(names);
    if (vocab().model == "gemma4") named = "gemma4";
    if (!named || named->empty()) {
      vocab().warn("tokenizer.pre.missing",
                   "the file names no pre-tokenizer; the default one cuts text otherwise than most models",
                   "tokenizer.ggml.pre", "");
      named = "default";
    }
    vocab().pre = *named;
    defaults_.pre = find_pre_tokenizer(*named);
    if (defaults_.pre == nullptr) {
      std::vector<std::string_view> known;
      for (const auto& row : pre_tokenizers()) known.push_back(row.name);
      throw keys_.refusal(*keys_.find(names), "is a pre-tokenizer that apr does not know")
          .want(fmt::format("one of {} known names", known.size()))
          .got(std::string(*named))
          .help(suggestion(*named, known));
    }
    defaults_.flags = defaults_.pre->flags;
    if ((defaults_.flags & kNoDefaultBos) != 0) defaults_.special.bos.reset();
    vocab().byte_level = (defaults_.flags & kRawUtf8) == 0;
    vocab().escape_spaces = (defaults_.flags & kEscapeSpaces) != 0;
  }

  void read_tokens() {
    const KeyNames names = {"tokenizer.ggml.tokens", "tokenizer.vocabulary"};
    const auto texts = keys_.texts(names);
    if (!texts || texts->empty()) {
      throw Error(ErrorCode::ModelLoad, "the vocabulary is empty")
          .at(keys_.model().path)
          .in("tokenizer.ggml.tokens")
          .want("at least one token")
          .got(texts ? "0 tokens" : "no such key");
    }
    if (texts->size() > 0x7FFFFFFF) throw keys_.refusal(*keys_.find(names), "has more tokens than ids");
    const auto n = texts->size();
    const auto kinds = keys_.integers({"tokenizer.ggml.token_type", "tokenizer.token_type"}, n);
    if (auto scores = keys_.scores({"tokenizer.ggml.scores", "tokenizer.scores"}, n))
      vocab().scores = std::move(*scores);
    vocab().index.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      const auto& text = (*texts)[i];
      vocab().add(text.empty() ? fmt::format("[EMPTY_{}]", i) : text,
                  kinds ? attr_of((*kinds)[i]) : std::uint32_t{kAttrNormal});
    }
    if (const auto n_same = n - vocab().index.size(); n_same > 0) {
      vocab().warn("tokenizer.tokens.duplicate", "several tokens have the same text; the last one is used",
                   "tokenizer.ggml.tokens", fmt::format("{} tokens", n_same));
    }
    warn_of_odd_tokens(*texts);
  }

  void warn_of_odd_tokens(const std::vector<std::string>& texts) {
    const auto n_empty = std::count(texts.begin(), texts.end(), "");
    if (n_empty > 0)
      vocab().warn("tokenizer.tokens.empty", "tokens without a text; they are called [EMPTY_<id>]",
                   "tokenizer.ggml.tokens", fmt::format("{} tokens", n_empty));
    std::size_t n_wrong = 0, first = 0;
    for (std::size_t i = 0; i < texts.size(); ++i)
      if ((vocab().attrs[i] & kAttrByte) != 0 && byte_of_token_text(texts[i]) < 0 && n_wrong++ == 0) first = i;
    if (n_wrong > 0)
      vocab().warn(
          "tokenizer.tokens.byte", "tokens of the kind byte whose text names none; they stand for their text",
          "tokenizer.ggml.tokens",
          fmt::format("{} tokens, the first is \"{}\" at index {}", n_wrong, escaped(texts[first], 64), first));
  }

  static std::uint16_t attr_of(std::int64_t kind) {
    switch (kind) {
      case 1: return kAttrNormal;
      case 2: return kAttrUnknown;
      case 3: return kAttrControl;
      case 4: return kAttrUserDefined;
      case 5: return kAttrUnused;
      case 6: return kAttrByte;
      default: return 0;
    }
  }

  void read_special_ids() {
    const auto n = static_cast<std::size_t>(vocab().size());
    for (const auto& key : kSpecialKeys) {
      auto& id = vocab().special.*key.field;
      id = defaults_.special.*key.field;
      if (id && static_cast<std::size_t>(*id) >= n) id.reset();
      if (const auto given = keys_.token_id({key.key}, n)) id = given;
      if (key.second.empty()) continue;
      if (const auto given = keys_.token_id({key.second}, n)) id = given;
    }
  }

  void read_flags() {
    auto& v = vocab();
    const bool is_spm = v.kind == TokenizerKind::Spm, is_wpm = v.kind == TokenizerKind::Wpm;
    v.add_bos = is_spm || is_wpm || (defaults_.flags & kAddBos) != 0;
    v.add_sep = is_wpm;
    v.escape_spaces = v.escape_spaces || is_spm;
    v.clean_spaces = is_wpm || (v.kind == TokenizerKind::Bpe && (defaults_.flags & kKeepSpaces) == 0);
    v.add_space_prefix = keys_.flag({"tokenizer.ggml.add_space_prefix"}).value_or(is_spm);
    v.add_bos = keys_.flag({"tokenizer.ggml.add_bos_token", "tokenizer.add_bos_token"}).value_or(v.add_bos);
    v.add_eos = keys_.flag({"tokenizer.ggml.add_eos_token", "tokenizer.add_eos_token"}).value_or(v.add_eos);
    if ((defaults_.flags & kForceBos) != 0 || is_wpm) v.add_bos = true;
    if (v.add_bos) state_->prefix_ids.push_back(needed(v.special.bos, "add_bos_token", "bos_token_id"));
    if (v.add_eos && !is_wpm) state_->suffix_ids.push_back(needed(v.special.eos, "add_eos_token", "eos_token_id"));
    if (is_wpm) state_->suffix_ids.push_back(needed(v.special.sep, "add_sep_token", "seperator_token_id"));
  }

  std::int32_t needed(const std::optional<std::int32_t>& id, std::string_view flag, std::string_view key) {
    if (id) return *id;
    throw Error(ErrorCode::ModelLoad, "a token that every text needs is not named")
        .at(vocab().path)
        .in(fmt::format("tokenizer.ggml.{}", key))
        .want(fmt::format("a token id, because {} holds", flag))
        .got("none");
  }

  std::vector<std::string> read_merges() {
    if (vocab().kind != TokenizerKind::Bpe) return {};
    const KeyNames names = {"tokenizer.ggml.merges", "tokenizer.merges"};
    auto merges = keys_.texts(names);
    if (!merges) {
      throw Error(ErrorCode::ModelLoad, "a BPE vocabulary needs its merges")
          .at(vocab().path)
          .in("tokenizer.ggml.merges")
          .want("array of string")
          .got("no such key");
    }
    for (std::size_t i = 0; i < merges->size(); ++i) {
      const auto& merge = (*merges)[i];
      const auto space = merge.find(' ', 1);
      if (merge.empty() || space == std::string::npos || space + 1 == merge.size()) {
        throw keys_.refusal(*keys_.find(names), "has an element that is no pair")
            .want("two texts with a space between them")
            .got(fmt::format("\"{}\" at index {}", escaped(merge, 64), i));
      }
    }
    return std::move(*merges);
  }

  void make_encoder(const std::vector<std::string>& lines) {
    auto& v = vocab();
    if (v.kind == TokenizerKind::Wpm) {
      const auto lowercase = keys_.flag({"tokenizer.ggml.normalizer.lowercase"}).value_or(true);
      const auto strip = keys_.flag({"tokenizer.ggml.normalizer.strip_accents"}).value_or(lowercase);
      state_->encoder = make_wpm(v, {.lowercase = lowercase, .strip_accents = strip});
      return;
    }
    if (v.kind == TokenizerKind::Spm) {
      if (v.add_space_prefix) state_->normalizer.add_prepend(" ");
      state_->normalizer.add_replace(" ", std::string(kVisibleSpace));
      state_->encoder = make_spm(v);
      return;
    }
    if (v.escape_spaces) state_->normalizer.add_replace(" ", std::string(kVisibleSpace));
    Merges merges;
    merges.reserve(lines.size());
    for (const std::string_view line : lines) {
      const auto space = line.find(' ', 1);
      merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    }
    state_->encoder = make_bpe(v, merges,
                               {.pre = make_pre_tokenizer(*defaults_.pre),
                                .ignore_merges = (defaults_.flags & kIgnoreMerges) != 0,
                                .whole_line_ends = (defaults_.flags & kWholeLineEnds) != 0});
  }

  /// GGUF has no key for white space that a token swallows: llama.cpp goes by the names of models, and so does this.
  void set_strip_attributes() {
    auto& v = vocab();
    const auto contains = [](std::string_view text, std::initializer_list<std::string_view> parts) {
      return std::any_of(parts.begin(), parts.end(),
                         [&](auto part) { return text.find(part) != std::string_view::npos; });
    };
    const auto set = [&](std::string_view text, std::uint16_t bit, bool on) {
      if (const auto id = v.find(text); id >= 0) {
        auto& attr = v.attrs[static_cast<std::size_t>(id)];
        attr = static_cast<std::uint16_t>(on ? attr | bit : attr & ~bit);
      }
    };
    const auto pre = keys_.text({"tokenizer.ggml.pre"}).value_or("");
    const auto arch = keys_.text({"general.architecture"}).value_or("");
    std::string model_name(keys_.text({"general.name"}).value_or(""));
    for (char& c : model_name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (contains(pre, {"jina-v2-de", "jina-v2-es", "jina-v2-code"}) ||
        contains(arch, {"nomic-bert-moe", "jina-bert-v3"})) {
      set("<mask>", kAttrLstrip, true);
    } else if (contains(model_name, {"phi-3", "phi3"})) {
      for (auto& attr : v.attrs) {
        if ((attr & (kAttrControl | kAttrUserDefined | kAttrUnknown)) != 0) attr |= kAttrRstrip;
      }
      set("</s>", kAttrRstrip, true);
      for (const auto text : {"<unk>", "<s>", "<|endoftext|>"}) set(text, kAttrRstrip, false);
    } else if (contains(model_name, {"modern-bert"})) {
      set("[MASK]", kAttrLstrip, true);
    }
  }

  MetadataKeys keys_;
  Defaults defaults_;
  std::shared_ptr<TokenizerState> state_;
};

}  // namespace

std::shared_ptr<const TokenizerState> load_from_metadata(const format::ModelFile& model) {
  return MetadataLoader(model).load();
}

}  // namespace apr::model::tok
