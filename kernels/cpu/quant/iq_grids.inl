// Codebooks of the IQ types, expanded at compile time from grid_*.def (made by make_grids.py).
namespace apr::kernels {
namespace {

template <int entries, int elements, typename T>
struct Grid {
  T value[entries][elements];
};

/// Each code is `elements` indices of 16 / elements bits into the value map.
template <int entries, int elements, typename T, int n_values>
constexpr Grid<entries, elements, T> expand_grid(const uint16_t (&codes)[entries], const T (&map)[n_values]) {
  constexpr int bits = 16 / elements;
  Grid<entries, elements, T> grid = {};
  for (int i = 0; i < entries; ++i) {
    for (int j = 0; j < elements; ++j) grid.value[i][j] = map[(codes[i] >> (bits * j)) & ((1 << bits) - 1)];
  }
  return grid;
}

constexpr int8_t kIq1Map[] = {-1, 0, 1};
constexpr uint8_t kIq2Map[] = {0x08, 0x19, 0x2B};
constexpr uint8_t kIq3XxsMap[] = {0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x34, 0x3E};
constexpr uint8_t kIq3SMap[] = {0x01, 0x03, 0x05, 0x07, 0x09, 0x0B, 0x0D, 0x0F};

constexpr uint16_t kIq1Codes[] = {
#include "kernels/cpu/quant/grid_iq1.def"
};
constexpr uint16_t kIq2XxsCodes[] = {
#include "kernels/cpu/quant/grid_iq2_xxs.def"
};
constexpr uint16_t kIq2XsCodes[] = {
#include "kernels/cpu/quant/grid_iq2_xs.def"
};
constexpr uint16_t kIq2SCodes[] = {
#include "kernels/cpu/quant/grid_iq2_s.def"
};
constexpr uint16_t kIq3XxsCodes[] = {
#include "kernels/cpu/quant/grid_iq3_xxs.def"
};
constexpr uint16_t kIq3SCodes[] = {
#include "kernels/cpu/quant/grid_iq3_s.def"
};

constexpr auto kIq1Grid = expand_grid<2048, 8>(kIq1Codes, kIq1Map);
constexpr auto kIq2XxsGrid = expand_grid<256, 8>(kIq2XxsCodes, kIq2Map);
constexpr auto kIq2XsGrid = expand_grid<512, 8>(kIq2XsCodes, kIq2Map);
constexpr auto kIq2SGrid = expand_grid<1024, 8>(kIq2SCodes, kIq2Map);
constexpr auto kIq3XxsGrid = expand_grid<256, 4>(kIq3XxsCodes, kIq3XxsMap);
constexpr auto kIq3SGrid = expand_grid<512, 4>(kIq3SCodes, kIq3SMap);

/// The shift that IQ1_S and IQ1_M add to a grid value, with either sign.
constexpr float kIq1Delta = 0.125f;

/// The 16 values of IQ4_NL and IQ4_XS.
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// The E2M1 numbers of MXFP4 and NVFP4, doubled to be integers. Code 8 is +0 here: ggml keeps no negative zero.
constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Eight sign bits of which seven are stored: the eighth makes the number of negative elements even.
inline uint32_t signs_of(uint32_t seven_bits) {
  return seven_bits | (static_cast<uint32_t>(__builtin_parity(seven_bits)) << 7);
}
inline float with_sign(float value, uint32_t signs, int j) { return (signs >> j) & 1u ? -value : value; }

}  // namespace
}  // namespace apr::kernels
