// F16: one IEEE binary16 per element (1 sign, 5 exponent, 10 mantissa bits).
//
//   byte 0       2
//        | value |
namespace apr::kernels {
namespace {

void dequantize_f16(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict bytes = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i) dst[i] = load_f16(bytes + 2 * i);
}
/// Round to nearest even; overflow is Inf, a NaN becomes 0x7E00 with its sign.
void quantize_f16(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict bytes = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i) store_f16(bytes + 2 * i, src[i]);
}

}  // namespace
}  // namespace apr::kernels
