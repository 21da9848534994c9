#include "apr/model/chat_prompt.h"

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "apr/core/file.h"

namespace apr::model {
namespace {

constexpr std::uint64_t kMaxConfigBytes = 64u << 20;  // tokenizer_config.json lists every added token

struct Source {
  std::string text, name;
};

std::optional<Source> from_metadata(const format::ModelFile& file) {
  for (const char* key : {"tokenizer.chat_template", "chat_template"}) {
    const format::MetadataEntry* entry = file.find_metadata(key);
    const auto text = entry == nullptr ? std::nullopt : entry->value.as_string();
    if (text && !text->empty()) return Source{std::string(*text), key};
  }
  return std::nullopt;
}

std::optional<std::string> read_small(const std::string& path) {
  const MappedFile mapped(path);
  if (mapped.size() > kMaxConfigBytes) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
}

/// The member of tokenizer_config.json: a text, or a list of {name, template} whose "default" counts.
std::optional<std::string> from_tokenizer_config(const std::string& text) {
  const nlohmann::json config = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.contains("chat_template")) return std::nullopt;
  const nlohmann::json& value = config["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return std::nullopt;
  for (const nlohmann::json& item : value) {
    const bool usable = item.is_object() && item.contains("name") && item["name"] == "default" &&
                        item.contains("template") && item["template"].is_string();
    if (usable) return item["template"].get<std::string>();
  }
  return std::nullopt;
}

std::optional<Source> from_companions(const format::ModelFile& file) {
  for (const std::string_view wanted : {"chat_template.jinja", "tokenizer_config.json"}) {
    for (const std::string& path : file.companions) {
      if (std::string_view(path).substr(path.rfind('/') + 1) != wanted) continue;
      std::optional<std::string> text = read_small(path);
      if (text && wanted == "tokenizer_config.json") text = from_tokenizer_config(*text);
      if (text) return Source{*std::move(text), std::string(wanted)};
    }
  }
  return std::nullopt;
}

}  // namespace

ChosenTemplate choose_template(const format::ModelFile& file, const Tokenizer& tokenizer,
                               std::string_view architecture) {
  std::optional<Source> source = from_metadata(file);
  if (!source) source = from_companions(file);
  if (source) return {ChatTemplate::parse(source->text, source->name), source->name, std::nullopt};
  std::vector<std::string_view> special;
  for (std::int32_t id = 0; id < tokenizer.n_vocab(); ++id) {
    const TokenKind kind = tokenizer.kind_of(id);
    if (kind == TokenKind::Control || kind == TokenKind::UserDefined) special.push_back(tokenizer.text(id));
  }
  const FallbackTemplate& fallback = choose_fallback(architecture, special);
  Finding finding;
  finding.rule = "model.chat_template.missing";
  finding.severity = Severity::Warning;
  finding.file = file.path;
  finding.message =
      "the model brings no chat template; the fallback '" + std::string(fallback.name) + "' takes its place";
  finding.hint = "use --raw to give the text to the model as it is";
  return {ChatTemplate::parse(fallback.source, fallback.name), "fallback " + std::string(fallback.name),
          std::move(finding)};
}

void require_rows(const format::ModelFile& file, const Tokenizer& tokenizer, const HParams& hparams) {
  const auto n_tokens = static_cast<std::uint32_t>(tokenizer.n_vocab());
  if (n_tokens <= hparams.n_vocab) return;
  throw Error(ErrorCode::ModelLoad, "the vocabulary has more tokens than the embedding has rows")
      .at(file.path)
      .in("vocabulary")
      .want("at most " + std::to_string(hparams.n_vocab) + " tokens")
      .got(std::to_string(n_tokens))
      .help("the tokenizer is another model's, or rows of the embedding are missing");
}

ChatPrompt make_chat_prompt(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                            std::span<const ChatMessage> messages, std::optional<std::int64_t> local_time) {
  TemplateContext context;
  context.messages.assign(messages.begin(), messages.end());
  context.local_time = local_time;
  const SpecialTokens& special = tokenizer.special();
  if (special.bos) context.bos_token = std::string(tokenizer.text(*special.bos));
  if (special.eos) context.eos_token = std::string(tokenizer.text(*special.eos));
  ChatPrompt prompt;
  prompt.text = chat_template.render(context);
  const bool has_bos = context.bos_token && !context.bos_token->empty() && prompt.text.starts_with(*context.bos_token);
  prompt.tokens = tokenizer.encode(prompt.text, {.add_special = !has_bos, .parse_special = true});
  return prompt;
}

}  // namespace apr::model
