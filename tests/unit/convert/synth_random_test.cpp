#include "src/convert/synth_random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace apr::convert {
namespace {

struct Moments {
  double mean = 0, deviation = 0, kurtosis = 0, largest = 0;
};

Moments moments(const std::vector<double>& values) {
  Moments m;
  for (const double v : values) m.mean += v / static_cast<double>(values.size());
  double second = 0, fourth = 0;
  for (const double v : values) {
    const double d = v - m.mean;
    second += d * d / static_cast<double>(values.size());
    fourth += d * d * d * d / static_cast<double>(values.size());
    m.largest = std::max(m.largest, std::fabs(v));
  }
  m.deviation = std::sqrt(second);
  m.kurtosis = fourth / (second * second);
  return m;
}

TEST(SynthRandom, SplitmixIsThePublishedOne) {
  // The first outputs of splitmix64 seeded with 1234567, as the reference implementation by S. Vigna prints them.
  constexpr std::uint64_t kGamma = 0x9E3779B97F4A7C15ULL;
  EXPECT_EQ(scrambled(1234567 + 1 * kGamma), 6457827717110365317ULL);
  EXPECT_EQ(scrambled(1234567 + 2 * kGamma), 3203168211198807973ULL);
  EXPECT_EQ(scrambled(1234567 + 3 * kGamma), 9817491932198370423ULL);
}

TEST(SynthRandom, DrawnIsNearNormalAndBounded) {
  std::vector<double> z;
  for (std::uint64_t i = 0; i < 1000000; ++i) {
    const std::int32_t value = drawn(stream_key(1, "blk.0.attn_q.weight"), i);
    ASSERT_LE(std::abs(value), 131070);
    z.push_back(value / kUnitDeviation);
  }
  const Moments m = moments(z);
  EXPECT_LT(std::fabs(m.mean), 0.005);
  EXPECT_LT(std::fabs(m.deviation - 1.0), 0.005);
  EXPECT_LT(std::fabs(m.kurtosis - 2.7), 0.02);  // 3 - 6/5/4: Irwin-Hall of four
  EXPECT_GT(m.largest, 3.2);
}

TEST(SynthRandom, NeighboursAndStreamsAreUncorrelated) {
  const std::uint64_t key = stream_key(1, "a"), other = stream_key(1, "b"), reseeded = stream_key(2, "a");
  double next = 0, across = 0, seeds = 0;
  constexpr int kCount = 200000;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const double z = drawn(key, i) / kUnitDeviation;
    next += z * drawn(key, i + 1) / kUnitDeviation / kCount;
    across += z * drawn(other, i) / kUnitDeviation / kCount;
    seeds += z * drawn(reseeded, i) / kUnitDeviation / kCount;
  }
  for (const double correlation : {next, across, seeds}) EXPECT_LT(std::fabs(correlation), 0.01);
}

TEST(SynthRandom, RowsAreIndependentOfTheOrderInWhichTheyAreDrawn) {
  const Spread spread{.mean = 0.0, .deviation = 0.05, .row_spread = 0.1, .column_spread = 0.1};
  const TensorDraw draw(7, "x", spread, 333, {5});
  std::vector<float> first(333, NAN), again(333, NAN);
  draw.row(9, first.data());
  draw.row(3, again.data());
  draw.row(9, again.data());
  EXPECT_EQ(first, again);
  draw.row(8, again.data());
  EXPECT_NE(first, again);
}

TEST(SynthRandom, MeanDeviationAndOutliersAreAsAsked) {
  const Spread spread{.mean = 1.0, .deviation = 0.25, .outlier_columns = true, .outlier_factor = 8.0};
  const TensorDraw draw(7, "norm", spread, 4096, {17});
  std::vector<float> row(4096, NAN);
  draw.row(0, row.data());
  EXPECT_GT(row[17], 2.0F);  // 8 x (1 +- 0.75)
  row[17] = 1.0F;
  const Moments m = moments({row.begin(), row.end()});
  EXPECT_LT(std::fabs(m.mean - 1.0), 0.02);
  EXPECT_LT(std::fabs(m.deviation - 0.25), 0.01);
}

TEST(SynthRandom, OutlierChannelsAreFewDistinctAndOfTheSeed) {
  EXPECT_EQ(outlier_channels(1, 256).size(), 1U);
  const std::vector<std::int64_t> channels = outlier_channels(1, 4096);
  ASSERT_EQ(channels.size(), 8U);
  for (std::size_t i = 1; i < channels.size(); ++i) EXPECT_LT(channels[i - 1], channels[i]);
  EXPECT_NE(channels, outlier_channels(2, 4096));
}

}  // namespace
}  // namespace apr::convert
