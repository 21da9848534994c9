// Each op of the reference against a direct computation in long double on random input, sizes with tails included.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "src/engine/exact_ops.h"

namespace apr::engine::exact {
namespace {

using Long = long double;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> drawn(std::size_t n, unsigned seed, float spread = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> out(n);
  for (float& v : out) v = normal(random);
  return out;
}

/// Equal up to the rounding of the result to f32 (half a unit in the last place), with a little room.
void expect_rounded(float got, Long expected) {
  const Long tolerance = std::abs(expected) * 6e-8L + 1e-12L;
  EXPECT_TRUE(std::abs(static_cast<Long>(got) - expected) <= tolerance)
      << got << " instead of " << static_cast<double>(expected);
}

TEST(ExactDot, SumsInDoubleForEverySize) {
  for (std::size_t n = 1; n <= 70; ++n) {
    const std::vector<float> a = drawn(n, 1), b = drawn(n, 2);
    Long sum = 0, size = 0;
    for (std::size_t i = 0; i < n; ++i) {
      sum += static_cast<Long>(a[i]) * static_cast<Long>(b[i]);
      size += std::abs(static_cast<Long>(a[i]) * static_cast<Long>(b[i]));
    }
    const double got = dot(a.data(), b.data(), static_cast<std::int64_t>(n));
    EXPECT_TRUE(std::abs(static_cast<Long>(got) - sum) <= size * 1e-15L) << n;
  }
}

TEST(ExactDot, CancellationSurvives) {
  // In f32 the 1 between the two large terms would vanish.
  const std::vector<float> a = {1e8F, 1, -1e8F}, b = {1, 1, 1};
  EXPECT_EQ(dot(a.data(), b.data(), 3), 1.0);
}

TEST(ExactDot, NanAnywhereIsSeen) {
  for (std::size_t at = 0; at < 19; ++at) {
    std::vector<float> a = drawn(19, 3);
    const std::vector<float> b = drawn(19, 4);
    a[at] = kNan;
    EXPECT_TRUE(std::isnan(dot(a.data(), b.data(), 19))) << at;
  }
}

TEST(ExactRmsNorm, AgainstTheFormula) {
  for (const std::size_t n : std::initializer_list<std::size_t>{1, 7, 16, 33, 576}) {
    const std::vector<float> in = drawn(n, 5, 3), weight = drawn(n, 6);
    std::vector<float> out(n, kNan);
    rms_norm(in, weight, 1e-5F, out);
    Long squares = 0;
    for (const float v : in) squares += static_cast<Long>(v) * static_cast<Long>(v);
    const Long root = std::sqrt(squares / static_cast<Long>(n) + static_cast<Long>(1e-5F));
    for (std::size_t i = 0; i < n; ++i)
      expect_rounded(out[i], static_cast<Long>(in[i]) / root * static_cast<Long>(weight[i]));
  }
}

TEST(ExactRmsNorm, ZerosGiveZerosAndNanSpreads) {
  const std::vector<float> weight(5, 2);
  std::vector<float> out(5, kNan);
  rms_norm(std::vector<float>(5, 0), weight, 1e-6F, out);
  EXPECT_EQ(out, std::vector<float>(5, 0));
  std::vector<float> in(5, 1);
  in[3] = kNan;
  rms_norm(in, weight, 1e-6F, out);
  for (const float v : out) EXPECT_TRUE(std::isnan(v));
}

model::Rope rope_of(model::RopeLayout layout, std::int32_t n_rot) {
  model::Rope rope{layout, n_rot, {}};
  for (std::int32_t i = 0; i < n_rot / 2; ++i) rope.inverse_freq.push_back(std::pow(100.0, -2.0 * i / n_rot));
  return rope;
}

TEST(ExactRope, TurnsEachPairAsAComplexNumber) {
  constexpr std::int32_t kHeadDim = 10, kHeads = 3;
  for (const auto layout : {model::RopeLayout::Adjacent, model::RopeLayout::Halves}) {
    for (const std::int32_t n_rot : {10, 6}) {
      const model::Rope turn = rope_of(layout, n_rot);
      const std::vector<float> before = drawn(kHeadDim * kHeads, 7);
      std::vector<float> after = before;
      rope(after, kHeadDim, turn, 1234);
      for (std::size_t head = 0; head < kHeads; ++head) {
        for (std::int32_t i = 0; i < kHeadDim; ++i) {
          const std::size_t base = head * kHeadDim;
          if (i >= n_rot) {
            EXPECT_EQ(after[base + static_cast<std::size_t>(i)], before[base + static_cast<std::size_t>(i)]);
            continue;
          }
          const bool adjacent = layout == model::RopeLayout::Adjacent;
          const std::int32_t pair = adjacent ? i / 2 : i % (n_rot / 2);
          const bool imaginary = adjacent ? i % 2 == 1 : i >= n_rot / 2;
          const std::size_t re = base + static_cast<std::size_t>(adjacent ? 2 * pair : pair);
          const std::size_t im = adjacent ? re + 1 : re + static_cast<std::size_t>(n_rot / 2);
          const Long angle = 1234 * static_cast<Long>(turn.inverse_freq[static_cast<std::size_t>(pair)]);
          const Long x = static_cast<Long>(before[re]), y = static_cast<Long>(before[im]);
          const Long expected =
              imaginary ? x * std::sin(angle) + y * std::cos(angle) : x * std::cos(angle) - y * std::sin(angle);
          EXPECT_TRUE(std::abs(static_cast<Long>(after[imaginary ? im : re]) - expected) < 3e-7L);
        }
      }
    }
  }
}

TEST(ExactRope, PositionZeroChangesNothing) {
  const std::vector<float> before = drawn(8, 8);
  std::vector<float> after = before;
  rope(after, 8, rope_of(model::RopeLayout::Halves, 8), 0);
  EXPECT_EQ(after, before);
}

/// Softmax attention written the long way.
std::vector<Long> attended(const AttentionShape& shape, std::int32_t head, std::uint32_t position,
                           const std::vector<float>& query, const std::vector<float>& keys,
                           const std::vector<float>& values) {
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const std::size_t stride = static_cast<std::size_t>(shape.n_kv_heads) * dim;
  const std::size_t offset = static_cast<std::size_t>(head * shape.n_kv_heads / shape.n_heads) * dim;
  std::vector<Long> out(dim, 0);
  Long sum = 0;
  for (std::size_t t = 0; t <= position; ++t) {
    if (shape.window != 0 && position - t >= shape.window) continue;
    Long score = 0;
    for (std::size_t i = 0; i < dim; ++i)
      score += static_cast<Long>(query[i]) * static_cast<Long>(keys[t * stride + offset + i]);
    const Long weight = std::exp(static_cast<Long>(shape.scale) * score);
    sum += weight;
    for (std::size_t i = 0; i < dim; ++i) out[i] += weight * static_cast<Long>(values[t * stride + offset + i]);
  }
  for (Long& v : out) v /= sum;
  return out;
}

TEST(ExactAttention, AgainstTheFormula) {
  constexpr std::uint32_t kPositions = 23;
  for (const std::uint32_t window : {0U, 1U, 5U, 23U, 100U}) {
    const AttentionShape shape{6, 2, 9, window, 0.37F};
    const std::vector<float> keys = drawn(kPositions * 18, 9), values = drawn(kPositions * 18, 10),
                             query = drawn(9, 11);
    for (const std::uint32_t position : {0U, 1U, 4U, 5U, 22U}) {
      for (std::int32_t head = 0; head < 6; ++head) {
        std::vector<double> scores(position + 1, NAN);
        std::vector<float> out(9, kNan);
        attention_head(shape, head, position, query.data(), keys.data(), values.data(), scores, out.data());
        const std::vector<Long> expected = attended(shape, head, position, query, keys, values);
        for (std::size_t i = 0; i < out.size(); ++i) {
          EXPECT_TRUE(std::abs(static_cast<Long>(out[i]) - expected[i]) < 2e-7L)
              << "window " << window << " position " << position << " head " << head << " element " << i;
        }
      }
    }
  }
}

TEST(ExactAttention, LargeScoresDoNotOverflow) {
  const AttentionShape shape{1, 1, 2, 0, 1};
  const std::vector<float> query = {1e4F, 0}, keys = {1, 0, 2, 0}, values = {3, 4, 5, 6};
  std::vector<double> scores(2);
  std::vector<float> out(2, kNan);
  attention_head(shape, 0, 1, query.data(), keys.data(), values.data(), scores, out.data());
  EXPECT_EQ(out, (std::vector<float>{5, 6}));
}

TEST(ExactAttention, NanInAnyPlaceReachesTheResult) {
  const AttentionShape shape{1, 1, 4, 0, 0.5F};
  for (int where = 0; where < 3; ++where) {
    for (std::size_t at = 0; at < (where == 0 ? std::size_t{4} : std::size_t{12}); ++at) {
      std::vector<float> query = drawn(4, 12), keys = drawn(12, 13), values = drawn(12, 14);
      (where == 0 ? query : where == 1 ? keys : values)[at] = kNan;
      std::vector<double> scores(3);
      std::vector<float> out(4, 0);
      attention_head(shape, 0, 2, query.data(), keys.data(), values.data(), scores, out.data());
      bool seen = false;
      for (const float v : out) seen = seen || std::isnan(v);
      EXPECT_TRUE(seen) << "where " << where << " at " << at;
    }
  }
}

TEST(ExactActivations, AgainstTheFormulas) {
  for (const float x : {-100.0F, -8.5F, -1.0F, -0.01F, 0.0F, 1e-20F, 0.3F, 2.0F, 11.0F, 90.0F}) {
    for (const float up : {-2.5F, 0.7F}) {
      const Long v = static_cast<Long>(x), u = static_cast<Long>(up);
      expect_rounded(silu_mul(x, up), v / (1 + std::exp(-v)) * u);
      const Long inner = std::sqrt(2 / 3.14159265358979323846264338L) * (v + 0.044715L * v * v * v);
      expect_rounded(gelu_mul(x, up), v / 2 * (1 + std::tanh(inner)) * u);
    }
  }
  EXPECT_TRUE(std::isnan(silu_mul(kNan, 1)) && std::isnan(silu_mul(1, kNan)));
  EXPECT_TRUE(std::isnan(gelu_mul(kNan, 1)) && std::isnan(gelu_mul(1, kNan)));
  EXPECT_EQ(silu_mul(-1e30F, 1), 0);
}

}  // namespace
}  // namespace apr::engine::exact
