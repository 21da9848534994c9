// IQ3_XXS: 256 elements in 98 bytes; 8 sub-blocks of 32: x = d * (scale + 0.5) / 2 * grid value * sign.
//
//   byte 0   2          66                 98
//        | d |    qs    | scales_and_signs |
//   d                 f16 scale
//   qs                per 4 elements an index into the 256-entry grid
//   scales_and_signs  per sub-block a little-endian u32: bits 7 l .. 7 l + 6 signs of the l-th 8 elements (the eighth
//   by
//                     parity), bits 28..31 scale
namespace apr::kernels {
namespace {

void dequantize_iq3_xxs(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 98) {
    const float d = load_f16(block);
    for (int s = 0; s < 8; ++s) {
      const uint32_t packed = load<uint32_t>(block + 66 + 4 * s);
      const float scale = d * (0.5f + static_cast<float>(packed >> 28)) * 0.5f;
      for (int l = 0; l < 4; ++l, dst += 8) {
        const uint32_t signs = signs_of((packed >> (7 * l)) & 127u);
        for (int part = 0; part < 2; ++part) {
          const uint8_t* __restrict grid = kIq3XxsGrid.value[block[2 + 8 * s + 2 * l + part]];
          for (int j = 0; j < 4; ++j) {
            dst[4 * part + j] = with_sign(scale * static_cast<float>(grid[j]), signs, 4 * part + j);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
