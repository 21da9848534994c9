// Q5_K: 256 elements in 176 bytes; 8 sub-blocks of 32: x = (d * scale) * q - dmin * min.
//
//   byte 0   2      4        16     48                 176
//        | d | dmin | scales |  qh  |        qs        |
//   d, dmin  f16 scale of the scales, f16 scale of the minima
//   scales   8 scales and 8 minima of 6 bits, packed as in Q4_K
//   qh       byte j, bit s: bit 4 of element j of sub-block s
//   qs       32 bytes for each pair of sub-blocks: the even one in the low nibbles, the odd one in the high nibbles
namespace apr::kernels {
namespace {

void dequantize_q5_k(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 176) {
    const float d = load_f16(block);
    const float dmin = load_f16(block + 2);
    const uint8_t* __restrict qh = block + 16;
    for (int pair = 0; pair < 4; ++pair, dst += 64) {
      const ScaleMin low = load_scale_min(block + 4, 2 * pair);
      const ScaleMin high = load_scale_min(block + 4, 2 * pair + 1);
      const float d_low = d * static_cast<float>(low.scale), m_low = dmin * static_cast<float>(low.min);
      const float d_high = d * static_cast<float>(high.scale), m_high = dmin * static_cast<float>(high.min);
      const uint8_t* __restrict qs = block + 48 + 32 * pair;
      for (int j = 0; j < 32; ++j) {
        const int q = (qs[j] & 0x0F) | (((qh[j] >> (2 * pair)) & 1) << 4);
        dst[j] = d_low * static_cast<float>(q) - m_low;
      }
      for (int j = 0; j < 32; ++j) {
        const int q = (qs[j] >> 4) | (((qh[j] >> (2 * pair + 1)) & 1) << 4);
        dst[j + 32] = d_high * static_cast<float>(q) - m_high;
      }
    }
  }
}

/// As quantize_q4_k, with 32 steps.
void quantize_q5_k(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 176, src += 256) {
    float x[256];
    uint8_t q[256];
    ScaleMinBlock<8> fit;
    load_finite<256>(src, x);
    fit_scale_min<8, 31, 63>(x, fit, q);
    store(block, fit.d);
    store(block + 2, fit.dmin);
    store_scale_mins(fit.scale, fit.min, block + 4);
    for (int j = 0; j < 32; ++j) {
      int bits = 0;
      for (int s = 0; s < 8; ++s) bits |= (q[32 * s + j] >> 4) << s;
      block[16 + j] = static_cast<uint8_t>(bits);
    }
    for (int pair = 0; pair < 4; ++pair) {
      for (int j = 0; j < 32; ++j) {
        block[48 + 32 * pair + j] =
            static_cast<uint8_t>((q[64 * pair + j] & 0x0F) | ((q[64 * pair + 32 + j] & 0x0F) << 4));
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
