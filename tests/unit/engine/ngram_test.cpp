// n-gram speculation and prompt caching: never another token than without, whatever the model, the cut and the sampler.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/session.h"
#include "apr/model/architecture.h"
#include "src/engine/ngram.h"
#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"
#include "tests/support/random_model.h"

namespace apr::engine {
namespace {

using Tokens = std::vector<std::int32_t>;

Tokens draft_of(const Tokens& text, std::size_t n_most) {
  const auto draft = ngram_draft(text, n_most);
  return {draft.begin(), draft.end()};
}

TEST(NgramDraft, TakesWhatFollowedTheLatestLongestMatch) {
  EXPECT_EQ(draft_of({1, 2, 3, 4, 5, 1, 2}, 3), (Tokens{3, 4, 5}));
  EXPECT_EQ(draft_of({1, 2, 3, 1, 2, 4, 1, 2}, 2), (Tokens{4, 1})) << "the latest";
  EXPECT_EQ(draft_of({9, 1, 2, 7, 8, 1, 2, 6, 9, 1, 2}, 2), (Tokens{7, 8})) << "three tokens before two";
  EXPECT_EQ(draft_of({1, 2, 3, 4, 1, 2, 3, 4}, 99), (Tokens{1, 2, 3, 4})) << "no more than there is";
  EXPECT_EQ(draft_of({5, 5, 5}, 4), (Tokens{5})) << "matches may overlap";
  EXPECT_TRUE(draft_of({1, 2, 3, 1}, 4).empty()) << "one token is no match";
  EXPECT_TRUE(draft_of({1, 2, 1, 2}, 0).empty());
  EXPECT_TRUE(draft_of({}, 4).empty());
}

/// A model from tests/golden, or one of drawn quantised weights.
class Subject {
 public:
  explicit Subject(const std::string& name) {
    std::string path = test::golden_folder(name);
    if (name == "quantised") {
      using enum TensorType;
      path = folder_.path("model.gguf");
      test::write_random_model({.types = {Q4_K, Q6_K, Q8_0, Q4_1}, .embedding = Q8_0}, path);
    }
    model_ = model::load_model(path);
  }
  [[nodiscard]] std::unique_ptr<Executor> executor(bool exact, std::uint32_t n_batch = 256) const {
    const ExecutorOptions options{.n_ctx = 64, .n_batch = n_batch, .n_threads = 2};
    return exact ? make_exact_executor(model_.plan, options) : make_fast_executor(model_.plan, options);
  }

 private:
  test::TempFolder folder_;
  model::Model model_;
};

std::vector<std::string> subjects() {
  std::vector<std::string> names(std::begin(test::kGoldenModels), std::end(test::kGoldenModels));
  names.emplace_back("quantised");
  return names;
}

SamplerOptions sampling(double temperature) {
  SamplerOptions options;
  options.temperature = temperature;
  options.repeat_penalty = temperature == 0 ? 1 : 1.05;
  options.seed = 7;
  return options;
}

// A text that repeats itself, so that there is something to draft from, accepted or not.
const Tokens kRepeating = {5, 17, 9, 31, 5, 17, 9, 40, 12, 5, 17, 9, 31, 5, 17};

class SpeculationOn : public testing::TestWithParam<std::string> {};

TEST_P(SpeculationOn, ChangesNoToken) {
  const Subject subject(GetParam());
  std::uint32_t drafted = 0, accepted = 0;
  for (const bool exact : {true, false})
    for (const double temperature : {0.0, 0.3})
      for (const std::uint32_t n_batch : {256U, 3U})
        for (const std::optional<std::uint32_t> n_predict :
             {std::optional<std::uint32_t>(20), std::optional<std::uint32_t>()}) {
          const auto runner = subject.executor(exact, n_batch);
          GenerateOptions options{.n_predict = n_predict, .end_tokens = {}};
          const Generated plain = Session(*runner, sampling(temperature)).generate(kRepeating, options);
          options.speculate = Speculate::Ngram;
          Session session(*runner, sampling(temperature));
          const Generated out = session.generate(kRepeating, options);
          EXPECT_EQ(out.tokens, plain.tokens) << "exact " << exact << ", temperature " << temperature;
          EXPECT_EQ(out.reason, plain.reason);
          EXPECT_EQ(out.timings.n_decoded, plain.timings.n_decoded);
          EXPECT_EQ(out.timings.n_passes + out.timings.n_accepted, out.timings.n_decoded);
          EXPECT_EQ(plain.timings.n_passes, plain.timings.n_decoded);
          EXPECT_EQ(plain.timings.n_drafted, 0U);
          EXPECT_EQ(session.n_past(), kRepeating.size() + out.timings.n_decoded);
          drafted += out.timings.n_drafted;
          accepted += out.timings.n_accepted;
        }
  // The answers of mistral repeat no two tokens.
  if (GetParam() != "mistral") EXPECT_GT(drafted, accepted) << "nothing was ever turned down";
  RecordProperty("accepted", static_cast<int>(accepted));
}

/// Gives the logits that make a fixed cycle of tokens, and notes what it was asked to run.
class Cycle final : public Executor {
 public:
  explicit Cycle(const model::Plan& plan) : plan_(plan) {
    options_ = resolved(plan, {.n_ctx = 64, .n_batch = 32, .n_threads = 1});
  }
  void forward(std::span<const std::int32_t> tokens, std::uint32_t, LogitsRequest request,
               std::span<float> logits) override {
    runs.push_back(tokens.size());
    std::ranges::fill(logits, 0.F);
    const std::size_t rows = request == LogitsRequest::All ? tokens.size() : request == LogitsRequest::Last ? 1 : 0;
    for (std::size_t r = 0; r < rows; ++r)
      logits[r * plan_.hparams.n_vocab + static_cast<std::size_t>((tokens[tokens.size() - rows + r] + 1) % 5)] = 1;
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "cycle"; }
  [[nodiscard]] const MemoryPlan& memory() const noexcept override { return memory_; }
  [[nodiscard]] const ExecutorOptions& options() const noexcept override { return options_; }
  [[nodiscard]] const model::Plan& plan() const noexcept override { return plan_; }
  void set_observer(OpObserver*) noexcept override {}
  std::vector<std::size_t> runs;

 private:
  const model::Plan& plan_;
  ExecutorOptions options_;
  MemoryPlan memory_;
};

TEST(Speculation, ACycleIsRunInGrowingDrafts) {
  const model::Model model = model::load_model(test::golden_folder("qwen2"));
  Cycle cycle(model.plan);
  const Generated out =
      Session(cycle, sampling(0))
          .generate(Tokens{0, 1, 2, 3, 4, 0, 1, 2}, {.n_predict = 30, .end_tokens = {}, .speculate = Speculate::Ngram});
  for (std::size_t i = 0; i < out.tokens.size(); ++i) EXPECT_EQ(out.tokens[i], static_cast<std::int32_t>((i + 3) % 5));
  // The prompt; 3 + 1 tokens; then what followed five tokens earlier, which is five tokens long at first.
  ASSERT_GE(cycle.runs.size(), 3U);
  EXPECT_EQ(cycle.runs[0], 8U);
  EXPECT_EQ(cycle.runs[1], 4U);
  EXPECT_EQ(cycle.runs[2], 6U);
  EXPECT_EQ(out.timings.n_decoded, 29U);
  EXPECT_EQ(out.timings.n_accepted + out.timings.n_passes, 29U);
  EXPECT_LE(out.timings.n_passes, 8U);
}

class PromptCaching : public testing::TestWithParam<std::string> {};

// Turns of a conversation whose beginnings agree to different lengths, one of them the same once more, one shorter.
TEST_P(PromptCaching, GivesTheTokensOfANewSession) {
  const Subject subject(GetParam());
  const Tokens first(kRepeating.begin(), kRepeating.begin() + 10);
  for (const bool exact : {true, false})
    for (const double temperature : {0.0, 0.9}) {
      const auto runner = subject.executor(exact, 4), other = subject.executor(exact, 4);
      const GenerateOptions options{.n_predict = 8, .end_tokens = {}};
      Session session(*runner, sampling(temperature));
      Tokens conversation = first;
      std::size_t held = 0;  // tokens of the conversation that the context held
      const auto turn = [&](std::size_t kept) {
        const Generated out = session.respond(conversation, options);
        const Generated fresh = Session(*other, sampling(temperature)).generate(conversation, options);
        EXPECT_EQ(out.tokens, fresh.tokens) << "exact " << exact << ", kept " << kept;
        EXPECT_EQ(out.timings.n_kept, kept);
        EXPECT_EQ(out.timings.n_prompt + out.timings.n_kept, conversation.size());
        held = conversation.size() + out.tokens.size() - 1;  // the last token was not run
        return out.tokens;
      };
      const Tokens answer = turn(0);
      conversation.insert(conversation.end(), answer.begin(), answer.end());
      conversation.insert(conversation.end(), {3, 4});
      turn(held);
      turn(conversation.size() - 1);  // the same again: the last token is run for its logits
      conversation.resize(12);
      conversation[6] = conversation[6] == 77 ? 78 : 77;
      turn(6);
      conversation.resize(3);
      turn(2);
    }
}

TEST(PromptCachingErrors, AnEmptyConversationAndOneBeyondTheContext) {
  const Subject subject("qwen2");
  const auto runner = subject.executor(true);
  Session session(*runner, sampling(0));
  EXPECT_THROW((void)session.respond({}, {}), Error);
  EXPECT_THROW((void)session.respond(Tokens(65, 1), {}), Error);
  EXPECT_EQ(session.respond(Tokens(64, 1), {}).reason, FinishReason::ContextFull);
}

INSTANTIATE_TEST_SUITE_P(Models, SpeculationOn, testing::ValuesIn(subjects()), [](const auto& p) { return p.param; });
INSTANTIATE_TEST_SUITE_P(Models, PromptCaching, testing::ValuesIn(subjects()), [](const auto& p) { return p.param; });

}  // namespace
}  // namespace apr::engine
