// Q4_1: 32 elements in 20 bytes, x = d * q + m.
//
//   byte 0   2   4    20
//        | d | m | qs |
//   d, m  f16 scale and minimum
//   qs    byte j: element j in the low nibble, element j + 16 in the high nibble
namespace apr::kernels {
namespace {

void dequantize_q4_1(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 20, dst += 32) {
    const float d = load_f16(block);
    const float m = load_f16(block + 2);
    for (int j = 0; j < 16; ++j) {
      dst[j] = static_cast<float>(block[4 + j] & 0x0F) * d + m;
      dst[j + 16] = static_cast<float>(block[4 + j] >> 4) * d + m;
    }
  }
}

/// The smallest element maps to 0, the largest to 15.
void quantize_q4_1(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 20, src += 32) {
    float x[32];
    load_finite<32>(src, x);
    const Range range = value_range<32>(x);
    const float d = (range.max - range.min) / 15.0f;
    const float inverse = inverse_or_zero(d);
    store_f16(block, d);
    store_f16(block + 2, range.min);
    for (int j = 0; j < 16; ++j) {
      const int low = truncate_to((x[j] - range.min) * inverse + 0.5f, 0.0f, 15.0f);
      const int high = truncate_to((x[j + 16] - range.min) * inverse + 0.5f, 0.0f, 15.0f);
      block[4 + j] = static_cast<uint8_t>(low | (high << 4));
    }
  }
}

}  // namespace
}  // namespace apr::kernels
