// TQ1_0: 256 elements in 54 bytes, x = d * t with trits t = -1, 0, 1.
//
//   byte 0        48   52  54
//        |   qs   | qh | d |
//   qs  five trits a byte: bytes 0..31 hold elements 32 n + byte (n = 0..4), bytes 32..47 elements 160 + 16 n + byte -
//   32 qh  four trits a byte: elements 240 + 4 n + byte (n = 0..3) d   f16 scale A byte is ceil(256 v / 243) of the
//   base-3 number v with t + 1 as digits, first trit most significant. So byte * 3^n (mod 256), times 3, shifted right
//   by 8 is digit n.
namespace apr::kernels {
namespace {

constexpr int kPowersOf3[5] = {1, 3, 9, 27, 81};

/// `width` bytes, `n_trits` of each -> n_trits * width elements.
inline void unpack_trits(const uint8_t* __restrict bytes, int width, int n_trits, float d, float* __restrict dst) {
  for (int n = 0; n < n_trits; ++n) {
    for (int j = 0; j < width; ++j) {
      const int shifted = (bytes[j] * kPowersOf3[n]) & 0xFF;
      dst[n * width + j] = static_cast<float>(((shifted * 3) >> 8) - 1) * d;
    }
  }
}

void dequantize_tq1_0(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 54, dst += 256) {
    const float d = load_f16(block + 52);
    unpack_trits(block, 32, 5, d, dst);
    unpack_trits(block + 32, 16, 5, d, dst + 160);
    unpack_trits(block + 48, 4, 4, d, dst + 240);
  }
}

/// The inverse of unpack_trits; a missing fifth digit is 0.
inline void pack_trits(const float* __restrict x, int width, int n_trits, float inverse, uint8_t* __restrict bytes) {
  for (int j = 0; j < width; ++j) {
    int number = 0;
    for (int n = 0; n < 5; ++n) {
      const int digit = n < n_trits ? round_to(x[n * width + j] * inverse, -1.0f, 1.0f) + 1 : 0;
      number = 3 * number + digit;
    }
    bytes[j] = static_cast<uint8_t>((number * 256 + 242) / 243);
  }
}

/// d is the largest magnitude; halves round away from zero.
void quantize_tq1_0(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 54, src += 256) {
    float x[256];
    load_finite<256>(src, x);
    const float d = absolute_max<256>(x);
    const float inverse = inverse_or_zero(d);
    store_f16(block + 52, d);
    pack_trits(x, 32, 5, inverse, block);
    pack_trits(x + 160, 16, 5, inverse, block + 32);
    pack_trits(x + 240, 4, 4, inverse, block + 48);
  }
}

}  // namespace
}  // namespace apr::kernels
