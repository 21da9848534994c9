// F64: one IEEE binary64 per element, little-endian.
//
//   byte 0       8
//        | value |
namespace apr::kernels {
namespace {

/// Rounds to the nearest float (ties to even); what is too large becomes Inf.
void dequantize_f64(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict bytes = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i) dst[i] = static_cast<float>(load<double>(bytes + 8 * i));
}
void quantize_f64(const float* __restrict src, void* dst, int64_t n_blocks) {
  uint8_t* __restrict bytes = static_cast<uint8_t*>(dst);
  for (int64_t i = 0; i < n_blocks; ++i) store(bytes + 8 * i, static_cast<double>(src[i]));
}

}  // namespace
}  // namespace apr::kernels
