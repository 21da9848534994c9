// The CUDA engine end to end without a GPU: the kernels' own source, launched by the executor's own lists, run by the
// emulator in a drawn order, from loading the weights to the last sampled token.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "apr/engine/session.h"
#include "src/engine/cuda/cuda_executor.h"
#include "tests/support/batch_checks.h"
#include "tests/support/cuda_emulator_runner.h"
#include "tests/unit/engine_cuda/cuda_models.h"

namespace apr::engine::cuda {
namespace {

using test::CudaModel;

struct Emulated {
  explicit Emulated(std::uint64_t seed) {
    auto kernels = std::make_unique<test::EmulatorRunner>(seed);
    runner = kernels.get();
    driver = std::make_shared<EmulatedDriver>(std::move(kernels));
  }
  [[nodiscard]] std::unique_ptr<Executor> executor(const CudaModel& model, TensorType kv_type = TensorType::F16,
                                                   bool prompts = true) const {
    return make_cuda_executor(model.plan(), {.n_ctx = model.n_ctx(), .n_batch = 16, .kv_type = kv_type}, driver,
                              {.listener = runner, .prompts = prompts});
  }
  test::EmulatorRunner* runner;
  std::shared_ptr<EmulatedDriver> driver;
};

class EmulatedModel : public testing::TestWithParam<std::tuple<std::size_t, TensorType>> {
 protected:
  [[nodiscard]] std::unique_ptr<Executor> cpu() const {
    return make_fast_executor(model_.plan(),
                              {.n_ctx = model_.n_ctx(), .n_threads = 1, .two_terms = false, .kv_type = kv_type_});
  }
  const CudaModel& model_ = test::cuda_models()[std::get<0>(GetParam())];
  const TensorType kv_type_ = std::get<1>(GetParam());
};

TEST_P(EmulatedModel, LogitsAgreeWithTheCpuHoweverThePromptIsCut) {
  const auto prompt = model_.prompt().first(9);
  const auto expected = test::all_logits(*cpu(), prompt, prompt.size());
  std::vector<float> first;
  for (const std::size_t chunk : {prompt.size(), std::size_t{1}, std::size_t{4}}) {
    const Emulated on(chunk);
    const auto logits = test::all_logits(*on.executor(model_, kv_type_), prompt, chunk);
    const double error = test::nmse_of(logits, expected);
    EXPECT_TRUE(error < test::kLogitTolerance)
        << model_.name() << ", chunks of " << chunk << ": " << error << ' ' << on.driver->kernel_error();
    if (first.empty()) first = logits;
    EXPECT_EQ(logits, first) << "other bits with chunks of " << chunk;
  }
}

/// Logits of the last of 40 tokens, in pieces of `chunk`.
std::vector<float> prompt_logits(Executor& executor, const CudaModel& model, std::size_t chunk) {
  std::vector<std::int32_t> prompt;
  for (std::size_t i = 0; i < 40; ++i) prompt.push_back(model.prompt()[i * i % model.prompt().size()]);
  std::vector<float> logits(executor.plan().hparams.n_vocab, NAN);
  for (std::size_t at = 0; at < prompt.size(); at += chunk) {
    const bool last = at + chunk >= prompt.size();
    executor.forward(std::span(prompt).subspan(at, std::min(chunk, prompt.size() - at)), static_cast<std::uint32_t>(at),
                     last ? LogitsRequest::Last : LogitsRequest::None, last ? std::span(logits) : std::span<float>());
  }
  return logits;
}

/// Both engines round activations to int8, a rounding at the edge may fall to either side, and the attention of a
/// prompt rounds to f16: neither is the other's truth. The exact executor is the judge: the error may be twice the
/// CPU's.
TEST_P(EmulatedModel, APromptIsAsCloseToTheExactLogitsAsTheCpusAndHasTheSameBitsHoweverItIsCut) {
  const ExecutorOptions options{.n_ctx = model_.n_ctx(), .n_batch = 40, .n_threads = 1, .two_terms = false};
  const auto exact = prompt_logits(*make_exact_executor(model_.plan(), options), model_, 40);
  const double allowed =
      2 * test::nmse_of(prompt_logits(*make_fast_executor(model_.plan(), options), model_, 40), exact);
  std::vector<float> whole;
  for (const std::size_t chunk : {std::size_t{40}, std::size_t{31}, std::size_t{20}}) {
    const Emulated on(chunk);
    const auto executor = make_cuda_executor(model_.plan(), options, on.driver, {.listener = on.runner});
    const auto logits = prompt_logits(*executor, model_, chunk);
    const double error = test::nmse_of(logits, exact);
    EXPECT_TRUE(error <= allowed) << model_.name() << ", pieces of " << chunk << ": " << error << ", allowed "
                                  << allowed << ' ' << on.driver->kernel_error();
    if (whole.empty()) whole = logits;
    EXPECT_EQ(logits, whole) << "other bits in pieces of " << chunk;
  }
}

/// The kernels of prompts round to f16 what the CPU does not, so that a near tie may fall to another token far into a
/// text: here the first 8 tokens behind a prompt, below all of them behind one that the decode kernels read.
TEST_P(EmulatedModel, BehindAPromptTheFirstTokensAreThoseOfTheCpu) {
  const SamplerOptions greedy{.temperature = 0};
  const GenerateOptions options{.n_predict = 8, .end_tokens = {}};
  const auto expected = Session(*cpu(), greedy).generate(model_.prompt(), options).tokens;
  const Emulated on(19);
  const auto executor = on.executor(model_, kv_type_);
  EXPECT_EQ(Session(*executor, greedy).generate(model_.prompt(), options).tokens, expected)
      << on.driver->kernel_error();
  EXPECT_EQ(expected.size(), 8U);
}

TEST_P(EmulatedModel, TokensAreThoseOfTheCpuAndTheHostWritesNothingMeanwhile) {
  const SamplerOptions greedy{.temperature = 0};
  const GenerateOptions options{.n_predict = model_.n_predict(), .end_tokens = {}};
  const auto expected = Session(*cpu(), greedy).generate(model_.prompt(), options).tokens;
  const Emulated on(17);
  const auto executor = on.executor(model_, kv_type_, false);
  Session session(*executor, greedy);
  std::vector<std::uint64_t> writes;
  const auto tokens = session
                          .generate(model_.prompt(), options,
                                    [&](std::int32_t) {
                                      writes.push_back(on.driver->counts().host_writes);
                                      return true;
                                    })
                          .tokens;
  EXPECT_EQ(tokens, expected) << on.driver->kernel_error();
  EXPECT_EQ(tokens.size(), model_.n_predict());
  EXPECT_EQ(writes.front(), writes.back()) << "the host wrote between tokens";
  EXPECT_EQ(on.driver->counts().memory_allocs, 1U);
  EXPECT_GE(on.driver->counts().graph_launches, model_.n_predict() - 1);
}

/// Heads of whole groups of 32 elements and of parts of one, windows, groups of 1 to 7 query heads.
const std::size_t kQ8Models[] = {0, 4, 6, 7};
std::string case_name(const testing::TestParamInfo<std::tuple<std::size_t, TensorType>>& param) {
  return test::cuda_models()[std::get<0>(param.param)].name() + "_" + std::string(name(std::get<1>(param.param)));
}
INSTANTIATE_TEST_SUITE_P(Models, EmulatedModel,
                         testing::Combine(testing::Range<std::size_t>(0, test::cuda_models().size()),
                                          testing::Values(TensorType::F16)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(SmallCache, EmulatedModel,
                         testing::Combine(testing::ValuesIn(kQ8Models), testing::Values(TensorType::Q8_0)), case_name);

TEST(EmulatedDecode, SampledTokensAreTheSameInEveryOrderAndThoseOfTheHostsSampler) {
  const CudaModel& model = test::cuda_models().front();
  const SamplerOptions options{
      .temperature = 0.9, .top_k = 20, .repeat_penalty = 1.2, .presence_penalty = 0.1, .penalty_window = 8, .seed = 7};
  std::vector<std::vector<std::int32_t>> runs;
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const Emulated on(seed);
    const auto executor = on.executor(model);
    runs.push_back(Session(*executor, options).generate(model.prompt(), {.n_predict = 20, .end_tokens = {}}).tokens);
    EXPECT_EQ(on.driver->kernel_error(), "");
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_EQ(runs[0], runs[2]);
  // The host's sampler on the same logits.
  const Emulated on(4);
  const auto executor = on.executor(model);
  Sampler sampler(options);
  std::vector<float> logits(model.plan().hparams.n_vocab);
  executor->forward(model.prompt(), 0, LogitsRequest::Last, logits);
  for (const std::int32_t token : model.prompt()) sampler.accept(token);
  std::vector<std::int32_t> expected;
  for (auto position = static_cast<std::uint32_t>(model.prompt().size()); expected.size() < 20; ++position) {
    expected.push_back(sampler.sample(logits));
    sampler.accept(expected.back());
    executor->forward(std::span(&expected.back(), 1), position, LogitsRequest::Last, logits);
  }
  EXPECT_EQ(runs[0], expected);
}

std::unique_ptr<Executor> make_emulated(const model::Plan& plan, const ExecutorOptions& options) {
  // The driver lives with the executor; the runner with the driver.
  auto kernels = std::make_unique<test::EmulatorRunner>(options.n_sequences);
  test::EmulatorRunner* runner = kernels.get();
  return make_cuda_executor(plan, options, std::make_shared<EmulatedDriver>(std::move(kernels)),
                            {.listener = runner, .prompts = false});
}

TEST(EmulatedBatch, SequencesGetTheBitsThatTheyGetAlone) {
  for (const std::string_view name : test::kGoldenModels) test::expect_the_same_as_alone(name, make_emulated);
  test::expect_every_part_gets_its_rows(make_emulated);
}

/// Greedy, sampled with a short window of penalties, and sampled until an end token: what each makes in a session.
struct Text {
  std::uint32_t sequence;
  std::size_t first, n_prompt;
  SamplerOptions sampler;
  GenerateOptions options;
  std::vector<std::int32_t> alone;
};

TEST(EmulatedBatch, SequencesThatDecodeTogetherMakeTheTokensThatTheyMakeAlone) {
  const CudaModel& model = test::cuda_models()[3];
  for (const TensorType kv_type : {TensorType::F16, TensorType::Q8_0}) {
    const SamplerOptions hot{.temperature = 0.9, .top_k = 20, .repeat_penalty = 1.2, .penalty_window = 8, .seed = 7};
    std::vector<Text> texts = {{2, 0, 11, {.temperature = 0}, {.n_predict = 12, .end_tokens = {}}, {}},
                               {0, 3, 5, hot, {.n_predict = 9, .end_tokens = {}}, {}},
                               {3, 1, 8, {.temperature = 1.5, .seed = 3}, {.n_predict = 5, .end_tokens = {}}, {}}};
    for (Text& text : texts) {
      const Emulated on(text.sequence);
      const auto executor = make_cuda_executor(model.plan(), {.n_ctx = 40, .n_batch = 16, .kv_type = kv_type},
                                               on.driver, {.listener = on.runner});
      const auto prompt = model.prompt().subspan(text.first, text.n_prompt);
      text.alone = Session(*executor, text.sampler).generate(prompt, text.options).tokens;
      ASSERT_FALSE(text.alone.empty());
    }
    // The third one has no limit: it ends at what it made fifth.
    texts[2].options = {.n_predict = {}, .end_tokens = {texts[2].alone[4]}};
    texts[2].alone.resize(
        static_cast<std::size_t>(std::ranges::find(texts[2].alone, texts[2].alone[4]) - texts[2].alone.begin()));
    const Emulated on(5);
    const auto executor =
        make_cuda_executor(model.plan(), {.n_ctx = 40, .n_batch = 16, .n_sequences = 4, .kv_type = kv_type}, on.driver,
                           {.listener = on.runner});
    EXPECT_EQ(executor->decoder()->most_sequences(), 4U);
    std::vector<BatchPart> last;
    std::vector<DecodeRequest> requests;
    for (const Text& text : texts) {
      const auto prompt = model.prompt().subspan(text.first, text.n_prompt);
      const auto n = static_cast<std::uint32_t>(prompt.size());
      const BatchPart part{text.sequence, 0, prompt.first(n - 1), LogitsRequest::None};
      executor->forward_batch(std::span(&part, 1), {});
      last.push_back({text.sequence, n - 1, prompt.last(1), LogitsRequest::Last});
      Sampler sampler(text.sampler);
      for (const std::int32_t token : prompt) sampler.accept(token);
      requests.push_back(
          {text.sampler, sampler.state(), text.options.end_tokens, text.options.n_predict, n, text.sequence});
    }
    std::vector<float> logits(last.size() * model.plan().hparams.n_vocab);
    executor->forward_batch(last, logits);
    DeviceDecoder& decoder = *executor->decoder();
    decoder.begin(requests);
    std::map<std::uint32_t, std::vector<std::int32_t>> made;
    const std::uint64_t writes = on.driver->counts().host_writes;
    for (auto burst = decoder.next(); !burst.empty(); burst = decoder.next())
      for (const DecodedToken& token : burst) made[token.sequence].push_back(token.token);
    EXPECT_EQ(on.driver->counts().host_writes, writes) << "the host wrote between tokens";
    EXPECT_EQ(on.driver->kernel_error(), "");
    std::vector<std::uint32_t> n_past;
    for (Text& text : texts) {
      if (!text.options.end_tokens.empty()) text.alone.push_back(text.options.end_tokens[0]);
      EXPECT_EQ(made[text.sequence], text.alone) << "sequence " << text.sequence << ' ' << name(kv_type);
      n_past.push_back(static_cast<std::uint32_t>(text.n_prompt + text.alone.size() - 1));
    }
    EXPECT_EQ(decoder.end(n_past).size(), texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i)
      last[i] = {texts[i].sequence, n_past[i], std::span(texts[i].alone).last(1), LogitsRequest::Last};
    EXPECT_NO_THROW(executor->forward_batch(last, logits)) << "the caches hold less than what was made";
  }
}

// What is in flight when the context is full must not touch the first position of the next head.
TEST(EmulatedDecode, AFullContextLeavesTheCacheAsItWas) {
  const CudaModel& model = test::cuda_models()[3];
  const Emulated on(6);
  const auto executor =
      make_cuda_executor(model.plan(), {.n_ctx = 20, .n_batch = 16}, on.driver, {.listener = on.runner});
  Session session(*executor, {.temperature = 0});
  const auto text = session.generate(model.prompt(), {.n_predict = {}, .end_tokens = {}});
  EXPECT_EQ(text.reason, FinishReason::ContextFull);
  EXPECT_EQ(on.driver->kernel_error(), "");
  const Emulated other(7);
  const auto fresh =
      make_cuda_executor(model.plan(), {.n_ctx = 20, .n_batch = 16}, other.driver, {.listener = other.runner});
  std::vector<float> kept(model.plan().hparams.n_vocab), expected(kept);
  executor->forward(std::span(text.tokens).first(1), 11, LogitsRequest::Last, kept);
  fresh->forward(model.prompt(), 0, LogitsRequest::None, {});
  fresh->forward(std::span(text.tokens).first(1), 11, LogitsRequest::Last, expected);
  EXPECT_EQ(kept, expected);
}

}  // namespace
}  // namespace apr::engine::cuda
