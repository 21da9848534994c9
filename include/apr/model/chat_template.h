// Chat templates: a model file's own Jinja source turns a list of messages into the text of a prompt.
// The language is the part of Jinja 3.1 that such templates use, under the settings of transformers'
// apply_chat_template (trim_blocks, lstrip_blocks, loop controls, immutable sandbox); docs/chat-templates.md lists it.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace apr::model {

namespace jinja {
struct Program;
}

struct ChatMessage {
  std::string role;     // "system", "user", "assistant", ...
  std::string content;  // UTF-8; other bytes pass through unchanged
};

/// A variable of a template: none, a boolean, a number or a text.
using TemplateValue = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

/// What a template is rendered with. `tools` and `documents` are none unless `extra` sets them.
struct TemplateContext {
  std::vector<ChatMessage> messages;
  bool add_generation_prompt = true;
  std::optional<std::string> bos_token;  // without a value the variable is undefined
  std::optional<std::string> eos_token;
  std::map<std::string, TemplateValue> extra;  // e.g. enable_thinking; overrides every variable above
  /// Seconds since 1970-01-01 00:00:00 of the local clock, for strftime_now; the caller reads the clock, so that
  /// rendering is a function of its arguments. Without a value strftime_now is undefined, and templates use the date
  /// they carry.
  std::optional<std::int64_t> local_time;
};

/// Bounds of one rendering. Reaching one is an error that names it.
struct TemplateLimits {
  std::uint64_t steps = 10'000'000;  // evaluated nodes, loop rounds, compared items, and 1 for 64 bytes of text made
  std::uint64_t output_bytes = 16ull << 20;   // of the output, and of any single text
  std::uint64_t memory_bytes = 256ull << 20;  // of all live values together
  std::uint32_t depth = 1000;                 // nested statements, expressions, macro calls and values
};

/// A parsed template. Copies share the program; rendering from several threads at once is safe.
class ChatTemplate {
 public:
  static constexpr std::size_t kMaxSourceBytes = 256u << 10;  // the longest published one has 17 KiB
  static constexpr unsigned kMaxNesting = 150;                // parentheses, blocks and the like inside each other

  /// `name` stands in errors, e.g. the metadata key that holds the source.
  /// Throws InvalidFormat with `field` "NAME: line L, column C".
  [[nodiscard]] static ChatTemplate parse(std::string_view source, std::string_view name = "chat_template");

  /// The prompt text. Throws Inference: for raise_exception with the template's own text as `message`, and for what the
  /// language refuses (an operation on an undefined value, a limit, ...), each with the place in `field`.
  [[nodiscard]] std::string render(const TemplateContext& context, const TemplateLimits& limits = {}) const;

 private:
  std::shared_ptr<const jinja::Program> program_;
};

/// A template of apr's own, for a model that brings none.
struct FallbackTemplate {
  std::string_view name;    // "chatml", "llama2", "llama3", "gemma", "mistral", "phi3", "zephyr", "deepseek", "plain"
  std::string_view marker;  // the vocabulary entry that such a prompt cannot do without; empty when there is none
  std::string_view source;
};
[[nodiscard]] std::span<const FallbackTemplate> fallback_templates();
/// nullptr for an unknown name.
[[nodiscard]] const FallbackTemplate* find_fallback(std::string_view name);
/// The fallback for a model without a template, by the special tokens of its vocabulary, then by its architecture
/// ("llama", "gemma3", ...); "plain" when nothing fits. The caller reports a finding with its name.
[[nodiscard]] const FallbackTemplate& choose_fallback(std::string_view architecture,
                                                      std::span<const std::string_view> special_tokens);

}  // namespace apr::model
