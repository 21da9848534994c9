// Q5_1: 32 elements in 24 bytes, x = d * q + m.
//
//   byte 0   2   4    8    24
//        | d | m | qh | qs |
//   d, m  f16 scale and minimum
//   qh    little-endian 32 bits: bit j is bit 4 of element j
//   qs    byte j: bits 0..3 of element j in the low nibble, of element j + 16 in the high nibble
namespace apr::kernels {
namespace {

void dequantize_q5_1(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 24, dst += 32) {
    const float d = load_f16(block);
    const float m = load_f16(block + 2);
    const uint32_t high_bits = load<uint32_t>(block + 4);
    for (int j = 0; j < 16; ++j) {
      const int bit_low = static_cast<int>((high_bits >> j) & 1u) << 4;
      const int bit_high = static_cast<int>((high_bits >> (j + 16)) & 1u) << 4;
      dst[j] = static_cast<float>((block[8 + j] & 0x0F) | bit_low) * d + m;
      dst[j + 16] = static_cast<float>((block[8 + j] >> 4) | bit_high) * d + m;
    }
  }
}

/// The smallest element maps to 0, the largest to 31.
void quantize_q5_1(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 24, src += 32) {
    float x[32];
    load_finite<32>(src, x);
    const Range range = value_range<32>(x);
    const float d = (range.max - range.min) / 31.0f;
    const float inverse = inverse_or_zero(d);
    store_f16(block, d);
    store_f16(block + 2, range.min);
    uint32_t high_bits = 0;
    for (int j = 0; j < 16; ++j) {
      const int low = truncate_to((x[j] - range.min) * inverse + 0.5f, 0.0f, 31.0f);
      const int high = truncate_to((x[j + 16] - range.min) * inverse + 0.5f, 0.0f, 31.0f);
      block[8 + j] = static_cast<uint8_t>((low & 0x0F) | ((high & 0x0F) << 4));
      high_bits |= static_cast<uint32_t>(low >> 4) << j;
      high_bits |= static_cast<uint32_t>(high >> 4) << (j + 16);
    }
    store(block + 4, high_bits);
  }
}

}  // namespace
}  // namespace apr::kernels
