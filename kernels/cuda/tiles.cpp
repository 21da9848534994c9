// Host reference of the tile layout: plain loops over elements, written from the drawing and not from the kernels.
#include "apr/kernels/cuda_tiles.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "apr/core/error.h"
#include "apr/kernels/dispatch.h"
#include "kernels/cuda/tile_layout.h"

namespace apr::kernels::cuda {
namespace {

/// A 256-column piece of a row: codes as the file has them (not flipped), and scales by group of 32 (16 for Q6_K).
struct RowPiece {
  std::array<int, 256> code{};
  std::array<int, 16> sc{}, mn{};                      // K, K6
  std::array<std::uint16_t, 8> d{}, m{};               // D, DM: f16; K, K6: [0] alone
  std::array<std::array<std::uint8_t, 4>, 256> raw{};  // float types
};

std::uint16_t load16(const std::uint8_t* p) { return static_cast<std::uint16_t>(p[0] | (p[1] << 8)); }

/// Scale and minimum `s` of the 12 packed bytes of Q4_K and Q5_K (docs/formats/quant-types.md).
void read_scale_min(const std::uint8_t* p, std::size_t s, int& sc, int& mn) {
  if (s < 4) {
    sc = p[s] & 63;
    mn = p[s + 4] & 63;
  } else {
    sc = (p[s + 4] & 15) | ((p[s - 4] >> 6) << 4);
    mn = (p[s + 4] >> 4) | ((p[s] >> 6) << 4);
  }
}

void read_super_block(TensorType type, const std::uint8_t* block, RowPiece& piece) {
  if (type == TensorType::Q6_K) {
    piece.d[0] = load16(block + 208);
    for (std::size_t s = 0; s < 16; ++s) piece.sc[s] = static_cast<std::int8_t>(block[192 + s]);
    for (std::size_t e = 0; e < 256; ++e) {
      const std::size_t half = e / 128, r = e % 128 / 32, j = e % 32;
      const int low = (block[64 * half + 32 * (r & 1) + j] >> (4 * (r >> 1))) & 15;
      piece.code[e] = low | (((block[128 + 32 * half + j] >> (2 * r)) & 3) << 4);
    }
    return;
  }
  piece.d[0] = load16(block);
  piece.m[0] = load16(block + 2);
  for (std::size_t s = 0; s < 8; ++s) read_scale_min(block + 4, s, piece.sc[s], piece.mn[s]);
  const bool five = type == TensorType::Q5_K;
  for (std::size_t e = 0; e < 256; ++e) {
    const std::size_t group = e / 32, j = e % 32;
    const std::uint8_t byte = block[(five ? 48 : 16) + 32 * (group / 2) + j];
    piece.code[e] = group % 2 == 0 ? byte & 15 : byte >> 4;
    if (five) piece.code[e] |= ((block[16 + j] >> group) & 1) << 4;
  }
}

/// One block of 32 as group `g` of the piece.
void read_block(TensorType type, const std::uint8_t* block, std::size_t g, RowPiece& piece) {
  piece.d[g] = load16(block);
  const bool minimum = type == TensorType::Q4_1 || type == TensorType::Q5_1;
  const bool five = type == TensorType::Q5_0 || type == TensorType::Q5_1;
  const std::uint8_t* p = block + 2;
  if (minimum) piece.m[g] = load16(p), p += 2;
  std::uint32_t high = 0;
  if (five) std::memcpy(&high, p, 4), p += 4;
  for (std::size_t j = 0; j < 32; ++j) {
    int& code = piece.code[32 * g + j];
    if (type == TensorType::Q8_0) {
      code = static_cast<std::int8_t>(p[j]);
    } else {
      code = j < 16 ? p[j] & 15 : p[j - 16] >> 4;
      if (five) code |= static_cast<int>((high >> j) & 1) << 4;
    }
  }
}

RowPiece read_piece(TensorType type, const std::uint8_t* row, std::int64_t n_cols, std::int64_t first_col) {
  RowPiece piece;
  const TypeInfo& traits = *find_type(type);
  const auto n = static_cast<std::size_t>(std::min<std::int64_t>(n_cols - first_col, tile_cols));
  const auto at = static_cast<std::size_t>(first_col) / traits.block_elements * traits.block_bytes;
  if (traits.block_elements == 1) {
    for (std::size_t e = 0; e < n; ++e)
      std::memcpy(piece.raw[e].data(), row + at + e * traits.block_bytes, traits.block_bytes);
  } else if (traits.block_elements == 256) {
    read_super_block(type, row + at, piece);
  } else {
    for (std::size_t g = 0; g < n / 32; ++g) read_block(type, row + at + g * traits.block_bytes, g, piece);
  }
  return piece;
}

/// Where element `e` of a row lies: lane's part t, fragment register pair, byte.
struct Place {
  std::size_t group, t, pair, byte;
};
Place place(std::size_t e, bool split) {
  const std::size_t j = e % 32;
  return split ? Place{e / 32, j % 16 / 4, j / 16, j % 4} : Place{e / 32, j / 8, j % 8 / 4, j % 4};
}

template <class T>
void put(std::uint8_t* tile, std::size_t at, T value) {
  std::memcpy(tile + at, &value, sizeof(T));
}

template <int Id>
void write_row(const RowPiece& piece, std::size_t row, std::uint8_t* tile) {
  using T = TileType<Id>;
  const std::size_t g = row % 8, half = row / 8;
  if constexpr (T::is_float) {
    constexpr std::size_t n = T::bits / 8, per_load = 16 / n;  // elements of a 16-byte load
    for (std::size_t e = 0; e < 256; ++e) {
      const std::size_t t = e % 32 / 8, within = e % 8;
      const std::size_t plane = (e / 32 * 2 + half) * (8 / per_load) + within / per_load;
      std::memcpy(tile + 512 * plane + 16 * (4 * g + t) + within % per_load * n, piece.raw[e].data(), n);
    }
  } else {
    for (std::size_t e = 0; e < 256; ++e) {
      const Place at = place(e, T::scale == TileScale::K6);
      const std::size_t lane = 4 * g + at.t, reg = half + 2 * at.pair;
      if constexpr (T::bits == 8) {
        tile[512 * at.group + 16 * lane + 4 * reg + at.byte] = static_cast<std::uint8_t>(piece.code[e]);
      } else {
        constexpr int extra = T::bits - 4;
        const int code = T::is_signed ? piece.code[e] ^ (1 << (T::bits - 1)) : piece.code[e];
        const std::size_t p = at.group / 2, h = at.group % 2;
        std::uint8_t& nibbles = tile[512 * p + 16 * lane + 4 * reg + at.byte];
        const bool low = T::low_nibbles && h == 0;
        nibbles = static_cast<std::uint8_t>(nibbles | (low ? code & 15 : code >> extra) << (4 * h));
        if constexpr (T::low_nibbles) {
          std::uint8_t& bits = tile[T::extra_at + 16 * lane + 4 * p + at.byte];
          bits = static_cast<std::uint8_t>(bits | (low ? code >> 4 : code & 1) << (2 * reg + 1 - h));
        } else if constexpr (extra == 1) {
          std::uint8_t& bits = tile[T::extra_at + 16 * lane + 4 * p + at.byte];
          bits = static_cast<std::uint8_t>(bits | (code & 1) << (4 * h + reg));
        }
        if constexpr (extra == 2) {
          std::uint8_t& bits = tile[T::extra_at + 512 * (p / 2) + 16 * lane + 8 * (p % 2) + 4 * at.pair + at.byte];
          bits = static_cast<std::uint8_t>(bits | (code & 3) << (2 * (2 * h + half)));
        }
      }
    }
    for (std::size_t s = 0; s < 8; ++s) {
      const std::size_t at = T::scales_at + 8 * (4 * g + s / 2) + 2 * half + s % 2;
      if constexpr (T::scale == TileScale::K) {
        tile[at] = static_cast<std::uint8_t>(piece.sc[s]);
        tile[at + 4] = static_cast<std::uint8_t>(piece.mn[s]);
      } else if constexpr (T::scale == TileScale::K6) {
        tile[at] = static_cast<std::uint8_t>(piece.sc[s]);
        tile[at + 4] = static_cast<std::uint8_t>(piece.sc[8 + s]);
      } else if constexpr (T::scale == TileScale::D) {
        put(tile, T::scales_at + 8 * (4 * g + s / 2) + 4 * half + 2 * (s % 2), piece.d[s]);
      } else {
        put(tile, T::scales_at + 16 * (4 * g + s / 2) + 4 * half + 2 * (s % 2), piece.d[s]);
        put(tile, T::scales_at + 16 * (4 * g + s / 2) + 8 + 4 * half + 2 * (s % 2), piece.m[s]);
      }
    }
    if constexpr (T::scale == TileScale::K) {
      put(tile, T::d_at + 8 * g + 4 * half, piece.d[0]);
      put(tile, T::d_at + 8 * g + 4 * half + 2, piece.m[0]);
    }
    if constexpr (T::scale == TileScale::K6) put(tile, T::d_at + 4 * g + 2 * half, piece.d[0]);
  }
}

float half_value(const std::uint8_t* p) {
  float out = 0;
  const bool decoded = decode(TensorType::F16, std::as_bytes(std::span(p, 2)), 0, std::span(&out, 1));
  APR_CHECK(decoded);
  return out;
}

template <int Id>
float read_value(const std::uint8_t* tile, std::size_t row, std::size_t e, TensorType type) {
  using T = TileType<Id>;
  const std::size_t g = row % 8, half = row / 8;
  if constexpr (T::is_float) {
    constexpr std::size_t n = T::bits / 8, per_load = 16 / n;
    const std::size_t t = e % 32 / 8, within = e % 8;
    const std::size_t plane = (e / 32 * 2 + half) * (8 / per_load) + within / per_load;
    float out = 0;
    const bool decoded =
        decode(type, std::as_bytes(std::span(tile + 512 * plane + 16 * (4 * g + t) + within % per_load * n, n)), 0,
               std::span(&out, 1));
    APR_CHECK(decoded);
    return out;
  } else {
    const Place at = place(e, T::scale == TileScale::K6);
    const std::size_t lane = 4 * g + at.t, reg = half + 2 * at.pair, p = at.group / 2, h = at.group % 2;
    int code = 0;
    if constexpr (T::bits == 8) {
      code = static_cast<std::int8_t>(tile[512 * at.group + 16 * lane + 4 * reg + at.byte]);
    } else {
      code = (tile[512 * p + 16 * lane + 4 * reg + at.byte] >> (4 * h)) & 15;
      if constexpr (T::low_nibbles) {
        const int bit = (tile[T::extra_at + 16 * lane + 4 * p + at.byte] >> (2 * reg + 1 - h)) & 1;
        code = h == 0 ? code + 16 * bit : code * 2 + bit;
      } else if constexpr (T::bits == 5) {
        code = code * 2 + ((tile[T::extra_at + 16 * lane + 4 * p + at.byte] >> (4 * h + reg)) & 1);
      }
      if constexpr (T::bits == 6) {
        const int bits = tile[T::extra_at + 512 * (p / 2) + 16 * lane + 8 * (p % 2) + 4 * at.pair + at.byte];
        code = code * 4 + ((bits >> (2 * (2 * h + half))) & 3);
      }
      if constexpr (T::is_signed) code = (code ^ (1 << (T::bits - 1))) - (1 << (T::bits - 1));
    }
    const auto value = static_cast<float>(code);
    const std::size_t s = at.group;
    if constexpr (T::scale == TileScale::D) {
      return half_value(tile + T::scales_at + 8 * (4 * g + s / 2) + 4 * half + 2 * (s % 2)) * value;
    } else if constexpr (T::scale == TileScale::DM) {
      const std::uint8_t* d = tile + T::scales_at + 16 * (4 * g + s / 2) + 4 * half + 2 * (s % 2);
      return half_value(d) * value + half_value(d + 8);
    } else if constexpr (T::scale == TileScale::K6) {
      const std::size_t sub = e / 16;
      const auto sc =
          static_cast<std::int8_t>(tile[T::scales_at + 8 * (4 * g + sub % 8 / 2) + 4 * (sub / 8) + 2 * half + sub % 2]);
      return half_value(tile + T::d_at + 4 * g + 2 * half) * static_cast<float>(sc) * value;
    } else {
      const std::uint8_t* scales = tile + T::scales_at + 8 * (4 * g + s / 2) + 2 * half + s % 2;
      const std::uint8_t* d = tile + T::d_at + 8 * g + 4 * half;
      return half_value(d) * static_cast<float>(scales[0]) * value - half_value(d + 2) * static_cast<float>(scales[4]);
    }
  }
}

}  // namespace

std::int32_t tile_bytes(TensorType type) noexcept {
  switch (static_cast<int>(type)) {
#define APR_TILE_BYTES(id) \
  case id: return TileType<id>::bytes;
    APR_FOR_TILE_TYPES(APR_TILE_BYTES)
#undef APR_TILE_BYTES
    default: return 0;
  }
}

bool tiled(TensorType type) noexcept { return tile_bytes(type) != 0; }

std::uint64_t tiles_bytes(TensorType type, std::int64_t n_rows, std::int64_t n_cols) noexcept {
  const auto down = static_cast<std::uint64_t>((n_rows + tile_rows - 1) / tile_rows);
  const auto across = static_cast<std::uint64_t>((n_cols + tile_cols - 1) / tile_cols);
  return down * across * static_cast<std::uint64_t>(tile_bytes(type));
}

void repack_tiles(TensorType type, const std::uint8_t* rows, std::int64_t row_stride, std::int64_t n_rows,
                  std::int64_t n_cols, std::span<std::uint8_t> tiles) {
  APR_CHECK(tiled(type) && tiles.size() == tiles_bytes(type, n_rows, n_cols));
  std::ranges::fill(tiles, std::uint8_t{0});
  const std::int64_t across = (n_cols + tile_cols - 1) / tile_cols;
  for (std::int64_t row = 0; row < n_rows; ++row) {
    for (std::int64_t k = 0; k < across; ++k) {
      const RowPiece piece = read_piece(type, rows + row * row_stride, n_cols, k * tile_cols);
      std::uint8_t* tile = tiles.data() + (row / tile_rows * across + k) * tile_bytes(type);
      const auto r = static_cast<std::size_t>(row % tile_rows);
      switch (static_cast<int>(type)) {
#define APR_WRITE_ROW(id) \
  case id: write_row<id>(piece, r, tile); break;
        APR_FOR_TILE_TYPES(APR_WRITE_ROW)
#undef APR_WRITE_ROW
        default: break;
      }
    }
  }
}

float tile_value(TensorType type, std::span<const std::uint8_t> tiles, std::int64_t n_cols, std::int64_t row,
                 std::int64_t col) {
  const std::int64_t across = (n_cols + tile_cols - 1) / tile_cols;
  const auto index = static_cast<std::size_t>(row / tile_rows * across + col / tile_cols);
  const std::size_t bytes = static_cast<std::size_t>(tile_bytes(type));
  APR_CHECK(bytes != 0 && (index + 1) * bytes <= tiles.size());
  const std::uint8_t* tile = tiles.data() + index * bytes;
  const auto r = static_cast<std::size_t>(row % tile_rows), e = static_cast<std::size_t>(col % tile_cols);
  switch (static_cast<int>(type)) {
#define APR_READ_VALUE(id) \
  case id: return read_value<id>(tile, r, e, type);
    APR_FOR_TILE_TYPES(APR_READ_VALUE)
#undef APR_READ_VALUE
    default: return 0;
  }
}

}  // namespace apr::kernels::cuda
