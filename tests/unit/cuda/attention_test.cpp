// Attention, rotation, head norms and the cache, emulated, against direct computation in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
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
  TensorType kv = TensorType::F16;
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

/// Keys or values of a layer, random, as the kernels hold them.
class CacheMemory {
 public:
  CacheMemory(Emulator& emulator, const std::string& name, const Shape& shape, std::size_t n_rows, unsigned seed)
      : q8_0_(shape.kv == TensorType::Q8_0),
        width_(static_cast<std::size_t>(shape.head_dim)),
        bytes(emulator, name, random_bytes(n_rows, seed), MemoryKind::Mutable),
        scales(emulator, name + ".scales", random_scales(n_rows, seed), MemoryKind::Mutable) {}
  [[nodiscard]] Address scale_address() const { return q8_0_ ? scales.address() : 0; }
  [[nodiscard]] double at(std::size_t row, std::size_t i) {
    if (!q8_0_) return half(f16(row, i));
    return scale(row, i) * static_cast<std::int8_t>(bytes[row * width_ + i]);
  }
  [[nodiscard]] std::uint16_t f16(std::size_t row, std::size_t i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, &bytes[2 * (row * width_ + i)], 2);
    return bits;
  }
  /// Half a step of the group's integers and what an f16 scale adds: how far a stored value may be off.
  [[nodiscard]] double most_error(std::size_t row, std::size_t i) { return q8_0_ ? 0.57 * scale(row, i) : 0; }
  void set_nan(std::size_t row, std::size_t i) {
    const std::uint16_t nan = 0x7E00;
    if (q8_0_)
      scales[row * groups() + i / 32] = nan;
    else
      std::memcpy(&bytes[2 * (row * width_ + i)], &nan, 2);
  }
  [[nodiscard]] std::size_t groups() const { return (width_ + 31) / 32; }

 private:
  [[nodiscard]] double scale(std::size_t row, std::size_t i) { return half(scales[row * groups() + i / 32]); }
  [[nodiscard]] std::vector<std::uint8_t> random_bytes(std::size_t n_rows, unsigned seed) const {
    std::vector<std::uint8_t> out(n_rows * width_ * (q8_0_ ? 1 : 2));
    const std::vector<float> values = test::random_floats(n_rows * width_, seed, q8_0_ ? 40 : 1);
    if (!q8_0_) quantizer(TensorType::F16)(values.data(), out.data(), static_cast<std::int64_t>(values.size()));
    for (std::size_t i = 0; q8_0_ && i < out.size(); ++i)
      out[i] = static_cast<std::uint8_t>(static_cast<std::int8_t>(std::clamp(values[i], -127.0F, 127.0F)));
    return out;
  }
  [[nodiscard]] std::vector<std::uint16_t> random_scales(std::size_t n_rows, unsigned seed) const {
    std::vector<std::uint16_t> out;
    for (const float x : test::random_floats(q8_0_ ? n_rows * groups() : 1, seed + 1))
      out.push_back(to_half(0.02 + 0.004 * static_cast<double>(x)));
    return out;
  }
  const bool q8_0_;
  const std::size_t width_;

 public:
  CudaBuffer<std::uint8_t> bytes;
  CudaBuffer<std::uint16_t> scales;
};

/// One layer's cache and the heads of some columns.
class Layer {
 public:
  Layer(Emulator& emulator, const Shape& shape, std::int32_t n_ctx, std::vector<Column> of, std::int32_t n_slots = 2)
      : shape_(shape),
        n_ctx_(n_ctx),
        width_((shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim),
        original_(test::random_floats(static_cast<std::size_t>(width_) * of.size(), 3)),
        columns(emulator, "columns", of, MemoryKind::Mutable),
        qkv(emulator, "qkv", original_, MemoryKind::Mutable),
        q_norm(emulator, "q_norm", test::random_floats(static_cast<std::size_t>(shape.head_dim), 4)),
        k_norm(emulator, "k_norm", test::random_floats(static_cast<std::size_t>(shape.head_dim), 5)),
        frequencies(static_cast<std::size_t>(shape.n_rot / 2)),
        k_cache(emulator, "k_cache", shape, static_cast<std::size_t>(n_slots * shape.n_kv_heads * n_ctx), 2),
        v_cache(emulator, "v_cache", shape, static_cast<std::size_t>(n_slots * shape.n_kv_heads * n_ctx), 9),
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
            k_cache.bytes.address(),
            v_cache.bytes.address(),
            k_cache.scale_address(),
            v_cache.scale_address(),
            width_,
            static_cast<std::int32_t>(original_.size()) / width_,
            shape_.n_heads,
            shape_.n_kv_heads,
            shape_.head_dim,
            n_ctx_,
            shape_.n_rot,
            shape_.adjacent,
            1e-6F,
            static_cast<std::int32_t>(shape_.kv)};
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

  /// Behind StoreKv: columns first .. first + n - 1 by the kernel for prompts.
  void run_prefill(Emulator& emulator, std::size_t first, std::size_t n, std::uint64_t seed) {
    PrefillAttentionParams p{head(), out.view(), shape_.window, 0.3F};
    p.head.columns += first * sizeof(Column);
    p.head.qkv += first * static_cast<std::size_t>(width_) * sizeof(float);
    p.head.n_columns = static_cast<std::int32_t>(n);
    p.out.x += first * static_cast<std::size_t>(out.stride) * sizeof(float);
    const Launch launch = launch_prefill_attention(p);
    EXPECT_TRUE(launch.early);
    emulator.run(launch, {.seed = seed});
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
  [[nodiscard]] std::size_t cache_row(const Column& c, std::int32_t kv_head, std::int32_t position) const {
    return static_cast<std::size_t>((c.slot * shape_.n_kv_heads + kv_head) * n_ctx_ + position);
  }
  /// The cache holds this column's key and value where it stands.
  void expect_stored(std::size_t column) {
    for (std::int32_t kv = 0; kv < shape_.n_kv_heads; ++kv) {
      const std::vector<double> key = finished(column, shape_.n_heads + kv),
                                value = finished(column, shape_.n_heads + shape_.n_kv_heads + kv);
      const std::size_t row = cache_row(columns[column], kv, columns[column].position);
      for (std::size_t i = 0; i < key.size(); ++i) {
        ASSERT_TRUE(std::abs(k_cache.at(row, i) - key[i]) <=
                    1e-3 * (1e-2 + std::abs(key[i])) + k_cache.most_error(row, i))
            << i;
        if (shape_.kv == TensorType::F16) ASSERT_EQ(v_cache.f16(row, i), to_half(value[i])) << i;
      }
      if (shape_.kv == TensorType::Q8_0) expect_stored_as_by_the_cpu(row, value);
    }
  }
  /// A value is stored as it comes: the CPU's kernel makes the same integers and scales of it.
  void expect_stored_as_by_the_cpu(std::size_t row, const std::vector<double>& value) {
    const std::vector<float> x(value.begin(), value.end());
    const std::int64_t stride = (shape_.head_dim + 15) / 16 * 16;
    std::vector<std::int8_t> keys(static_cast<std::size_t>(16 * stride)), values(keys);
    std::vector<std::uint16_t> key_scales(static_cast<std::size_t>(16 * kv_groups(stride))), value_scales(key_scales);
    const KvHead head{keys.data(), values.data(), key_scales.data(), value_scales.data(), stride};
    active().ops.kv[kv_q8_0].store(x.data(), x.data(), shape_.head_dim, &head, 0);
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(static_cast<std::int8_t>(v_cache.bytes[row * x.size() + i]), values[i]) << i;
    for (std::size_t g = 0; g < v_cache.groups(); ++g)
      ASSERT_EQ(v_cache.scales[row * v_cache.groups() + g], value_scales[g]) << g;
  }
  /// The softmax in double. In f16: of the query as StoreKv left it, rounded as the kernel for prompts rounds it; what
  /// is left to it is the rounding of the weights.
  void expect_attended(std::size_t column, bool f16 = false) {
    const Column c = columns[column];
    const std::int32_t end = c.position + 1,
                       begin = shape_.window == 0 || end <= shape_.window ? 0 : end - shape_.window;
    for (std::int32_t head = 0; head < shape_.n_heads; ++head) {
      const std::vector<double> query = f16 ? rounded_query(column, head) : finished(column, head);
      const std::int32_t kv = head / (shape_.n_heads / shape_.n_kv_heads);
      double sum = 0;
      std::vector<double> mixed(query.size()), size(query.size());
      for (std::int32_t t = begin; t < end; ++t) {
        const std::size_t row = cache_row(c, kv, t);
        double score = 0;
        for (std::size_t i = 0; i < query.size(); ++i) score += query[i] * k_cache.at(row, i);
        const double weight = std::exp(static_cast<double>(0.3F) * score);
        sum += weight;
        for (std::size_t i = 0; i < query.size(); ++i) {
          mixed[i] += weight * v_cache.at(row, i);
          size[i] += weight * std::abs(v_cache.at(row, i));
        }
      }
      for (std::size_t i = 0; i < query.size(); ++i) {
        const std::size_t to =
            column * static_cast<std::size_t>(out.stride) + static_cast<std::size_t>(head * shape_.head_dim) + i;
        ASSERT_TRUE(std::abs(static_cast<double>(out.x[to]) - mixed[i] / sum) <=
                    (f16 ? 0x1p-11 * size[i] / sum + 2e-5 : 2e-5))
            << out.x[to] << " for " << mixed[i] / sum << " column " << column << " head " << head << " element " << i;
        if (f16 || !attention_quantises(this->head())) continue;
        const auto d = static_cast<double>(out.d[to / 32]);
        ASSERT_TRUE(std::abs(static_cast<double>(out.q[to]) * d - static_cast<double>(out.x[to])) <= 0.51 * d + 1e-12);
      }
    }
  }

 private:
  [[nodiscard]] std::vector<double> rounded_query(std::size_t column, std::int32_t head) {
    std::vector<double> x(static_cast<std::size_t>(shape_.head_dim));
    const std::size_t at = column * static_cast<std::size_t>(width_) + static_cast<std::size_t>(head * shape_.head_dim);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = half(to_half(static_cast<double>(qkv[at + i])));
    return x;
  }

  const Shape shape_;
  const std::int32_t n_ctx_, width_;
  const std::vector<float> original_;
  [[nodiscard]] RopeTables tables() {
    for (std::size_t i = 0; i < frequencies.size(); ++i)
      frequencies[i] = std::pow(1e4, -2.0 * static_cast<double>(i) / shape_.n_rot);
    return make_rope_tables(frequencies, n_ctx_);
  }

 public:
  CudaBuffer<Column> columns;
  CudaBuffer<float> qkv, q_norm, k_norm;
  std::vector<double> frequencies;
  CacheMemory k_cache, v_cache;
  CudaBuffer<float> coarse, fine;
  CudaActivations out;
};

constexpr Shape kShapes[] = {
    {4, 4, 64, 64, 0, 0, 1, false},
    {8, 2, 64, 64, 0, 0, 3, false},
    {7, 1, 128, 128, 0, 0, 2, true},
    {4, 2, 24, 16, 1, 0, 2, false},
    {4, 1, 256, 256, 0, 48, 2, true},
    {6, 2, 80, 32, 0, 100, 4, false},
    {16, 1, 32, 32, 1, 0, 2, true},
    {8, 2, 64, 64, 0, 0, 3, false, TensorType::Q8_0},
    {4, 2, 24, 16, 1, 0, 2, true, TensorType::Q8_0},
    {7, 1, 40, 40, 0, 100, 4, false, TensorType::Q8_0},
    {4, 1, 256, 256, 0, 48, 2, true, TensorType::Q8_0},
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
    (in_key ? layer.k_cache : layer.v_cache).set_nan(layer.cache_row(layer.columns[0], 0, 90), 5);
    layer.run(emulator, true, 4);
    EXPECT_TRUE(std::isnan(layer.out.x[5])) << in_key;
    if (GetParam().n_kv_heads > 1) {
      const auto other = static_cast<std::size_t>(GetParam().n_heads / GetParam().n_kv_heads * GetParam().head_dim + 5);
      EXPECT_FALSE(std::isnan(layer.out.x[other]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention, testing::ValuesIn(kShapes));

std::vector<Column> prompt_columns(std::int32_t position, std::int32_t n) {
  std::vector<Column> columns;
  for (std::int32_t i = 0; i < n; ++i) columns.push_back({0, position + i, 1, 0});
  return columns;
}

class Prefill : public testing::TestWithParam<Shape> {};

TEST_P(Prefill, IsTheSoftmaxInDoubleAndReadsNothingBehindThePrompt) {
  // Rows that fill no block, at the start and behind what is there; the last position ends a tile in one of them.
  for (const auto& [position, n] : {std::pair{0, 13}, std::pair{119, 9}, std::pair{100, 21}}) {
    Emulator emulator;
    Layer layer(emulator, GetParam(), 160, prompt_columns(position, n));
    emulator.run(launch_store_kv({layer.head()}), {.seed = 1});
    for (std::int32_t kv = 0; kv < GetParam().n_kv_heads; ++kv) {
      for (std::int32_t t = position + n; t < 160; ++t) {  // NaN where no position was computed yet
        for (std::size_t i = 0; i < static_cast<std::size_t>(GetParam().head_dim); ++i) {
          layer.k_cache.set_nan(layer.cache_row(layer.columns[0], kv, t), i);
          layer.v_cache.set_nan(layer.cache_row(layer.columns[0], kv, t), i);
        }
      }
    }
    layer.run_prefill(emulator, 0, static_cast<std::size_t>(n), static_cast<std::uint64_t>(n));
    for (std::size_t column = 0; column < static_cast<std::size_t>(n); ++column) layer.expect_attended(column, true);
  }
}

TEST_P(Prefill, GivesTheSameBitsHoweverThePromptIsCutAndInEveryOrder) {
  constexpr std::size_t n = 33;
  Emulator emulator;
  Layer whole(emulator, GetParam(), 160, prompt_columns(70, n));
  emulator.run(launch_store_kv({whole.head()}), {.seed = 1});
  whole.run_prefill(emulator, 0, n, 2);
  const std::vector<float> expected = whole.out.x.host();
  for (const std::size_t cut : {std::size_t{9}, std::size_t{20}}) {
    std::ranges::fill(whole.out.x.host(), kNan);
    whole.run_prefill(emulator, 0, cut, 3 + cut);
    whole.run_prefill(emulator, cut, n - cut, 4 + cut);
    const auto width = static_cast<std::size_t>(GetParam().n_heads * GetParam().head_dim);
    for (std::size_t column = 0; column < n; ++column) {
      for (std::size_t i = 0; i < width; ++i) {
        const std::size_t at = column * static_cast<std::size_t>(whole.out.stride) + i;
        ASSERT_EQ(std::bit_cast<std::uint32_t>(whole.out.x[at]), std::bit_cast<std::uint32_t>(expected[at]))
            << "cut behind " << cut << ", column " << column << " element " << i;
      }
    }
  }
}

TEST_P(Prefill, ANanReachesTheHeadsAndPositionsThatSeeIt) {
  for (const bool in_key : {true, false}) {
    Emulator emulator;
    Layer layer(emulator, GetParam(), 128, prompt_columns(100, 10));
    emulator.run(launch_store_kv({layer.head()}), {.seed = 1});
    (in_key ? layer.k_cache : layer.v_cache).set_nan(layer.cache_row(layer.columns[0], 0, 90), 5);
    layer.run_prefill(emulator, 0, 10, 4);
    for (std::size_t column = 0; column < 10; ++column) {
      const std::size_t row = column * static_cast<std::size_t>(layer.out.stride);
      EXPECT_TRUE(std::isnan(layer.out.x[row + 5])) << in_key;
      const auto other = static_cast<std::size_t>(GetParam().n_heads / GetParam().n_kv_heads * GetParam().head_dim + 5);
      if (GetParam().n_kv_heads > 1) EXPECT_FALSE(std::isnan(layer.out.x[row + other]));
    }
  }
}

TEST_P(Prefill, ANanInAQueryStaysInItsHeadAndPosition) {
  Emulator emulator;
  Layer layer(emulator, GetParam(), 128, prompt_columns(100, 10));
  emulator.run(launch_store_kv({layer.head()}), {.seed = 1});
  const auto dim = static_cast<std::size_t>(GetParam().head_dim);
  layer.qkv[dim] = kNan;  // the first element of head 1: head 0 ends in front of it
  layer.run_prefill(emulator, 0, 10, 5);
  for (std::size_t i = 0; i < dim; ++i) {
    ASSERT_FALSE(std::isnan(layer.out.x[i])) << i;
    ASSERT_TRUE(std::isnan(layer.out.x[dim + i])) << i;
    ASSERT_FALSE(std::isnan(layer.out.x[static_cast<std::size_t>(layer.out.stride) + dim + i])) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Prefill, testing::ValuesIn(std::span(kShapes).first(7)));  // of f16

TEST(AttentionShape, WithoutAPathIsRefused) {
  AttentionParams p{};
  p.head.n_heads = p.head.n_kv_heads = p.head.n_columns = p.n_splits = 1;
  p.head.kv_type = static_cast<std::int32_t>(TensorType::F16);
  p.head.head_dim = 20;
  EXPECT_THROW((void)launch_attention(p, {}), Error);
  p.head.head_dim = 64;
  EXPECT_NO_THROW((void)launch_attention(p, {}));
  p.head.n_heads = 256;  // shared memory for 256 heads
  EXPECT_THROW((void)launch_attention(p, {}), Error);
  PrefillAttentionParams prefill{p.head, {}, 0, 1};
  EXPECT_NO_THROW((void)launch_prefill_attention(prefill));
  prefill.head.head_dim = 264;
  EXPECT_FALSE(prefill_attends(prefill.head));
  EXPECT_THROW((void)launch_prefill_attention(prefill), Error);
  prefill.head.head_dim = 64;
  prefill.head.kv_type = static_cast<std::int32_t>(TensorType::Q8_0);
  EXPECT_THROW((void)launch_prefill_attention(prefill), Error);
}

TEST(AttentionLength, AHundredAndTwentyEightThousandPositions) {
  for (const TensorType kv : {TensorType::F16, TensorType::Q8_0}) {
    Emulator emulator;
    Layer layer(emulator, {1, 1, 8, 8, 0, 0, 64, false, kv}, 131072, {{0, 131071, 0, 0}}, 1);
    layer.run(emulator, true, 5);
    layer.expect_stored(0);
    layer.expect_attended(0);
  }
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
