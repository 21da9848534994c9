// Choice of scales and minima for the K types.
namespace apr::kernels {
namespace {

/// Q4_K (n_max 15) and Q5_K (n_max 31): writes d, dmin and the packed scales to block[0..16) and the codes to q[256].
template <int n_max>
inline void quantize_scale_min(const float* __restrict x, uint8_t* __restrict block, uint8_t* __restrict q) {
  float scale[8], min[8];
  for (int s = 0; s < 8; ++s) {
    const Range range = value_range<32>(x + 32 * s);
    const float low = range.min < 0.0f ? range.min : 0.0f;
    scale[s] = (range.max - low) / static_cast<float>(n_max);
    min[s] = -low;
  }
  store_f16(block, absolute_max<8>(scale) / 63.0f);
  store_f16(block + 2, absolute_max<8>(min) / 63.0f);
  const float d = load_f16(block), dmin = load_f16(block + 2);
  const float inverse_d = inverse_or_zero(d), inverse_dmin = inverse_or_zero(dmin);
  int stored_scale[8], stored_min[8];
  for (int s = 0; s < 8; ++s) {
    stored_scale[s] = round_to(scale[s] * inverse_d, 0.0f, 63.0f);
    stored_min[s] = round_to(min[s] * inverse_dmin, 0.0f, 63.0f);
    const float inverse = inverse_or_zero(d * static_cast<float>(stored_scale[s]));
    const float offset = dmin * static_cast<float>(stored_min[s]);
    for (int j = 0; j < 32; ++j) {
      const float steps = (x[32 * s + j] + offset) * inverse;
      q[32 * s + j] = static_cast<uint8_t>(truncate_to(steps + 0.5f, 0.0f, static_cast<float>(n_max)));
    }
  }
  store_scale_mins(stored_scale, stored_min, block + 4);
}

}  // namespace
}  // namespace apr::kernels
