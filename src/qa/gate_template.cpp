// The model's chat template on a set of conversations.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/text.h"
#include "gate.h"

namespace apr::qa {
namespace {

using model::ChatMessage;
using model::Tokenizer;

struct Conversation {
  std::string_view name;
  bool may_refuse;  // a template may raise an exception, e.g. for a system message
  bool generate;
  std::vector<ChatMessage> messages;
};

const std::vector<Conversation>& conversations() {
  static const ChatMessage kSystem{"system", "Answer in one word."}, kAsk{"user", "What is a tide?"},
      kAnswer{"assistant", "Moving water."}, kMore{"user", "Why does it move?"};
  static const std::vector<Conversation> all = {
      {"one question", false, true, {kAsk}},
      {"question and answer", false, false, {kAsk, kAnswer}},
      {"second question", false, true, {kAsk, kAnswer, kMore}},
      {"system message", true, true, {kSystem, kAsk}},
      {"system message, second question", true, true, {kSystem, kAsk, kAnswer, kMore}},
      {"empty content", true, true, {{"user", ""}}},
      {"content that looks like a template",
       false,
       true,
       {{"user", "{{ 1 + 1 }} {% raw %} <b>\xC3\xA9\xE6\xBC\xA2</b>"}}},
  };
  return all;
}

class TemplateCheck {
 public:
  TemplateCheck(GateRun& run, const model::ChosenTemplate& chosen, const Tokenizer& tokenizer)
      : run_(run), chosen_(chosen), tokenizer_(tokenizer) {}

  void check(const Conversation& c) {
    std::string text;
    std::vector<std::int32_t> tokens;
    try {
      text = render(c, c.generate);
      tokens = encode(text);
    } catch (const Error& error) {
      if (error.code != ErrorCode::Inference && error.code != ErrorCode::Usage) throw;
      if (c.may_refuse) {
        ++n_refused;
      } else {
        run_.fail("qa.template.render", error).message =
            fmt::format("the template refuses a conversation ({}): {}", c.name, error.message);
        run_.compared();
      }
      return;
    }
    run_.compared();
    ++n_rendered;
    if (render(c, c.generate) != text) wrong(c, "repeat", "two renderings differ", "the same text", "another");
    contents(c, text);
    run_.compared();
    const auto& bos = tokenizer_.special().bos;
    if (bos && tokens.size() > 1 && tokens[0] == *bos && tokens[1] == *bos)
      wrong(c, "double_bos", "the prompt begins with two BOS tokens", "one", "two");
    markers(c, text);
    if (c.generate)
      generation_prompt(c, text);
    else
      end_of_answer(c, text);
  }

  std::uint64_t n_rendered = 0, n_refused = 0;

 private:
  [[nodiscard]] std::string render(const Conversation& c, bool generate) const {
    model::TemplateContext context;
    context.messages = c.messages;
    context.add_generation_prompt = generate;
    context.local_time = run_.subject.options().local_time;
    const auto& special = tokenizer_.special();
    if (special.bos) context.bos_token = std::string(tokenizer_.text(*special.bos));
    if (special.eos) context.eos_token = std::string(tokenizer_.text(*special.eos));
    return chosen_.chat_template.render(context);
  }
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const {
    const auto& bos = tokenizer_.special().bos;
    const bool has_bos = bos && text.starts_with(tokenizer_.text(*bos));
    return tokenizer_.encode(text, {.add_special = !has_bos, .parse_special = true});
  }
  void wrong(const Conversation& c, std::string_view rule, std::string message, std::string expected,
             std::string found) {
    Finding& finding = run_.fail(fmt::format("qa.template.{}", rule), std::move(message));
    finding.field = fmt::format("{}: {}", chosen_.name, c.name);
    finding.expected = std::move(expected);
    finding.found = std::move(found);
  }
  /// Every message stands in the prompt, in order.
  void contents(const Conversation& c, const std::string& text) {
    std::size_t at = 0;
    for (const ChatMessage& message : c.messages) {
      run_.compared();
      const std::size_t found = text.find(message.content, at);
      if (found == std::string::npos)
        return wrong(c, "content", "a message is missing from the prompt, or out of order", message.content,
                     escaped(text, 120));
      at = found + message.content.size();
    }
  }
  /// What looks like a control token is one: <|...|> that the vocabulary lacks is read letter by letter.
  void markers(const Conversation& c, const std::string& text) {
    for (std::size_t at = text.find("<|"); at != std::string::npos; at = text.find("<|", at + 2)) {
      const std::size_t end = text.find("|>", at);
      if (end == std::string::npos) return;
      const std::string marker = text.substr(at, end + 2 - at);
      if (marker.find_first_of(" \n") != std::string::npos || !seen_.insert(marker).second) continue;
      run_.compared();
      const auto id = tokenizer_.find(marker);
      if (!id) wrong(c, "marker", "the template writes a marker that is no token", "a token of the vocabulary", marker);
    }
  }
  /// What invites the model to speak must not end its answer at once.
  void generation_prompt(const Conversation& c, const std::string& text) {
    const std::string without = render(c, false);
    if (!text.starts_with(without)) return;
    const std::string invitation = text.substr(without.size());
    if (invitation.empty()) return;  // such as Mistral's: [/INST] stands behind the question already
    run_.compared();
    for (const std::int32_t id : tokenizer_.encode(invitation, {.add_special = false, .parse_special = true}))
      if (tokenizer_.is_end_of_generation(id))
        return wrong(c, "invitation", "the prompt for the answer holds a token that ends answers",
                     escaped(invitation, 80), fmt::format("token {} \"{}\"", id, escaped(tokenizer_.text(id), 40)));
  }
  /// Behind an answer, the first control token ends answers: this is what the model was taught to stop with.
  void end_of_answer(const Conversation& c, const std::string& text) {
    const std::string& answer = c.messages.back().content;
    const std::size_t at = text.rfind(answer);
    if (at == std::string::npos) return;  // reported by contents()
    const std::string rest = text.substr(at + answer.size());
    for (const std::int32_t id : tokenizer_.encode(rest, {.add_special = false, .parse_special = true})) {
      if (tokenizer_.kind_of(id) != model::TokenKind::Control) continue;
      run_.compared();
      if (!tokenizer_.is_end_of_generation(id))
        wrong(c, "end", "the token behind an answer does not end answers", "an end-of-generation token",
              fmt::format("token {} \"{}\"", id, escaped(tokenizer_.text(id), 40)));
      return;
    }
    run_.add(Severity::Warning, "qa.template.no_end", "the template writes no control token behind an answer").field =
        chosen_.name;
  }

  GateRun& run_;
  const model::ChosenTemplate& chosen_;
  const Tokenizer& tokenizer_;
  std::set<std::string> seen_;
};

}  // namespace

void run_gate_Template(GateRun& run) {
  run.of("renderings, contents, markers and ends");
  if (std::string line = run.subject.lacks_tokenizer(); !line.empty()) return run.skip(std::move(line));
  const auto& step = run.subject.chat_template();
  if (step.error) {
    run.compared();
    run.fail("qa.template.parse", *step.error);
    return;
  }
  if (step.value->finding) return run.skip("the model brings no chat template");
  TemplateCheck check(run, *step.value, *run.subject.tokenizer().value);
  for (const Conversation& c : conversations()) check.check(c);
  run.note(fmt::format("{}: {} conversations rendered, {} refused by the template itself", step.value->name,
                       check.n_rendered, check.n_refused));
}

}  // namespace apr::qa
