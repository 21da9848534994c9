// Q8_K: 256 elements in 292 bytes, x = d * q. An activation type of ggml; bsums serve dot products.
//
//   byte 0   4                        260     292
//        | d |           qs           | bsums |
//   d      f32 scale
//   qs     int8 per element
//   bsums  i16 per 16 elements, the sum of their q
namespace apr::kernels {
namespace {

void dequantize_q8_k(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 292, dst += 256) {
    const float d = load<float>(block);
    for (int j = 0; j < 256; ++j) dst[j] = d * static_cast<float>(static_cast<int8_t>(block[4 + j]));
  }
}

/// The element with the largest magnitude maps to -127; halves round to even.
void quantize_q8_k(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 292, src += 256) {
    float x[256];
    load_finite<256>(src, x);
    const float largest = signed_absolute_max<256>(x);
    const float inverse = largest != 0.0f ? -127.0f / largest : 0.0f;
    store(block, inverse_or_zero(inverse));
    for (int j = 0; j < 256; ++j) block[4 + j] = static_cast<uint8_t>(round_even_to(x[j] * inverse, -127.0f, 127.0f));
    for (int s = 0; s < 16; ++s) {
      int sum = 0;
      for (int j = 0; j < 16; ++j) sum += static_cast<int8_t>(block[4 + 16 * s + j]);
      store(block + 260 + 2 * s, static_cast<int16_t>(sum));
    }
  }
}

}  // namespace
}  // namespace apr::kernels
