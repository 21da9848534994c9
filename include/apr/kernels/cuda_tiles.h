// Weights as the CUDA kernels read them: tiles of 16 rows x 256 columns, drawn in docs/formats/cuda-tiles.md.
// A matrix is its row tiles from top to bottom, each the tiles of its columns from left to right: what one warp reads
// is contiguous. Rows and columns that the matrix lacks are zeros. This is the host's reference of the kernels `repack`
// and `expand`.
#pragma once
#include <cstdint>
#include <span>

#include "apr/core/tensor_type.h"

namespace apr::kernels::cuda {

inline constexpr std::int32_t tile_rows = 16, tile_cols = 256;

/// Types that have tiles: Q4_K, Q5_K, Q6_K, Q8_0, Q4_0, Q5_0, Q4_1, Q5_1, F16, BF16, F32.
[[nodiscard]] bool tiled(TensorType type) noexcept;
/// Bytes of one tile; 0 for a type without tiles.
[[nodiscard]] std::int32_t tile_bytes(TensorType type) noexcept;
/// Bytes of a matrix in tiles.
[[nodiscard]] std::uint64_t tiles_bytes(TensorType type, std::int64_t n_rows, std::int64_t n_cols) noexcept;

/// Rows in the layout of the file -> tiles. `tiles` holds tiles_bytes(...) and is written whole.
void repack_tiles(TensorType type, const std::uint8_t* rows, std::int64_t row_stride, std::int64_t n_rows,
                  std::int64_t n_cols, std::span<std::uint8_t> tiles);
/// One weight, as the kernels take it.
[[nodiscard]] float tile_value(TensorType type, std::span<const std::uint8_t> tiles, std::int64_t n_cols,
                               std::int64_t row, std::int64_t col);

}  // namespace apr::kernels::cuda
