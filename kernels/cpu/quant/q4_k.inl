// Q4_K: 256 elements in 144 bytes; 8 sub-blocks of 32: x = (d * scale) * q - dmin * min.
//
//   byte 0   2      4        16                 144
//        | d | dmin | scales |        qs        |
//   d, dmin  f16 scale of the scales, f16 scale of the minima
//   scales   8 scales and 8 minima of 6 bits:
//              bits    7 6 | 5 4 3 2 1 0
//     byte j   (0..3)  scale[j+4] bits 4..5 | scale[j]
//     byte j+4         min[j+4] bits 4..5   | min[j]
//     byte j+8         min[j+4] bits 0..3 in the high nibble, scale[j+4] bits 0..3 in the low one
//   qs       32 bytes for each pair of sub-blocks: the even one in the low nibbles, the odd one in the high nibbles
namespace apr::kernels {
namespace {

void dequantize_q4_k(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 144) {
    const float d = load_f16(block);
    const float dmin = load_f16(block + 2);
    for (int pair = 0; pair < 4; ++pair, dst += 64) {
      const ScaleMin low = load_scale_min(block + 4, 2 * pair);
      const ScaleMin high = load_scale_min(block + 4, 2 * pair + 1);
      const float d_low = d * static_cast<float>(low.scale), m_low = dmin * static_cast<float>(low.min);
      const float d_high = d * static_cast<float>(high.scale), m_high = dmin * static_cast<float>(high.min);
      const uint8_t* __restrict qs = block + 16 + 32 * pair;
      for (int j = 0; j < 32; ++j) dst[j] = d_low * static_cast<float>(qs[j] & 0x0F) - m_low;
      for (int j = 0; j < 32; ++j) dst[j + 32] = d_high * static_cast<float>(qs[j] >> 4) - m_high;
    }
  }
}

/// Scales and minima by least squares (k_fit.inl); each element is rounded to the nearest step of the stored scale.
void quantize_q4_k(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 144, src += 256) {
    float x[256];
    uint8_t q[256];
    ScaleMinBlock<8> fit;
    load_finite<256>(src, x);
    fit_scale_min<8, 15, 63>(x, fit, q);
    store(block, fit.d);
    store(block + 2, fit.dmin);
    store_scale_mins(fit.scale, fit.min, block + 4);
    for (int pair = 0; pair < 4; ++pair) {
      for (int j = 0; j < 32; ++j) {
        block[16 + 32 * pair + j] = static_cast<uint8_t>(q[64 * pair + j] | (q[64 * pair + 32 + j] << 4));
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
