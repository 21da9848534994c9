// The vocabulary and the model of a tokenizer.json, as the tokenizers library writes it.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "apr/core/file.h"
#include "apr/core/text.h"
#include "src/model/tokenizer/json_pipeline.h"
#include "src/model/tokenizer/state.h"

namespace apr::model::tok {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::uint64_t kMaxFileBytes = 512ull << 20;

Json parse_file(const std::string& path) {
  const MappedFile file(path);
  if (file.size() > kMaxFileBytes) {
    throw Error(ErrorCode::ModelLoad, "the file is too large for a tokenizer")
        .at(path)
        .want(fmt::format("at most {} bytes", kMaxFileBytes))
        .got(std::to_string(file.size()));
  }
  const auto* begin = reinterpret_cast<const char*>(file.bytes().data());
  const auto guard = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth)
      throw Error(ErrorCode::ModelLoad, "JSON is nested too deeply")
          .at(path)
          .want(fmt::format("at most {} levels", kMaxDepth));
    return true;
  };
  try {
    auto root = Json::parse(begin, begin + file.size(), guard);
    file.check_intact();
    return root;
  } catch (const Json::parse_error& error) {
    throw Error(ErrorCode::ModelLoad, "is not valid JSON").at(path, error.byte).got(escaped(error.what(), 200));
  } catch (const Json::out_of_range& error) {  // a number beyond a double; it comes without a place
    throw Error(ErrorCode::ModelLoad, "has a number that does not fit").at(path).got(escaped(error.what(), 200));
  }
}

struct AddedToken {
  std::int32_t id = 0;
  std::string text;
  std::uint16_t attr = 0;
};

class JsonLoader {
 public:
  explicit JsonLoader(const std::string& path)
      : path_(path), root_(parse_file(path)), state_(std::make_shared<TokenizerState>()) {}

  std::shared_ptr<const TokenizerState> load() {
    vocab().path = path_;
    pipeline_ = read_pipeline(root_, path_);
    model_ = &member(root_, "model");
    if (!model_->is_object()) throw json_refusal(path_, "model", "must be an object").got(model_->type_name());
    read_kind();
    read_added_tokens();
    read_vocabulary();
    read_config();
    check_ids();
    make_encoder();
    detect_special_tokens(vocab(), false);
    finish_state(*state_);
    if (pipeline_.closes_up_marks) {
      for (auto& piece : state_->pieces) {
        if (piece == " ." || piece == " ?" || piece == " !" || piece == " ,") piece.erase(0, 1);
      }
    }
    return state_;
  }

 private:
  Vocab& vocab() { return state_->vocab; }

  void read_kind() {
    const auto& type = member(*model_, "type");
    std::string text = type.is_string() ? type.get<std::string>() : "";
    if (text.empty()) {  // files of old versions name no type
      text = model_->contains("merges") ? "BPE" : member(*model_, "vocab").is_array() ? "Unigram" : "WordPiece";
    }
    if (text == "BPE") {
      vocab().kind = TokenizerKind::Bpe;
    } else if (text == "Unigram") {
      vocab().kind = TokenizerKind::Unigram;
    } else if (text == "WordPiece") {
      vocab().kind = TokenizerKind::Wpm;
    } else {
      throw json_refusal(path_, "model.type", "is a model that apr does not have")
          .want("BPE, Unigram or WordPiece")
          .got(escaped(text, 64));
    }
    vocab().model = text;
    vocab().byte_level = pipeline_.byte_level && vocab().kind == TokenizerKind::Bpe;
    vocab().add_space_prefix = pipeline_.strips_first_space;
    vocab().drop_first_shown = true;
    vocab().escape_spaces = !vocab().byte_level;
  }

  std::int32_t checked_id(const Json& value, const std::string& field) {
    if (!value.is_number_integer() || value < 0 || value > 0x7FFFFFFE) {
      throw json_refusal(path_, field, "must be a token id").got(escaped(value.dump(-1, ' ', true), 64));
    }
    return value.get<std::int32_t>();
  }

  void read_added_tokens() {
    const auto& list = member(root_, "added_tokens");
    if (list.is_null()) return;
    if (!list.is_array()) throw json_refusal(path_, "added_tokens", "must be an array").got(list.type_name());
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto field = fmt::format("added_tokens[{}]", i);
      AddedToken token{checked_id(member(list[i], "id"), field + ".id"), text_member(list[i], "content", path_, field),
                       bool_member(list[i], "special", false, path_, field) ? kAttrControl : kAttrUserDefined};
      if (bool_member(list[i], "lstrip", false, path_, field)) token.attr |= kAttrLstrip;
      if (bool_member(list[i], "rstrip", false, path_, field)) token.attr |= kAttrRstrip;
      added_.push_back(std::move(token));
    }
  }

  /// (id, text, score) of the model's own vocabulary into `texts_` and `scores_`.
  void collect_model_tokens() {
    const auto& list = member(*model_, "vocab");
    if (vocab().kind == TokenizerKind::Unigram) {
      if (!list.is_array()) throw json_refusal(path_, "model.vocab", "must be an array").got(list.type_name());
      for (std::size_t i = 0; i < list.size(); ++i) {
        const auto& row = list[i];
        if (!row.is_array() || row.size() != 2 || !row[0].is_string() || !row[1].is_number()) {
          throw json_refusal(path_, fmt::format("model.vocab[{}]", i), "must be a text and a score")
              .got(row.type_name());
        }
        texts_.emplace(static_cast<std::int32_t>(i), row[0].get<std::string>());
        scores_.push_back(row[1].get<float>());
      }
      return;
    }
    if (!list.is_object()) throw json_refusal(path_, "model.vocab", "must be an object").got(list.type_name());
    for (const auto& [text, id] : list.items()) {
      const auto number = checked_id(id, fmt::format("model.vocab[{}]", escaped(text, 64)));
      const auto [slot, is_new] = texts_.emplace(number, text);
      if (!is_new) {
        throw json_refusal(path_, "model.vocab", "gives one id to two tokens")
            .got(fmt::format("id {}: {} and {}", number, escaped(slot->second, 64), escaped(text, 64)));
      }
    }
  }

  void read_vocabulary() {
    collect_model_tokens();
    std::map<std::int32_t, const AddedToken*> added;
    for (const auto& token : added_) {
      added[token.id] = &token;
      texts_[token.id] = token.text;
    }
    if (texts_.empty()) throw json_refusal(path_, "model.vocab", "is empty").want("at least one token").got("0 tokens");
    const auto n_ids = static_cast<std::size_t>(texts_.rbegin()->first) + 1;
    if (n_ids > 2 * texts_.size() + 4096) {
      throw json_refusal(path_, "model.vocab", "leaves too many ids without a token")
          .want(fmt::format("ids below {} for {} tokens", 2 * texts_.size() + 4096, texts_.size()))
          .got(std::to_string(n_ids - 1));
    }
    const auto& unk = member(*model_, "unk_token");
    std::int32_t next = 0;
    for (const auto& [id, text] : texts_) {
      for (; next < id; ++next) vocab().add(fmt::format("[HOLE_{}]", next), kAttrUnused);
      ++next;
      if (const auto it = added.find(id); it != added.end()) {
        vocab().add(text, it->second->attr);
      } else {
        vocab().add(spelling_of(text), attr_of(text));
      }
    }
    if (unk.is_string()) find_special(vocab().special.unk, unk.get<std::string>());
    if (vocab().kind == TokenizerKind::Unigram) {
      scores_.resize(n_ids, 0.0F);
      vocab().scores = std::move(scores_);
      if (const auto& id = member(*model_, "unk_id"); !id.is_null())
        vocab().special.unk = checked_id(id, "model.unk_id");
    }
  }

  /// WordPiece marks what continues a word; the encoder here wants the start of a word marked.
  std::string spelling_of(const std::string& text) const {
    if (state_->vocab.kind != TokenizerKind::Wpm) return text;
    const auto& prefix = member(*model_, "continuing_subword_prefix");
    const auto mark = prefix.is_string() ? prefix.get<std::string>() : std::string("##");
    return !mark.empty() && text.starts_with(mark) ? text.substr(mark.size()) : std::string(kVisibleSpace) + text;
  }

  /// A token that is not among the added ones is never found by its text, not even UNK.
  std::uint16_t attr_of(const std::string& text) const {
    const bool bytes = pipeline_.decodes_bytes || member(*model_, "byte_fallback") == true;
    return bytes && byte_of_token_text(text) >= 0 ? kAttrByte : kAttrNormal;
  }

  void find_special(std::optional<std::int32_t>& field, const std::string& text) {
    if (const auto id = vocab().find(text); id >= 0) field = id;
  }

  /// tokenizer_config.json names BOS, EOS and their like by text, or as an object with "content".
  void read_config() {
    const auto config_path = std::filesystem::path(path_).parent_path() / "tokenizer_config.json";
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(config_path, ignored)) {
      vocab().warn("tokenizer.config.missing",
                   "no tokenizer_config.json beside the tokenizer: BOS and EOS are known by their text only",
                   "tokenizer_config.json", "");
      return;
    }
    const auto config = parse_file(config_path.string());
    auto& special = vocab().special;
    const std::pair<const char*, std::optional<std::int32_t>*> fields[] = {
        {"bos_token", &special.bos}, {"eos_token", &special.eos}, {"unk_token", &special.unk},
        {"pad_token", &special.pad}, {"sep_token", &special.sep}, {"mask_token", &special.mask}};
    for (const auto& [key, field] : fields) {
      const auto& value = member(config, key);
      const auto& text = value.is_object() ? member(value, "content") : value;
      if (text.is_string()) find_special(*field, text.get<std::string>());
    }
  }

  void check_ids() {
    auto& v = vocab();
    const auto check = [&](std::int32_t id, const char* field) {
      if (id >= v.size()) {
        throw json_refusal(path_, field, "is no token of the vocabulary")
            .want(fmt::format("an id from 0 to {}", v.size() - 1))
            .got(std::to_string(id));
      }
    };
    for (const auto id : pipeline_.prefix_ids) check(id, "post_processor");
    for (const auto id : pipeline_.suffix_ids) check(id, "post_processor");
    if (v.special.unk) check(*v.special.unk, "model.unk_id");
    state_->prefix_ids = std::move(pipeline_.prefix_ids);
    state_->suffix_ids = std::move(pipeline_.suffix_ids);
    const auto has = [](const std::vector<std::int32_t>& ids, const std::optional<std::int32_t>& id) {
      return id && std::find(ids.begin(), ids.end(), *id) != ids.end();
    };
    v.add_bos = has(state_->prefix_ids, v.special.bos);
    v.add_eos = has(state_->suffix_ids, v.special.eos);
  }

  void make_encoder() {
    state_->normalizer = std::move(pipeline_.normalizer);
    const bool is_wpm = vocab().kind == TokenizerKind::Wpm;
    if (is_wpm != pipeline_.bert_words || is_wpm != pipeline_.bert.has_value()) {
      throw json_refusal(path_, "pre_tokenizer", "does not go with the model")
          .want("BertNormalizer and BertPreTokenizer with WordPiece, and only there")
          .got(vocab().model);
    }
    if (is_wpm) {
      const auto& limit = member(*model_, "max_input_chars_per_word");
      pipeline_.bert->max_word_chars = limit.is_number_unsigned() ? limit.get<std::size_t>() : 100;
      state_->encoder = make_wpm(vocab(), *pipeline_.bert);
    } else if (vocab().kind == TokenizerKind::Unigram) {
      state_->encoder = make_unigram(
          vocab(), {.pre = std::move(pipeline_.pre), .byte_fallback = member(*model_, "byte_fallback") == true});
    } else {
      make_bpe_encoder();
    }
  }

  void make_bpe_encoder() {
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const auto& value = member(*model_, key);
      if (value.is_string() && !value.get_ref<const std::string&>().empty()) {
        throw json_refusal(path_, std::string("model.") + key, "is an option that apr does not have")
            .got(escaped(value.get<std::string>(), 64));
      }
    }
    BpeOptions options;
    options.pre = std::move(pipeline_.pre);
    options.ignore_merges = bool_member(*model_, "ignore_merges", false, path_, "model");
    options.byte_fallback = bool_member(*model_, "byte_fallback", false, path_, "model") || vocab().byte_level;
    options.emit_unknown = vocab().special.unk.has_value();
    options.fuse_unknown = bool_member(*model_, "fuse_unk", false, path_, "model");
    state_->encoder = make_bpe(vocab(), merges(), std::move(options));
  }

  Merges merges() {
    const auto& list = member(*model_, "merges");
    if (!list.is_array()) throw json_refusal(path_, "model.merges", "must be an array").got(list.type_name());
    Merges out;
    out.reserve(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
      std::string_view first, second;
      if (list[i].is_string()) {
        const std::string_view line = list[i].get_ref<const std::string&>();
        const auto space = line.find(' ');
        first = line.substr(0, space);
        second = space == std::string_view::npos ? "" : line.substr(space + 1);
      } else if (list[i].is_array() && list[i].size() == 2 && list[i][0].is_string() && list[i][1].is_string()) {
        first = list[i][0].get_ref<const std::string&>();
        second = list[i][1].get_ref<const std::string&>();
      }
      if (first.empty() || second.empty()) {
        throw json_refusal(path_, fmt::format("model.merges[{}]", i), "must be a pair of texts")
            .got(escaped(list[i].dump(-1, ' ', true), 64));
      }
      out.emplace_back(first, second);
    }
    return out;
  }

  std::string path_;
  Json root_;
  std::shared_ptr<TokenizerState> state_;
  JsonPipeline pipeline_;
  const Json* model_ = nullptr;
  std::vector<AddedToken> added_;
  std::map<std::int32_t, std::string> texts_;
  std::vector<float> scores_;
};

}  // namespace

std::shared_ptr<const TokenizerState> load_from_json(const std::string& path) { return JsonLoader(path).load(); }

}  // namespace apr::model::tok
