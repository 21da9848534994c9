// Quantised models in the fast executor: the matrices that take their input in two terms of 8 bits, and the same bits
// for every way to split the work.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "apr/engine/executor.h"
#include "apr/kernels/dispatch.h"
#include "apr/model/architecture.h"
#include "tests/support/executor_logits.h"
#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"
#include "tests/support/random_model.h"

namespace apr::engine {
namespace {

using test::all_logits;

std::vector<std::int32_t> some_tokens(std::size_t n) {
  std::vector<std::int32_t> tokens(n);
  for (std::size_t i = 0; i < n; ++i) tokens[i] = static_cast<std::int32_t>((i * 37 + 11) % 300);
  return tokens;
}

// Only the value projection and the head are quantised: with their input in 8 bits the error would be above 1e-5.
TEST(TwoTerms, ValueProjectionAndHeadTakeSixteenBits) {
  using enum TensorType;
  for (const TensorType type : {Q4_0, Q4_1, Q8_0, Q4_K, Q6_K}) {
    const test::TempFolder folder;
    const std::string path = folder.path("model.gguf");
    test::write_random_model({.types = {F32, F32, type, F32, F32, F32, F32}, .embedding = type == Q6_K ? Q8_0 : type},
                             path);
    const model::Model model = model::load_model(path);
    const auto tokens = some_tokens(40);
    const auto exact = make_exact_executor(model.plan, {.n_ctx = 64, .n_threads = 2});
    const auto fast = make_fast_executor(model.plan, {.n_ctx = 64, .n_threads = 2});
    const auto expected = all_logits(*exact, tokens, tokens.size());
    const double error =
        test::nmse(all_logits(*fast, tokens, 7), std::vector<double>(expected.begin(), expected.end()));
    EXPECT_TRUE(error < 1e-6) << name(type) << ": " << error;
  }
}

TEST(TwoTerms, ThreadsChunksAndInstructionSetsDoNotChangeABitOfQuantisedModels) {
  using enum TensorType;
  const std::vector<TensorType> mixes[] = {{Q4_K, Q6_K, Q8_0, Q4_1, Q5_0}, {Q5_K, Q3_K, Q2_K, Q4_0, Q5_1, IQ4_NL}};
  for (const bool tied : {true, false}) {
    const test::TempFolder folder;
    const std::string path = folder.path("model.gguf");
    test::write_random_model({.types = mixes[tied], .embedding = Q6_K, .tied = tied}, path);
    const model::Model model = model::load_model(path);
    const auto tokens = some_tokens(37);
    std::vector<float> reference;
    for (const kernels::IsaVariant& isa : kernels::isa_variants()) {
      if (!isa.runs_here) continue;
      kernels::force_isa(isa.name);
      for (const unsigned n_threads : {1U, 3U}) {
        const auto executor = make_fast_executor(model.plan, {.n_ctx = 48, .n_threads = n_threads});
        for (const std::size_t chunk : {n_threads == 1 ? tokens.size() : std::size_t{1}, std::size_t{5}}) {
          const auto logits = all_logits(*executor, tokens, chunk);
          if (reference.empty()) reference = logits;
          ASSERT_EQ(std::memcmp(logits.data(), reference.data(), logits.size() * 4), 0)
              << isa.name << ' ' << n_threads << " threads, chunks of " << chunk;
        }
      }
    }
    kernels::force_isa(kernels::isa_variants().front().name);
  }
}

}  // namespace
}  // namespace apr::engine
