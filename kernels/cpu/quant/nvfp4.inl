// NVFP4: 64 elements in 36 bytes; 4 sub-blocks of 16: x = d * E2M1(q).
//
//   byte 0   4      36
//        | d |  qs  |
//   d   per sub-block an unsigned E4M3 scale (bias 7); 0x7F counts as 0 and bit 7 is not looked at, as in ggml
//   qs  8 bytes a sub-block; byte j: element j in the low nibble, element j + 8 in the high nibble
namespace apr::kernels {
namespace {

/// Half of the E4M3 number, as the value table is doubled.
inline float nvfp4_half_scale(uint8_t code) {
  const uint32_t exponent = (code >> 3) & 15u, mantissa = code & 7u;
  const float subnormal = static_cast<float>(mantissa) * 0x1p-10f;
  const float normal = bits_to_float(((exponent + 127 - 8) << 23) | (mantissa << 20));
  return code == 0x7F ? 0.0f : (exponent == 0 ? subnormal : normal);
}

/// binary32 -> E4M3, halves rounded up, 0 for what is not positive, 448 (0x7E) at most.
inline uint8_t nvfp4_scale_code(float value) {
  if (!(value > 0.0f)) return 0;
  const int exponent = static_cast<int>(float_to_bits(value) >> 23) - 127 + 7;
  if (exponent <= 0) return static_cast<uint8_t>(truncate_to(value * 512.0f + 0.5f, 0.0f, 7.0f));
  const int rounded = static_cast<int>((float_to_bits(value) + (1u << 19)) >> 20) - ((127 - 7) << 3);
  return static_cast<uint8_t>(exponent >= 15 || rounded > 0x77 ? 0x7E : rounded);
}

void dequantize_nvfp4(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 36) {
    for (int s = 0; s < 4; ++s, dst += 16) {
      const float d = nvfp4_half_scale(block[s]);
      const uint8_t* __restrict qs = block + 4 + 8 * s;
      for (int j = 0; j < 8; ++j) {
        dst[j] = static_cast<float>(kFp4Values[qs[j] & 0x0F]) * d;
        dst[j + 8] = static_cast<float>(kFp4Values[qs[j] >> 4]) * d;
      }
    }
  }
}

/// The largest magnitude of a sub-block maps to 6; every element takes the nearest value.
void quantize_nvfp4(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 36, src += 64) {
    float x[64];
    int32_t q[16];
    load_finite<64>(src, x);
    for (int s = 0; s < 4; ++s) {
      block[s] = nvfp4_scale_code(absolute_max<16>(x + 16 * s) / 6.0f);
      nearest_codes<16>(x + 16 * s, nvfp4_half_scale(block[s]), kFp4Values, q);
      for (int j = 0; j < 8; ++j) block[4 + 8 * s + j] = static_cast<uint8_t>(q[j] | (q[j + 8] << 4));
    }
  }
}

}  // namespace
}  // namespace apr::kernels
