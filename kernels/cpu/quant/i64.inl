// I64: one two's complement integer of 8 bytes per element, little-endian.
//
//   byte 0       8
//        | value |
namespace apr::kernels {
namespace {

void dequantize_i64(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict bytes = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i) dst[i] = static_cast<float>(load<int64_t>(bytes + 8 * i));
}
/// Halves round away from zero; saturates; NaN is 0.
void quantize_i64(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict bytes = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i) store(bytes + 8 * i, saturated<int64_t>(src[i]));
}

}  // namespace
}  // namespace apr::kernels
