// I32: one two's complement integer of 4 bytes per element, little-endian.
//
//   byte 0       4
//        | value |
namespace apr::kernels {
namespace {

void dequantize_i32(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict bytes = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i) dst[i] = static_cast<float>(load<int32_t>(bytes + 4 * i));
}
/// Halves round away from zero; saturates; NaN is 0.
void quantize_i32(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict bytes = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i) store(bytes + 4 * i, saturated<int32_t>(src[i]));
}

}  // namespace
}  // namespace apr::kernels
