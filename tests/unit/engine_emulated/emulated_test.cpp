// The CUDA engine end to end without a GPU: the kernels' own source, launched by the executor's own lists, run by the
// emulator in a drawn order, from loading the weights to the last sampled token.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "apr/engine/session.h"
#include "src/engine/cuda/cuda_executor.h"
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
  [[nodiscard]] std::unique_ptr<Executor> executor(const CudaModel& model) const {
    return make_cuda_executor(model.plan(), {.n_ctx = model.n_ctx(), .n_batch = 16}, driver, {.listener = runner});
  }
  test::EmulatorRunner* runner;
  std::shared_ptr<EmulatedDriver> driver;
};

class EmulatedModel : public testing::TestWithParam<std::size_t> {
 protected:
  const CudaModel& model_ = test::cuda_models()[GetParam()];
};

TEST_P(EmulatedModel, LogitsAgreeWithTheCpuHoweverThePromptIsCut) {
  const auto cpu = make_fast_executor(model_.plan(), {.n_ctx = model_.n_ctx(), .n_threads = 1, .two_terms = false});
  const auto prompt = model_.prompt().first(9);
  const auto expected = test::all_logits(*cpu, prompt, prompt.size());
  std::vector<float> first;
  for (const std::size_t chunk : {prompt.size(), std::size_t{1}, std::size_t{4}}) {
    const Emulated on(chunk);
    const auto logits = test::all_logits(*on.executor(model_), prompt, chunk);
    const double error = test::nmse_of(logits, expected);
    EXPECT_TRUE(error < test::kLogitTolerance)
        << model_.name() << ", chunks of " << chunk << ": " << error << ' ' << on.driver->kernel_error();
    if (first.empty()) first = logits;
    EXPECT_EQ(logits, first) << "other bits with chunks of " << chunk;
  }
}

TEST_P(EmulatedModel, TokensAreThoseOfTheCpuAndTheHostWritesNothingMeanwhile) {
  const auto cpu = make_fast_executor(model_.plan(), {.n_ctx = model_.n_ctx(), .n_threads = 1, .two_terms = false});
  const SamplerOptions greedy{.temperature = 0};
  const GenerateOptions options{.n_predict = model_.n_predict(), .end_tokens = {}};
  const auto expected = Session(*cpu, greedy).generate(model_.prompt(), options).tokens;
  const Emulated on(17);
  const auto executor = on.executor(model_);
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

INSTANTIATE_TEST_SUITE_P(Models, EmulatedModel, testing::Range<std::size_t>(0, test::cuda_models().size()),
                         [](const auto& param) { return test::cuda_models()[param.param].name(); });

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

}  // namespace
}  // namespace apr::engine::cuda
