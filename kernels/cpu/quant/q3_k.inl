// Q3_K: 256 elements in 110 bytes; 16 sub-blocks of 16: x = d * (scale - 32) * (q - 4).
//
//   byte 0       32         96       108  110
//        | hmask |    qs    | scales | d  |
//   hmask   byte j, bit r + 4 h: bit 2 of element 128 h + 32 r + j
//   qs      two halves h of 32 bytes: byte j, bits 2 r and 2 r + 1: bits 0..1 of element 128 h + 32 r + j
//   scales  16 scales of 6 bits: scale s has bits 0..3 in byte s % 8 (low nibble for s < 8, high for the others) and
//   bits
//           4..5 in byte 8 + s % 4 at bit 2 (s / 4)
//   d       f16 scale of the scales
namespace apr::kernels {
namespace {

void dequantize_q3_k(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 110) {
    const float d = load_f16(block + 108);
    const uint8_t* __restrict scales = block + 96;
    for (int s = 0; s < 16; ++s, dst += 16) {
      const int low = (scales[s % 8] >> (4 * (s / 8))) & 0x0F;
      const int high = (scales[8 + s % 4] >> (2 * (s / 4))) & 3;
      const float scale = d * static_cast<float>((low | (high << 4)) - 32);
      const uint8_t* __restrict qs = block + 32 + 32 * (s / 8) + 16 * (s & 1);
      const uint8_t* __restrict hmask = block + 16 * (s & 1);
      const int shift = 2 * ((s / 2) & 3);
      for (int j = 0; j < 16; ++j) {
        const int q = ((qs[j] >> shift) & 3) | (((hmask[j] >> (s / 2)) & 1) << 2);
        dst[j] = scale * static_cast<float>(q - 4);
      }
    }
  }
}

/// Scales by least squares (k_fit.inl); the scale with the largest magnitude is stored as 0 (value -32).
void quantize_q3_k(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 110, src += 256) {
    float x[256];
    uint8_t q[256];
    int scale[16];
    load_finite<256>(src, x);
    store(block + 108, fit_signed_scales<4, 32>(x, scale, q));
    for (int k = 0; k < 8; ++k) {
      block[96 + k] = static_cast<uint8_t>(((scale[k] + 32) & 0x0F) | (((scale[k + 8] + 32) & 0x0F) << 4));
    }
    for (int k = 0; k < 4; ++k) {
      int bits = 0;
      for (int t = 0; t < 4; ++t) bits |= ((scale[k + 4 * t] + 32) >> 4) << (2 * t);
      block[104 + k] = static_cast<uint8_t>(bits);
    }
    for (int k = 0; k < 64; ++k) {
      const uint8_t* __restrict column = q + 128 * (k / 32) + k % 32;
      int bits = 0;
      for (int r = 0; r < 4; ++r) bits |= (column[32 * r] & 3) << (2 * r);
      block[32 + k] = static_cast<uint8_t>(bits);
    }
    for (int j = 0; j < 32; ++j) {
      int bits = 0;
      for (int r = 0; r < 8; ++r) bits |= (q[32 * r + j] >> 2) << r;
      block[j] = static_cast<uint8_t>(bits);
    }
  }
}

}  // namespace
}  // namespace apr::kernels
