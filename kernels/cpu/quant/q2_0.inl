// Q2_0: 64 elements in 18 bytes, x = d * (q - 1).
//
//   byte 0   2    18
//        | d | qs |
//   d   f16 scale
//   qs  element j is bits 2 (j % 4) and 2 (j % 4) + 1 of byte j / 4
namespace apr::kernels {
namespace {

void dequantize_q2_0(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 18) {
    const float d = load_f16(block);
    for (int k = 0; k < 16; ++k, dst += 4) {
      for (int j = 0; j < 4; ++j) dst[j] = static_cast<float>(((block[2 + k] >> (2 * j)) & 3) - 1) * d;
    }
  }
}

/// d is the largest magnitude; halves round away from zero. The code for 2 d is never needed.
void quantize_q2_0(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 18, src += 64) {
    float x[64];
    load_finite<64>(src, x);
    const float d = absolute_max<64>(x);
    const float inverse = inverse_or_zero(d);
    store_f16(block, d);
    for (int k = 0; k < 16; ++k) {
      int bits = 0;
      for (int j = 0; j < 4; ++j) bits |= (round_to(x[4 * k + j] * inverse, -1.0f, 2.0f) + 1) << (2 * j);
      block[2 + k] = static_cast<uint8_t>(bits);
    }
  }
}

}  // namespace
}  // namespace apr::kernels
