// Q4_0: 32 elements in 18 bytes, x = d * (q - 8).
//
//   byte 0   2    18
//        | d | qs |
//   d   f16 scale
//   qs  byte j: element j in the low nibble, element j + 16 in the high nibble
namespace apr::kernels {
namespace {

void dequantize_q4_0(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 18, dst += 32) {
    const float d = load_f16(block);
    for (int j = 0; j < 16; ++j) {
      dst[j] = static_cast<float>((block[2 + j] & 0x0F) - 8) * d;
      dst[j + 16] = static_cast<float>((block[2 + j] >> 4) - 8) * d;
    }
  }
}

/// The element with the largest magnitude maps to q = 0 (value -8 d), so d has the opposite sign.
void quantize_q4_0(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 18, src += 32) {
    float x[32];
    load_finite<32>(src, x);
    const float d = signed_absolute_max<32>(x) / -8.0f;
    const float inverse = inverse_or_zero(d);
    store_f16(block, d);
    for (int j = 0; j < 16; ++j) {
      const int low = truncate_to(x[j] * inverse + 8.5f, 0.0f, 15.0f);
      const int high = truncate_to(x[j + 16] * inverse + 8.5f, 0.0f, 15.0f);
      block[2 + j] = static_cast<uint8_t>(low | (high << 4));
    }
  }
}

}  // namespace
}  // namespace apr::kernels
