// Templates for models that bring none, in apr's own words; the formats are those that the model families publish.
#include <algorithm>

#include "apr/model/chat_template.h"

namespace apr::model {

namespace {

constexpr std::string_view kChatml = R"({%- for message in messages %}
{{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %})";

constexpr std::string_view kLlama3 = R"({{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' ~ message.content | trim ~ '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %})";

// The system text goes into the first user turn.
constexpr std::string_view kLlama2 = R"({%- set ns = namespace(system='', expected='user') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = '<<SYS>>\n' ~ message.content ~ '\n<</SYS>>\n\n' %}
{%- elif message.role != ns.expected %}
{{- raise_exception('user and assistant must take turns, and the user is the first') }}
{%- elif message.role == 'user' %}
{{- bos_token ~ '[INST] ' ~ ns.system ~ message.content | trim ~ ' [/INST]' }}
{%- set ns.system = '' %}
{%- set ns.expected = 'assistant' %}
{%- else %}
{{- ' ' ~ message.content | trim ~ ' ' ~ eos_token }}
{%- set ns.expected = 'user' %}
{%- endif %}
{%- endfor %})";

constexpr std::string_view kMistral = R"({{- bos_token }}
{%- set ns = namespace(system='', expected='user') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = message.content ~ '\n\n' %}
{%- elif message.role != ns.expected %}
{{- raise_exception('user and assistant must take turns, and the user is the first') }}
{%- elif message.role == 'user' %}
{{- '[INST] ' ~ ns.system ~ message.content ~ '[/INST]' }}
{%- set ns.system = '' %}
{%- set ns.expected = 'assistant' %}
{%- else %}
{{- ' ' ~ message.content | trim ~ eos_token }}
{%- set ns.expected = 'user' %}
{%- endif %}
{%- endfor %})";

// Knows no system role: its text goes into the first user turn.
constexpr std::string_view kGemma = R"({{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = message.content ~ '\n\n' %}
{%- else %}
{{- '<start_of_turn>' ~ ('model' if message.role == 'assistant' else message.role) ~ '\n' }}
{{- ns.system ~ message.content | trim ~ '<end_of_turn>\n' }}
{%- set ns.system = '' %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<start_of_turn>model\n' }}
{%- endif %})";

constexpr std::string_view kPhi3 = R"({%- for message in messages %}
{{- '<|' ~ message.role ~ '|>\n' ~ message.content ~ '<|end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>\n' }}
{%- endif %})";

constexpr std::string_view kZephyr = R"({%- for message in messages %}
{{- '<|' ~ message.role ~ '|>\n' ~ message.content ~ eos_token ~ '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>\n' }}
{%- endif %})";

constexpr std::string_view kDeepseek = R"({{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'system' %}
{{- message.content }}
{%- elif message.role == 'user' %}
{{- '<｜User｜>' ~ message.content }}
{%- else %}
{{- '<｜Assistant｜>' ~ message.content ~ '<｜end▁of▁sentence｜>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<｜Assistant｜>' }}
{%- endif %})";

constexpr std::string_view kPlain = R"({%- for message in messages %}
{{- message.role | capitalize ~ ': ' ~ message.content ~ '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- 'Assistant:' }}
{%- endif %})";

// In the order in which choose_fallback looks for the markers.
constexpr FallbackTemplate kFallbacks[] = {
    {"chatml", "<|im_start|>", kChatml},
    {"llama3", "<|start_header_id|>", kLlama3},
    {"gemma", "<start_of_turn>", kGemma},
    {"deepseek", "<｜User｜>", kDeepseek},
    {"mistral", "[INST]", kMistral},
    {"phi3", "<|end|>", kPhi3},
    {"zephyr", "<|assistant|>", kZephyr},
    {"llama2", "", kLlama2},
    {"plain", "", kPlain},
};

struct ArchitectureRow {
  std::string_view prefix;    // of the architecture's name
  std::string_view fallback;  // for a vocabulary without any marker
};
// A llama without markers is a Llama 2: its chat format is made of plain text. The others are base models then.
constexpr ArchitectureRow kArchitectures[] = {{"llama", "llama2"}};

}  // namespace

std::span<const FallbackTemplate> fallback_templates() { return kFallbacks; }

const FallbackTemplate* find_fallback(std::string_view name) {
  for (const FallbackTemplate& row : kFallbacks) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

const FallbackTemplate& choose_fallback(std::string_view architecture,
                                        std::span<const std::string_view> special_tokens) {
  const auto present = [&](std::string_view token) {
    return std::find(special_tokens.begin(), special_tokens.end(), token) != special_tokens.end();
  };
  for (const FallbackTemplate& row : kFallbacks) {
    if (!row.marker.empty() && present(row.marker)) return row;
  }
  for (const ArchitectureRow& row : kArchitectures) {
    if (architecture.starts_with(row.prefix) && present("<s>")) return *find_fallback(row.fallback);
  }
  return *find_fallback("plain");
}

}  // namespace apr::model
