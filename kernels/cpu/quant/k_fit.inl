// Choice of scales and minima for the K types: the full range of every sub-block, then round to nearest.
namespace apr::kernels {
namespace {

template <int sub_blocks>
struct ScaleMinBlock {
  uint16_t d, dmin;  // f16 bits
  int scale[sub_blocks], min[sub_blocks];
};

/// Q2_K, Q4_K, Q5_K: x = d * scale * q - dmin * min with 0 <= q <= q_max, 0 <= scale, min <= scale_max. Elements are
/// rounded with the scales as they are stored, so that the rounding of scales does not add up with that of elements.
template <int sub_blocks, int q_max, int scale_max>
inline void fit_scale_min(const float* __restrict x, ScaleMinBlock<sub_blocks>& fit, uint8_t* __restrict q) {
  constexpr int size = 256 / sub_blocks;
  float scale[sub_blocks], min[sub_blocks];
  for (int s = 0; s < sub_blocks; ++s) {
    const Range range = value_range<size>(x + size * s);
    const float low = range.min < 0.0f ? range.min : 0.0f;
    scale[s] = (range.max - low) / static_cast<float>(q_max);
    min[s] = -low;
  }
  fit.d = f32_to_f16(absolute_max<sub_blocks>(scale) / static_cast<float>(scale_max));
  fit.dmin = f32_to_f16(absolute_max<sub_blocks>(min) / static_cast<float>(scale_max));
  const float d = f16_to_f32(fit.d), dmin = f16_to_f32(fit.dmin);
  const float inverse_d = inverse_or_zero(d), inverse_dmin = inverse_or_zero(dmin);
  for (int s = 0; s < sub_blocks; ++s) {
    fit.scale[s] = round_to(scale[s] * inverse_d, 0.0f, static_cast<float>(scale_max));
    fit.min[s] = round_to(min[s] * inverse_dmin, 0.0f, static_cast<float>(scale_max));
    const float inverse = inverse_or_zero(d * static_cast<float>(fit.scale[s]));
    const float offset = dmin * static_cast<float>(fit.min[s]);
    for (int j = size * s; j < size * (s + 1); ++j) {
      const int code = truncate_to((x[j] + offset) * inverse + 0.5f, 0.0f, static_cast<float>(q_max));
      q[j] = static_cast<uint8_t>(code);
    }
  }
}

/// Q3_K, Q6_K: x = d * scale * (q - q_half) with 0 <= q < 2 q_half, -scale_half <= scale < scale_half, 16 sub-blocks.
/// Returns d as f16 bits.
template <int q_half, int scale_half>
inline uint16_t fit_signed_scales(const float* __restrict x, int* __restrict scale, uint8_t* __restrict q) {
  float wanted[16];
  for (int s = 0; s < 16; ++s) wanted[s] = signed_absolute_max<16>(x + 16 * s) / static_cast<float>(-q_half);
  const uint16_t d_bits = f32_to_f16(signed_absolute_max<16>(wanted) / static_cast<float>(-scale_half));
  const float d = f16_to_f32(d_bits);
  const float inverse_d = inverse_or_zero(d);
  for (int s = 0; s < 16; ++s) {
    scale[s] = round_to(wanted[s] * inverse_d, static_cast<float>(-scale_half), static_cast<float>(scale_half - 1));
    const float inverse = inverse_or_zero(d * static_cast<float>(scale[s]));
    for (int j = 16 * s; j < 16 * (s + 1); ++j) {
      const int step = round_to(x[j] * inverse, static_cast<float>(-q_half), static_cast<float>(q_half - 1));
      q[j] = static_cast<uint8_t>(step + q_half);
    }
  }
  return d_bits;
}

}  // namespace
}  // namespace apr::kernels
