// The sampling kernel, emulated, against the sampler of the engine: the same tokens, draw by draw.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/sampler.h"
#include "apr/kernels/cuda_emulator.h"
#include "tests/support/cuda_memory.h"

namespace apr::kernels::cuda {
namespace {

using engine::Sampler;
using engine::SamplerOptions;
using test::CudaBuffer;

constexpr std::int32_t kRing = 16;

/// Sampling state of two slots and the logits of `n_columns` columns.
struct State {
  State(Emulator& emulator, const SamplerOptions& options, std::int32_t vocab, std::vector<Column> of,
        std::vector<std::int32_t> ends = {-7})
      : n_vocab(vocab),
        logits(emulator, "logits", static_cast<std::size_t>(vocab) * of.size()),
        columns(emulator, "columns", of, MemoryKind::Mutable),
        sequences(emulator, "sequences", std::vector<Sequence>(2, {options.seed, 0, 0, 0, 0, -1, 0}),
                  MemoryKind::Mutable),
        ring(emulator, "ring", std::vector<std::int32_t>(2 * kRing, -1), MemoryKind::Mutable),
        recent(emulator, "recent", std::vector<std::int32_t>(2 * options.penalty_window + 1), MemoryKind::Mutable),
        counts(emulator, "counts", std::vector<std::int32_t>(static_cast<std::size_t>(2 * vocab)), MemoryKind::Mutable),
        end_tokens(emulator, "end_tokens", std::move(ends)),
        scratch(emulator, "scratch", sample_scratch_elements(vocab) * of.size()) {
    params = {logits.address(),
              columns.address(),
              sequences.address(),
              ring.address(),
              recent.address(),
              counts.address(),
              end_tokens.address(),
              scratch.address(),
              vocab,
              vocab,
              static_cast<std::int32_t>(of.size()),
              1000,
              kRing,
              static_cast<std::int32_t>(end_tokens.host().size()),
              static_cast<std::int32_t>(options.penalty_window),
              static_cast<std::int32_t>(options.top_k),
              static_cast<std::int32_t>(options.penalty_window),
              0,
              options.temperature,
              options.top_p,
              options.min_p,
              options.repeat_penalty,
              options.presence_penalty,
              options.frequency_penalty};
  }
  std::int32_t n_vocab;
  CudaBuffer<float> logits;
  CudaBuffer<Column> columns;
  CudaBuffer<Sequence> sequences;
  CudaBuffer<std::int32_t> ring, recent, counts, end_tokens;
  CudaBuffer<std::uint64_t> scratch;
  SampleParams params;
};

enum class Logits { Fine, Coarse, AllEqual };
/// Draws n tokens on both sides from logits that change every time.
void compare(const SamplerOptions& options, std::int32_t n_vocab, int n, Logits kind) {
  Emulator emulator;
  State state(emulator, options, n_vocab, {{0, 10, 1, 0}});
  Sampler sampler(options);
  for (int step = 0; step < n; ++step) {
    std::vector<float> logits = test::random_floats(static_cast<std::size_t>(n_vocab), static_cast<unsigned>(step), 3);
    if (kind == Logits::AllEqual) std::ranges::fill(logits, 1.5F);
    if (kind == Logits::Coarse) {  // many equal logits, zeros of both signs, banned tokens
      for (float& logit : logits) logit = std::trunc(logit) * (logit > 0 ? 1.0F : -1.0F) - 2;
      logits[5] = -std::numeric_limits<float>::infinity();
    }
    state.logits.host() = logits;  // same size: the memory stays where it is
    emulator.run(launch_sample(state.params), {.seed = static_cast<std::uint64_t>(step)});
    const std::int32_t expected = sampler.sample(logits);
    sampler.accept(expected);
    ASSERT_EQ(state.columns[0].token, expected) << "step " << step;
    ASSERT_EQ(state.columns[0].position, 11 + step);
    ASSERT_EQ(state.ring[static_cast<std::size_t>(kRing + step % kRing)], expected);
    ASSERT_EQ(state.sequences[1].n_produced, static_cast<std::uint32_t>(step + 1));
  }
  EXPECT_EQ(state.columns[0].stopped, 0);
}

TEST(Sample, GreedyTakesTheLargestAndTheSmallestIdAmongEquals) {
  SamplerOptions options;
  options.temperature = 0;
  compare(options, 3001, 8, Logits::Fine);
  compare(options, 517, 8, Logits::Coarse);
  options.repeat_penalty = 1.5;
  compare(options, 517, 24, Logits::Coarse);
}
TEST(Sample, TopKTopPMinPAndTemperatureAreThoseOfTheEngine) {
  SamplerOptions options;
  options.seed = 99;
  compare(options, 5003, 12, Logits::Fine);
  options.top_k = 1000;
  options.top_p = 0.8;
  options.min_p = 0;
  options.temperature = 1.7;
  compare(options, 5003, 8, Logits::Fine);
  options.top_p = 1;
  options.min_p = 0.3;
  compare(options, 900, 8, Logits::Coarse);  // fewer tokens than top_k
}
TEST(Sample, EqualLogitsByThousandsKeepTheSmallestIds) {
  SamplerOptions options;
  options.top_p = 1;
  options.min_p = 0;
  compare(options, 9000, 6, Logits::Coarse);
  compare(options, 9000, 3, Logits::AllEqual);  // more than the candidates that fit
}
TEST(Sample, PenaltiesForgetWhatLeavesTheWindow) {
  SamplerOptions options;
  options.repeat_penalty = 1.3;
  options.presence_penalty = 0.4;
  options.frequency_penalty = 0.7;
  options.penalty_window = 5;
  options.seed = 3;
  compare(options, 40, 30, Logits::Coarse);
}

TEST(Sample, StopsAtAnEndTokenAtTheLimitAndAtTheEndOfTheContext) {
  SamplerOptions options;
  options.temperature = 0;
  Emulator emulator;
  State state(emulator, options, 64, {{0, 10, 0, 0}, {0, 10, 1, 0}}, {33});
  for (std::size_t i = 0; i < 128; ++i) state.logits[i] = 0;
  state.logits[33] = 1;      // slot 0: the end token
  state.logits[64 + 7] = 1;  // slot 1: two tokens are wanted
  state.sequences[1].n_left = 2;
  for (int step = 0; step < 4; ++step) emulator.run(launch_sample(state.params));
  EXPECT_EQ(state.columns[0].stopped, 1);
  EXPECT_EQ(state.sequences[0].n_produced, 1u);
  EXPECT_EQ(state.columns[1].stopped, 1);
  EXPECT_EQ(state.sequences[1].n_produced, 2u);
  EXPECT_EQ(state.columns[1].position, 12);
  state.columns[1] = {0, 998, 1, 0};
  state.sequences[1].n_left = -1;
  for (int step = 0; step < 4; ++step) emulator.run(launch_sample(state.params));
  EXPECT_EQ(state.columns[1].position, 999);
  EXPECT_EQ(state.columns[1].stopped, 1);
}

TEST(Sample, ALogitThatIsNoNumberStopsTheSequenceWithItsIndex) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Emulator emulator;
    State state(emulator, {}, 500, {{0, 10, 0, 0}});
    for (std::size_t i = 0; i < 500; ++i) state.logits[i] = static_cast<float>(i % 7);
    state.logits[321] = state.logits[400] = bad;
    emulator.run(launch_sample(state.params));
    EXPECT_EQ(state.sequences[0].error, 1);
    EXPECT_EQ(state.sequences[0].error_index, 321);
    EXPECT_EQ(state.columns[0].stopped, 1);
    EXPECT_EQ(state.sequences[0].n_produced, 0u);
  }
  Emulator emulator;
  State state(emulator, {}, 500, {{0, 10, 0, 0}});
  for (std::size_t i = 0; i < 500; ++i) state.logits[i] = -std::numeric_limits<float>::infinity();
  emulator.run(launch_sample(state.params));
  EXPECT_EQ(state.sequences[0].error, 1);
  EXPECT_EQ(state.sequences[0].error_index, 500) << "none is finite";
}

TEST(Sample, WhatTheDeviceCannotDrawIsRefused) {
  SampleParams p{};
  p.n_columns = 1;
  p.temperature = 1;
  p.top_k = 0;
  EXPECT_THROW((void)launch_sample(p), Error);
  p.top_k = 1025;
  EXPECT_THROW((void)launch_sample(p), Error);
  p.temperature = 0;
  EXPECT_NO_THROW((void)launch_sample(p));
}

}  // namespace
}  // namespace apr::kernels::cuda
