// IQ3_S: 256 elements in 110 bytes; 8 sub-blocks of 32: x = d * (2 * scale + 1) * grid value * sign.
//
//   byte 0   2          66   74      106      110
//        | d |    qs    | qh | signs | scales |
//   d       f16 scale
//   qs      per 4 elements: bits 0..7 of the index into the 512-entry grid
//   qh      byte s, bit k: bit 8 of the k-th index of sub-block s
//   signs   per 8 elements: bit j set = element j negative
//   scales  byte k: low nibble for sub-block 2 k, high nibble for sub-block 2 k + 1
namespace apr::kernels {
namespace {

void dequantize_iq3_s(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 110) {
    const float d = load_f16(block);
    for (int s = 0; s < 8; ++s) {
      const int nibble = (block[106 + s / 2] >> (4 * (s & 1))) & 0x0F;
      const float scale = d * static_cast<float>(1 + 2 * nibble);
      for (int k = 0; k < 8; ++k, dst += 4) {
        const int index = block[2 + 8 * s + k] | (((block[66 + s] >> k) & 1) << 8);
        const uint8_t* __restrict grid = kIq3SGrid.value[index];
        const uint32_t signs = static_cast<uint32_t>(block[74 + 4 * s + k / 2]) >> (4 * (k & 1));
        for (int j = 0; j < 4; ++j) dst[j] = with_sign(scale * static_cast<float>(grid[j]), signs, j);
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
