// One weight of a tile, for kernels that gather rows (embedding) or expand whole matrices.
#pragma once
#include "kernels/cuda/shim.h"
#include "kernels/cuda/tile_layout.h"

namespace apr::kernels::cuda {

APR_DEVICE float read_half(Global<const uint8_t> p) { return half_to_float(*cast<const uint16_t>(p)); }

/// Element `e` (0 .. 255) of row `row` (0 .. 15).
template <int Id>
APR_DEVICE float tile_element(Global<const uint8_t> tile, int row, int e) {
  using T = TileType<Id>;
  const int g = row % 8, half = row / 8, group = e / 32, j = e % 32;
  if constexpr (T::is_float) {
    constexpr int n = T::bits / 8, per_load = 16 / n;
    const int t = j / 8, within = j % 8;
    const int plane = (group * 2 + half) * (8 / per_load) + within / per_load;
    Global<const uint8_t> at = tile + (512 * plane + 16 * (4 * g + t) + within % per_load * n);
    if constexpr (n == 4) return *cast<const float>(at);
    const uint32_t bits = *cast<const uint16_t>(at);
    return Id == 30 ? as_float(bits << 16) : half_to_float(bits);
  } else {
    const bool split = T::scale == TileScale::K6;
    const int t = split ? j % 16 / 4 : j / 8, pair = split ? j / 16 : j % 8 / 4, byte = j % 4;
    const int lane_at = 16 * (4 * g + t), reg = half + 2 * pair, p = group / 2, h = group % 2;
    int code = 0;
    if constexpr (T::bits == 8) {
      code = *cast<const int8_t>(tile + (512 * group + lane_at + 4 * reg + byte));
    } else {
      const int main = tile[512 * p + lane_at + 4 * reg + byte];
      code = (main >> (4 * h)) & 15;
      if constexpr (T::bits == 5) {
        const int extra = tile[T::extra_at + lane_at + 4 * p + byte];
        if constexpr (T::low_nibbles) {
          const int bit = (extra >> (2 * reg + 1 - h)) & 1;
          code = h == 0 ? code + 16 * bit : code * 2 + bit;
        } else {
          code = code * 2 + ((extra >> (4 * h + reg)) & 1);
        }
      }
      if constexpr (T::bits == 6) {
        const int extra = tile[T::extra_at + 512 * (p / 2) + lane_at + 8 * (p % 2) + 4 * pair + byte];
        code = code * 4 + ((extra >> (2 * (2 * h + half))) & 3);
      }
      if constexpr (T::is_signed) code = (code ^ (1 << (T::bits - 1))) - (1 << (T::bits - 1));
    }
    const float value = static_cast<float>(code);
    const int quad = 4 * g + group / 2, odd = group % 2;
    if constexpr (T::scale == TileScale::D) {
      return read_half(tile + (T::scales_at + 8 * quad + 4 * half + 2 * odd)) * value;
    } else if constexpr (T::scale == TileScale::DM) {
      Global<const uint8_t> d = tile + (T::scales_at + 16 * quad + 4 * half + 2 * odd);
      return read_half(d) * value + read_half(d + 8);
    } else if constexpr (T::scale == TileScale::K6) {
      const int sub = e / 16;
      const int sc =
          *cast<const int8_t>(tile + (T::scales_at + 8 * (4 * g + sub % 8 / 2) + 4 * (sub / 8) + 2 * half + sub % 2));
      return read_half(tile + (T::d_at + 4 * g + 2 * half)) * static_cast<float>(sc) * value;
    } else {
      Global<const uint8_t> scales = tile + (T::scales_at + 8 * quad + 2 * half + odd);
      Global<const uint8_t> d = tile + (T::d_at + 8 * g + 4 * half);
      const int sc = scales[0], mn = scales[4];
      return read_half(d) * static_cast<float>(sc) * value - read_half(d + 2) * static_cast<float>(mn);
    }
  }
}

/// The same with the type known at run time.
APR_DEVICE float tile_element(int type, Global<const uint8_t> tile, int row, int e) {
  switch (type) {
#define APR_TILE_ELEMENT(id) \
  case id: return tile_element<id>(tile, row, e);
    APR_FOR_TILE_TYPES(APR_TILE_ELEMENT)
#undef APR_TILE_ELEMENT
    default: return as_float(0x7FC00000u);
  }
}
APR_DEVICE int tile_bytes_of(int type) {
  switch (type) {
#define APR_TILE_BYTES(id) \
  case id: return TileType<id>::bytes;
    APR_FOR_TILE_TYPES(APR_TILE_BYTES)
#undef APR_TILE_BYTES
    default: return 0;
  }
}

}  // namespace apr::kernels::cuda
