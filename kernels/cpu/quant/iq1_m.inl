// IQ1_M: 256 elements in 56 bytes; 16 sub-blocks of 16: x = d * (2 * scale + 1) * (grid value +- 0.125).
//
//   byte 0      32   48       56
//        |  qs  | qh | scales |
//   qs      per group of 8 elements: bits 0..7 of the index into the 2048-entry grid of -1, 0, 1
//   qh      a nibble per group, low one first: bits 0..2 are bits 8..10 of the index, bit 3 set = the shift is -0.125
//   scales  u16 k: bits 3 t .. 3 t + 2 are the scale of sub-block 4 k + t; bits 12..15 are bits 4 k .. 4 k + 3 of d
//   (f16)
namespace apr::kernels {
namespace {

void dequantize_iq1_m(const void* src, float* __restrict dst, int64_t n_blocks) {
  const uint8_t* __restrict block = static_cast<const uint8_t*>(src);
  for (int64_t i = 0; i < n_blocks; ++i, block += 56) {
    int scales[4], d_bits = 0;
    for (int k = 0; k < 4; ++k) {
      scales[k] = load<uint16_t>(block + 48 + 2 * k);
      d_bits |= (scales[k] >> 12) << (4 * k);
    }
    const float d = f16_to_f32(static_cast<uint16_t>(d_bits));
    for (int group = 0; group < 32; ++group, dst += 8) {
      const int sub_block = group / 2;
      const int stored = (scales[sub_block / 4] >> (3 * (sub_block & 3))) & 7;
      const float scale = d * static_cast<float>(2 * stored + 1);
      const int high = (block[32 + group / 2] >> (4 * (group & 1))) & 0x0F;
      const float delta = high & 8 ? -kIq1Delta : kIq1Delta;
      const int8_t* __restrict grid = kIq1Grid.value[block[group] | ((high & 7) << 8)];
      for (int j = 0; j < 8; ++j) dst[j] = scale * (static_cast<float>(grid[j]) + delta);
    }
  }
}

}  // namespace
}  // namespace apr::kernels
