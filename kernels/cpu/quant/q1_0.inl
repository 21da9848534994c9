// Q1_0: 128 elements in 18 bytes, x = d where the bit is set, else -d.
//
//   byte 0   2    18
//        | d | qs |
//   d   f16 magnitude
//   qs  element j is bit j % 8 of byte j / 8
namespace apr::kernels {
namespace {

void dequantize_q1_0(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 18) {
    const float d = load_f16(block);
    for (int k = 0; k < 16; ++k, dst += 8) {
      const int bits = block[2 + k];
      for (int j = 0; j < 8; ++j) dst[j] = (bits >> j) & 1 ? d : -d;
    }
  }
}

/// d is the mean magnitude, summed in element order.
void quantize_q1_0(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict block = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i, block += 18, src += 128) {
    float sum = 0.0f;
    for (int k = 0; k < 16; ++k) {
      int bits = 0;
      for (int j = 0; j < 8; ++j) {
        const float x = finite(src[8 * k + j]);
        sum += __builtin_fabsf(x);
        bits |= (x >= 0.0f ? 1 : 0) << j;
      }
      block[2 + k] = static_cast<uint8_t>(bits);
    }
    store_f16(block, sum / 128.0f);
  }
}

}  // namespace
}  // namespace apr::kernels
