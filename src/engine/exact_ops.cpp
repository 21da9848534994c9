#include "exact_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace apr::engine::exact {

double dot(const float* a, const float* b, std::int64_t n) {
  double sums[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int lane = 0; lane < 8; ++lane) {
      sums[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) sums[lane] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

void rms_norm(std::span<const float> in, std::span<const float> weight, float eps, std::span<float> out) {
  const auto n = static_cast<std::int64_t>(in.size());
  const double mean_square = dot(in.data(), in.data(), n) / static_cast<double>(n);
  const double factor = 1 / std::sqrt(mean_square + static_cast<double>(eps));
  for (std::size_t i = 0; i < in.size(); ++i) {
    out[i] = static_cast<float>(static_cast<double>(in[i]) * factor * static_cast<double>(weight[i]));
  }
}

void rope(std::span<float> heads, std::int32_t head_dim, const model::Rope& rope, std::uint32_t position) {
  const std::int32_t n_pairs = rope.n_rot / 2;
  for (std::int32_t pair = 0; pair < n_pairs; ++pair) {
    const double angle = position * rope.inverse_freq[static_cast<std::size_t>(pair)];
    const double cosine = std::cos(angle), sine = std::sin(angle);
    const bool adjacent = rope.layout == model::RopeLayout::Adjacent;
    const std::int32_t first = adjacent ? 2 * pair : pair;
    const std::int32_t second = adjacent ? first + 1 : first + n_pairs;
    for (std::size_t head = 0; head < heads.size(); head += static_cast<std::size_t>(head_dim)) {
      float& a = heads[head + static_cast<std::size_t>(first)];
      float& b = heads[head + static_cast<std::size_t>(second)];
      const double x = static_cast<double>(a), y = static_cast<double>(b);
      a = static_cast<float>(x * cosine - y * sine);
      b = static_cast<float>(x * sine + y * cosine);
    }
  }
}

void attention_head(const AttentionShape& shape, std::int32_t head, std::uint32_t position, const float* query,
                    const float* keys, const float* values, std::span<double> scores, float* out) {
  const std::int32_t kv_head = head / (shape.n_heads / shape.n_kv_heads);  // neighbouring query heads share one
  const auto stride = static_cast<std::size_t>(shape.n_kv_heads) * static_cast<std::size_t>(shape.head_dim);
  const auto offset = static_cast<std::size_t>(kv_head) * static_cast<std::size_t>(shape.head_dim);
  const std::size_t last = position;
  const std::size_t first = shape.window == 0 || position < shape.window ? 0 : position - shape.window + 1;
  double largest = -std::numeric_limits<double>::infinity();
  bool nan = false;
  for (std::size_t t = first; t <= last; ++t) {
    scores[t] = static_cast<double>(shape.scale) * dot(query, keys + t * stride + offset, shape.head_dim);
    nan = nan || std::isnan(scores[t]);
    largest = std::max(largest, scores[t]);
  }
  if (nan) largest = std::numeric_limits<double>::quiet_NaN();  // std::max passes over it
  double sum = 0;
  for (std::size_t t = first; t <= last; ++t) sum += scores[t] = std::exp(scores[t] - largest);
  for (std::int32_t i = 0; i < shape.head_dim; ++i) {
    double mixed = 0;
    for (std::size_t t = first; t <= last; ++t) {
      mixed += scores[t] * static_cast<double>(values[t * stride + offset + static_cast<std::size_t>(i)]);
    }
    out[i] = static_cast<float>(mixed / sum);
  }
}

float silu_mul(float gate, float up) {
  const double x = static_cast<double>(gate);
  return static_cast<float>(x / (1 + std::exp(-x)) * static_cast<double>(up));
}

float gelu_mul(float gate, float up) {
  const double x = static_cast<double>(gate);
  const double inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return static_cast<float>(0.5 * x * (1 + std::tanh(inner)) * static_cast<double>(up));
}

}  // namespace apr::engine::exact
