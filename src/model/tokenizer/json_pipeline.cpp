#include "src/model/tokenizer/json_pipeline.h"

#include <fmt/format.h>

#include "apr/core/text.h"

namespace apr::model::tok {
namespace {

constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
/// What the tokenizers library calls punctuation: category P and the ASCII marks.
constexpr const char* kPunctuationPattern = R"([\p{P}!-/:-@\[-`{-~])";

/// `text` as a pattern that matches nothing else.
std::string as_literal(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}").find(c) != std::string_view::npos) out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

class PipelineReader {
 public:
  PipelineReader(const Json& root, const std::string& path) : root_(root), path_(path) {}

  JsonPipeline read() {
    normalizer(member(root_, "normalizer"), "normalizer");
    pre_tokenizer(member(root_, "pre_tokenizer"), "pre_tokenizer");
    post_processor(member(root_, "post_processor"), "post_processor");
    decoder(member(root_, "decoder"), "decoder");
    return std::move(out_);
  }

 private:
  using Handler = void (PipelineReader::*)(const Json&, const std::string&);

  std::string type_of(const Json& node, const std::string& field) { return text_member(node, "type", path_, field); }

  void each(const Json& node, const char* key, const std::string& field, Handler handler) {
    const auto& list = member(node, key);
    if (!list.is_array()) throw json_refusal(path_, field + "." + key, "must be an array").got(list.type_name());
    for (std::size_t i = 0; i < list.size(); ++i) (this->*handler)(list[i], fmt::format("{}.{}[{}]", field, key, i));
  }

  [[noreturn]] void unknown(const std::string& field, const std::string& type) {
    throw json_refusal(path_, field + ".type", "is a part that apr does not have").got(escaped(type, 64));
  }

  /// A pattern of the form {"String": s} or {"Regex": r}.
  Regex pattern_of(const Json& node, const std::string& field) {
    const auto& pattern = member(node, "pattern");
    try {
      if (member(pattern, "String").is_string())
        return Regex::from_file(as_literal(member(pattern, "String").get<std::string>()));
      if (member(pattern, "Regex").is_string()) return Regex::from_file(member(pattern, "Regex").get<std::string>());
    } catch (Error& error) {
      throw std::move(error).at(path_).in(field + ".pattern");
    }
    throw json_refusal(path_, field + ".pattern", "must hold a String or a Regex").got(pattern.type_name());
  }

  void normalizer(const Json& node, const std::string& field) {
    if (node.is_null()) return;
    const auto type = type_of(node, field);
    auto& steps = out_.normalizer;
    if (type == "Sequence") return each(node, "normalizers", field, &PipelineReader::normalizer);
    if (type == "NFC") return steps.add_form(NormalForm::Nfc);
    if (type == "NFD") return steps.add_form(NormalForm::Nfd);
    if (type == "NFKC") return steps.add_form(NormalForm::Nfkc);
    if (type == "NFKD") return steps.add_form(NormalForm::Nfkd);
    if (type == "Lowercase") return steps.add_lowercase();
    if (type == "StripAccents") return steps.add_strip_accents();
    if (type == "Prepend") return steps.add_prepend(text_member(node, "prepend", path_, field));
    if (type == "Replace") return replace(node, field);
    if (type == "BertNormalizer") return bert_normalizer(node, field);
    unknown(field, type);
  }

  void replace(const Json& node, const std::string& field) {
    const auto content = text_member(node, "content", path_, field);
    const auto& literal = member(member(node, "pattern"), "String");
    if (literal.is_string() && !literal.get<std::string>().empty()) {
      out_.normalizer.add_replace(literal.get<std::string>(), content);
    } else {
      out_.normalizer.add_replace(pattern_of(node, field), content);
    }
  }

  void bert_normalizer(const Json& node, const std::string& field) {
    WpmOptions options;
    options.bert_normalizer = true;
    options.clean_text = bool_member(node, "clean_text", true, path_, field);
    options.split_han = bool_member(node, "handle_chinese_chars", true, path_, field);
    options.lowercase = bool_member(node, "lowercase", true, path_, field);
    options.strip_accents = bool_member(node, "strip_accents", options.lowercase, path_, field);
    out_.bert = options;
  }

  void pre_tokenizer(const Json& node, const std::string& field) {
    if (node.is_null()) return;
    const auto type = type_of(node, field);
    if (type == "Sequence") return each(node, "pretokenizers", field, &PipelineReader::pre_tokenizer);
    if (type == "BertPreTokenizer") {
      out_.bert_words = true;
    } else if (type == "ByteLevel") {
      byte_level(node, field);
    } else if (type == "Metaspace") {
      metaspace(node, field);
    } else if (type == "Split") {
      out_.pre.add(pattern_of(node, field), behavior_of(node, field), bool_member(node, "invert", false, path_, field));
    } else if (type == "Digits") {
      const bool single = bool_member(node, "individual_digits", false, path_, field);
      out_.pre.add(Regex::from_file(single ? R"(\p{N})" : R"(\p{N}+)"));
    } else if (type == "Punctuation") {
      out_.pre.add(Regex::from_file(kPunctuationPattern), behavior_of(node, field));
    } else if (type == "WhitespaceSplit") {
      out_.pre.add(Regex::from_file(R"(\s+)"), SplitBehavior::Removed);
    } else {
      unknown(field, type);
    }
  }

  void byte_level(const Json& node, const std::string& field) {
    out_.byte_level = true;
    if (bool_member(node, "add_prefix_space", true, path_, field)) {
      if (!out_.pre.empty()) {
        throw json_refusal(path_, field + ".add_prefix_space", "comes behind another cut, which apr does not have")
            .got("true");
      }
      out_.normalizer.add_prepend(" ", true);
    }
    if (bool_member(node, "use_regex", true, path_, field)) out_.pre.add(Regex::from_file(kGpt2Pattern));
  }

  void metaspace(const Json& node, const std::string& field) {
    const auto mark = text_member(node, "replacement", path_, field);
    if (!out_.pre.empty() || mark != kVisibleSpace) {
      throw json_refusal(path_, field, "must be the only pre-tokenizer and replace by U+2581").got(escaped(mark, 16));
    }
    out_.normalizer.add_replace(" ", mark);
    std::string scheme = bool_member(node, "add_prefix_space", true, path_, field) ? "always" : "never";
    if (member(node, "prepend_scheme").is_string()) scheme = text_member(node, "prepend_scheme", path_, field);
    if (scheme == "always") out_.normalizer.add_prepend(mark, true);
    if (scheme == "first") out_.normalizer.add_prepend_first(mark);
    if (bool_member(node, "split", true, path_, field)) {
      out_.pre.add(Regex::from_file(kVisibleSpace), SplitBehavior::MergedWithNext);
    }
  }

  SplitBehavior behavior_of(const Json& node, const std::string& field) {
    const auto& value = member(node, "behavior");
    const auto text = value.is_string() ? value.get<std::string>() : std::string("Isolated");
    if (text == "Isolated") return SplitBehavior::Isolated;
    if (text == "Removed") return SplitBehavior::Removed;
    if (text == "MergedWithPrevious") return SplitBehavior::MergedWithPrevious;
    if (text == "MergedWithNext") return SplitBehavior::MergedWithNext;
    if (text == "Contiguous") return SplitBehavior::Contiguous;
    throw json_refusal(path_, field + ".behavior", "is a behavior that apr does not have").got(escaped(text, 64));
  }

  void post_processor(const Json& node, const std::string& field) {
    if (node.is_null()) return;
    const auto type = type_of(node, field);
    if (type == "Sequence") return each(node, "processors", field, &PipelineReader::post_processor);
    if (type == "TemplateProcessing") return template_processing(node, field);
    if (type == "BertProcessing" || type == "RobertaProcessing") {
      out_.prefix_ids.push_back(id_of(member(node, "cls"), 1, field + ".cls"));
      out_.suffix_ids.push_back(id_of(member(node, "sep"), 1, field + ".sep"));
    } else if (type != "ByteLevel") {
      unknown(field, type);
    }
  }

  std::int32_t id_of(const Json& list, std::size_t index, const std::string& field) {
    if (!list.is_array() || list.size() <= index || !list[index].is_number_integer() || list[index] < 0 ||
        list[index] > 0x7FFFFFFF) {
      throw json_refusal(path_, field, "must hold a token id").got(escaped(list.dump(-1, ' ', true), 64));
    }
    return list[index].get<std::int32_t>();
  }

  void template_processing(const Json& node, const std::string& field) {
    const auto& single = member(node, "single");
    if (!single.is_array()) throw json_refusal(path_, field + ".single", "must be an array").got(single.type_name());
    bool behind = false;
    for (const auto& piece : single) {
      const auto& token = member(piece, "SpecialToken");
      if (token.is_null()) {
        behind = true;
        continue;
      }
      const auto label = text_member(token, "id", path_, field + ".single");
      const auto& ids = member(member(member(node, "special_tokens"), label.c_str()), "ids");
      const auto where = fmt::format("{}.special_tokens[{}].ids", field, escaped(label, 64));
      for (std::size_t i = 0; i < std::max<std::size_t>(1, ids.size()); ++i) {
        (behind ? out_.suffix_ids : out_.prefix_ids).push_back(id_of(ids, i, where));
      }
    }
  }

  void decoder(const Json& node, const std::string& field) {
    if (node.is_null()) return;
    const auto type = type_of(node, field);
    if (type == "Sequence") return each(node, "decoders", field, &PipelineReader::decoder);
    if (type == "Strip") {
      out_.strips_first_space = member(node, "content") == " " && member(node, "start") == 1;
    } else if (type == "Metaspace") {
      const auto& scheme = member(node, "prepend_scheme");
      out_.strips_first_space =
          scheme.is_string() ? scheme != "never" : bool_member(node, "add_prefix_space", true, path_, field);
    } else if (type == "WordPiece") {
      out_.strips_first_space = true;
      out_.closes_up_marks = bool_member(node, "cleanup", true, path_, field);
    } else if (type == "ByteLevel") {
      out_.byte_level = true;
    } else if (type == "ByteFallback") {
      out_.decodes_bytes = true;
    } else if (type != "Replace" && type != "Fuse") {
      unknown(field, type);
    }
  }

  const Json& root_;
  const std::string& path_;
  JsonPipeline out_;
};

}  // namespace

Error json_refusal(const std::string& path, std::string field, std::string rule) {
  return Error(ErrorCode::ModelLoad, std::move(rule)).at(path).in(std::move(field));
}

const Json& member(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

bool bool_member(const Json& object, const char* key, bool fallback, const std::string& path,
                 const std::string& field) {
  const auto& value = member(object, key);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) throw json_refusal(path, field + "." + key, "must be true or false").got(value.type_name());
  return value.get<bool>();
}

std::string text_member(const Json& object, const char* key, const std::string& path, const std::string& field) {
  const auto& value = member(object, key);
  if (!value.is_string()) throw json_refusal(path, field + "." + key, "must be a text").got(value.type_name());
  return value.get<std::string>();
}

JsonPipeline read_pipeline(const Json& root, const std::string& path) { return PipelineReader(root, path).read(); }

}  // namespace apr::model::tok
