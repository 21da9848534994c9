// IQ4_XS: 256 elements in 136 bytes; 8 sub-blocks of 32: x = d * (scale - 32) * value[q], the values of IQ4_NL.
//
//   byte 0   2          4          8                  136
//        | d | scales_h | scales_l |        qs        |
//   d         f16 scale of the scales
//   scales_h  u16, bits 2 s and 2 s + 1: bits 4..5 of the scale of sub-block s
//   scales_l  byte k: bits 0..3 of the scales of sub-block 2 k (low nibble) and 2 k + 1 (high nibble)
//   qs        16 bytes a sub-block; byte j: element j in the low nibble, element j + 16 in the high nibble
namespace apr::kernels {
namespace {

void dequantize_iq4_xs(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 136) {
    const float d = load_f16(block);
    const int high = load<uint16_t>(block + 2);
    for (int s = 0; s < 8; ++s, dst += 32) {
      const int stored = ((block[4 + s / 2] >> (4 * (s & 1))) & 0x0F) | (((high >> (2 * s)) & 3) << 4);
      const float scale = d * static_cast<float>(stored - 32);
      const uint8_t* __restrict qs = block + 8 + 16 * s;
      for (int j = 0; j < 16; ++j) {
        dst[j] = scale * static_cast<float>(kIq4Values[qs[j] & 0x0F]);
        dst[j + 16] = scale * static_cast<float>(kIq4Values[qs[j] >> 4]);
      }
    }
  }
}

/// As quantize_iq4_nl in each sub-block; the largest scale maps to 0 (value -32).
void quantize_iq4_xs(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 136, src += 256) {
    float x[256], scale[8];
    int32_t q[32];
    load_finite<256>(src, x);
    for (int s = 0; s < 8; ++s) scale[s] = signed_absolute_max<32>(x + 32 * s) / -127.0f;
    store_f16(block, signed_absolute_max<8>(scale) / -32.0f);
    const float d = load_f16(block);
    const float inverse_d = inverse_or_zero(d);
    int stored[8], high = 0;
    for (int s = 0; s < 8; ++s) {
      stored[s] = round_to(scale[s] * inverse_d, -32.0f, 31.0f);
      high |= ((stored[s] + 32) >> 4) << (2 * s);
      const float inverse = inverse_or_zero(d * static_cast<float>(stored[s]));
      for (int j = 0; j < 32; ++j) x[32 * s + j] = x[32 * s + j] * inverse;
      nearest_codes<32>(x + 32 * s, 1.0f, kIq4Values, q);
      for (int j = 0; j < 16; ++j) block[8 + 16 * s + j] = static_cast<uint8_t>(q[j] | (q[j + 16] << 4));
    }
    store(block + 2, static_cast<uint16_t>(high));
    for (int k = 0; k < 4; ++k) {
      const int low = (stored[2 * k] + 32) & 0x0F;
      block[4 + k] = static_cast<uint8_t>(low | (((stored[2 * k + 1] + 32) & 0x0F) << 4));
    }
  }
}

}  // namespace
}  // namespace apr::kernels
