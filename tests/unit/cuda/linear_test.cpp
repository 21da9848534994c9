// The matrix kernels and what feeds them, emulated, against sums in double; and one column against eight, bit for bit.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/kernels/cuda_emulator.h"
#include "tests/support/cuda_data.h"
#include "tests/support/cuda_memory.h"

namespace apr::kernels::cuda {
namespace {

using test::CudaActivations;
using test::CudaBuffer;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr DeviceShape kSmall{3, 101376};  // three multiprocessors: blocks take several units

struct TestMatrix {
  test::WeightRows rows;
  CudaBuffer<std::uint8_t> tiles;
  CudaBuffer<float> bias;
  TensorType type;
  std::int32_t n_rows;

  static std::vector<std::uint8_t> in_tiles(TensorType type, const test::WeightRows& rows, std::int32_t n_rows,
                                            std::int32_t n_cols) {
    std::vector<std::uint8_t> bytes(tiles_bytes(type, n_rows, n_cols));
    repack_tiles(type, rows.bytes.data(), rows.row_stride, n_rows, n_cols, bytes);
    return bytes;
  }
  TestMatrix(Emulator& emulator, TensorType of, std::int32_t height, std::int32_t n_cols, unsigned seed)
      : rows(of, height, n_cols, seed),
        tiles(emulator, "weights", in_tiles(of, rows, height, n_cols)),
        bias(emulator, "bias", test::random_floats(static_cast<std::size_t>(height), seed + 1)),
        type(of),
        n_rows(height) {}
  [[nodiscard]] Matrix view(std::int32_t out_offset, bool with_bias) const {
    return {tiles.address(), with_bias ? bias.address() : 0, static_cast<std::int32_t>(type), n_rows, out_offset, 0};
  }
};

/// Row `row` times column `column` in double, from the activations as they are after quantisation (or as f32 for float
/// tiles), and the size of its terms.
struct Expected {
  double value = 0, size = 0;
};
Expected dot(const TestMatrix& matrix, CudaActivations& in, std::int32_t n_cols, std::int32_t row,
             std::int32_t column) {
  Expected sum;
  const bool floats = find_type(matrix.type)->block_elements == 1;
  for (std::int32_t i = 0; i < n_cols; ++i) {
    const auto at = static_cast<std::size_t>(column * in.stride + i);
    const double x =
        floats ? static_cast<double>(in.x[at]) : static_cast<double>(in.q[at]) * static_cast<double>(in.d[at / 32]);
    const double term = static_cast<double>(matrix.rows.values[static_cast<std::size_t>(row * n_cols + i)]) * x;
    sum.value += term;
    sum.size += std::abs(term);
  }
  return sum;
}

class Linear : public testing::TestWithParam<TensorType> {};

struct Shape {
  std::int32_t n_rows, n_cols;
};
std::vector<Shape> shapes(TensorType type) {
  const std::uint32_t block = find_type(type)->block_elements;
  if (block == 256) return {{16, 256}, {33, 512}, {100, 2560}};
  if (block == 32) return {{16, 256}, {33, 352}, {100, 2336}};
  return {{16, 256}, {33, 300}, {20, 2311}};
}

TEST_P(Linear, OneColumnIsTheSumInDoubleAndEightColumnsAreTheSameBits) {
  for (const Shape shape : shapes(GetParam())) {
    constexpr std::int32_t n_columns = 11;
    Emulator emulator;
    const TestMatrix matrix(emulator, GetParam(), shape.n_rows, shape.n_cols, 11);
    CudaBuffer<float> x(emulator, "x", test::random_floats(static_cast<std::size_t>(shape.n_cols * n_columns), 5),
                        MemoryKind::Mutable);
    CudaBuffer<float> norm(emulator, "norm", test::random_floats(static_cast<std::size_t>(shape.n_cols), 6));
    CudaActivations ready(emulator, "ready", shape.n_cols, n_columns);
    emulator.run(
        launch_prepare({x.address(), norm.address(), ready.view(), shape.n_cols, shape.n_cols, n_columns, 1e-5F}));
    CudaBuffer<float> out8(emulator, "out8", static_cast<std::size_t>(shape.n_rows * n_columns));
    LinearParams p{};
    p.matrix[0] = matrix.view(0, true);
    p.n_matrices = 1;
    p.n_cols = shape.n_cols;
    p.n_columns = n_columns;
    p.ready = ready.view();
    p.out = out8.address();
    p.out_stride = shape.n_rows;
    p.x_stride = shape.n_cols;
    p.eps = 1e-5F;
    emulator.run(launch_linear(p, kSmall), {.seed = 2});
    for (std::int32_t column = 0; column < n_columns; ++column) {
      CudaBuffer<float> ready_out(emulator, "out1", static_cast<std::size_t>(shape.n_rows));
      CudaBuffer<float> norm_out(emulator, "out2", static_cast<std::size_t>(shape.n_rows));
      LinearParams one = p;
      one.n_columns = 1;
      const auto at = static_cast<Address>(column * ready.stride);
      one.ready = {
          p.ready.q + at, p.ready.d + at / 32 * 4, p.ready.s + at / 32 * 4, p.ready.x + at * 4, ready.stride, 0};
      one.out = ready_out.address();
      emulator.run(launch_linear(one, kSmall), {.seed = 3});
      one.input = LinearInput::Norm;
      one.x = x.address() + static_cast<Address>(column * shape.n_cols) * 4;
      one.norm_weight = norm.address();
      one.out = norm_out.address();
      emulator.run(launch_linear(one, kSmall), {.seed = 4});
      for (std::int32_t row = 0; row < shape.n_rows; ++row) {
        const auto r = static_cast<std::size_t>(row);
        Expected expected = dot(matrix, ready, shape.n_cols, row, column);
        expected.value += static_cast<double>(test::random_floats(r + 1, 12)[r]);
        const double error = std::abs(static_cast<double>(ready_out[r]) - expected.value);
        ASSERT_TRUE(error <= 1e-6 * expected.size + 1e-6)
            << ready_out[r] << " for " << expected.value << " row " << row;
        const float eight = out8[static_cast<std::size_t>(column * shape.n_rows + row)];
        ASSERT_EQ(std::bit_cast<std::uint32_t>(ready_out[r]), std::bit_cast<std::uint32_t>(eight))
            << row << ' ' << column;
        ASSERT_EQ(std::bit_cast<std::uint32_t>(norm_out[r]), std::bit_cast<std::uint32_t>(eight))
            << row << ' ' << column;
      }
    }
  }
}

/// One matrix of n_rows x n_cols on n_columns columns that are ready, into floats.
LinearParams product(const TestMatrix& matrix, const CudaActivations& ready, const CudaBuffer<float>& out,
                     std::int32_t n_cols, std::int32_t n_rows, std::int32_t n_columns) {
  LinearParams p{};
  p.matrix[0] = matrix.view(0, false);
  p.n_matrices = 1;
  p.n_cols = n_cols;
  p.n_columns = n_columns;
  p.ready = ready.view();
  p.out = out.address();
  p.out_stride = n_rows;
  return p;
}

TEST_P(Linear, ManyColumnsOfAPromptAreTheSumInDoubleAndTheSameBitsInEveryKernel) {
  const Shape shape = shapes(GetParam())[1];
  constexpr std::int32_t n_columns = 70;
  Emulator emulator;
  const TestMatrix matrix(emulator, GetParam(), shape.n_rows, shape.n_cols, 11);
  CudaBuffer<float> x(emulator, "x", test::random_floats(static_cast<std::size_t>(shape.n_cols * n_columns), 5),
                      MemoryKind::Mutable);
  CudaActivations ready(emulator, "ready", shape.n_cols, n_columns);
  emulator.run(launch_prepare({x.address(), 0, ready.view(), shape.n_cols, shape.n_cols, n_columns, 0}));
  std::vector<float> first;
  const bool floats = find_type(GetParam())->block_elements == 1;
  for (const auto& [n, kernel] : {std::pair{n_columns, KernelId::Linear64}, std::pair{41, KernelId::Linear64},
                                  std::pair{32, KernelId::Linear32}, std::pair{13, KernelId::Linear16}}) {
    // No column more than there are: one that does not exist is not read.
    CudaActivations some(emulator, "some", shape.n_cols, n);
    CudaBuffer<float> out(emulator, "out", static_cast<std::size_t>(shape.n_rows * n));
    std::copy_n(ready.q.host().begin(), some.q.host().size(), some.q.host().begin());
    std::copy_n(ready.d.host().begin(), some.d.host().size(), some.d.host().begin());
    std::copy_n(ready.s.host().begin(), some.s.host().size(), some.s.host().begin());
    std::copy_n(ready.x.host().begin(), some.x.host().size(), some.x.host().begin());
    const Launch launch = launch_linear_prompt(product(matrix, some, out, shape.n_cols, shape.n_rows, n), kSmall);
    EXPECT_EQ(launch.kernel, floats ? KernelId::Linear8 : kernel);
    emulator.run(launch, {.seed = static_cast<std::uint64_t>(n)});
    if (first.empty()) first = out.host();
    for (std::int32_t i = 0; i < shape.n_rows * n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(out[at]), std::bit_cast<std::uint32_t>(first[at])) << n << ' ' << i;
      if (n != n_columns) continue;
      const Expected expected = dot(matrix, ready, shape.n_cols, i % shape.n_rows, i / shape.n_rows);
      const double error = std::abs(static_cast<double>(out[at]) - expected.value);
      ASSERT_TRUE(error <= 1e-6 * expected.size + 1e-6) << out[at] << " for " << expected.value << " at " << i;
    }
  }
}

TEST_P(Linear, ANanInTheInputOrAWeightReachesTheResult) {
  const std::int32_t n_cols = 512, n_rows = 32;
  Emulator emulator;
  TestMatrix matrix(emulator, GetParam(), n_rows, n_cols, 21);
  for (std::int32_t n_columns : {1, 3}) {
    std::vector<float> values = test::random_floats(static_cast<std::size_t>(n_cols * n_columns), 7);
    values[static_cast<std::size_t>(n_cols * (n_columns - 1) + 300)] = kNan;
    CudaBuffer<float> x(emulator, "x", values, MemoryKind::Mutable);
    CudaActivations ready(emulator, "ready", n_cols, n_columns);
    CudaBuffer<float> out(emulator, "out", std::vector<float>(static_cast<std::size_t>(n_rows * n_columns)),
                          MemoryKind::Mutable);
    emulator.run(launch_prepare({x.address(), 0, ready.view(), n_cols, n_cols, n_columns, 0}));
    emulator.run(launch_linear(product(matrix, ready, out, n_cols, n_rows, n_columns), kSmall));
    for (std::int32_t i = 0; i < n_rows * n_columns; ++i) {
      EXPECT_EQ(std::isnan(out[static_cast<std::size_t>(i)]), i >= n_rows * (n_columns - 1)) << i;
    }
  }
}

double activated(LinearOutput kind, double gate, double up) {
  const double inner = std::sqrt(2 / 3.14159265358979323846) * (gate + 0.044715 * gate * gate * gate);
  return kind == LinearOutput::SiluMul ? gate / (1 + std::exp(-gate)) * up : 0.5 * gate * (1 + std::tanh(inner)) * up;
}

TEST_P(Linear, GatedPairIsActivatedAndQuantised) {
  const std::int32_t n_cols = 512;
  for (const std::int32_t n_rows : {64, 90}) {
    for (const LinearOutput kind : {LinearOutput::SiluMul, LinearOutput::GeluMul}) {
      Emulator emulator;
      // Two types in one launch: the pair of a mixed file.
      const TensorType other = GetParam() == TensorType::Q6_K ? TensorType::Q4_K : TensorType::Q6_K;
      TestMatrix gate(emulator, GetParam(), n_rows, n_cols, 31), up(emulator, other, n_rows, n_cols, 32);
      CudaBuffer<float> x(emulator, "x", test::random_floats(static_cast<std::size_t>(n_cols * 2), 8, 0.05F),
                          MemoryKind::Mutable);
      CudaActivations ready(emulator, "ready", n_cols, 2);
      CudaActivations out2(emulator, "out2", n_rows, 2), out1(emulator, "out1", n_rows, 1);
      emulator.run(launch_prepare({x.address(), 0, ready.view(), n_cols, n_cols, 2, 0}));
      LinearParams p{};
      p.matrix[0] = gate.view(0, true);
      p.matrix[1] = up.view(0, true);
      p.n_matrices = 2;
      p.n_cols = n_cols;
      p.n_columns = 2;
      p.output = kind;
      p.ready = ready.view();
      p.ready_out = out2.view();
      emulator.run(launch_linear(p, kSmall), {.seed = 9});
      p.n_columns = 1;
      p.input = LinearInput::Plain;
      p.x = x.address();
      p.ready_out = out1.view();
      emulator.run(launch_linear(p, kSmall), {.seed = 10});
      for (std::int32_t row = 0; row < n_rows; ++row) {
        const auto r = static_cast<std::size_t>(row);
        Expected g = dot(gate, ready, n_cols, row, 0), u = dot(up, ready, n_cols, row, 0);
        g.value += static_cast<double>(gate.bias[r]);
        u.value += static_cast<double>(up.bias[r]);
        const double expected = activated(kind, g.value, u.value);
        const double error = std::abs(static_cast<double>(out1.x[r]) - expected);
        ASSERT_TRUE(error <= 2e-5 * (1 + g.size) * (1 + u.size)) << out1.x[r] << " for " << expected;
        ASSERT_EQ(std::bit_cast<std::uint32_t>(out1.x[r]), std::bit_cast<std::uint32_t>(out2.x[r])) << row;
        const double restored = static_cast<double>(out1.q[r]) * static_cast<double>(out1.d[r / 32]);
        ASSERT_TRUE(std::abs(restored - static_cast<double>(out1.x[r])) <= 0.51 * static_cast<double>(out1.d[r / 32]));
        ASSERT_EQ(out1.q[r], out2.q[r]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Linear, testing::ValuesIn(test::kTileTypes),
                         [](const auto& test) { return std::string(apr::name(test.param)); });

TEST(LinearMix, ThreeMatricesOfDifferentTypesAndHeightsShareALaunch) {
  const std::int32_t n_cols = 768, heights[3] = {72, 24, 20};
  const TensorType types[3] = {TensorType::Q4_K, TensorType::F16, TensorType::Q6_K};
  Emulator emulator;
  std::vector<std::unique_ptr<TestMatrix>> matrices;
  CudaBuffer<float> x(emulator, "x", test::random_floats(static_cast<std::size_t>(n_cols), 8), MemoryKind::Mutable);
  CudaActivations ready(emulator, "ready", n_cols, 1);
  CudaBuffer<float> residual(emulator, "residual", test::random_floats(116, 9), MemoryKind::Mutable),
      out(emulator, "out", 116);
  emulator.run(launch_prepare({x.address(), 0, ready.view(), n_cols, n_cols, 1, 0}));
  LinearParams p{};
  std::int32_t offset = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    matrices.push_back(
        std::make_unique<TestMatrix>(emulator, types[i], heights[i], n_cols, static_cast<unsigned>(40 + i)));
    p.matrix[i] = matrices[i]->view(offset, false);
    offset += heights[i];
  }
  p.n_matrices = 3;
  p.n_cols = n_cols;
  p.n_columns = 1;
  p.ready = ready.view();
  p.output = LinearOutput::Residual;
  p.residual = residual.address();
  p.out = out.address();
  p.out_stride = 116;
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    std::ranges::fill(out.host(), kNan);
    emulator.run(launch_linear(p, kSmall), {.seed = seed});
    std::size_t at = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::int32_t row = 0; row < heights[i]; ++row, ++at) {
        const Expected expected = dot(*matrices[i], ready, n_cols, row, 0);
        const double error =
            std::abs(static_cast<double>(out[at]) - expected.value - static_cast<double>(residual[at]));
        ASSERT_TRUE(error <= 1e-6 * expected.size + 1e-6) << at;
      }
    }
  }
}

TEST(LinearMix, APromptNeedsSharedMemoryForItsColumns) {
  LinearParams p{};
  p.n_matrices = 1;
  p.matrix[0] = {0, 0, static_cast<std::int32_t>(TensorType::Q4_K), 256, 0, 0};
  p.n_cols = 256;
  p.n_columns = 64;
  // Two tiles at once on a small device, more where there is room and work for it.
  const Launch small = launch_linear_prompt(p, {.multiprocessors = 16, .shared_bytes = 65536});
  const Launch large = launch_linear_prompt(p, {.multiprocessors = 16, .shared_bytes = 232448});
  EXPECT_EQ(small.grid[0], 4U);
  EXPECT_EQ(large.grid[0], 16U);
  EXPECT_LE(small.shared_bytes, 49152U);
  EXPECT_THROW((void)launch_linear_prompt(p, {.multiprocessors = 16, .shared_bytes = 16384}), Error);
}

TEST(LinearMix, ManyRowTilesShareABlockAndTheLastBlockLacksSome) {
  const std::int32_t n_cols = 512;
  for (const std::int32_t n_rows : {16 * 24 + 5, 16 * 48 + 3}) {  // two and four row tiles a block, and one left over
    for (const std::int32_t n_columns : {1, 3, 34}) {
      Emulator emulator;
      const TestMatrix matrix(emulator, TensorType::Q4_K, n_rows, n_cols, 61);
      CudaBuffer<float> x(emulator, "x", test::random_floats(static_cast<std::size_t>(n_cols * n_columns), 8),
                          MemoryKind::Mutable);
      CudaActivations ready(emulator, "ready", n_cols, n_columns);
      CudaBuffer<float> out(emulator, "out", static_cast<std::size_t>(n_rows * n_columns));
      emulator.run(launch_prepare({x.address(), 0, ready.view(), n_cols, n_cols, n_columns, 0}));
      emulator.run(launch_linear_prompt(product(matrix, ready, out, n_cols, n_rows, n_columns), kSmall), {.seed = 5});
      for (std::int32_t i = 0; i < n_rows * n_columns; ++i) {
        const Expected expected = dot(matrix, ready, n_cols, i % n_rows, i / n_rows);
        const double error = std::abs(static_cast<double>(out[static_cast<std::size_t>(i)]) - expected.value);
        ASSERT_TRUE(error <= 1e-6 * expected.size + 1e-6) << i;
      }
    }
  }
}

TEST(LinearMix, AGatedPairOfAPromptIsActivatedAndQuantised) {
  const std::int32_t n_cols = 512, n_rows = 90;
  for (const std::int32_t n_columns : {11, 37}) {
    Emulator emulator;
    TestMatrix gate(emulator, TensorType::Q4_K, n_rows, n_cols, 31), up(emulator, TensorType::Q6_K, n_rows, n_cols, 32);
    CudaBuffer<float> x(emulator, "x", test::random_floats(static_cast<std::size_t>(n_cols * n_columns), 8, 0.05F),
                        MemoryKind::Mutable);
    CudaActivations ready(emulator, "ready", n_cols, n_columns), out(emulator, "out", n_rows, n_columns);
    emulator.run(launch_prepare({x.address(), 0, ready.view(), n_cols, n_cols, n_columns, 0}));
    LinearParams p{};
    p.matrix[0] = gate.view(0, true);
    p.matrix[1] = up.view(0, true);
    p.n_matrices = 2;
    p.n_cols = n_cols;
    p.n_columns = n_columns;
    p.output = LinearOutput::SiluMul;
    p.ready = ready.view();
    p.ready_out = out.view();
    emulator.run(launch_linear_prompt(p, kSmall), {.seed = 9});
    for (std::int32_t i = 0; i < n_rows * n_columns; ++i) {
      const std::int32_t row = i % n_rows, column = i / n_rows;
      Expected g = dot(gate, ready, n_cols, row, column), u = dot(up, ready, n_cols, row, column);
      g.value += static_cast<double>(gate.bias[static_cast<std::size_t>(row)]);
      u.value += static_cast<double>(up.bias[static_cast<std::size_t>(row)]);
      const auto at = static_cast<std::size_t>(column * out.stride + row);
      const double error = std::abs(static_cast<double>(out.x[at]) - activated(p.output, g.value, u.value));
      ASSERT_TRUE(error <= 2e-5 * (1 + g.size) * (1 + u.size)) << out.x[at] << " at " << i;
      const auto d = static_cast<double>(out.d[at / 32]);
      ASSERT_TRUE(std::abs(static_cast<double>(out.q[at]) * d - static_cast<double>(out.x[at])) <= 0.51 * d) << i;
    }
  }
}

TEST(Prepare, QuantisesAsTheCpuDoesAndNormsInTolerance) {
  const std::int32_t n_cols = 544, n_columns = 3;
  Emulator emulator;
  std::vector<float> values = test::random_floats(static_cast<std::size_t>(n_cols * n_columns), 1);
  for (std::size_t i = 64; i < 96; ++i) values[i] = 0;         // a group of zeros
  for (std::size_t i = 96; i < 128; ++i) values[i] *= 1e-42F;  // subnormals
  values[200] = std::numeric_limits<float>::infinity();
  CudaBuffer<float> x(emulator, "x", values, MemoryKind::Mutable);
  CudaActivations out(emulator, "out", n_cols, n_columns);
  std::ranges::fill(out.q.host(), std::int8_t{99});
  emulator.run(launch_prepare({x.address(), 0, out.view(), n_cols, n_cols, n_columns, 0}));
  std::vector<std::int8_t> q(static_cast<std::size_t>(n_cols));
  std::vector<float> d(q.size() / 32), s(d.size());
  std::vector<std::int16_t> sums(q.size() / 16);
  for (std::int32_t column = 0; column < n_columns; ++column) {
    const auto at = static_cast<std::size_t>(column * out.stride);
    active().ops.quantize_activation(&values[static_cast<std::size_t>(column * n_cols)], n_cols / 32, 1, q.data(),
                                     d.data(), s.data(), sums.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(out.stride); ++i) {
      ASSERT_EQ(out.q[at + i], i < q.size() ? q[i] : 0) << i;
      const float expected_d = i < q.size() ? d[i / 32] : 0.0F, expected_s = i < q.size() ? s[i / 32] : 0.0F;
      ASSERT_EQ(std::isnan(out.d[(at + i) / 32]), std::isnan(expected_d));
      if (std::isnan(expected_d)) continue;
      ASSERT_EQ(out.d[(at + i) / 32], expected_d);
      ASSERT_EQ(out.s[(at + i) / 32], expected_s);
    }
  }
  CudaBuffer<float> y(emulator, "y", test::random_floats(static_cast<std::size_t>(n_cols), 2), MemoryKind::Mutable);
  CudaBuffer<float> weight(emulator, "weight", test::random_floats(static_cast<std::size_t>(n_cols), 3));
  CudaBuffer<float> to(emulator, "to", test::random_floats(static_cast<std::size_t>(n_cols), 4), MemoryKind::Mutable);
  const std::vector<float> before = to.host();
  emulator.run(launch_norm_add({to.address(), y.address(), weight.address(), n_cols, n_cols, 1, 1e-5F}));
  double squares = 0;
  for (const float value : y.host()) squares += static_cast<double>(value) * static_cast<double>(value);
  const double factor = 1 / std::sqrt(squares / n_cols + 1e-5);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double expected =
        static_cast<double>(before[i]) + static_cast<double>(y[i]) * factor * static_cast<double>(weight[i]);
    ASSERT_TRUE(std::abs(static_cast<double>(to[i]) - expected) <= 1e-6 * (1 + std::abs(expected)));
  }
}

}  // namespace
}  // namespace apr::kernels::cuda
