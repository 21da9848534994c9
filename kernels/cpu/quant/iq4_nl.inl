// IQ4_NL: 32 elements in 18 bytes, x = d * value[q] with 16 fixed values that lie denser around zero.
//
//   byte 0   2    18
//        | d | qs |
//   d   f16 scale
//   qs  byte j: element j in the low nibble, element j + 16 in the high nibble
namespace apr::kernels {
namespace {

void dequantize_iq4_nl(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 18, dst += 32) {
    const float d = load_f16(block);
    for (int j = 0; j < 16; ++j) {
      dst[j] = d * static_cast<float>(kIq4Values[block[2 + j] & 0x0F]);
      dst[j + 16] = d * static_cast<float>(kIq4Values[block[2 + j] >> 4]);
    }
  }
}

/// The element with the largest magnitude maps to value -127; every element takes the nearest value.
void quantize_iq4_nl(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 18, src += 32) {
    float x[32];
    int32_t q[32];
    load_finite<32>(src, x);
    store_f16(block, signed_absolute_max<32>(x) / -127.0f);
    const float inverse = inverse_or_zero(load_f16(block));
    for (int j = 0; j < 32; ++j) x[j] = x[j] * inverse;
    nearest_codes<32>(x, 1.0f, kIq4Values, q);
    for (int j = 0; j < 16; ++j) block[2 + j] = static_cast<uint8_t>(q[j] | (q[j + 16] << 4));
  }
}

}  // namespace
}  // namespace apr::kernels
