// The panel kernels: every type and instruction set against sums in double, and against each other bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "apr/core/tensor_type.h"
#include "apr/kernels/dispatch.h"
#include "apr/kernels/ops.h"

namespace apr::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct QuantizedRows {
  std::vector<float> x, d, s;
  std::vector<std::int8_t> q;
  std::vector<std::int16_t> sums;
  std::int64_t n_cols;
  [[nodiscard]] Activation view() const { return {x.data(), q.data(), d.data(), s.data(), sums.data(), n_cols}; }
};

QuantizedRows quantize_rows(const OpKernels& ops, std::vector<float> x, std::int64_t n_cols) {
  const auto n_tokens = static_cast<std::int64_t>(x.size()) / n_cols;
  QuantizedRows rows{std::move(x), {}, {}, {}, {}, n_cols};
  rows.d.assign(rows.x.size() / 32, kNan);
  rows.s = rows.d;
  rows.q.assign(rows.x.size(), 99);
  rows.sums.assign(rows.x.size() / 16, 9999);
  for (std::int64_t t = 0; t < n_tokens; ++t)
    ops.quantize_activation(&rows.x[static_cast<std::size_t>(t * n_cols)], n_cols, &rows.q[static_cast<std::size_t>(t * n_cols)],
                            &rows.d[static_cast<std::size_t>(t * n_cols / 32)], &rows.s[static_cast<std::size_t>(t * n_cols / 32)],
                            &rows.sums[static_cast<std::size_t>(t * n_cols / 16)]);
  return rows;
}

/// n_rows rows of a type, as the file has them: quantised normals, so that every scale and bit plane is in use.
std::vector<std::uint8_t> random_rows(TensorType type, std::int64_t n_rows, std::int64_t n_cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.02F, 1.0F);
  std::vector<float> values(static_cast<std::size_t>(n_rows * n_cols));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = normal(random) * (1.0F + static_cast<float>(i / 16 % 5));
  const TypeInfo& info = *find_type(type);
  const std::int64_t n_blocks = n_rows * n_cols / info.block_elements;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(n_blocks * info.block_bytes));
  const QuantizeFn quantize = quantizer(type);
  if (quantize == nullptr) return {};
  quantize(values.data(), bytes.data(), n_blocks);
  return bytes;
}

std::vector<float> dequantized(TensorType type, std::span<const std::uint8_t> bytes) {
  const TypeInfo& info = *find_type(type);
  const std::size_t n_blocks = bytes.size() / info.block_bytes;
  std::vector<float> values(n_blocks * info.block_elements, kNan);
  dequantizer(type)(bytes.data(), values.data(), static_cast<std::int64_t>(n_blocks));
  return values;
}

std::vector<float> random_tokens(std::int64_t n_tokens, std::int64_t n_cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(n_tokens * n_cols));
  for (float& v : x) v = normal(random);
  return x;
}

struct Product {
  std::vector<float> out;  // [n_tokens][n_rows + 1], the last column poisoned: it must stay
};

/// All rows by panels of this variant.
Product multiply(const OpKernels& ops, TensorType type, std::span<const std::uint8_t> bytes, std::int64_t n_rows,
                 const QuantizedRows& x) {
  const PanelKernels& panel = ops.panel[static_cast<std::size_t>(type)];
  const auto n_tokens = static_cast<std::int64_t>(x.x.size()) / x.n_cols;
  const auto row_bytes = static_cast<std::int64_t>(bytes.size()) / n_rows;
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(x.n_cols / panel.unit_cols * panel.unit_bytes), 0xAA);
  Product product{std::vector<float>(static_cast<std::size_t>(n_tokens * (n_rows + 1)), kNan)};
  const Activation view = x.view();
  for (std::int64_t r = 0; r < n_rows; r += ops.lanes) {
    const int n = static_cast<int>(std::min<std::int64_t>(ops.lanes, n_rows - r));
    panel.repack(bytes.data() + r * row_bytes, row_bytes, n, x.n_cols, packed.data());
    panel.multiply(packed.data(), &view, n_tokens, n, product.out.data() + r, n_rows + 1);
  }
  return product;
}

std::vector<TensorType> panel_types(const OpKernels& ops) {
  std::vector<TensorType> types;
  for (const TypeInfo& info : tensor_types())
    if (static_cast<int>(info.type) < n_panel_types && ops.panel[static_cast<std::size_t>(info.type)].unit_cols != 0)
      types.push_back(info.type);
  return types;
}

TEST(Panel, EveryVariantHasTheSameTypesAndTheListedOnes) {
  for (const IsaVariant& isa : isa_variants()) EXPECT_EQ(panel_types(isa.table->ops).size(), 16U) << isa.name;
}

// The oracle is the sum in double of (dequantised weight) * (d * q of the activation): what the integer path means.
TEST(Panel, EveryTypeAgreesWithASumInDouble) {
  constexpr std::int64_t n_cols = 512, n_rows = 37, n_tokens = 7;
  std::size_t compared = 0;
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    for (const TensorType type : panel_types(isa.table->ops)) {
      const auto bytes = random_rows(type, n_rows, n_cols, 7);
      ASSERT_FALSE(bytes.empty()) << name(type);
      const auto weights = dequantized(type, bytes);
      const QuantizedRows x = quantize_rows(isa.table->ops, random_tokens(n_tokens, n_cols, 11), n_cols);
      const Product product = multiply(isa.table->ops, type, bytes, n_rows, x);
      const bool integer = isa.table->ops.panel[static_cast<std::size_t>(type)].integer;
      for (std::int64_t t = 0; t < n_tokens; ++t) {
        for (std::int64_t r = 0; r < n_rows; ++r) {
          double sum = 0, magnitude = 0;
          for (std::int64_t i = 0; i < n_cols; ++i) {
            const auto at = static_cast<std::size_t>(t * n_cols + i);
            const double a = integer ? static_cast<double>(x.d[at / 32]) * x.q[at] : static_cast<double>(x.x[at]);
            const double w = static_cast<double>(weights[static_cast<std::size_t>(r * n_cols + i)]);
            sum += a * w;
            magnitude += std::fabs(a * w);
          }
          const double error = std::fabs(static_cast<double>(product.out[static_cast<std::size_t>(t * (n_rows + 1) + r)]) - sum);
          ASSERT_TRUE(error <= 3e-6 * magnitude) << isa.name << ' ' << name(type) << " token " << t << " row " << r;
          ++compared;
        }
        ASSERT_TRUE(std::isnan(product.out[static_cast<std::size_t>(t * (n_rows + 1) + n_rows)])) << "wrote past its rows";
      }
    }
  }
  EXPECT_GE(compared, 16U * 37U * 7U);
}

// int16 sums of AVX2 must not saturate: the largest weights against the largest activations, both signs.
TEST(Panel, ExtremeWeightsAndActivationsAreExact) {
  constexpr std::int64_t n_cols = 256, n_rows = 16;
  for (const TensorType type : panel_types(isa_variants().front().table->ops)) {
    const TypeInfo& info = *find_type(type);
    if (info.block_elements == 1) continue;
    for (const std::uint8_t fill : {std::uint8_t{0xFF}, std::uint8_t{0x00}, std::uint8_t{0x80}, std::uint8_t{0x7F}}) {
      std::vector<std::uint8_t> bytes(static_cast<std::size_t>(n_rows * n_cols / info.block_elements * info.block_bytes), fill);
      for (std::size_t b = 0; b < bytes.size(); b += info.block_bytes)
        for (const BlockField& field : info.fields)
          if (field.encoding == FieldEncoding::F16) std::memcpy(&bytes[b + field.offset], "\x00\x3c", 2);  // 1.0
          else if (field.encoding == FieldEncoding::E8M0) bytes[b + field.offset] = 127;
      const auto weights = dequantized(type, bytes);
      for (const float value : {127.0F, -127.0F}) {
        const QuantizedRows x =
            quantize_rows(isa_variants().front().table->ops, std::vector<float>(static_cast<std::size_t>(n_cols), value), n_cols);
        double sum = 0;
        for (std::int64_t i = 0; i < n_cols; ++i) sum += static_cast<double>(weights[static_cast<std::size_t>(i)]) * static_cast<double>(value);
        for (const IsaVariant& isa : isa_variants()) {
          if (!isa.runs_here) continue;
          const Product product = multiply(isa.table->ops, type, bytes, n_rows, x);
          EXPECT_TRUE(std::fabs(static_cast<double>(product.out[3]) - sum) <= 1e-6 * std::fabs(sum))
              << isa.name << ' ' << name(type) << " fill " << int{fill} << ": " << product.out[3] << " is not " << sum;
        }
      }
    }
  }
}

TEST(Panel, EveryVariantGivesTheSameBits) {
  const OpKernels& reference = isa_variants().front().table->ops;
  std::size_t compared = 0;
  for (const std::int64_t n_tokens : {1, 2, 3, 4, 5, 9}) {
    for (const TensorType type : panel_types(reference)) {
      constexpr std::int64_t n_cols = 768, n_rows = 21;
      const auto bytes = random_rows(type, n_rows, n_cols, static_cast<unsigned>(n_tokens));
      const auto tokens = random_tokens(n_tokens, n_cols, 5);
      const Product expected = multiply(reference, type, bytes, n_rows, quantize_rows(reference, tokens, n_cols));
      for (const IsaVariant& isa : isa_variants()) {
        if (!isa.runs_here || isa.table == isa_variants().front().table) continue;
        const Product got = multiply(isa.table->ops, type, bytes, n_rows, quantize_rows(isa.table->ops, tokens, n_cols));
        ASSERT_EQ(std::memcmp(got.out.data(), expected.out.data(), got.out.size() * 4), 0) << isa.name << ' ' << name(type);
        ++compared;
      }
    }
  }
  RecordProperty("comparisons", static_cast<int>(compared));
}

// The result of a token does not depend on the tokens that run with it.
TEST(Panel, ATokenAloneGivesTheSameBitsAsInABatch) {
  constexpr std::int64_t n_cols = 256, n_rows = 8, n_tokens = 7;
  for (const TensorType type : panel_types(active().ops)) {
    const auto bytes = random_rows(type, n_rows, n_cols, 3);
    const auto tokens = random_tokens(n_tokens, n_cols, 4);
    const Product batch = multiply(active().ops, type, bytes, n_rows, quantize_rows(active().ops, tokens, n_cols));
    for (std::size_t t = 0; t < n_tokens; ++t) {
      std::vector<float> one(tokens.begin() + static_cast<std::ptrdiff_t>(t * n_cols), tokens.begin() + static_cast<std::ptrdiff_t>((t + 1) * n_cols));
      const Product single = multiply(active().ops, type, bytes, n_rows, quantize_rows(active().ops, std::move(one), n_cols));
      ASSERT_EQ(std::memcmp(single.out.data(), &batch.out[t * (n_rows + 1)], n_rows * 4), 0) << name(type);
    }
  }
}

TEST(QuantizeActivation, RoundsToTheNearestStepAndKeepsNan) {
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    auto x = random_tokens(1, 128, 1);
    x[40] = kNan;
    x[70] = std::numeric_limits<float>::infinity();
    for (std::size_t i = 96; i < 128; ++i) x[i] = 0;
    const QuantizedRows rows = quantize_rows(isa.table->ops, x, 128);
    int sum = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      EXPECT_TRUE(std::fabs(static_cast<double>(x[i]) - static_cast<double>(rows.d[0]) * rows.q[i]) <= 0.5001 * static_cast<double>(rows.d[0]));
      sum += rows.q[i];
    }
    EXPECT_EQ(rows.sums[0] + rows.sums[1], sum);
    EXPECT_FLOAT_EQ(rows.s[0], rows.d[0] * static_cast<float>(sum));
    EXPECT_TRUE(std::isnan(rows.d[1]) && std::isnan(rows.s[1]));
    EXPECT_TRUE(std::isnan(rows.d[2]) && std::isnan(rows.s[2]));
    EXPECT_EQ(rows.d[3], 0.0F);
    EXPECT_EQ(rows.q[100], 0);
  }
}

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

TEST(AttentionRow, AgreesWithSoftmaxInDouble) {
  constexpr std::int64_t stride = 96, n = 200;
  for (const std::int64_t head_dim : {48, 10, 80})
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    const OpKernels& ops = isa.table->ops;
    const auto q = random_tokens(1, head_dim, 1);
    std::vector<std::uint16_t> keys(n * stride), values(n * stride);
    auto k = random_tokens(n, stride, 2);
    const auto v = random_tokens(n, stride, 3);
    for (std::size_t i = 0; i < k.size(); ++i)  // the padding of a row is zero
      if (static_cast<std::int64_t>(i) % stride >= head_dim) k[i] = 0;
    ops.store_f16(k.data(), n * stride, keys.data());
    ops.store_f16(v.data(), n * stride, values.data());
    std::vector<float> k16(keys.size()), v16(values.size());
    dequantizer(TensorType::F16)(keys.data(), k16.data(), n * stride);
    dequantizer(TensorType::F16)(values.data(), v16.data(), n * stride);
    const KvHead head{keys.data(), values.data(), stride};
    for (const auto& [first, last] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {0, 64}, {0, 65}, {0, 200}, {70, 199}}) {
      std::vector<double> weight;
      double total = 0;
      for (std::int64_t p = first; p < last; ++p) {
        double dot = 0;
        for (std::int64_t i = 0; i < head_dim; ++i)
          dot += static_cast<double>(q[static_cast<std::size_t>(i)]) * static_cast<double>(k16[static_cast<std::size_t>(p * stride + i)]);
        weight.push_back(std::exp(0.25 * dot));
        total += weight.back();
      }
      std::vector<float> out(static_cast<std::size_t>(head_dim), kNan);
      ops.attention(q.data(), &head, first, last, head_dim, 0.25F, out.data());
      for (std::int64_t i = 0; i < head_dim; ++i) {
        double want = 0;
        for (std::int64_t p = first; p < last; ++p)
          want += weight[static_cast<std::size_t>(p - first)] / total * static_cast<double>(v16[static_cast<std::size_t>(p * stride + i)]);
        EXPECT_TRUE(std::fabs(static_cast<double>(out[static_cast<std::size_t>(i)]) - want) <= 2e-6) << isa.name;
      }
    }
    keys[5 * stride] = 0x7E00;  // NaN
    std::vector<float> out(static_cast<std::size_t>(head_dim), 0);
    ops.attention(q.data(), &head, 0, 200, head_dim, 0.25F, out.data());
    EXPECT_TRUE(std::isnan(out[7]));
  }
}

}  // namespace
}  // namespace apr::kernels
