// The arithmetic of every op as the exact executor does it: f32 in and out, sums in double, one row at a time.
// Simple enough to check by eye: this is what the fast kernels are compared with.
#pragma once
#include <cstdint>
#include <span>

#include "apr/model/plan.h"

namespace apr::engine::exact {

/// Sum of a[i] * b[i]. Eight partial sums (i modulo 8), added pairwise at the end: the order is part of the definition.
[[nodiscard]] double dot(const float* a, const float* b, std::int64_t n);

/// out = in / sqrt(mean(in^2) + eps) * weight. `in` and `out` may be the same.
void rms_norm(std::span<const float> in, std::span<const float> weight, float eps, std::span<float> out);

/// Turns each pair of the first rope.n_rot elements of every head by position * inverse_freq, in place.
void rope(std::span<float> heads, std::int32_t head_dim, const model::Rope& rope, std::uint32_t position);

struct AttentionShape {
  std::int32_t n_heads, n_kv_heads, head_dim;
  std::uint32_t window;  // 0: all positions
  float scale;
};
/// One head of one query at `position`: out = softmax(scale * query x keys) x values over the positions that it sees.
/// `keys` and `values` start at position 0, with n_kv_heads * head_dim floats for each. `scores` holds position + 1
/// numbers.
void attention_head(const AttentionShape& shape, std::int32_t head, std::uint32_t position, const float* query,
                    const float* keys, const float* values, std::span<double> scores, float* out);

/// gate / (1 + exp(-gate)) * up
[[nodiscard]] float silu_mul(float gate, float up);
/// 0.5 gate (1 + tanh(sqrt(2/pi) (gate + 0.044715 gate^3))) * up
[[nodiscard]] float gelu_mul(float gate, float up);

}  // namespace apr::engine::exact
