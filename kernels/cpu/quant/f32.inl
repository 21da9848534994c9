// F32: one IEEE binary32 per element.
//
//   byte 0       4
//        | value |
namespace apr::kernels {
namespace {

void dequantize_f32(const void* src, float* dst, int64_t n_blocks) {
  if (n_blocks > 0) __builtin_memcpy(dst, src, static_cast<size_t>(n_blocks) * sizeof(float));
}
void quantize_f32(const float* src, void* dst, int64_t n_blocks) {
  if (n_blocks > 0) __builtin_memcpy(dst, src, static_cast<size_t>(n_blocks) * sizeof(float));
}

}  // namespace
}  // namespace apr::kernels
