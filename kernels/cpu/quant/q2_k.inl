// Q2_K: 256 elements in 84 bytes; 16 sub-blocks of 16: x = (d * scale) * q - dmin * min.
//
//   byte 0        16         80  82     84
//        | scales |    qs    | d | dmin |
//   scales   byte s: scale of sub-block s in the low nibble, its minimum in the high nibble
//   qs       two halves of 32 bytes, 128 elements each: byte j, bits 2 r and 2 r + 1 are element 32 r + j
//   d, dmin  f16 scale of the scales, f16 scale of the minima
namespace apr::kernels {
namespace {

void dequantize_q2_k(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 84) {
    const float d = load_f16(block + 80);
    const float dmin = load_f16(block + 82);
    for (int s = 0; s < 16; ++s, dst += 16) {
      const float scale = d * static_cast<float>(block[s] & 0x0F);
      const float min = dmin * static_cast<float>(block[s] >> 4);
      const uint8_t* __restrict qs = block + 16 + 32 * (s / 8) + 16 * (s & 1);
      const int shift = 2 * ((s / 2) & 3);
      for (int j = 0; j < 16; ++j) dst[j] = scale * static_cast<float>((qs[j] >> shift) & 3) - min;
    }
  }
}

/// As quantize_q4_k, with 4 steps in sub-blocks of 16 and 4-bit scales.
void quantize_q2_k(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 84, src += 256) {
    float x[256];
    uint8_t q[256];
    ScaleMinBlock<16> fit;
    load_finite<256>(src, x);
    fit_scale_min<16, 3, 15>(x, fit, q);
    store(block + 80, fit.d);
    store(block + 82, fit.dmin);
    for (int s = 0; s < 16; ++s) block[s] = static_cast<uint8_t>(fit.scale[s] | (fit.min[s] << 4));
    for (int k = 0; k < 64; ++k) {
      const uint8_t* __restrict column = q + 128 * (k / 32) + k % 32;
      block[16 + k] = static_cast<uint8_t>(column[0] | (column[32] << 2) | (column[64] << 4) | (column[96] << 6));
    }
  }
}

}  // namespace
}  // namespace apr::kernels
