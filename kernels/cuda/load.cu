// Loading: rows of a file -> tiles; and tiles -> a plain matrix of f16 or bf16 for matrix libraries.
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/tile_read.cuh"

namespace apr::kernels::cuda {

/// What follows reads one 256-column piece of a row as the file has it (docs/formats/quant-types.md). `n` columns of it
/// exist; `row` is the piece's first block.
APR_DEVICE int read_u16(Global<const uint8_t> p) {
  const int low = p[0], high = p[1];
  return low | (high << 8);
}

template <int Id>
constexpr int file_block_bytes = Id == 2    ? 18
                                 : Id == 3  ? 20
                                 : Id == 6  ? 22
                                 : Id == 7  ? 24
                                 : Id == 8  ? 34
                                 : Id == 12 ? 144
                                 : Id == 13 ? 176
                                            : 210;
template <int Id>
constexpr bool file_super_block = Id >= 12 && Id <= 14;

/// The code of element e: q of the block's drawing, as an unsigned number (Q8_0: the byte).
template <int Id>
APR_DEVICE int file_code(Global<const uint8_t> row, int e) {
  const int group = e / 32, j = e % 32;
  if constexpr (Id == 14) {
    const int half = e / 128, r = e % 128 / 32;
    const int low = row[64 * half + 32 * (r & 1) + j], high = row[128 + 32 * half + j];
    return ((low >> (4 * (r >> 1))) & 15) | (((high >> (2 * r)) & 3) << 4);
  } else if constexpr (file_super_block<Id>) {
    const int byte = row[(Id == 13 ? 48 : 16) + 32 * (group / 2) + j];
    int code = group % 2 == 0 ? byte & 15 : byte >> 4;
    if constexpr (Id == 13) {
      const int high = row[16 + j];
      code |= ((high >> group) & 1) << 4;
    }
    return code;
  } else {
    Global<const uint8_t> block = row + group * file_block_bytes<Id>;
    constexpr bool minimum = Id == 3 || Id == 7, five = Id == 6 || Id == 7;
    Global<const uint8_t> codes = block + (2 + (minimum ? 2 : 0) + (five ? 4 : 0));
    const int byte = codes[Id == 8 ? j : j % 16];
    if constexpr (Id == 8) return byte;
    int code = j < 16 ? byte & 15 : byte >> 4;
    if constexpr (five) {
      const int high = block[(minimum ? 4 : 2) + j / 8];
      code |= ((high >> (j % 8)) & 1) << 4;
    }
    return code;
  }
}

struct ScaleMin {
  int sc, mn;
};
/// Scale and minimum s of Q4_K and Q5_K.
APR_DEVICE ScaleMin file_scale_min(Global<const uint8_t> row, int s) {
  Global<const uint8_t> p = row + 4;
  if (s < 4) {
    const int a = p[s], b = p[s + 4];
    return {a & 63, b & 63};
  }
  const int low = p[s + 4], a = p[s - 4], b = p[s];
  return {(low & 15) | ((a >> 6) << 4), (low >> 4) | ((b >> 6) << 4)};
}

/// Both rows of a lane; a row that the matrix lacks has exists = false and becomes zeros.
struct FileRow {
  Global<const uint8_t> at;
  bool exists;
  int n;  // columns that exist
};

/// Chosen by value: an array that a run-time index reads would lie in local memory.
APR_DEVICE FileRow pick(const FileRow (&rows)[2], int half) { return half == 0 ? rows[0] : rows[1]; }

template <int Id>
APR_DEVICE int stored_code(const FileRow& row, int e) {
  using T = TileType<Id>;
  if (!row.exists) return 0;
  const int code = e < row.n ? file_code<Id>(row.at, e) : 0;
  return T::is_signed && T::bits < 8 ? code ^ (1 << (T::bits - 1)) : code;
}

/// Element of the group that byte `byte` of register `reg` of part t holds.
template <int Id>
APR_DEVICE int element_of(int t, int reg, int byte) {
  return TileType<Id>::scale == TileScale::K6 ? 16 * (reg >> 1) + 4 * t + byte : 8 * t + 4 * (reg >> 1) + byte;
}

template <int Id>
APR_DEVICE void write_planes(const FileRow (&rows)[2], Global<uint8_t> tile) {
  using T = TileType<Id>;
  const int t = lane() % 4, own = 16 * lane();
  if constexpr (T::bits == 8) {
    for (int i = 0; i < 32; ++i) {  // word i % 4 of group i / 4
      uint32_t word = 0;
      for (int b = 0; b < 4; ++b) {
        const int code = stored_code<Id>(pick(rows, i & 1), 32 * (i / 4) + element_of<Id>(t, i % 4, b));
        word |= static_cast<uint32_t>(code & 255) << (8 * b);
      }
      cast<uint32_t>(tile + (512 * (i / 4) + own))[i % 4] = word;
    }
    return;
  }
  constexpr int extra = T::bits - 4;
  for (int p = 0; p < 4; ++p) {
    uint32_t high_bits[2] = {0, 0};  // of this pair: one word (1 bit a code) or two (2 bits)
    for (int reg = 0; reg < 4; ++reg) {
      uint32_t word = 0;
      for (int b = 0; b < 4; ++b) {
        for (int h = 0; h < 2; ++h) {
          const int code = stored_code<Id>(pick(rows, reg & 1), 32 * (2 * p + h) + element_of<Id>(t, reg, b));
          const bool low = T::low_nibbles && h == 0;
          word |= static_cast<uint32_t>(low ? code & 15 : code >> extra) << (8 * b + 4 * h);
          if constexpr (T::low_nibbles) {
            high_bits[0] |= static_cast<uint32_t>(low ? code >> 4 : code & 1) << (8 * b + 2 * reg + 1 - h);
          } else if constexpr (extra == 1)
            high_bits[0] |= static_cast<uint32_t>(code & 1) << (8 * b + 4 * h + reg);
          if constexpr (extra == 2)
            high_bits[reg >> 1] |= static_cast<uint32_t>(code & 3) << (8 * b + 2 * (2 * h + (reg & 1)));
        }
      }
      cast<uint32_t>(tile + (512 * p + own))[reg] = word;
    }
    if constexpr (extra == 1) cast<uint32_t>(tile + (T::extra_at + own))[p] = high_bits[0];
    if constexpr (extra == 2) {
      for (int i = 0; i < 2; ++i)
        cast<uint32_t>(tile + (T::extra_at + 512 * (p / 2) + own))[2 * (p % 2) + i] = high_bits[i];
    }
  }
}

template <int Id>
APR_DEVICE void write_scales(const FileRow (&rows)[2], Global<uint8_t> tile) {
  using T = TileType<Id>;
  const int g = lane() / 4, t = lane() % 4;
  APR_UNROLL for (int half = 0; half < 2; ++half) {
    const FileRow& row = rows[half];
    for (int odd = 0; odd < 2; ++odd) {
      const int s = 2 * t + odd;
      if constexpr (T::scale == TileScale::K) {
        const ScaleMin value = row.exists ? file_scale_min(row.at, s) : ScaleMin{0, 0};
        Global<uint8_t> at = tile + (T::scales_at + 8 * lane() + 2 * half + odd);
        at[0] = static_cast<uint8_t>(value.sc);
        at[4] = static_cast<uint8_t>(value.mn);
      } else if constexpr (T::scale == TileScale::K6) {
        Global<uint8_t> at = tile + (T::scales_at + 8 * lane() + 2 * half + odd);
        at[0] = row.exists ? static_cast<uint8_t>(row.at[192 + s]) : uint8_t{0};
        at[4] = row.exists ? static_cast<uint8_t>(row.at[200 + s]) : uint8_t{0};
      } else {
        constexpr int size = T::scale == TileScale::D ? 8 : 16;
        Global<uint16_t> at = cast<uint16_t>(tile + (T::scales_at + size * lane() + 4 * half + 2 * odd));
        const bool exists = row.exists && 32 * s < row.n;
        Global<const uint8_t> block = row.at + s * file_block_bytes<Id>;
        at[0] = static_cast<uint16_t>(exists ? read_u16(block) : 0);
        if constexpr (T::scale == TileScale::DM) at[4] = static_cast<uint16_t>(exists ? read_u16(block + 2) : 0);
      }
    }
    if constexpr (T::scale == TileScale::K) {
      if (t < 2)
        cast<uint16_t>(tile + (T::d_at + 8 * g + 4 * half))[t] =
            static_cast<uint16_t>(row.exists ? read_u16(row.at + 2 * t) : 0);
    }
    if constexpr (T::scale == TileScale::K6) {
      if (t == 0)
        cast<uint16_t>(tile + (T::d_at + 4 * g))[half] = static_cast<uint16_t>(row.exists ? read_u16(row.at + 208) : 0);
    }
  }
}

template <int Id>
APR_DEVICE void write_floats(const FileRow (&rows)[2], Global<uint8_t> tile) {
  constexpr int n = TileType<Id>::bits / 8, per_load = 16 / n;
  const int t = lane() % 4;
  APR_UNROLL for (int half = 0; half < 2; ++half) for (int i = 0; i < 64; ++i) {  // group, element of this lane's eight
    const int group = i / 8, within = i % 8, e = 32 * group + 8 * t + within;
    const FileRow& row = rows[half];
    const int plane = (group * 2 + half) * (8 / per_load) + within / per_load;
    Global<uint8_t> at = tile + (512 * plane + 16 * lane() + within % per_load * n);
    for (int b = 0; b < n; ++b) at[b] = row.exists && e < row.n ? static_cast<uint8_t>(row.at[e * n + b]) : uint8_t{0};
  }
}

/// One warp per tile.
template <int Id>
APR_DEVICE void repack_tile(const RepackParams& p, int index) {
  using T = TileType<Id>;
  const int across = ceil_div(p.n_cols, 256), down = index / across, k = index % across;
  Global<uint8_t> tile = global<uint8_t>(p.tiles) + (static_cast<int64_t>(p.first_tile) * across + index) * T::bytes;
  FileRow rows[2];
  APR_UNROLL for (int half = 0; half < 2; ++half) {
    const int row = 16 * down + lane() / 4 + 8 * half;
    int64_t at = row * p.row_stride;
    if constexpr (T::is_float) {
      at += static_cast<int64_t>(k) * 256 * (T::bits / 8);
    } else {
      at += static_cast<int64_t>(k) * (file_super_block<Id> ? 1 : 8) * file_block_bytes<Id>;
    }
    rows[half].at = global<const uint8_t>(p.rows) + at;
    rows[half].exists = row < p.n_rows;
    rows[half].n = p.n_cols - 256 * k < 256 ? p.n_cols - 256 * k : 256;
  }
  if constexpr (T::is_float) {
    write_floats<Id>(rows, tile);
  } else {
    write_planes<Id>(rows, tile);
    write_scales<Id>(rows, tile);
  }
}

APR_KERNEL(repack, RepackParams, 256, 2) {
  const int index = 8 * block_x() + warp();
  if (index >= ceil_div(p.n_rows, 16) * ceil_div(p.n_cols, 256)) return;
  switch (p.type) {
#define APR_REPACK(id) \
  case id: repack_tile<id>(p, index); break;
    APR_FOR_TILE_TYPES(APR_REPACK)
#undef APR_REPACK
    default: break;
  }
}

/// Grid: (tiles across, groups of 16 rows). One thread per column.
APR_KERNEL(expand, ExpandParams, 256, 2) {
  const int col = 256 * block_x() + thread();
  if (col >= p.n_cols) return;
  const int across = ceil_div(p.n_cols, 256);
  for (int i = 16 * block_y(); i < 16 * block_y() + 16 && i < p.n_rows; ++i) {
    const int row = p.first_row + i;
    const int64_t index = static_cast<int64_t>(row / 16) * across + block_x();
    Global<const uint8_t> tile = global<const uint8_t>(p.tiles) + index * tile_bytes_of(p.type);
    const float value = tile_element(p.type, tile, row % 16, thread());
    uint32_t bits = float_to_half(value);
    if (p.bf16 != 0) {
      const uint32_t word = as_bits(value);  // round to nearest even; NaN stays one
      bits = value != value ? 0x7FC0u : (word + 0x7FFFu + ((word >> 16) & 1)) >> 16;
    }
    global<uint16_t>(p.out)[static_cast<int64_t>(i) * p.out_stride + col] = static_cast<uint16_t>(bits);
  }
}

}  // namespace apr::kernels::cuda
