// BF16: the upper half of an IEEE binary32 (1 sign, 8 exponent, 7 mantissa bits).
//
//   byte 0       2
//        | value |
namespace apr::kernels {
namespace {

void dequantize_bf16(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict bytes = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i) {
    dst[i] = bits_to_float(static_cast<uint32_t>(load<uint16_t>(bytes + 2 * i)) << 16);
  }
}
/// Round to nearest even; a NaN keeps its upper bits and becomes quiet.
void quantize_bf16(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict bytes = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i) {
    const uint32_t bits = float_to_bits(src[i]);
    const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const bool nan = static_cast<int32_t>(bits & 0x7FFFFFFFu) > 0x7F800000;
    store(bytes + 2 * i, static_cast<uint16_t>(nan ? (bits >> 16) | 0x40u : rounded));
  }
}

}  // namespace
}  // namespace apr::kernels
