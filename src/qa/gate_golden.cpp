// Answers to fixed prompts, made as `apr run` makes them, and how well the model predicts a plain text.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "answer.h"
#include "apr/core/file.h"
#include "apr/core/text.h"
#include "apr/engine/session.h"
#include "gate.h"
#include "texts.h"

namespace apr::qa {
namespace {

constexpr std::uint32_t kAnswerTokens = 96;
/// Instruct models from this size on know the three answers (SmolLM2-135M is the smallest that was tried); below, and
/// without a template of their own, only the form of the answer is judged.
constexpr std::uint64_t kCapableParameters = 100'000'000;
/// Mean surprise of the plain text, nats per token. SmolLM2-135M in 4 bits: see docs/gates.md. With the query
/// rows in the wrong order it stands at 7.7, with a rope base of 10 at 8.3, by chance at 10.8.
constexpr double kCapableSurprise = 5.0;

/// -log of the probability that the model gave to each next token, averaged.
double mean_surprise(engine::Executor& executor, std::span<const std::int32_t> tokens) {
  const std::size_t n_vocab = executor.plan().hparams.n_vocab,
                    piece = std::min<std::size_t>(32, executor.options().n_batch);
  std::vector<float> logits;
  double sum = 0;
  for (std::size_t at = 0; at + 1 < tokens.size(); at += piece) {
    check_interrupted();
    const auto part = tokens.subspan(at, std::min(piece, tokens.size() - 1 - at));
    logits.assign(part.size() * n_vocab, NAN);
    executor.forward(part, static_cast<std::uint32_t>(at), engine::LogitsRequest::All, logits);
    for (std::size_t i = 0; i < part.size(); ++i) {
      const auto row = std::span(logits).subspan(i * n_vocab, n_vocab);
      const double top = static_cast<double>(*std::max_element(row.begin(), row.end()));
      double total = 0;
      for (const float logit : row) total += std::exp(static_cast<double>(logit) - top);
      sum += top + std::log(total) - static_cast<double>(row[static_cast<std::size_t>(tokens[at + i + 1])]);
    }
  }
  return sum / static_cast<double>(tokens.size() - 1);
}

class GoldenCheck {
 public:
  GoldenCheck(GateRun& run, bool capable)
      : run_(run),
        capable_(capable),
        executor_(**run.subject.executor().value),
        tokenizer_(*run.subject.tokenizer().value) {}

  void answer(const GoldenPrompt& prompt) {
    const std::vector<model::ChatMessage> messages = {{"user", std::string(prompt.text)}};
    const auto rendered = model::make_chat_prompt(run_.subject.chat_template().value->chat_template, tokenizer_,
                                                  messages, run_.subject.options().local_time);
    engine::SamplerOptions sampler;  // as `apr run`, but for the temperature
    sampler.temperature = 0;
    engine::GenerateOptions options;
    options.n_predict = kAnswerTokens;
    const auto ends = tokenizer_.end_of_generation_ids();
    options.end_tokens.assign(ends.begin(), ends.end());
    const engine::Generated out = engine::Session(executor_, sampler).generate(rendered.tokens, options);
    check_interrupted();
    n_ended_ += out.reason == engine::FinishReason::EndOfGeneration ? 1 : 0;
    judge(prompt, out);
  }

  void plain_text() {
    auto tokens = tokenizer_.encode(kPlainText, {.add_special = true, .parse_special = false});
    if (tokens.size() > executor_.options().n_ctx) tokens.resize(executor_.options().n_ctx);
    if (tokens.size() < 2) return;
    const double chance = std::log(static_cast<double>(executor_.plan().hparams.n_vocab));
    const double bound = capable_ ? std::min(kCapableSurprise, chance) : chance,
                 surprise = mean_surprise(executor_, tokens);
    run_.compared();
    run_.measure("surprise", surprise, "nats/token");
    run_.measure("surprise_of_chance", chance, "nats/token");
    if (surprise < bound) return;
    Finding& finding =
        run_.fail("qa.golden.surprise", capable_ ? "the model predicts plain English badly"
                                                 : "the model predicts plain English no better than chance");
    finding.expected = fmt::format("below {:.2f} nats per token over {} tokens", bound, tokens.size() - 1);
    finding.found = fmt::format("{:.2f}", surprise);
  }

  void ends() {
    run_.measure("answers_that_end", static_cast<double>(n_ended_), "answers");
    if (!capable_) return;
    run_.compared();
    if (n_ended_ > 0) return;
    Finding& finding = run_.fail("qa.golden.endless", "no answer comes to an end");
    finding.expected = fmt::format("an end token within {} tokens", kAnswerTokens);
    finding.hint = "an end token that is not the one the model was taught, or a template that does not fit";
  }

 private:
  void judge(const GoldenPrompt& prompt, const engine::Generated& out) {
    const auto wrong = [&](const char* rule, std::string message, std::string expected, std::string found) {
      Finding& finding = run_.fail(fmt::format("qa.golden.{}", rule), std::move(message));
      finding.field = fmt::format("prompt \"{}\"", prompt.text);
      finding.expected = std::move(expected);
      finding.found = std::move(found);
    };
    for (const std::int32_t id : out.tokens) {
      if (id < tokenizer_.n_vocab()) continue;
      run_.compared();
      return wrong("range", "the model answers with an id that the vocabulary lacks",
                   fmt::format("below {}", tokenizer_.n_vocab()), fmt::format("{}", id));
    }
    const std::string text = tokenizer_.decode(out.tokens), shown = fmt::format("\"{}\"", escaped(text, 160));
    run_.compared(2);
    std::string fault = degenerate(out.tokens);
    if (fault.empty()) fault = ill_formed(text);
    if (!fault.empty()) return wrong("form", "an answer is degenerate: " + fault, "a text", shown);
    if (!capable_) return;
    run_.compared();
    const auto& [first, second] = prompt.words;
    if (contains_word(text, first) || contains_word(text, second)) return;
    wrong("answer", "an answer misses the expected word",
          std::string(first) + (second.empty() ? "" : " or " + std::string(second)), shown);
  }

  GateRun& run_;
  bool capable_;
  engine::Executor& executor_;
  const model::Tokenizer& tokenizer_;
  std::uint64_t n_ended_ = 0;
};

}  // namespace

void run_gate_Golden(GateRun& run) {
  run.of("forms, words and ends of answers, and a text's surprise");
  if (std::string line = run.subject.lacks_executor(); !line.empty()) return run.skip(std::move(line));
  if (std::string line = run.subject.lacks_tokenizer(); !line.empty()) return run.skip(std::move(line));
  const auto& chosen = run.subject.chat_template();
  if (chosen.error) return run.skip("the chat template cannot be used: " + chosen.error->message);
  const std::uint64_t n_parameters = run.subject.sound_file()->n_parameters();
  const bool capable = !chosen.value->finding && n_parameters >= kCapableParameters;
  GoldenCheck check(run, capable);
  for (const GoldenPrompt& prompt : kPrompts) check.answer(prompt);
  check.ends();
  check.plain_text();
  run.note(
      capable ? "answers have the expected words and end; plain English is predicted"
              : fmt::format(
                    "answers are well-formed and plain English is predicted better than by chance; their sense was not "
                    "judged ({})",
                    chosen.value->finding ? "no chat template of its own" : "fewer than 100 M parameters"));
}

}  // namespace apr::qa
