// IQ2_S: 256 elements in 82 bytes; 8 sub-blocks of 32: x = d * (scale + 0.5) / 4 * grid value * sign.
//
//   byte 0   2      34      66   74       82
//        | d |  qs  | signs | qh | scales |
//   d       f16 scale
//   qs      per group of 8 elements: bits 0..7 of the index into the 1024-entry grid
//   signs   per group of 8 elements: bit j set = element j negative
//   qh      byte s, bits 2 l and 2 l + 1: bits 8..9 of the index of group l of sub-block s
//   scales  byte s: low nibble for groups 0 and 1 of sub-block s, high nibble for groups 2 and 3
namespace apr::kernels {
namespace {

void dequantize_iq2_s(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 82) {
    const float d = load_f16(block);
    for (int group = 0; group < 32; ++group, dst += 8) {
      const int nibble = (block[74 + group / 4] >> (4 * ((group >> 1) & 1))) & 0x0F;
      const float scale = d * (0.5f + static_cast<float>(nibble)) * 0.25f;
      const int index = block[2 + group] | (((block[66 + group / 4] >> (2 * (group & 3))) & 3) << 8);
      const uint8_t* __restrict grid = kIq2SGrid.value[index];
      const uint32_t signs = block[34 + group];
      for (int j = 0; j < 8; ++j) dst[j] = with_sign(scale * static_cast<float>(grid[j]), signs, j);
    }
  }
}

}  // namespace
}  // namespace apr::kernels
