// IQ1_S: 256 elements in 50 bytes; 8 sub-blocks of 32: x = d * (2 * scale + 1) * (grid value +- 0.125).
//
//   byte 0   2      34   50
//        | d |  qs  | qh |
//   d   f16 scale
//   qs  per group of 8 elements: bits 0..7 of the index into the 2048-entry grid of -1, 0, 1
//   qh  per sub-block: bits 3 l .. 3 l + 2 are bits 8..10 of the index of group l, bits 12..14 the scale, bit 15 set =
//       the shift is -0.125
namespace apr::kernels {
namespace {

void dequantize_iq1_s(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 50) {
    const float d = load_f16(block);
    for (int s = 0; s < 8; ++s) {
      const int high = load<uint16_t>(block + 34 + 2 * s);
      const float scale = d * static_cast<float>(2 * ((high >> 12) & 7) + 1);
      const float delta = high & 0x8000 ? -kIq1Delta : kIq1Delta;
      for (int l = 0; l < 4; ++l, dst += 8) {
        const int8_t* __restrict grid = kIq1Grid.value[block[2 + 4 * s + l] | (((high >> (3 * l)) & 7) << 8)];
        for (int j = 0; j < 8; ++j) dst[j] = scale * (static_cast<float>(grid[j]) + delta);
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
