// Device functions that several kernels share: sums of a block, quantisation of activations.
#pragma once
#include "apr/kernels/cuda_params.h"
#include "kernels/cuda/shim.h"

namespace apr::kernels::cuda {

APR_DEVICE float nan_value() { return as_float(0x7FC00000u); }

/// The sum over all threads, the same for each and in the same order always. `scratch` holds one f32 per warp; a
/// barrier must come before it is used again.
APR_DEVICE float block_sum(float value, Shared<float> scratch) {
  for (int step = 16; step > 0; step /= 2) value += shuffle_xor(value, step);
  if (lane() == 0) scratch[warp()] = value;
  sync();
  float sum = 0;
  for (int w = 0; w < n_threads() / 32; ++w) sum += scratch[w];
  return sum;
}

/// A group of 32 values, one per lane, as integers in [-127, 127] times d; d is NaN when one of them is not finite.
struct Rounded {
  int q;
  float d;
};
APR_DEVICE Rounded round_lane(float x) {
  uint32_t largest = as_bits(x) & 0x7FFFFFFFu;  // magnitudes compare as integers; NaN and infinity are the largest
  for (int step = 16; step > 0; step /= 2) {
    const uint32_t other = shuffle_xor(largest, step);
    largest = other > largest ? other : largest;
  }
  const bool finite = largest < 0x7F800000u;
  const float d = finite ? as_float(largest) / 127.0f : 0.0f;
  const float inverse = d > 1.17549435e-38f ? 1.0f / d : 0.0f;  // a subnormal scale would overflow: the group is 0
  return {finite ? round_even(x * inverse) : 0, finite ? d : nan_value()};
}

/// What a group of 32 activations becomes, one value per lane. As quantize_activation of
/// kernels/cpu/ops/elementwise.inl.
struct Quantised {
  int q;
  float d, s;
};
APR_DEVICE Quantised quantise_lane(float x) {
  const Rounded r = round_lane(x);
  int sum = r.q;
  for (int step = 16; step > 0; step /= 2) sum += shuffle_xor(sum, step);
  return {r.q, r.d, r.d * static_cast<float>(sum)};
}

/// Pointers of one column of Activations.
struct ActivationRow {
  Global<int8_t> q;
  Global<float> d, s, x;
};
APR_DEVICE ActivationRow activation_row(const Activations& a, int column) {
  ActivationRow row;
  const int at = column * a.stride;
  row.q = global<int8_t>(a.q) + at;
  row.d = global<float>(a.d) + at / 32;
  row.s = global<float>(a.s) + at / 32;
  if (a.x != 0) row.x = global<float>(a.x) + at;
  return row;
}
/// Writes one lane's part of group `group`.
APR_DEVICE void store_quantised(const ActivationRow& row, int group, float x) {
  const Quantised value = quantise_lane(x);
  row.q[32 * group + lane()] = static_cast<int8_t>(value.q);
  if (lane() == 0) {
    row.d[group] = value.d;
    row.s[group] = value.s;
  }
}

/// 1 / sqrt(mean(x^2) + eps) of a row, by the whole block.
APR_DEVICE float norm_factor(Global<const float> x, int n, float eps, Shared<float> scratch) {
  float sum = 0;
  for (int i = thread(); i < n; i += n_threads()) {
    const float value = x[i];
    sum = fused(value, value, sum);
  }
  sum = block_sum(sum, scratch);
  return 1.0f / square_root(sum / static_cast<float>(n) + eps);
}

APR_DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

}  // namespace apr::kernels::cuda
