// Attention, rotation, head norms and the cache, emulated, against direct computation in double.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "apr/core/error.h"
#include "apr/kernels/cuda_emulator.h"
#include "apr/kernels/dispatch.h"
#include "tests/support/cuda_memory.h"

namespace apr::kernels::cuda {
namespace {

using test::CudaActivations;
using test::CudaBuffer;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  std::int32_t n_heads, n_kv_heads, head_dim, n_rot, adjacent, window, n_splits;
  bool norms;
};

double half(std::uint16_t bits) {
  float out = 0;
  dequantizer(TensorType::F16)(&bits, &out, 1);
  return static_cast<double>(out);
}
std::uint16_t to_half(double value) {
  const auto x = static_cast<float>(value);
  std::uint16_t bits = 0;
  quantizer(TensorType::F16)(&x, &bits, 1);
  return bits;
}

/// One layer's cache and the heads of some columns.
class Layer {
 public:
  Layer(Emulator& emulator, const Shape& shape, std::int32_t n_ctx, std::vector<Column> of)
      : shape_(shape),
        n_ctx_(n_ctx),
        width_((shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim),
        original_(test::random_floats(static_cast<std::size_t>(width_) * of.size(), 3)),
        columns(emulator, "columns", of, MemoryKind::Mutable),
        qkv(emulator, "qkv", original_, MemoryKind::Mutable),
        q_norm(emulator, "q_norm", test::random_floats(static_cast<std::size_t>(shape.head_dim), 4)),
        k_norm(emulator, "k_norm", test::random_floats(static_cast<std::size_t>(shape.head_dim), 5)),
        frequencies(static_cast<std::size_t>(shape.n_rot / 2)),
        k_cache(emulator, "k_cache", cache(2), MemoryKind::Mutable),
        v_cache(emulator, "v_cache", cache(9), MemoryKind::Mutable),
        coarse(emulator, "coarse", tables().coarse),
        fine(emulator, "fine", tables().fine),
        out(emulator, "out", shape.n_heads * shape.head_dim, static_cast<std::int32_t>(of.size())) {
    std::ranges::fill(out.x.host(), kNan);
  }

  [[nodiscard]] HeadParams head() const {
    return {qkv.address(),
            columns.address(),
            shape_.norms ? q_norm.address() : 0,
            shape_.norms ? k_norm.address() : 0,
            coarse.address(),
            fine.address(),
            k_cache.address(),
            v_cache.address(),
            width_,
            static_cast<std::int32_t>(original_.size()) / width_,
            shape_.n_heads,
            shape_.n_kv_heads,
            shape_.head_dim,
            n_ctx_,
            shape_.n_rot,
            shape_.adjacent,
            1e-6F,
            0};
  }
  void run(Emulator& emulator, bool fused, std::uint64_t seed) {
    AttentionParams p{};
    p.head = head();
    p.out = out.view();
    p.n_splits = shape_.n_splits;
    p.window = shape_.window;
    p.fused = fused ? 1 : 0;
    p.scale = 0.3F;
    CudaBuffer<float> partial(emulator, "partial", attention_partial_elements(p));
    CudaBuffer<std::uint32_t> tickets(emulator, "tickets", std::vector<std::uint32_t>(64), MemoryKind::Mutable);
    p.partial = partial.address();
    p.tickets = tickets.address();
    const Launch launch = launch_attention(p, {.multiprocessors = 132, .shared_bytes = 200000});
    EXPECT_TRUE(launch.early);
    emulator.run(launch, {.seed = seed});
    for (const std::uint32_t ticket : tickets.host())
      ASSERT_EQ(ticket, 0u) << "tickets must be zero for the next launch";
  }

  /// Head `head` of a column after norm and rotation.
  [[nodiscard]] std::vector<double> finished(std::size_t column, std::int32_t head) {
    std::vector<double> x(static_cast<std::size_t>(shape_.head_dim));
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<double>(
          original_[column * static_cast<std::size_t>(width_) + static_cast<std::size_t>(head * shape_.head_dim) + i]);
    }
    if (head >= shape_.n_heads + shape_.n_kv_heads) return x;
    if (shape_.norms) {
      double squares = 0;
      for (const double value : x) squares += value * value;
      const double factor = 1 / std::sqrt(squares / shape_.head_dim + 1e-6);
      CudaBuffer<float>& weight = head < shape_.n_heads ? q_norm : k_norm;
      for (std::size_t i = 0; i < x.size(); ++i) x[i] *= factor * static_cast<double>(weight[i]);
    }
    for (std::size_t pair = 0; pair < frequencies.size(); ++pair) {
      const double angle = columns[column].position * frequencies[pair];
      const std::size_t a = shape_.adjacent != 0 ? 2 * pair : pair,
                        b = shape_.adjacent != 0 ? a + 1 : pair + frequencies.size();
      const double u = x[a], v = x[b];
      x[a] = u * std::cos(angle) - v * std::sin(angle);
      x[b] = u * std::sin(angle) + v * std::cos(angle);
    }
    return x;
  }
  [[nodiscard]] std::size_t cache_at(const Column& c, std::int32_t kv_head, std::int32_t position) const {
    return static_cast<std::size_t>(((c.slot * shape_.n_kv_heads + kv_head) * n_ctx_ + position) * shape_.head_dim);
  }
  /// The cache holds this column's key and value where it stands.
  void expect_stored(std::size_t column) {
    for (std::int32_t kv = 0; kv < shape_.n_kv_heads; ++kv) {
      const std::vector<double> key = finished(column, shape_.n_heads + kv),
                                value = finished(column, shape_.n_heads + shape_.n_kv_heads + kv);
      const std::size_t at = cache_at(columns[column], kv, columns[column].position);
      for (std::size_t i = 0; i < key.size(); ++i) {
        ASSERT_TRUE(std::abs(half(k_cache[at + i]) - key[i]) <= 1e-3 * (1e-2 + std::abs(key[i]))) << i;
        ASSERT_EQ(v_cache[at + i], to_half(value[i])) << i;
      }
    }
  }
  void expect_attended(std::size_t column) {
    const Column c = columns[column];
    const std::int32_t end = c.position + 1,
                       begin = shape_.window == 0 || end <= shape_.window ? 0 : end - shape_.window;
    for (std::int32_t head = 0; head < shape_.n_heads; ++head) {
      const std::vector<double> query = finished(column, head);
      const std::int32_t kv = head / (shape_.n_heads / shape_.n_kv_heads);
      double sum = 0;
      std::vector<double> mixed(query.size());
      for (std::int32_t t = begin; t < end; ++t) {
        const std::size_t at = cache_at(c, kv, t);
        double score = 0;
        for (std::size_t i = 0; i < query.size(); ++i) score += query[i] * half(k_cache[at + i]);
        const double weight = std::exp(static_cast<double>(0.3F) * score);
        sum += weight;
        for (std::size_t i = 0; i < query.size(); ++i) mixed[i] += weight * half(v_cache[at + i]);
      }
      for (std::size_t i = 0; i < query.size(); ++i) {
        const std::size_t to =
            column * static_cast<std::size_t>(out.stride) + static_cast<std::size_t>(head * shape_.head_dim) + i;
        ASSERT_TRUE(std::abs(static_cast<double>(out.x[to]) - mixed[i] / sum) <= 2e-5)
            << out.x[to] << " head " << head << " element " << i;
        if (!attention_quantises(this->head())) continue;
        const auto d = static_cast<double>(out.d[to / 32]);
        ASSERT_TRUE(std::abs(static_cast<double>(out.q[to]) * d - static_cast<double>(out.x[to])) <= 0.51 * d + 1e-12);
      }
    }
  }

 private:
  const Shape shape_;
  const std::int32_t n_ctx_, width_;
  const std::vector<float> original_;
  [[nodiscard]] std::vector<std::uint16_t> cache(unsigned seed) const {
    const std::vector<float> values =
        test::random_floats(static_cast<std::size_t>(2 * shape_.n_kv_heads * n_ctx_ * shape_.head_dim), seed);
    std::vector<std::uint16_t> bits(values.size());
    quantizer(TensorType::F16)(values.data(), bits.data(), static_cast<std::int64_t>(values.size()));
    return bits;
  }
  [[nodiscard]] RopeTables tables() {
    for (std::size_t i = 0; i < frequencies.size(); ++i)
      frequencies[i] = std::pow(1e4, -2.0 * static_cast<double>(i) / shape_.n_rot);
    return make_rope_tables(frequencies, n_ctx_);
  }

 public:
  CudaBuffer<Column> columns;
  CudaBuffer<float> qkv, q_norm, k_norm;
  std::vector<double> frequencies;
  CudaBuffer<std::uint16_t> k_cache, v_cache;
  CudaBuffer<float> coarse, fine;
  CudaActivations out;
};

constexpr Shape kShapes[] = {
    {4, 4, 64, 64, 0, 0, 1, false}, {8, 2, 64, 64, 0, 0, 3, false},   {7, 1, 128, 128, 0, 0, 2, true},
    {4, 2, 24, 16, 1, 0, 2, false}, {4, 1, 256, 256, 0, 48, 2, true}, {6, 2, 80, 32, 0, 100, 4, false},
    {16, 1, 32, 32, 1, 0, 2, true},
};

class Attention : public testing::TestWithParam<Shape> {};

TEST_P(Attention, FusedStepsOfSeveralSequencesAreTheSoftmaxInDouble) {
  for (const std::int32_t position : {0, 1, 63, 300, 599}) {
    Emulator emulator;
    Layer layer(emulator, GetParam(), 600, {{0, position, 1, 0}, {0, position / 2, 0, 0}});
    layer.run(emulator, true, static_cast<std::uint64_t>(position));
    for (std::size_t column : {0u, 1u}) {
      layer.expect_stored(column);
      layer.expect_attended(column);
    }
  }
}

TEST_P(Attention, APieceOfAPromptIsStoredFirstAndGivesTheFusedBits) {
  Emulator emulator;
  const std::vector<Column> columns = {{0, 70, 1, 0}, {0, 71, 1, 0}, {0, 72, 1, 0}};
  Layer together(emulator, GetParam(), 128, columns);
  emulator.run(launch_store_kv({together.head()}), {.seed = 1});
  together.run(emulator, false, 2);
  for (std::size_t column = 0; column < 3; ++column) {
    together.expect_stored(column);
    together.expect_attended(column);
  }
  // One after the other in the fused form.
  std::vector<Column> one = {columns[0]};
  Layer alone(emulator, GetParam(), 128, one);
  alone.run(emulator, true, 3);
  const auto width = static_cast<std::size_t>(GetParam().n_heads * GetParam().head_dim);
  for (std::size_t i = 0; i < width; ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(alone.out.x[i]), std::bit_cast<std::uint32_t>(together.out.x[i])) << i;
  }
}

TEST_P(Attention, ResultDoesNotDependOnWhichBlockComesLast) {
  std::vector<float> first;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    Emulator emulator;
    Layer layer(emulator, GetParam(), 600, {{0, 500, 0, 0}});
    layer.run(emulator, true, seed);
    if (seed == 0) first = layer.out.x.host();
    for (std::size_t i = 0; i < first.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(layer.out.x[i]), std::bit_cast<std::uint32_t>(first[i]));
    }
  }
}

TEST_P(Attention, ANanInKeyOrValueReachesTheHeadsThatSeeIt) {
  for (const bool in_key : {true, false}) {
    Emulator emulator;
    Layer layer(emulator, GetParam(), 128, {{0, 100, 0, 0}});
    const std::size_t at = layer.cache_at(layer.columns[0], 0, 90) + 5;
    (in_key ? layer.k_cache : layer.v_cache)[at] = 0x7E00;
    layer.run(emulator, true, 4);
    EXPECT_TRUE(std::isnan(layer.out.x[5])) << in_key;
    if (GetParam().n_kv_heads > 1) {
      const auto other = static_cast<std::size_t>(GetParam().n_heads / GetParam().n_kv_heads * GetParam().head_dim + 5);
      EXPECT_FALSE(std::isnan(layer.out.x[other]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention, testing::ValuesIn(kShapes));

TEST(AttentionShape, WithoutAPathIsRefused) {
  AttentionParams p{};
  p.head.n_heads = p.head.n_kv_heads = p.head.n_columns = p.n_splits = 1;
  p.head.head_dim = 20;
  EXPECT_THROW((void)launch_attention(p, {}), Error);
  p.head.head_dim = 64;
  EXPECT_NO_THROW((void)launch_attention(p, {}));
  p.head.n_heads = 256;  // shared memory for 256 heads
  EXPECT_THROW((void)launch_attention(p, {}), Error);
}

TEST(Rope, TablesTurnAsOneAngleUpToLongContexts) {
  const std::vector<double> frequencies = {1.0, 0.37, 1e-4};
  const RopeTables tables = make_rope_tables(frequencies, 131072);
  for (const std::size_t position : {0u, 255u, 256u, 70001u, 131071u}) {
    for (std::size_t i = 0; i < 3; ++i) {
      const float* a = &tables.coarse[(position / 256 * 3 + i) * 2];
      const float* b = &tables.fine[(position % 256 * 3 + i) * 2];
      const double angle = static_cast<double>(position) * frequencies[i];
      EXPECT_NEAR(
          static_cast<double>(a[0]) * static_cast<double>(b[0]) - static_cast<double>(a[1]) * static_cast<double>(b[1]),
          std::cos(angle), 3e-7);
    }
  }
}

}  // namespace
}  // namespace apr::kernels::cuda
