// IQ2_XXS: 256 elements in 66 bytes; 8 sub-blocks of 32: x = d * (scale + 0.5) / 4 * grid value * sign.
//
//   byte 0   2          66
//        | d |    qs    |
//   d   f16 scale
//   qs  per sub-block 8 bytes: four bytes index the 256-entry grid (8 elements each), then a little-endian u32 with
//       bits 7 l .. 7 l + 6: signs of group l (the eighth by parity); bits 28..31: scale
namespace apr::kernels {
namespace {

void dequantize_iq2_xxs(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 66) {
    const float d = load_f16(block);
    for (int s = 0; s < 8; ++s) {
      const uint8_t* __restrict indices = block + 2 + 8 * s;
      const uint32_t packed = load<uint32_t>(indices + 4);
      const float scale = d * (0.5f + static_cast<float>(packed >> 28)) * 0.25f;
      for (int l = 0; l < 4; ++l, dst += 8) {
        const uint8_t* __restrict grid = kIq2XxsGrid.value[indices[l]];
        const uint32_t signs = signs_of((packed >> (7 * l)) & 127u);
        for (int j = 0; j < 8; ++j) dst[j] = with_sign(scale * static_cast<float>(grid[j]), signs, j);
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
