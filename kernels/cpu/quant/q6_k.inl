// Q6_K: 256 elements in 210 bytes; 16 sub-blocks of 16: x = (d * scale) * (q - 32).
//
//   byte 0                  128        192      208  210
//        |        ql        |    qh    | scales | d  |
//   Two halves h of 128 elements, each with 64 bytes of ql and 32 of qh. Element e = 32 r + j of a half (r = 0..3):
//   ql      bits 0..3: byte 64 h + 32 (r & 1) + j, low nibble for r < 2, high nibble for r >= 2
//   qh      bits 4..5: byte 32 h + j, bits 2 r and 2 r + 1
//   scales  int8 per 16 elements
//   d       f16 scale of the scales
namespace apr::kernels {
namespace {

void dequantize_q6_k(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 210) {
    const float d = load_f16(block + 208);
    for (int half = 0; half < 2; ++half, dst += 128) {
      const uint8_t* __restrict ql = block + 64 * half;
      const uint8_t* __restrict qh = block + 128 + 32 * half;
      const uint8_t* __restrict scales = block + 192 + 8 * half;
      for (int r = 0; r < 4; ++r) {
        for (int part = 0; part < 2; ++part) {
          const float scale = d * static_cast<float>(static_cast<int8_t>(scales[2 * r + part]));
          for (int j = 16 * part; j < 16 * part + 16; ++j) {
            const int low = (ql[32 * (r & 1) + j] >> (4 * (r >> 1))) & 0x0F;
            const int high = (qh[j] >> (2 * r)) & 3;
            dst[32 * r + j] = scale * static_cast<float>((low | (high << 4)) - 32);
          }
        }
      }
    }
  }
}

/// Scales by least squares (k_fit.inl); the scale with the largest magnitude is stored as -128.
void quantize_q6_k(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 210, src += 256) {
    float x[256];
    uint8_t q[256];
    int scale[16];
    load_finite<256>(src, x);
    store(block + 208, fit_signed_scales<32, 128>(x, scale, q));
    for (int s = 0; s < 16; ++s) block[192 + s] = static_cast<uint8_t>(scale[s]);
    for (int half = 0; half < 2; ++half) {
      const uint8_t* __restrict h = q + 128 * half;
      for (int j = 0; j < 64; ++j) {
        block[64 * half + j] = static_cast<uint8_t>((h[j] & 0x0F) | ((h[j + 64] & 0x0F) << 4));
      }
      for (int j = 0; j < 32; ++j) {
        block[128 + 32 * half + j] = static_cast<uint8_t>((h[j] >> 4) | ((h[j + 32] >> 4) << 2) |
                                                          ((h[j + 64] >> 4) << 4) | ((h[j + 96] >> 4) << 6));
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
