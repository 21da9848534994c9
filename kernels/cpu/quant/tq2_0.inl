// TQ2_0: 256 elements in 66 bytes, x = d * (q - 1).
//
//   byte 0          64  66
//        |    qs    | d |
//   qs  two halves of 32 bytes, 128 elements each: byte j, bits 2 r and 2 r + 1 are element 32 r + j
//   d   f16 scale
namespace apr::kernels {
namespace {

void dequantize_tq2_0(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 66) {
    const float d = load_f16(block + 64);
    for (int half = 0; half < 2; ++half) {
      for (int r = 0; r < 4; ++r, dst += 32) {
        const uint8_t* __restrict qs = block + 32 * half;
        for (int j = 0; j < 32; ++j) dst[j] = static_cast<float>(((qs[j] >> (2 * r)) & 3) - 1) * d;
      }
    }
  }
}

/// d is the largest magnitude; halves round away from zero. The code for 2 d is never needed.
void quantize_tq2_0(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 66, src += 256) {
    float x[256];
    load_finite<256>(src, x);
    const float d = absolute_max<256>(x);
    const float inverse = inverse_or_zero(d);
    store_f16(block + 64, d);
    for (int k = 0; k < 64; ++k) {
      int bits = 0;
      for (int r = 0; r < 4; ++r) {
        const float value = x[128 * (k / 32) + 32 * r + k % 32] * inverse;
        bits |= (round_to(value, -1.0f, 1.0f) + 1) << (2 * r);
      }
      block[k] = static_cast<uint8_t>(bits);
    }
  }
}

}  // namespace
}  // namespace apr::kernels
