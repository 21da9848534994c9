// The panel kernels: every type and instruction set against sums in double, and against each other bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
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
#include "tests/support/random_tokens.h"

namespace apr::kernels {
namespace {

using test::random_tokens;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct QuantizedRows {
  std::vector<float> x, blocked, d, s;  // x: row after row; the others in blocks of tokens, as Activation has them
  std::vector<std::int8_t> q;
  std::vector<std::int16_t> sums;
  std::int64_t n_cols;
  int block_cols;
  [[nodiscard]] Activation view() const { return {blocked.data(), q.data(), d.data(), s.data(), sums.data(), n_cols}; }
  [[nodiscard]] std::int64_t n_tokens() const { return static_cast<std::int64_t>(x.size()) / n_cols; }
  /// Index of group g of token t.
  [[nodiscard]] std::size_t group(std::int64_t t, std::int64_t g) const {
    std::int64_t block = 0, width = block_width(n_tokens(), block_cols);
    for (; block + width <= t; width = block_width(n_tokens() - block, block_cols)) block += width;
    return static_cast<std::size_t>(block * (n_cols / 32) + g * width + t - block);
  }
};

QuantizedRows quantize_rows(const OpKernels& ops, std::vector<float> x, std::int64_t n_cols) {
  QuantizedRows rows{std::move(x), {}, {}, {}, {}, {}, n_cols, ops.block_cols};
  const auto room = static_cast<std::size_t>(block_room(rows.n_tokens(), ops.block_cols) * n_cols);
  rows.d.assign(room / 32, kNan);  // what stands in free places of a block reaches no token
  rows.s = rows.d;
  rows.blocked.assign(room, kNan);
  rows.q.assign(room, 99);
  rows.sums.assign(room / 16, 9999);
  for (std::int64_t t = 0, width = 0; t < rows.n_tokens(); t += width) {
    width = block_width(rows.n_tokens() - t, ops.block_cols);
    for (std::int64_t i = t; i < std::min(t + width, rows.n_tokens()); ++i) {
      const std::size_t at = rows.group(i, 0);
      ops.quantize_activation(&rows.x[static_cast<std::size_t>(i * n_cols)], n_cols / 32, static_cast<int>(width),
                              &rows.q[at * 32], &rows.d[at], &rows.s[at], &rows.sums[at * 2]);
      for (std::int64_t k = 0; k < n_cols; ++k)
        rows.blocked[static_cast<std::size_t>(t * n_cols + k * width + i - t)] =
            rows.x[static_cast<std::size_t>(i * n_cols + k)];
    }
  }
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

struct Product {
  std::vector<float> out;  // [n_tokens][n_rows + 1], the last column poisoned: it must stay
};

/// All rows by panels of this variant.
Product multiply(const OpKernels& ops, TensorType type, std::span<const std::uint8_t> bytes, std::int64_t n_rows,
                 const QuantizedRows& x) {
  const PanelKernels& panel = ops.panel[static_cast<std::size_t>(type)];
  const std::int64_t n_tokens = x.n_tokens();
  const auto row_bytes = static_cast<std::int64_t>(bytes.size()) / n_rows;
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(x.n_cols / panel.unit_cols * panel.unit_bytes), 0xAA);
  Product product{std::vector<float>(static_cast<std::size_t>(n_tokens * (n_rows + 1)), kNan)};
  const Activation view = x.view();
  for (std::int64_t r = 0; r < n_rows; r += ops.lanes) {
    const int n = static_cast<int>(std::min<std::int64_t>(ops.lanes, n_rows - r));
    panel.repack(bytes.data() + r * row_bytes, row_bytes, n, x.n_cols, packed.data());
    for (std::int64_t t = 0, width = 0; t < n_tokens; t += width) {
      width = block_width(n_tokens - t, ops.block_cols);
      panel.multiply(packed.data(), &view, t, static_cast<int>(width), static_cast<int>(std::min(width, n_tokens - t)),
                     n, &product.out[static_cast<std::size_t>(t * (n_rows + 1) + r)], n_rows + 1);
    }
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
  constexpr std::int64_t n_cols = 512, n_rows = 37, n_tokens = 31;
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
            const std::size_t group = x.group(t, i / 32);
            const double a =
                integer ? static_cast<double>(x.d[group]) * x.q[group * 32 + at % 32] : static_cast<double>(x.x[at]);
            const double w = static_cast<double>(weights[static_cast<std::size_t>(r * n_cols + i)]);
            sum += a * w;
            magnitude += std::fabs(a * w);
          }
          const double error =
              std::fabs(static_cast<double>(product.out[static_cast<std::size_t>(t * (n_rows + 1) + r)]) - sum);
          ASSERT_TRUE(error <= 3e-6 * magnitude) << isa.name << ' ' << name(type) << " token " << t << " row " << r;
          ++compared;
        }
        ASSERT_TRUE(std::isnan(product.out[static_cast<std::size_t>(t * (n_rows + 1) + n_rows)]))
            << "wrote past its rows";
      }
    }
  }
  EXPECT_GE(compared, 16U * 37U * 31U);
}

// int16 sums of AVX2 must not saturate: the largest weights against the largest activations, both signs.
TEST(Panel, ExtremeWeightsAndActivationsAreExact) {
  constexpr std::int64_t n_cols = 256, n_rows = 16;
  for (const TensorType type : panel_types(isa_variants().front().table->ops)) {
    const TypeInfo& info = *find_type(type);
    if (info.block_elements == 1) continue;
    for (const std::uint8_t fill : {std::uint8_t{0xFF}, std::uint8_t{0x00}, std::uint8_t{0x80}, std::uint8_t{0x7F}}) {
      std::vector<std::uint8_t> bytes(
          static_cast<std::size_t>(n_rows * n_cols / info.block_elements * info.block_bytes), fill);
      for (std::size_t b = 0; b < bytes.size(); b += info.block_bytes)
        for (const BlockField& field : info.fields)
          if (field.encoding == FieldEncoding::F16)
            std::memcpy(&bytes[b + field.offset], "\x00\x3c", 2);  // 1.0
          else if (field.encoding == FieldEncoding::E8M0)
            bytes[b + field.offset] = 127;
      const auto weights = dequantized(type, bytes);
      for (const float value : {127.0F, -127.0F}) {
        const QuantizedRows x = quantize_rows(isa_variants().front().table->ops,
                                              std::vector<float>(static_cast<std::size_t>(n_cols), value), n_cols);
        double sum = 0;
        for (std::int64_t i = 0; i < n_cols; ++i)
          sum += static_cast<double>(weights[static_cast<std::size_t>(i)]) * static_cast<double>(value);
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
  for (const std::int64_t n_tokens : {1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 31}) {
    for (const TensorType type : panel_types(reference)) {
      constexpr std::int64_t n_cols = 768, n_rows = 21;
      const auto bytes = random_rows(type, n_rows, n_cols, static_cast<unsigned>(n_tokens));
      const auto tokens = random_tokens(n_tokens, n_cols, 5);
      const Product expected = multiply(reference, type, bytes, n_rows, quantize_rows(reference, tokens, n_cols));
      for (const IsaVariant& isa : isa_variants()) {
        if (!isa.runs_here || isa.table == isa_variants().front().table) continue;
        const Product got =
            multiply(isa.table->ops, type, bytes, n_rows, quantize_rows(isa.table->ops, tokens, n_cols));
        ASSERT_EQ(std::memcmp(got.out.data(), expected.out.data(), got.out.size() * 4), 0)
            << isa.name << ' ' << name(type);
        ++compared;
      }
    }
  }
  RecordProperty("comparisons", static_cast<int>(compared));
}

// The result of a token does not depend on the tokens that run with it.
TEST(Panel, ATokenAloneGivesTheSameBitsAsInABatch) {
  constexpr std::int64_t n_cols = 256, n_rows = 8, n_tokens = 29;
  for (const TensorType type : panel_types(active().ops)) {
    const auto bytes = random_rows(type, n_rows, n_cols, 3);
    const auto tokens = random_tokens(n_tokens, n_cols, 4);
    const Product batch = multiply(active().ops, type, bytes, n_rows, quantize_rows(active().ops, tokens, n_cols));
    for (std::size_t t = 0; t < n_tokens; ++t) {
      std::vector<float> one(tokens.begin() + static_cast<std::ptrdiff_t>(t * n_cols),
                             tokens.begin() + static_cast<std::ptrdiff_t>((t + 1) * n_cols));
      const Product single =
          multiply(active().ops, type, bytes, n_rows, quantize_rows(active().ops, std::move(one), n_cols));
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
      EXPECT_TRUE(std::fabs(static_cast<double>(x[i]) - static_cast<double>(rows.d[0]) * rows.q[i]) <=
                  0.5001 * static_cast<double>(rows.d[0]));
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

}  // namespace
}  // namespace apr::kernels
