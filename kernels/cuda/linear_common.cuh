// Which row tile a warp has, and what becomes of the sums: shared by the matrix kernels.
//
// The row tiles of all matrices are numbered through. A unit is what a block does between two barriers: warps_r row
// tiles, each by warps_k warps that take every warps_k-th tile of its columns. Of a gated pair a unit is 32 rows: row
// tiles 0, 1 of the gate and 0, 1 of the other matrix. Blocks take units block_x, block_x + grid_x, ...
#pragma once
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/shared_layout.h"
#include "kernels/cuda/tile_read.cuh"

namespace apr::kernels::cuda {

APR_DEVICE bool is_gated(const LinearParams& p) {
  return p.output == LinearOutput::SiluMul || p.output == LinearOutput::GeluMul;
}
APR_DEVICE int row_tiles(const LinearParams& p) {
  int n = 0;
  for (int i = 0; i < p.n_matrices; ++i) n += ceil_div(p.matrix[i].n_rows, 16);
  return n;
}
APR_DEVICE int n_units(const LinearParams& p) {
  return is_gated(p) ? ceil_div(p.matrix[0].n_rows, 32) : ceil_div(row_tiles(p), linear_warps / p.warps_k);
}

/// Row tile `slot` of a unit: its matrix and its number there; matrix -1 where there is none.
struct RowTile {
  int matrix, tile;
};
APR_DEVICE RowTile row_tile(const LinearParams& p, int unit, int slot) {
  if (is_gated(p)) {
    const int tile = 2 * unit + (slot & 1);
    return {tile < ceil_div(p.matrix[0].n_rows, 16) ? slot >> 1 : -1, tile};
  }
  int tile = unit * (linear_warps / p.warps_k) + slot;
  for (int i = 0; i < p.n_matrices; ++i) {
    const int n = ceil_div(p.matrix[i].n_rows, 16);
    if (tile < n) return {i, tile};
    tile -= n;
  }
  return {-1, 0};
}
APR_DEVICE Global<const uint8_t> first_tile(const LinearParams& p, const RowTile& at) {
  const int64_t across = ceil_div(p.n_cols, 256);
  return global<const uint8_t>(p.matrix[at.matrix].tiles) + at.tile * across * tile_bytes_of(p.matrix[at.matrix].type);
}

/// Starts the way of the block's first unit into L2, before the wait: weights depend on nothing.
APR_DEVICE void prefetch_first_unit(const LinearParams& p) {
  constexpr int line = 128, most_bytes = 65536;
  if (block_x() >= n_units(p)) return;
  const RowTile at = row_tile(p, block_x(), warp() / p.warps_k);
  if (at.matrix < 0) return;
  int bytes = ceil_div(p.n_cols, 256) * tile_bytes_of(p.matrix[at.matrix].type);
  bytes = bytes < most_bytes ? bytes : most_bytes;
  Global<const uint8_t> tiles = first_tile(p, at);
  for (int i = line * (32 * (warp() % p.warps_k) + lane()); i < bytes; i += line * 32 * p.warps_k) prefetch(tiles + i);
}

/// The sum over the warps that share a row tile, in order. `sums` holds [warp][16][columns].
APR_DEVICE float sum_warps(const LinearParams& p, Shared<const float> sums, int slot, int row, int column,
                           int n_columns) {
  float total = 0;
  for (int w = 0; w < p.warps_k; ++w) total += sums[((slot * p.warps_k + w) * 16 + row) * n_columns + column];
  return total;
}

/// Bias, residual and store of one result.
APR_DEVICE void store_result(const LinearParams& p, const RowTile& at, int row, int column, float value) {
  const Matrix& matrix = p.matrix[at.matrix];
  const int local = 16 * at.tile + row;
  if (local >= matrix.n_rows) return;
  if (matrix.bias != 0) value += global<const float>(matrix.bias)[local];
  const int64_t to = static_cast<int64_t>(column) * p.out_stride + matrix.out_offset + local;
  if (p.output == LinearOutput::Residual) value += global<const float>(p.residual)[to];
  global<float>(p.out)[to] = value;
}

/// gate / (1 + e^-u) * up, with u = gate for SiLU and sqrt(8/pi) (gate + 0.044715 gate^3) for the tanh form of GELU.
APR_DEVICE float gated(LinearOutput kind, float gate, float up) {
  const float u = kind == LinearOutput::SiluMul ? gate : 1.59576912160573f * (gate + 0.044715f * gate * gate * gate);
  return gate / (1.0f + exponential(-u)) * up;
}
/// One warp: the 32 activations of a gated unit, for one column.
APR_DEVICE void store_gated(const LinearParams& p, Shared<const float> sums, int unit, int column, int n_columns,
                            int out_column) {
  const int i = lane(), row = 32 * unit + i;
  float value = 0;
  if (row < p.matrix[0].n_rows) {
    float gate = sum_warps(p, sums, i / 16, i % 16, column, n_columns);
    float up = sum_warps(p, sums, 2 + i / 16, i % 16, column, n_columns);
    if (p.matrix[0].bias != 0) gate += global<const float>(p.matrix[0].bias)[row];
    if (p.matrix[1].bias != 0) up += global<const float>(p.matrix[1].bias)[row];
    value = gated(p.output, gate, up);
  }
  const ActivationRow out = activation_row(p.ready_out, out_column);
  if (given(out.x)) out.x[row] = value;
  store_quantised(out, unit, value);
}

}  // namespace apr::kernels::cuda
