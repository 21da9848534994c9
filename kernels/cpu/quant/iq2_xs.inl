// IQ2_XS: 256 elements in 74 bytes; 8 sub-blocks of 32: x = d * (scale + 0.5) / 4 * grid value * sign.
//
//   byte 0   2          66       74
//        | d |    qs    | scales |
//   d       f16 scale
//   qs      per group of 8 elements: bits 0..8 index the 512-entry grid, bits 9..15 signs (the eighth by parity)
//   scales  byte s: low nibble for groups 0 and 1 of sub-block s, high nibble for groups 2 and 3
namespace apr::kernels {
namespace {

void dequantize_iq2_xs(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 74) {
    const float d = load_f16(block);
    for (int group = 0; group < 32; ++group, dst += 8) {
      const int nibble = (block[66 + group / 4] >> (4 * ((group >> 1) & 1))) & 0x0F;
      const float scale = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
      const uint32_t packed = load<uint16_t>(block + 2 + 2 * group);
      const uint8_t* __restrict grid = kIq2XsGrid.value[packed & 511u];
      const uint32_t signs = signs_of(packed >> 9);
      for (int j = 0; j < 8; ++j) dst[j] = with_sign(scale * static_cast<float>(grid[j]), signs, j);
    }
  }
}

}  // namespace
}  // namespace apr::kernels
