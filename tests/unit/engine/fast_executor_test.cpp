// The fast executor against the exact one, and against itself under every way to split the work.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/executor.h"
#include "apr/kernels/dispatch.h"
#include "apr/model/architecture.h"
#include "tests/support/executor_logits.h"
#include "tests/support/golden_model.h"

namespace apr::engine {
namespace {

using test::all_logits;
using test::golden_folder;
using test::golden_logits;

// The weights of these models are BF16 or F32: only the f16 cache is less exact than the reference.
TEST(FastExecutor, GoldenModelsAgreeWithFloat64) {
  for (const std::string_view name : test::kGoldenModels) {
    const model::Model model = model::load_model(golden_folder(name));
    const auto golden = golden_logits(name);
    const auto executor = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = 2});
    const double error = test::nmse(all_logits(*executor, golden.tokens, golden.tokens.size()), golden.logits);
    EXPECT_TRUE(error < 1e-6) << name << ": " << error;
  }
}

TEST(FastExecutor, ThreadsChunksAndInstructionSetsDoNotChangeABit) {
  for (const std::string_view name : test::kGoldenModels) {
    const model::Model model = model::load_model(golden_folder(name));
    const auto tokens = golden_logits(name).tokens;
    std::vector<float> reference;
    for (const kernels::IsaVariant& isa : kernels::isa_variants()) {
      if (!isa.runs_here) continue;
      kernels::force_isa(isa.name);
      for (const unsigned n_threads : {1U, 2U, 5U}) {
        const auto executor = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = n_threads});
        for (const std::size_t chunk : {tokens.size(), std::size_t{1}, std::size_t{3}}) {
          const auto logits = all_logits(*executor, tokens, chunk);
          if (reference.empty()) reference = logits;
          ASSERT_EQ(std::memcmp(logits.data(), reference.data(), logits.size() * 4), 0)
              << name << ' ' << isa.name << ' ' << n_threads << " threads, chunks of " << chunk;
        }
      }
    }
    kernels::force_isa(kernels::isa_variants().front().name);
  }
}

/// A text of many segments of attention: the golden model's, over and over.
std::vector<std::int32_t> long_text(std::string_view name, std::size_t n) {
  const auto tokens = golden_logits(name).tokens;
  std::vector<std::int32_t> text(n);
  for (std::size_t i = 0; i < n; ++i) text[i] = tokens[(i + i / tokens.size()) % tokens.size()];
  return text;
}

// Decoding at a depth of several segments: they are shared out when a batch is small, and not when it is large or one
// thread runs.
TEST(FastExecutor, ALongContextGivesTheSameBitsHoweverItsAttentionIsShared) {
  for (const kernels::IsaVariant& isa : kernels::isa_variants())  // the best one: the others would take half a minute
    if (isa.runs_here) kernels::force_isa(isa.name);
  for (const std::string_view name : {"llama", "mistral"}) {  // all positions, and a window
    model::Model model = model::load_model(golden_folder(name));
    model.plan.hparams.n_context = 2048;
    for (model::Op& op : model.plan.ops)
      if (op.window > 0) op.window = 700;
    const auto text = long_text(name, 1300);
    for (const TensorType type : {TensorType::F16, TensorType::Q8_0}) {
      std::vector<float> reference;
      for (const unsigned n_threads : {1U, 3U}) {
        const auto executor =
            make_fast_executor(model.plan, {.n_ctx = 2048, .n_batch = 1300, .n_threads = n_threads, .kv_type = type});
        for (const std::size_t chunk : {std::size_t{10}, std::size_t{1}, std::size_t{7}}) {
          std::vector<float> logits(10 * model.plan.hparams.n_vocab, NAN);
          executor->forward(std::span(text).first(1290), 0, LogitsRequest::None, {});
          for (std::size_t at = 0; at < 10; at += chunk) {
            const std::size_t n = std::min(chunk, 10 - at);
            executor->forward(
                std::span(text).subspan(1290 + at, n), static_cast<std::uint32_t>(1290 + at), LogitsRequest::All,
                std::span(logits).subspan(at * model.plan.hparams.n_vocab, n * model.plan.hparams.n_vocab));
          }
          if (reference.empty()) reference = logits;
          ASSERT_EQ(std::memcmp(logits.data(), reference.data(), logits.size() * 4), 0)
              << name << ' ' << n_threads << " threads, chunks of " << chunk;
        }
      }
    }
  }
  kernels::force_isa(kernels::isa_variants().front().name);
}

TEST(FastExecutor, ACacheOfInt8IsSmallerAndNearlyAsGood) {
  for (const std::string_view name : test::kGoldenModels) {
    const model::Model model = model::load_model(golden_folder(name));
    const auto golden = golden_logits(name);
    const auto f16 = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = 2});
    const auto q8_0 = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = 2, .kv_type = TensorType::Q8_0});
    const double error = test::nmse(all_logits(*q8_0, golden.tokens, golden.tokens.size()), golden.logits);
    EXPECT_TRUE(error < 5e-4 && error > 1e-6) << name << ": " << error;
    EXPECT_EQ(q8_0->memory().kv_type, TensorType::Q8_0);
    // 34 bytes for 32 elements instead of 64, where heads are whole groups.
    const bool half_group = model.plan.hparams.head_dim % 32 != 0;
    EXPECT_EQ(q8_0->memory().kv_bytes * (half_group ? 32 : 64), f16->memory().kv_bytes * (half_group ? 18 : 34))
        << name;
  }
  const model::Model model = model::load_model(golden_folder("llama"));
  EXPECT_THROW((void)make_fast_executor(model.plan, {.n_ctx = 64, .kv_type = TensorType::Q4_0}), Error);
}

TEST(FastExecutor, WeightsLeftInTheFileGiveTheSameBits) {
  const model::Model model = model::load_model(golden_folder("qwen3"));
  const auto tokens = golden_logits("qwen3").tokens;
  const auto repacked = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = 2});
  const auto in_file = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = 2, .repack = false});
  EXPECT_GT(repacked->memory().weights_bytes, 0U);
  EXPECT_EQ(in_file->memory().weights_bytes, 0U);
  EXPECT_FALSE(in_file->notes().empty());
  const auto expected = all_logits(*repacked, tokens, tokens.size()), got = all_logits(*in_file, tokens, 3);
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * 4), 0);
}

TEST(FastExecutor, LastAndNoLogitsAgreeWithAll) {
  const model::Model model = model::load_model(golden_folder("qwen2"));
  const auto tokens = golden_logits("qwen2").tokens;
  const std::size_t n_vocab = model.plan.hparams.n_vocab;
  const auto executor = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = 2});
  const auto all = all_logits(*executor, tokens, tokens.size());
  std::vector<float> last(n_vocab, NAN);
  executor->forward(std::span(tokens).first(5), 0, LogitsRequest::None, {});
  executor->forward(std::span(tokens).subspan(5), 5, LogitsRequest::Last, last);
  EXPECT_EQ(std::memcmp(last.data(), &all[(tokens.size() - 1) * n_vocab], n_vocab * 4), 0);
}

class SpanCounter final : public OpObserver {
 public:
  void pass_begin(const model::Batch&) noexcept override { next_ = 0; }
  void ops_done(std::size_t first, std::size_t count, Clock::time_point begin,
                Clock::time_point end) noexcept override {
    in_order = in_order && first == next_ && count > 0 && end >= begin;
    next_ = first + count;
  }
  void pass_end(Clock::time_point begin, Clock::time_point end) noexcept override {
    n_ops = next_;
    ended = end >= begin;
  }
  bool in_order = true, ended = false;
  std::size_t n_ops = 0;

 private:
  std::size_t next_ = 0;
};

TEST(FastExecutor, TheObserverSeesEveryOpOnceAndInOrder) {
  const model::Model model = model::load_model(golden_folder("gemma3"));
  const auto tokens = golden_logits("gemma3").tokens;
  const auto executor = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = 2});
  SpanCounter counter;
  executor->set_observer(&counter);
  all_logits(*executor, tokens, tokens.size());
  EXPECT_TRUE(counter.in_order && counter.ended);
  EXPECT_EQ(counter.n_ops, model.plan.ops.size());
}

TEST(FastExecutor, ANanInTheWeightsIsAnInferenceErrorThatNamesTheOp) {
  const auto file = format::open_model(golden_folder("llama") + "/model.safetensors");
  auto model = model::load_model(golden_folder("llama"));
  // A copy of one matrix with a NaN in it stands in for the tensor of the file.
  for (model::Weight& weight : model.plan.weights) {
    if (weight.name != "blk.1.ffn_down.weight") continue;
    std::vector<std::byte> damaged(weight.bytes.begin(), weight.bytes.end());
    for (std::size_t i = 0; i < 4; ++i) damaged[i] = std::byte{0xFF};
    weight.bytes = damaged;
    const auto executor = make_fast_executor(model.plan, {.n_ctx = 16, .n_threads = 2});
    std::vector<float> logits(model.plan.hparams.n_vocab);
    const std::int32_t token = 1;
    try {
      executor->forward(std::span(&token, 1), 0, LogitsRequest::Last, logits);
      FAIL() << "a NaN passed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::Inference);
      EXPECT_EQ(error.field, "blk.1.ffn_down");
    }
    return;
  }
  FAIL() << "the model has no blk.1.ffn_down.weight";
}

}  // namespace
}  // namespace apr::engine
