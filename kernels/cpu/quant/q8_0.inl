// Q8_0: 32 elements in 34 bytes, x = d * q.
//
//   byte 0   2      34
//        | d |  qs  |
//   d   f16 scale
//   qs  int8 per element
namespace apr::kernels {
namespace {

void dequantize_q8_0(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 34, dst += 32) {
    const float d = load_f16(block);
    for (int j = 0; j < 32; ++j) dst[j] = static_cast<float>(static_cast<int8_t>(block[2 + j])) * d;
  }
}

/// The largest magnitude maps to 127; halves round away from zero.
void quantize_q8_0(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 34, src += 32) {
    float x[32];
    load_finite<32>(src, x);
    const float d = absolute_max<32>(x) / 127.0f;
    const float inverse = inverse_or_zero(d);
    store_f16(block, d);
    for (int j = 0; j < 32; ++j) block[2 + j] = static_cast<uint8_t>(round_to(x[j] * inverse, -127.0f, 127.0f));
  }
}

}  // namespace
}  // namespace apr::kernels
