// The CUDA executor on a driver without a GPU, its kernels replaced by plain loops (cuda_reference_kernels.h): what is
// proven here is everything around the kernels: lowering, memory, loading, graphs, the decode loop, failures.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/session.h"
#include "apr/model/architecture.h"
#include "cuda_models.h"
#include "src/engine/cuda/cuda_executor.h"
#include "src/engine/cuda/faulty_driver.h"
#include "src/engine/cuda/fused_ops.h"
#include "tests/support/cuda_reference_kernels.h"

namespace apr::engine::cuda {
namespace {

using test::CudaModel;

std::shared_ptr<EmulatedDriver> reference_driver(EmulatedDevice device = {}) {
  return std::make_shared<EmulatedDriver>(std::make_unique<test::ReferenceKernels>(), std::move(device));
}

class CudaExecutorTest : public testing::TestWithParam<std::size_t> {
 protected:
  const CudaModel& model_ = test::cuda_models()[GetParam()];
};

TEST_P(CudaExecutorTest, LogitsAgreeWithTheCpuHoweverThePromptIsCut) {
  for (const TensorType kv_type : {TensorType::F16, TensorType::Q8_0}) {
    const auto cpu = make_fast_executor(
        model_.plan(), {.n_ctx = model_.n_ctx(), .n_threads = 1, .two_terms = false, .kv_type = kv_type});
    const auto expected = test::all_logits(*cpu, model_.prompt(), model_.prompt().size());
    std::vector<float> first;
    for (const std::size_t chunk : {model_.prompt().size(), std::size_t{1}, std::size_t{3}}) {
      const auto driver = reference_driver();
      const auto executor =
          make_cuda_executor(model_.plan(), {.n_ctx = model_.n_ctx(), .n_batch = 16, .kv_type = kv_type}, driver);
      const auto logits = test::all_logits(*executor, model_.prompt(), chunk);
      const double error = test::nmse_of(logits, expected);
      EXPECT_TRUE(error < test::kLogitTolerance)
          << model_.name() << ' ' << name(kv_type) << ", chunks of " << chunk << ": " << error;
      if (first.empty()) first = logits;
      EXPECT_TRUE(test::nmse_of(logits, first) < 1e-12) << name(kv_type) << ", chunks of " << chunk;
      EXPECT_EQ(driver->kernel_error(), "");
    }
  }
}

TEST_P(CudaExecutorTest, GreedyTokensAreThoseOfTheCpuAndTheHostWritesNothingMeanwhile) {
  const auto cpu = make_fast_executor(model_.plan(), {.n_ctx = model_.n_ctx(), .n_threads = 1, .two_terms = false});
  const SamplerOptions greedy{.temperature = 0};
  const GenerateOptions options{.n_predict = model_.n_predict(), .end_tokens = {}};
  const auto expected = Session(*cpu, greedy).generate(model_.prompt(), options).tokens;
  const auto driver = reference_driver();
  const auto executor = make_cuda_executor(model_.plan(), {.n_ctx = model_.n_ctx(), .n_batch = 16}, driver);
  Session session(*executor, greedy);
  std::vector<std::uint64_t> writes;
  const auto tokens = session
                          .generate(model_.prompt(), options,
                                    [&](std::int32_t) {
                                      writes.push_back(driver->counts().host_writes);
                                      return true;
                                    })
                          .tokens;
  EXPECT_EQ(tokens, expected) << model_.name();
  EXPECT_EQ(tokens.size(), model_.n_predict());
  EXPECT_EQ(writes.front(), writes.back()) << "the host wrote between tokens";
  EXPECT_EQ(driver->counts().memory_allocs, 1U) << "all memory is taken at once";
  EXPECT_GE(driver->counts().graph_launches, model_.n_predict() - 1);
  EXPECT_EQ(driver->counts().graph_execs, 1U);
}

INSTANTIATE_TEST_SUITE_P(Models, CudaExecutorTest, testing::Range<std::size_t>(0, test::cuda_models().size()),
                         [](const auto& param) { return test::cuda_models()[param.param].name(); });

const CudaModel& small() { return test::cuda_models().front(); }

TEST(CudaDecode, SampledTokensAreThoseOfTheHostsSampler) {
  const SamplerOptions sampler{
      .temperature = 0.9, .top_k = 20, .repeat_penalty = 1.2, .presence_penalty = 0.1, .penalty_window = 8, .seed = 7};
  const auto driver = reference_driver();
  const auto executor = make_cuda_executor(small().plan(), {.n_ctx = 64, .n_batch = 16}, driver);
  // The same executor with its logits sampled by the host: the decoder is asked nothing.
  class HostSampled final : public Executor {
   public:
    explicit HostSampled(Executor& inner) : inner_(inner) {}
    void forward(std::span<const std::int32_t> t, std::uint32_t p, LogitsRequest r, std::span<float> l) override {
      inner_.forward(t, p, r, l);
    }
    [[nodiscard]] std::string_view name() const noexcept override { return inner_.name(); }
    [[nodiscard]] const MemoryPlan& memory() const noexcept override { return inner_.memory(); }
    [[nodiscard]] const ExecutorOptions& options() const noexcept override { return inner_.options(); }
    [[nodiscard]] const model::Plan& plan() const noexcept override { return inner_.plan(); }
    void set_observer(OpObserver* o) noexcept override { inner_.set_observer(o); }

   private:
    Executor& inner_;
  } host(*executor);
  Session on_host(host, sampler), on_device(*executor, sampler);
  const GenerateOptions options{.n_predict = 20, .end_tokens = {}};
  // Two turns: the state of the sampler goes on from one to the next.
  std::vector<std::int32_t> expected, tokens;
  for (int turn = 0; turn < 2; ++turn)
    for (const auto t : on_host.generate(small().prompt(), options).tokens) expected.push_back(t);
  for (int turn = 0; turn < 2; ++turn)
    for (const auto t : on_device.generate(small().prompt(), options).tokens) tokens.push_back(t);
  EXPECT_EQ(tokens, expected);
  EXPECT_EQ(on_device.n_past(), on_host.n_past());
}

TEST(CudaDecode, EndsAsOnTheCpu) {
  const auto cpu = make_fast_executor(small().plan(), {.n_ctx = 40, .n_threads = 1, .two_terms = false});
  const auto driver = reference_driver();
  const auto executor = make_cuda_executor(small().plan(), {.n_ctx = 40, .n_batch = 16}, driver);
  const SamplerOptions greedy{.temperature = 0};
  const auto reference = Session(*cpu, greedy).generate(small().prompt(), {.n_predict = 12, .end_tokens = {}}).tokens;
  ASSERT_EQ(reference.size(), 12U);
  struct Case {
    GenerateOptions options;
    std::size_t stop_after;
  };
  for (const Case& c :
       {Case{{.n_predict = 0, .end_tokens = {}}, 100}, Case{{.n_predict = 1, .end_tokens = {}}, 100},
        Case{{.n_predict = 10, .end_tokens = {reference[5]}}, 100}, Case{{.n_predict = {}, .end_tokens = {}}, 100},
        Case{{.n_predict = {}, .end_tokens = {}}, 3}, Case{{.n_predict = {}, .end_tokens = {reference[0]}}, 100}}) {
    const auto run = [&](Executor& on) {
      Session session(on, greedy);
      std::size_t n = 0;
      auto out = session.generate(small().prompt(), c.options, [&](std::int32_t) { return ++n < c.stop_after; });
      return std::tuple(out.tokens, out.reason, session.n_past(), out.timings.n_decoded);
    };
    EXPECT_EQ(run(*executor), run(*cpu)) << name(std::get<1>(run(*cpu)));
  }
}

TEST(CudaExecutor, TheObserverSeesEveryOpOnceAndInOrder) {
  class SpanCounter final : public OpObserver {
   public:
    void pass_begin(const model::Batch&) noexcept override { next = 0; }
    void ops_done(std::size_t first, std::size_t count, Clock::time_point begin,
                  Clock::time_point end) noexcept override {
      in_order = in_order && first == next && count > 0 && end >= begin;
      next = first + count;
    }
    void pass_end(Clock::time_point, Clock::time_point) noexcept override { ended = true; }
    bool in_order = true, ended = false;
    std::size_t next = 0;
  };
  for (const CudaModel& model : test::cuda_models()) {
    const auto driver = reference_driver();
    const auto executor = make_cuda_executor(model.plan(), {.n_ctx = 32, .n_batch = 16}, driver);
    for (const std::size_t n : {std::size_t{1}, std::size_t{4}}) {
      SpanCounter counter;
      executor->set_observer(&counter);
      std::vector<float> logits(model.plan().hparams.n_vocab);
      executor->forward(model.prompt().first(n), 0, LogitsRequest::Last, logits);
      EXPECT_TRUE(counter.in_order && counter.ended) << model.name() << ' ' << n;
      EXPECT_EQ(counter.next, model.plan().ops.size()) << model.name() << ' ' << n;
    }
  }
}

TEST(CudaExecutor, ANanInTheWeightsIsAnInferenceErrorThatNamesTheOps) {
  model::Plan plan = small().plan();
  std::vector<std::byte> damaged;
  for (model::Weight& weight : plan.weights) {
    if (weight.name != "blk.1.ffn_down.weight") continue;
    damaged.assign(weight.bytes.begin(), weight.bytes.end());
    for (std::size_t i = 0; i < 4; ++i) damaged[i] = std::byte{0xFF};
    weight.bytes = damaged;
  }
  ASSERT_FALSE(damaged.empty());
  const auto executor = make_cuda_executor(plan, {.n_ctx = 32, .n_batch = 16}, reference_driver());
  std::vector<float> logits(plan.hparams.n_vocab);
  try {
    executor->forward(small().prompt(), 0, LogitsRequest::Last, logits);
    FAIL() << "a NaN passed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::Inference);
    EXPECT_NE(error.field.find("ffn_down"), std::string::npos) << error.field;
    EXPECT_TRUE(error.field.starts_with("blk.1.")) << error.field;
  }
}

TEST(CudaExecutor, WhatDoesNotFitIsRefusedBeforeAnythingIsTaken) {
  const auto driver = reference_driver({.memory_bytes = 1 << 20});
  try {
    (void)make_cuda_executor(small().plan(), {.n_ctx = 96}, driver);
    FAIL() << "it fits";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::ModelLoad);
    EXPECT_NE(error.found.find("KV cache"), std::string::npos) << error.found;
  }
  EXPECT_EQ(driver->counts().memory_allocs, 0U);
  EXPECT_EQ(driver->counts().alive(), 0U);
}

TEST(CudaExecutor, ARefusalNamesTheLongestContextThatFitsWithEitherCache) {
  const auto load = [](std::uint64_t limit, TensorType kv_type, std::uint32_t n_ctx) {
    return make_cuda_executor(small().plan(), {.n_ctx = n_ctx, .memory_limit_bytes = limit, .kv_type = kv_type},
                              reference_driver());
  };
  const std::uint32_t n_ctx = small().n_ctx();
  const MemoryPlan f16 = load(0, TensorType::F16, n_ctx)->memory(), q8_0 = load(0, TensorType::Q8_0, n_ctx)->memory();
  EXPECT_EQ(q8_0.kv_type, TensorType::Q8_0);
  EXPECT_LT(q8_0.kv_bytes, f16.kv_bytes);
  const auto advice = [&](std::uint64_t limit, TensorType kv_type) {
    try {
      (void)load(limit, kv_type, n_ctx);
      return std::string("it fits");
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::ModelLoad);
      EXPECT_NE(error.expected.find(fmt::format("{} bytes", limit)), std::string::npos) << error.expected;
      return error.hint;
    }
  };
  const std::uint64_t limit = q8_0.allocated_bytes() - q8_0.kv_bytes / 3;
  std::map<TensorType, std::uint32_t> fits;
  const std::string text = advice(limit, TensorType::F16);
  ASSERT_EQ(std::sscanf(text.c_str(), "--kv-type f16 --ctx %u would fit; --kv-type q8_0 --ctx %u would fit;",
                        &fits[TensorType::F16], &fits[TensorType::Q8_0]),
            2)
      << text;
  for (const auto& [kv_type, longest] : fits) {
    EXPECT_NO_THROW((void)load(limit, kv_type, longest)) << name(kv_type) << ' ' << longest;
    EXPECT_THROW((void)load(limit, kv_type, longest + 1), Error) << name(kv_type) << ' ' << longest;
  }
  EXPECT_LT(fits[TensorType::F16], fits[TensorType::Q8_0]);
  EXPECT_TRUE(advice(limit, TensorType::Q8_0).starts_with("--kv-type q8_0 --ctx ")) << "f16 needs more";
  EXPECT_TRUE(advice(f16.weights_bytes, TensorType::Q8_0).starts_with("no context would fit with --kv-type q8_0"));
}

TEST(CudaExecutor, APlanOfAnotherOrderIsRefusedByTheOp) {
  const auto refused = [](const char* what, const std::function<void(model::Plan&)>& change) {
    model::Plan plan = small().plan();
    change(plan);
    try {
      (void)fuse(plan);
      ADD_FAILURE() << what << " passed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::Unsupported) << what;
      EXPECT_NE(error.field, "") << what;
    }
  };
  for (std::size_t i = 0; i < small().plan().ops.size(); ++i)
    refused("an op less", [i](model::Plan& p) {
      const bool optional = p.ops[i].kind == model::OpKind::SelectRows;
      p.ops.erase(p.ops.begin() + static_cast<std::ptrdiff_t>(i));
      if (optional) p.ops.pop_back();  // that alone is allowed: the rows stay where they are
    });
  refused("another input", [](model::Plan& p) { p.ops[2].in = p.ops[0].out; });
  refused("an op behind the head", [](model::Plan& p) { p.ops.push_back(p.ops[0]); });
}

TEST(CudaExecutor, EveryCallFailsInTurnWithOneErrorAndNothingLeft) {
  const auto tokens_of = [](Driver& on) {
    const std::shared_ptr<Driver> driver(&on, [](Driver*) {});
    const auto executor = make_cuda_executor(small().plan(), {.n_ctx = 48, .n_batch = 16}, driver);
    Session session(*executor, {.temperature = 0});
    return session.generate(small().prompt(), {.n_predict = 4, .end_tokens = {}}).tokens;
  };
  const auto healthy = reference_driver();
  FaultyDriver counter(*healthy, {});
  const auto expected = tokens_of(counter);
  ASSERT_EQ(expected.size(), 4U);
  ASSERT_EQ(healthy->counts().alive(), 0U);
  std::uint64_t n_errors = 0;
  for (const bool lost : {false, true}) {
    for (std::uint64_t call = 1; call <= counter.n_calls(); call += 1 + counter.n_calls() / 400) {
      const auto driver = reference_driver();
      FaultyDriver faulty(*driver, {call, lost ? kIllegalAddress : kOutOfMemory, lost});
      try {
        EXPECT_EQ(tokens_of(faulty), expected);
      } catch (const Error& error) {
        ++n_errors;
        EXPECT_TRUE(error.code == ErrorCode::Inference || error.code == ErrorCode::Unsupported) << error.what();
        if (error.code == ErrorCode::Inference)
          EXPECT_TRUE(error.message.starts_with("a CUDA call failed: ")) << error.what();
      }
      EXPECT_EQ(driver->counts().alive(), 0U) << "call " << call << ", " << faulty.failed() << " failed";
    }
  }
  EXPECT_GT(n_errors, 200U);
}

}  // namespace
}  // namespace apr::engine::cuda
