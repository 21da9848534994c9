// Row ops and attention: every instruction set against sums in double, and against each other bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "apr/core/tensor_type.h"
#include "apr/kernels/dispatch.h"
#include "apr/kernels/ops.h"
#include "tests/support/random_tokens.h"

namespace apr::kernels {
namespace {

using test::random_tokens;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(RowOps, AgreeWithDoubleAndPassNanOn) {
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    const OpKernels& ops = isa.table->ops;
    for (const std::size_t n : {std::size_t{1}, std::size_t{15}, std::size_t{16}, std::size_t{577}}) {
      auto a = random_tokens(1, static_cast<std::int64_t>(n), 1), b = random_tokens(1, static_cast<std::int64_t>(n), 2);
      for (float& v : a) v *= 20;
      std::vector<float> out(n, kNan);
      double square = 0;
      for (const float v : a) square += static_cast<double>(v) * static_cast<double>(v);
      ops.rms_norm(a.data(), b.data(), 1.0F, 1e-5F, static_cast<std::int64_t>(n), out.data());
      for (std::size_t i = 0; i < n; ++i) {
        const double want = static_cast<double>(a[i]) / std::sqrt(square / static_cast<double>(n) + 1e-5) *
                            (static_cast<double>(b[i]) + 1);
        EXPECT_TRUE(std::fabs(static_cast<double>(out[i]) - want) <= 1e-6 * std::fabs(want) + 1e-7) << isa.name;
      }
      ops.silu_mul(a.data(), b.data(), static_cast<std::int64_t>(n), out.data());
      for (std::size_t i = 0; i < n; ++i) {
        const double x = static_cast<double>(a[i]), want = x / (1 + std::exp(-x)) * static_cast<double>(b[i]);
        EXPECT_TRUE(std::fabs(static_cast<double>(out[i]) - want) <= 1e-6 * std::fabs(want) + 1e-30)
            << isa.name << ' ' << x;
      }
      ops.gelu_mul(a.data(), b.data(), static_cast<std::int64_t>(n), out.data());
      for (std::size_t i = 0; i < n; ++i) {
        const double x = static_cast<double>(a[i]), u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
        const double want = 0.5 * x * (1 + std::tanh(u)) * static_cast<double>(b[i]);
        EXPECT_TRUE(std::fabs(static_cast<double>(out[i]) - want) <=
                    3e-6 * std::fabs(x * static_cast<double>(b[i])) + 1e-30)
            << isa.name << ' ' << x;
      }
      a[n / 2] = kNan;
      ops.silu_mul(a.data(), b.data(), static_cast<std::int64_t>(n), out.data());
      EXPECT_TRUE(std::isnan(out[n / 2]));
      ops.gelu_mul(a.data(), b.data(), static_cast<std::int64_t>(n), out.data());
      EXPECT_TRUE(std::isnan(out[n / 2]));
      ops.rms_norm(a.data(), b.data(), 0, 1e-5F, static_cast<std::int64_t>(n), out.data());
      EXPECT_TRUE(std::isnan(out[0]));
    }
  }
}

/// The cache of one head: positions of keys and values, random, and what was written around them. What no position
/// fills is poisoned.
struct Cache {
  Cache(const OpKernels& ops, KvType kind, std::int64_t n, std::int64_t dim)
      : type(kind), head_dim(dim), stride((dim + 15) / 16 * 16) {
    const std::int64_t held = (n + attention_chunk - 1) / attention_chunk * attention_chunk;
    const auto count = static_cast<std::size_t>(held * stride);
    keys.assign(count * (type == kv_f16 ? 2 : 1), 0x7E);  // f16: NaN behind the end, must not be seen
    values = keys;
    key_scales.assign(static_cast<std::size_t>(held * kv_groups(stride)), 0x7E00);
    value_scales = key_scales;
    k = random_tokens(n, dim, 2);
    v = random_tokens(n, dim, 3);
    for (std::int64_t p = 0; p < n; ++p) store(ops, p);
  }
  void store(const OpKernels& ops, std::int64_t p) {
    const KvHead head = view();
    ops.kv[type].store(&k[static_cast<std::size_t>(p * head_dim)], &v[static_cast<std::size_t>(p * head_dim)], head_dim,
                       &head, p);
  }
  [[nodiscard]] KvHead view() { return {keys.data(), values.data(), key_scales.data(), value_scales.data(), stride}; }
  [[nodiscard]] std::size_t key_at(std::int64_t p, std::int64_t i) const {
    return static_cast<std::size_t>((p / key_block * stride + i) * key_block + p % key_block);
  }
  /// What the cache holds.
  [[nodiscard]] double key(std::int64_t p, std::int64_t i) const {
    return element(keys, key_at(p, i),
                   key_scales[static_cast<std::size_t>((p / key_block * kv_groups(stride) + i / kv_group) * key_block +
                                                       p % key_block)]);
  }
  [[nodiscard]] double value(std::int64_t p, std::int64_t i) const {
    return element(values, static_cast<std::size_t>(p * stride + i),
                   value_scales[static_cast<std::size_t>(p * kv_groups(stride) + i / kv_group)]);
  }
  [[nodiscard]] double element(const std::vector<std::uint8_t>& bytes, std::size_t at, std::uint16_t scale) const {
    const auto from_f16 = [](const void* half) {
      float f = kNan;
      dequantizer(TensorType::F16)(half, &f, 1);
      return static_cast<double>(f);
    };
    return type == kv_f16 ? from_f16(&bytes[2 * at]) : from_f16(&scale) * static_cast<std::int8_t>(bytes[at]);
  }
  KvType type;
  std::int64_t head_dim, stride;
  std::vector<std::uint8_t> keys, values;
  std::vector<std::uint16_t> key_scales, value_scales;
  std::vector<float> k, v;  // as they were stored
};

constexpr KvType kTypes[] = {kv_f16, kv_q8_0};

TEST(KvCache, StoresAlikeEverywhereRoundsToTheNearestAndStaysInItsPlaces) {
  std::size_t compared = 0;
  for (const KvType type : kTypes) {
    for (const std::int64_t head_dim : {48, 10, 80, 128}) {
      std::vector<std::uint8_t> expected;
      for (const IsaVariant& isa : isa_variants()) {
        if (!isa.runs_here) continue;
        const OpKernels& ops = isa.table->ops;
        Cache cache(ops, type, 37, head_dim);
        for (std::size_t i = 0; i < cache.k.size(); ++i) {  // subnormals and large ones, too
          cache.k[i] = std::ldexp(cache.k[i], static_cast<int>(i / 64 % 37) - 24);
          cache.v[i] = -cache.k[i];
        }
        cache.k[static_cast<std::size_t>(3 * head_dim)] = 1.0F + 0x1p-11F;  // a tie in f16: to even
        cache.v[static_cast<std::size_t>(3 * head_dim)] = -1.0F - 0x1p-11F;
        for (const std::int64_t p : {std::int64_t{36}, std::int64_t{3}, std::int64_t{17}}) {
          const Cache before = cache;
          cache.store(ops, p);
          for (std::size_t at = 0; at < cache.keys.size(); ++at) {  // nothing but position p changed
            const std::int64_t element = static_cast<std::int64_t>(type == kv_f16 ? at / 2 : at);
            const bool own =
                element / key_block / cache.stride == p / key_block && element % key_block == p % key_block;
            if (!own) ASSERT_EQ(cache.keys[at], before.keys[at]) << isa.name << ' ' << at;
            if (element / cache.stride != p) ASSERT_EQ(cache.values[at], before.values[at]) << isa.name << ' ' << at;
          }
          for (std::int64_t i = 0; i < head_dim; ++i, ++compared) {
            double largest = 0;
            for (std::int64_t n = i / kv_group * kv_group; n < std::min(head_dim, i / kv_group * kv_group + kv_group);
                 ++n)
              largest = std::max(largest,
                                 std::fabs(static_cast<double>(cache.k[static_cast<std::size_t>(p * head_dim + n)])));
            const double want = static_cast<double>(cache.k[static_cast<std::size_t>(p * head_dim + i)]);
            // Half a step, and what the rounding of the scale to f16 adds at 127 steps.
            const double most = type == kv_f16 ? std::max(std::fabs(want) * 0x1p-11, 0x1p-25)
                                               : largest / 254 + 127 * std::max(largest / 127 * 0x1p-11, 0x1p-25);
            ASSERT_TRUE(std::fabs(cache.key(p, i) - want) <= most * 1.001)
                << isa.name << ' ' << head_dim << ' ' << i << ": " << want;
            ASSERT_TRUE(std::fabs(cache.value(p, i) + want) <= most * 1.001)
                << isa.name << ' ' << head_dim << ' ' << i << ": " << want;
          }
        }
        if (type == kv_f16) EXPECT_EQ(cache.key(3, 0), 1.0);
        auto all = cache.keys;
        all.insert(all.end(), cache.values.begin(), cache.values.end());
        if (expected.empty()) expected = all;
        ASSERT_EQ(all, expected) << isa.name;
      }
    }
  }
  EXPECT_GT(compared, 1000U);
}

/// softmax(0.25 q.k) v of positions [first, last) in double.
std::vector<double> attention_in_double(const Cache& cache, std::span<const float> q, std::int64_t first,
                                        std::int64_t last) {
  std::vector<double> out(q.size(), 0.0);
  double total = 0;
  for (std::int64_t p = first; p < last; ++p) {
    double dot = 0;
    for (std::size_t i = 0; i < q.size(); ++i)
      dot += static_cast<double>(q[i]) * cache.key(p, static_cast<std::int64_t>(i));
    const double weight = std::exp(0.25 * dot);
    total += weight;
    for (std::size_t i = 0; i < q.size(); ++i) out[i] += weight * cache.value(p, static_cast<std::int64_t>(i));
  }
  for (double& v : out) v /= total;
  return out;
}

struct Range {
  std::int64_t first, last;
};
// In one segment, on its borders, and over several.
constexpr Range kRanges[] = {{0, 1},   {0, 64},    {0, 65},     {0, 200},     {70, 199}, {130, 131}, {1, 17},  {0, 512},
                             {0, 513}, {511, 514}, {300, 1099}, {1024, 1100}, {0, 300},  {512, 513}, {0, 1100}};
constexpr std::int64_t kPositions = 1100;

TEST(Attention, AgreesWithSoftmaxInDoubleAndARowDoesNotSeeItsNeighbours) {
  std::size_t compared = 0;
  for (const KvType type : kTypes) {
    for (const std::int64_t head_dim : {48, 10, 80, 128}) {
      std::vector<float> reference;  // of the first variant
      for (const IsaVariant& isa : isa_variants()) {
        if (!isa.runs_here) continue;
        const OpKernels& ops = isa.table->ops;
        Cache cache(ops, type, kPositions, head_dim);
        const KvHead head = cache.view();
        constexpr std::int64_t n_rows = std::size(kRanges);
        const auto q = random_tokens(n_rows, head_dim, 1);
        std::vector<float> out(static_cast<std::size_t>(n_rows * head_dim + 1), kNan), alone = out;
        std::vector<AttentionRow> rows;
        for (std::int64_t r = 0; r < n_rows; ++r)
          rows.push_back({&q[static_cast<std::size_t>(r * head_dim)], &out[static_cast<std::size_t>(r * head_dim)],
                          kRanges[r].first, kRanges[r].last});
        ops.kv[type].attention(rows.data(), n_rows, &head, head_dim, 0.25F);
        for (std::int64_t r = 0; r < n_rows; ++r) {
          const auto want = attention_in_double(
              cache, std::span(rows[static_cast<std::size_t>(r)].q, static_cast<std::size_t>(head_dim)),
              kRanges[r].first, kRanges[r].last);
          for (std::size_t i = 0; i < want.size(); ++i, ++compared)
            ASSERT_TRUE(std::fabs(static_cast<double>(rows[static_cast<std::size_t>(r)].out[i]) - want[i]) <= 3e-6)
                << isa.name << " row " << r;
          AttentionRow one = rows[static_cast<std::size_t>(r)];
          one.out = &alone[static_cast<std::size_t>(r * head_dim)];
          ops.kv[type].attention(&one, 1, &head, head_dim, 0.25F);
        }
        EXPECT_EQ(std::memcmp(alone.data(), out.data(), static_cast<std::size_t>(n_rows * head_dim) * 4), 0)
            << isa.name;
        EXPECT_TRUE(std::isnan(out.back())) << "wrote past its row";
        if (reference.empty()) reference = out;
        EXPECT_EQ(std::memcmp(reference.data(), out.data(), static_cast<std::size_t>(n_rows * head_dim) * 4), 0)
            << isa.name;
      }
    }
  }
  EXPECT_GT(compared, 1000U);
}

// The segments of a row, computed in any order and beside other rows, are merged to the bits of the whole.
TEST(Attention, PartsOfSegmentsGiveTheBitsOfTheWhole) {
  std::size_t split = 0;
  for (const KvType type : kTypes) {
    for (const IsaVariant& isa : isa_variants()) {
      if (!isa.runs_here) continue;
      constexpr std::int64_t head_dim = 40, n_rows = std::size(kRanges), part = attention_part_floats(head_dim);
      const OpKernels& ops = isa.table->ops;
      Cache cache(ops, type, kPositions, head_dim);
      const KvHead head = cache.view();
      const auto q = random_tokens(n_rows, head_dim, 1);
      std::vector<float> whole(static_cast<std::size_t>(n_rows * head_dim), kNan), merged = whole;
      std::vector<float> parts(static_cast<std::size_t>(n_rows * 3 * part), kNan);
      std::vector<AttentionRow> rows;
      for (std::int64_t r = 0; r < n_rows; ++r)
        rows.push_back({&q[static_cast<std::size_t>(r * head_dim)], &whole[static_cast<std::size_t>(r * head_dim)],
                        kRanges[r].first, kRanges[r].last});
      ops.kv[type].attention(rows.data(), n_rows, &head, head_dim, 0.25F);
      for (const std::int64_t segment : {2, 0, 1}) {
        for (std::int64_t r = 0; r < n_rows; ++r)
          rows[static_cast<std::size_t>(r)].out = &parts[static_cast<std::size_t>((r * 3 + segment) * part)];
        ops.kv[type].attention_part(rows.data(), n_rows, &head, head_dim, 0.25F, segment);
      }
      for (std::int64_t r = 0; r < n_rows; ++r) {
        const std::int64_t first = kRanges[r].first / attention_segment,
                           n = (kRanges[r].last - 1) / attention_segment + 1 - first;
        for (std::int64_t s = 0; s < 3; ++s)
          if (s < first || s >= first + n)
            EXPECT_TRUE(std::isnan(parts[static_cast<std::size_t>((r * 3 + s) * part)]))
                << "wrote a part that it does not see";
        ops.attention_merge(&parts[static_cast<std::size_t>((r * 3 + first) * part)], n, head_dim,
                            &merged[static_cast<std::size_t>(r * head_dim)]);
        split += n > 1 ? 1 : 0;
      }
      EXPECT_EQ(std::memcmp(merged.data(), whole.data(), whole.size() * 4), 0) << isa.name;
    }
  }
  EXPECT_GT(split, 0U);
}

TEST(Attention, ANanInKeyOrValueReachesTheRowsThatSeeIt) {
  for (const KvType type : kTypes) {
    for (const IsaVariant& isa : isa_variants()) {
      if (!isa.runs_here) continue;
      for (const bool in_key : {true, false}) {
        for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
          for (const std::int64_t position : {5, 700}) {  // in the first segment and in a later one
            Cache cache(isa.table->ops, type, kPositions, 32);
            (in_key ? cache.k : cache.v)[static_cast<std::size_t>(position * 32 + 7)] = bad;
            cache.store(isa.table->ops, position);
            const KvHead head = cache.view();
            const auto q = random_tokens(1, 32, 1);
            std::vector<float> out(32, 0.0F);
            AttentionRow row{q.data(), out.data(), 0, kPositions};
            isa.table->ops.kv[type].attention(&row, 1, &head, 32, 0.25F);
            // A score of -infinity is a position that weighs nothing.
            const bool hidden = type == kv_f16 && in_key && std::isinf(bad) && q[7] < 0;
            EXPECT_EQ(std::isfinite(out[7]), hidden) << isa.name << ' ' << bad << ' ' << position;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
