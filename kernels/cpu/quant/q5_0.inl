// Q5_0: 32 elements in 22 bytes, x = d * (q - 16).
//
//   byte 0   2    6    22
//        | d | qh | qs |
//   d   f16 scale
//   qh  little-endian 32 bits: bit j is bit 4 of element j
//   qs  byte j: bits 0..3 of element j in the low nibble, of element j + 16 in the high nibble
namespace apr::kernels {
namespace {

void dequantize_q5_0(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 22, dst += 32) {
    const float d = load_f16(block);
    const uint32_t high_bits = load<uint32_t>(block + 2);
    for (int j = 0; j < 16; ++j) {
      const int bit_low = static_cast<int>((high_bits >> j) & 1u) << 4;
      const int bit_high = static_cast<int>((high_bits >> (j + 16)) & 1u) << 4;
      dst[j] = static_cast<float>(((block[6 + j] & 0x0F) | bit_low) - 16) * d;
      dst[j + 16] = static_cast<float>(((block[6 + j] >> 4) | bit_high) - 16) * d;
    }
  }
}

/// The element with the largest magnitude maps to q = 0 (value -16 d), so d has the opposite sign.
void quantize_q5_0(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 22, src += 32) {
    float x[32];
    load_finite<32>(src, x);
    const float d = signed_absolute_max<32>(x) / -16.0f;
    const float inverse = inverse_or_zero(d);
    store_f16(block, d);
    uint32_t high_bits = 0;
    for (int j = 0; j < 16; ++j) {
      const int low = truncate_to(x[j] * inverse + 16.5f, 0.0f, 31.0f);
      const int high = truncate_to(x[j + 16] * inverse + 16.5f, 0.0f, 31.0f);
      block[6 + j] = static_cast<uint8_t>((low & 0x0F) | ((high & 0x0F) << 4));
      high_bits |= static_cast<uint32_t>(low >> 4) << j;
      high_bits |= static_cast<uint32_t>(high >> 4) << (j + 16);
    }
    store(block + 2, high_bits);
  }
}

}  // namespace
}  // namespace apr::kernels
