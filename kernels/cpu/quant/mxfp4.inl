// MXFP4: 32 elements in 17 bytes, x = 2^(e - 127) * E2M1(q): the OCP microscaling format.
//
//   byte 0   1    17
//        | e | qs |
//   e   E8M0 scale, a power of two
//   qs  byte j: element j in the low nibble, element j + 16 in the high nibble; E2M1 = 0 .5 1 1.5 2 3 4 6 and negatives
namespace apr::kernels {
namespace {

/// Half of 2^(e - 127), as the value table is doubled. 255 (NaN in the OCP text) is 2^127 here, as in ggml.
inline float mxfp4_half_scale(uint8_t e) {
  return bits_to_float(e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

void dequantize_mxfp4(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 17, dst += 32) {
    const float d = mxfp4_half_scale(block[0]);
    for (int j = 0; j < 16; ++j) {
      dst[j] = static_cast<float>(kFp4Values[block[1 + j] & 0x0F]) * d;
      dst[j + 16] = static_cast<float>(kFp4Values[block[1 + j] >> 4]) * d;
    }
  }
}

/// The largest magnitude lies in [4, 8) scales (values over 6 saturate); every element takes the nearest value.
void quantize_mxfp4(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 17, src += 32) {
    float x[32];
    int32_t q[32];
    load_finite<32>(src, x);
    const int exponent = static_cast<int>(float_to_bits(absolute_max<32>(x)) >> 23) - 2;
    block[0] = static_cast<uint8_t>(exponent > 0 ? exponent : 0);
    nearest_codes<32>(x, mxfp4_half_scale(block[0]), kFp4Values, q);
    for (int j = 0; j < 16; ++j) block[1 + j] = static_cast<uint8_t>(q[j] | (q[j + 16] << 4));
  }
}

}  // namespace
}  // namespace apr::kernels
