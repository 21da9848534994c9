// Row ops and attention: every instruction set against sums in double, and against each other bit for bit.
#include <gtest/gtest.h>

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
        const double want = static_cast<double>(a[i]) / std::sqrt(square / static_cast<double>(n) + 1e-5) * (static_cast<double>(b[i]) + 1);
        EXPECT_TRUE(std::fabs(static_cast<double>(out[i]) - want) <= 1e-6 * std::fabs(want) + 1e-7) << isa.name;
      }
      ops.silu_mul(a.data(), b.data(), static_cast<std::int64_t>(n), out.data());
      for (std::size_t i = 0; i < n; ++i) {
        const double x = static_cast<double>(a[i]), want = x / (1 + std::exp(-x)) * static_cast<double>(b[i]);
        EXPECT_TRUE(std::fabs(static_cast<double>(out[i]) - want) <= 1e-6 * std::fabs(want) + 1e-30) << isa.name << ' ' << x;
      }
      ops.gelu_mul(a.data(), b.data(), static_cast<std::int64_t>(n), out.data());
      for (std::size_t i = 0; i < n; ++i) {
        const double x = static_cast<double>(a[i]), u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
        const double want = 0.5 * x * (1 + std::tanh(u)) * static_cast<double>(b[i]);
        EXPECT_TRUE(std::fabs(static_cast<double>(out[i]) - want) <= 3e-6 * std::fabs(x * static_cast<double>(b[i])) + 1e-30) << isa.name << ' ' << x;
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

TEST(RowOps, StoreF16RoundsAlikeEverywhereAndStaysInItsPlaces) {
  constexpr std::int64_t n = 203, stride = 16;
  std::vector<float> x = random_tokens(1, n, 9);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(x[i], static_cast<int>(i % 45) - 28);  // subnormals and overflow, too
  x[0] = 1.0F + 0x1p-11F;  // a tie: to even
  x[1] = std::numeric_limits<float>::infinity();
  x[2] = kNan;
  const std::vector<std::uint16_t> empty(static_cast<std::size_t>(n * stride), 0xBEEF);
  std::vector<std::uint16_t> expected;
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    auto apart = empty, together = empty;
    isa.table->ops.store_f16(x.data(), n, apart.data(), stride);
    isa.table->ops.store_f16(x.data(), n, together.data(), 1);
    EXPECT_EQ(together[0], 0x3C00);
    EXPECT_EQ(together[1], 0x7C00);
    EXPECT_GT(together[2] & 0x7FFF, 0x7C00) << "NaN";
    EXPECT_EQ(together[n], 0xBEEF);
    for (std::size_t i = 0; i < apart.size(); ++i) EXPECT_EQ(apart[i], i % stride == 0 ? together[i / stride] : 0xBEEF) << isa.name;
    together[2] = 0;
    if (expected.empty()) expected = together;
    EXPECT_EQ(together, expected) << isa.name;
  }
}

/// The cache of one head: n positions of keys and values, random.
struct Cache {
  Cache(const OpKernels& ops, std::int64_t n, std::int64_t head_dim) : stride((head_dim + 15) / 16 * 16) {
    const std::int64_t held = (n + attention_chunk - 1) / attention_chunk * attention_chunk;
    keys.assign(static_cast<std::size_t>(held * stride), 0x7E00);  // NaN behind the end: must not be seen
    values.assign(static_cast<std::size_t>(held * stride), 0x7E00);
    const auto k = random_tokens(n, head_dim, 2), v = random_tokens(n, head_dim, 3);
    for (std::int64_t p = 0; p < n; ++p) {
      ops.store_f16(&k[static_cast<std::size_t>(p * head_dim)], head_dim, &keys[key(p, 0)], key_block);
      std::fill_n(&values[static_cast<std::size_t>(p * stride)], stride, std::uint16_t{0});
      ops.store_f16(&v[static_cast<std::size_t>(p * head_dim)], head_dim, &values[static_cast<std::size_t>(p * stride)], 1);
    }
    k16.resize(keys.size());
    v16.resize(values.size());
    dequantizer(TensorType::F16)(keys.data(), k16.data(), held * stride);
    dequantizer(TensorType::F16)(values.data(), v16.data(), held * stride);
  }
  [[nodiscard]] std::size_t key(std::int64_t p, std::int64_t i) const {
    return static_cast<std::size_t>((p / key_block * stride + i) * key_block + p % key_block);
  }
  [[nodiscard]] KvHead view() const { return {keys.data(), values.data(), stride}; }
  std::int64_t stride;
  std::vector<std::uint16_t> keys, values;
  std::vector<float> k16, v16;
};

/// softmax(0.25 q.k) v of positions [first, last) in double.
std::vector<double> attention_in_double(const Cache& cache, std::span<const float> q, std::int64_t first, std::int64_t last) {
  std::vector<double> out(q.size(), 0.0);
  double total = 0;
  for (std::int64_t p = first; p < last; ++p) {
    double dot = 0;
    for (std::size_t i = 0; i < q.size(); ++i)
      dot += static_cast<double>(q[i]) * static_cast<double>(cache.k16[cache.key(p, static_cast<std::int64_t>(i))]);
    const double weight = std::exp(0.25 * dot);
    total += weight;
    for (std::size_t i = 0; i < q.size(); ++i)
      out[i] += weight * static_cast<double>(cache.v16[static_cast<std::size_t>(p * cache.stride) + i]);
  }
  for (double& v : out) v /= total;
  return out;
}

struct Range {
  std::int64_t first, last;
};
constexpr Range kRanges[] = {{0, 1}, {0, 64}, {0, 65}, {0, 200}, {70, 199}, {130, 131}, {1, 17}};

TEST(Attention, AgreesWithSoftmaxInDoubleAndARowDoesNotSeeItsNeighbours) {
  std::size_t compared = 0;
  for (const std::int64_t head_dim : {48, 10, 80, 128}) {
    std::vector<float> reference;  // of the first variant
    for (const IsaVariant& isa : isa_variants()) {
      if (!isa.runs_here) continue;
      const OpKernels& ops = isa.table->ops;
      const Cache cache(ops, 200, head_dim);
      const KvHead head = cache.view();
      constexpr std::int64_t n_rows = std::size(kRanges);
      const auto q = random_tokens(n_rows, head_dim, 1);
      std::vector<float> out(static_cast<std::size_t>(n_rows * head_dim + 1), kNan), alone = out;
      std::vector<AttentionRow> rows;
      for (std::int64_t r = 0; r < n_rows; ++r)
        rows.push_back({&q[static_cast<std::size_t>(r * head_dim)], &out[static_cast<std::size_t>(r * head_dim)], kRanges[r].first, kRanges[r].last});
      ops.attention(rows.data(), n_rows, &head, head_dim, 0.25F);
      for (std::int64_t r = 0; r < n_rows; ++r) {
        const auto want = attention_in_double(cache, std::span(rows[static_cast<std::size_t>(r)].q, static_cast<std::size_t>(head_dim)), kRanges[r].first, kRanges[r].last);
        for (std::size_t i = 0; i < want.size(); ++i, ++compared)
          EXPECT_TRUE(std::fabs(static_cast<double>(rows[static_cast<std::size_t>(r)].out[i]) - want[i]) <= 2e-6) << isa.name << " row " << r;
        AttentionRow one = rows[static_cast<std::size_t>(r)];
        one.out = &alone[static_cast<std::size_t>(r * head_dim)];
        ops.attention(&one, 1, &head, head_dim, 0.25F);
      }
      EXPECT_EQ(std::memcmp(alone.data(), out.data(), static_cast<std::size_t>(n_rows * head_dim) * 4), 0) << isa.name;
      EXPECT_TRUE(std::isnan(out.back())) << "wrote past its row";
      if (reference.empty()) reference = out;
      EXPECT_EQ(std::memcmp(reference.data(), out.data(), static_cast<std::size_t>(n_rows * head_dim) * 4), 0) << isa.name;
    }
  }
  EXPECT_GT(compared, 1000U);
}

TEST(Attention, ANanInKeyOrValueReachesTheRowsThatSeeIt) {
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    for (const bool in_key : {true, false}) {
      Cache cache(isa.table->ops, 100, 32);
      (in_key ? cache.keys[cache.key(5, 3)] : cache.values[static_cast<std::size_t>(5 * cache.stride + 7)]) = 0x7E00;
      const KvHead head = cache.view();
      const auto q = random_tokens(1, 32, 1);
      std::vector<float> out(32, 0.0F);
      AttentionRow row{q.data(), out.data(), 0, 100};
      isa.table->ops.attention(&row, 1, &head, 32, 0.25F);
      EXPECT_TRUE(std::isnan(out[7])) << isa.name;
    }
  }
}

}  // namespace
}  // namespace apr::kernels
