// Q8_1: 32 elements in 36 bytes, x = d * q. An activation type of ggml; s serves dot products and is not needed to
// decode.
//
//   byte 0   2   4      36
//        | d | s |  qs  |
//   d   f16 scale
//   s   f16, d * (sum of all q)
//   qs  int8 per element
namespace apr::kernels {
namespace {

void dequantize_q8_1(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 36, dst += 32) {
    const float d = load_f16(block);
    for (int j = 0; j < 32; ++j) dst[j] = static_cast<float>(static_cast<int8_t>(block[4 + j])) * d;
  }
}

/// As quantize_q8_0; the sum is scaled by d before d is rounded to f16.
void quantize_q8_1(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 36, src += 32) {
    float x[32];
    load_finite<32>(src, x);
    const float d = absolute_max<32>(x) / 127.0f;
    const float inverse = inverse_or_zero(d);
    int sum = 0;
    for (int j = 0; j < 32; ++j) {
      const int q = round_to(x[j] * inverse, -127.0f, 127.0f);
      block[4 + j] = static_cast<uint8_t>(q);
      sum += q;
    }
    store_f16(block, d);
    store_f16(block + 2, static_cast<float>(sum) * d);
  }
}

}  // namespace
}  // namespace apr::kernels
