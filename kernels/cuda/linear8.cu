// Matrices times up to eight columns: several sequences, or a piece of a prompt. Grid: (blocks, groups of 8 columns).
// The columns of the matrix product are the tokens; every group's dots are scaled on their own, in linear1's order.
#include "kernels/cuda/linear_common.cuh"
#include "kernels/cuda/quads.cuh"

namespace apr::kernels::cuda {

/// The activations of this lane's columns (quads.cuh): offsets `at` take half the registers of addresses. A column that
/// does not exist reads the first one.
struct EightColumns {
  Global<const uint32_t> q;
  Global<const float> d_of, s_of;
  int at[2], k;  // k: the tile
  APR_METHOD uint32_t word(int i) const { return q[64 * k + i]; }
  APR_METHOD Word2 pair(int i) const { return cast<const Word2>(q)[32 * k + i]; }
  APR_METHOD float d(int c, int group) const { return d_of[at[c] + 8 * k + group]; }
  APR_METHOD float s(int c, int group) const { return s_of[at[c] + 8 * k + group]; }
};

/// sums[row][column] of one row tile over this warp's tiles. What it can work out again is no argument: it would be
/// kept in registers over the loops of every type.
template <int Id>
APR_DEVICE void row_tile_product(const LinearParams& p, const RowTile& own, Shared<float> sums) {
  using T = TileType<Id>;
  const int first = warp() % p.warps_k, n_tiles = ceil_div(p.n_cols, 256), column0 = max_columns * block_y();
  Global<const uint8_t> tiles = first_tile(p, own);
  const int g = lane() / 4, t = lane() % 4, n = p.n_columns - column0;
  if constexpr (T::is_float) {
    for (int c = 0; c < max_columns; ++c) {
      const ActivationRow in = activation_row(p.ready, column0 + (c < n ? c : 0));
      float acc[2] = {0, 0};
      for (int k = first; k < n_tiles; k += p.warps_k) {
        for (int group = 0; group < 8; ++group) {
          Global<const float> x = in.x + (256 * k + 32 * group + 8 * t);
          APR_UNROLL for (int r = 0; r < 2; ++r) {
            float w[8];
            load_floats<Id>(tiles + static_cast<int64_t>(k) * T::bytes, group, r, w);
            APR_UNROLL for (int i = 0; i < 8; ++i) acc[r] = fused(w[i], x[i], acc[r]);
          }
        }
      }
      APR_UNROLL for (int r = 0; r < 2; ++r) {
        acc[r] += shuffle_xor(acc[r], 1);
        acc[r] += shuffle_xor(acc[r], 2);
        if (t == 0) sums[(g + 8 * r) * max_columns + c] = acc[r];
      }
    }
  } else {
    EightColumns in;
    in.q = cast<const uint32_t>(activation_row(p.ready, column0 + (g < n ? g : 0)).q);
    in.d_of = global<const float>(p.ready.d);
    in.s_of = global<const float>(p.ready.s);
    APR_UNROLL for (int c = 0; c < 2; ++c) {
      in.at[c] = (column0 + (2 * t + c < n ? 2 * t + c : 0)) * (p.ready.stride / 32);
    }
    float acc[4][4] = {};  // [quad][2 row half + column]: linear1 keeps the quads apart, in its lanes
    for (int k = first; k < n_tiles; k += p.warps_k) {
      Global<const uint8_t> tile = tiles + static_cast<int64_t>(k) * T::bytes;
      Planes<T> planes;
      load_planes(tile, planes);
      in.k = k;
      APR_UNROLL for (int q = 0; q < 4; ++q) add_quad(planes, load_scales<T>(tile, q), in, q, acc[q]);
    }
    APR_UNROLL for (int i = 0; i < 4; ++i) {
      sums[(g + 8 * (i / 2)) * max_columns + 2 * t + i % 2] = (acc[0][i] + acc[1][i]) + (acc[2][i] + acc[3][i]);
    }
  }
}

APR_DEVICE void any_row_tile_product(const LinearParams& p, const RowTile& own, Shared<float> sums) {
  switch (p.matrix[own.matrix].type) {
#define APR_ROW_TILE(id) \
  case id: row_tile_product<id>(p, own, sums); break;
    APR_FOR_TILE_TYPES(APR_ROW_TILE)
#undef APR_ROW_TILE
    default: break;
  }
}

APR_KERNEL(linear8, LinearParams, 256, 2) {
  allow_early();
  prefetch_first_unit(p);
  wait_early();
  const int warps_r = linear_warps / p.warps_k, column0 = max_columns * block_y();
  int set = 0;
  for (int unit = block_x(); unit < n_units(p); unit += grid_x(), set ^= 1) {
    Shared<float> sums = shared<float>(0) + set * linear_warps * 16 * max_columns;
    const RowTile own = row_tile(p, unit, warp() / p.warps_k);
    Shared<float> own_sums = sums + warp() * 16 * max_columns;
    if (own.matrix >= 0) {
      any_row_tile_product(p, own, own_sums);
    } else {
      for (int i = lane(); i < 16 * max_columns; i += 32) own_sums[i] = 0.0f;
    }
    sync();  // the other set is free: everyone has passed the barrier after its last use
    if (is_gated(p)) {
      if (column0 + warp() < p.n_columns) store_gated(p, sums, unit, warp(), max_columns, column0 + warp());
    } else {
      for (int i = thread(); i < 16 * warps_r * max_columns; i += n_threads()) {
        const int slot = i / (16 * max_columns), row = i / max_columns % 16, column = i % max_columns;
        const RowTile to = row_tile(p, unit, slot);
        if (to.matrix < 0 || column0 + column >= p.n_columns) continue;
        store_result(p, to, row, column0 + column, sum_warps(p, sums, slot, row, column, max_columns));
      }
    }
  }
}

}  // namespace apr::kernels::cuda
