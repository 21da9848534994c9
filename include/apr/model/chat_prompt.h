// From a model file and messages to the token ids that the model expects before its answer.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/format/model_file.h"
#include "apr/model/chat_template.h"
#include "apr/model/hparams.h"
#include "apr/model/tokenizer.h"

namespace apr::model {

/// The template that a model brings, or the fallback that takes its place.
struct ChosenTemplate {
  ChatTemplate chat_template;
  std::string name;                // the key or file it comes from, or "fallback chatml"
  std::optional<Finding> finding;  // "model.chat_template.missing" when a fallback was taken
};
/// GGUF: tokenizer.chat_template. APR: chat_template. SafeTensors: chat_template.jinja or tokenizer_config.json beside
/// it. Throws InvalidFormat for a template that is no Jinja.
[[nodiscard]] ChosenTemplate choose_template(const format::ModelFile& file, const Tokenizer& tokenizer,
                                             std::string_view architecture);

/// Throws ModelLoad when the vocabulary has ids that the model has no embedding for. Fewer ids than rows are common:
/// many models pad the rows.
void require_rows(const format::ModelFile& file, const Tokenizer& tokenizer, const HParams& hparams);

struct ChatPrompt {
  std::string text;
  std::vector<std::int32_t> tokens;
};
/// Renders and encodes, control tokens of the template parsed. BOS is added where the vocabulary asks for it, unless
/// the template wrote it already. `local_time`: see TemplateContext. Throws what render() and encode() throw.
[[nodiscard]] ChatPrompt make_chat_prompt(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                          std::span<const ChatMessage> messages,
                                          std::optional<std::int64_t> local_time);

}  // namespace apr::model
