// Matrices times one column: the kernel of decoding.
//
// The matrix product has eight columns and one is wanted. So column j of the right side is the activations of group j
// of the 256 and zero elsewhere: eight chained products leave, in one accumulator, the dots of all eight groups apart,
// each where one lane applies its own scale. A weight costs well under one instruction.
#include "kernels/cuda/linear_common.cuh"

namespace apr::kernels::cuda {

/// The activations in shared memory.
struct OneColumn {
  Shared<const uint32_t> q;
  Shared<const float> d, s, x;
};

template <class T>
APR_DEVICE void tile_dots(const Planes<T>& planes, const OneColumn& in, int k, int (&first)[4], int (&second)[4]) {
  const int n = lane() / 4;  // the column of the right side that this lane holds
  if constexpr (T::scale == TileScale::K6) {
    // Columns are the eight halves of four groups, twice: a lane's word is of one half.
    const uint32_t own1 = in.q[64 * k + lane()], own2 = in.q[64 * k + 32 + lane()];
    APR_UNROLL for (int j = 0; j < 4; ++j) {
      mma_k32<true>(first, fragment(planes, j, 0), fragment(planes, j, 1), fragment(planes, j, 2),
                    fragment(planes, j, 3), n == 2 * j ? own1 : 0u, n == 2 * j + 1 ? own1 : 0u);
    }
    APR_UNROLL for (int j = 0; j < 4; ++j) {
      mma_k32<true>(second, fragment(planes, 4 + j, 0), fragment(planes, 4 + j, 1), fragment(planes, 4 + j, 2),
                    fragment(planes, 4 + j, 3), n == 2 * j ? own2 : 0u, n == 2 * j + 1 ? own2 : 0u);
    }
  } else {
    const Word2 own = cast<const Word2>(in.q)[32 * k + lane()];
    APR_UNROLL for (int j = 0; j < 8; ++j) {
      mma_k32<T::is_signed>(first, fragment(planes, j, 0), fragment(planes, j, 1), fragment(planes, j, 2),
                            fragment(planes, j, 3), n == j ? own.x : 0u, n == j ? own.y : 0u);
    }
  }
}

template <class T>
APR_DEVICE void add_tile(const Planes<T>& planes, const QuadScales<T>& scales, const OneColumn& in, int k,
                         float (&acc)[2]) {
  int first[4] = {0, 0, 0, 0}, second[4] = {0, 0, 0, 0};
  tile_dots(planes, in, k, first, second);
  const int t = lane() % 4;
  QuadInput quad;
  if constexpr (T::scale == TileScale::K6) {
    quad = {{in.d[8 * k + t] * factor<T>(0), in.d[8 * k + 4 + t] * factor<T>(0)}, {0, 0}};
  } else {
    quad.d[0] = in.d[8 * k + 2 * t] * factor<T>(0);
    quad.d[1] = in.d[8 * k + 2 * t + 1] * factor<T>(1);
    quad.s[0] = quad.s[1] = 0;
    if constexpr (T::scale == TileScale::K || T::scale == TileScale::DM) {
      quad.s[0] = in.s[8 * k + 2 * t];
      quad.s[1] = in.s[8 * k + 2 * t + 1];
    }
  }
  APR_UNROLL for (int r = 0; r < 2; ++r) {
    const int dot[4] = {first[2 * r], first[2 * r + 1], second[2 * r], second[2 * r + 1]};
    acc[r] = add_term(scales, r, dot, quad, acc[r]);
  }
}

/// Rows g and g + 8 of a row tile times the column, over this warp's tiles; this lane's part of both.
template <int Id>
APR_DEVICE void row_tile_dot(Global<const uint8_t> tiles, int first, int step, int n_tiles, OneColumn in,
                             float (&acc)[2]) {
  using T = TileType<Id>;
  acc[0] = acc[1] = 0;
  if constexpr (T::is_float) {
    for (int k = first; k < n_tiles; k += step) {
      APR_UNROLL_2 for (int group = 0; group < 8; ++group) {
        Shared<const float> x = in.x + (256 * k + 32 * group + 8 * (lane() % 4));
        APR_UNROLL for (int r = 0; r < 2; ++r) {
          float w[8];
          load_floats<Id>(tiles + static_cast<int64_t>(k) * T::bytes, group, r, w);
          APR_UNROLL for (int i = 0; i < 8; ++i) acc[r] = fused(w[i], x[i], acc[r]);
        }
      }
    }
  } else {
    if (first >= n_tiles) return;
    // One tile ahead, in two sets of registers that take turns: copying one to the other would cost an instruction a
    // word.
    const int stride = step * T::bytes, t = lane() % 4;
    Global<const uint8_t> tile = tiles + first * T::bytes;
    Planes<T> even, odd;
    QuadScales<T> even_scales, odd_scales;
    load_planes(tile, even);
    even_scales = load_scales<T>(tile, t);
    for (int k = first;;) {
      const bool more = k + step < n_tiles;
      if (more) tile = tile + stride;
      load_planes(tile, odd);
      odd_scales = load_scales<T>(tile, t);
      add_tile(even, even_scales, in, k, acc);
      if (!more) break;
      k += step;
      const bool again = k + step < n_tiles;
      if (again) tile = tile + stride;
      load_planes(tile, even);
      even_scales = load_scales<T>(tile, t);
      add_tile(odd, odd_scales, in, k, acc);
      if (!again) break;
      k += step;
    }
  }
}

APR_DEVICE void any_row_tile_dot(int type, Global<const uint8_t> tiles, int first, int step, int n_tiles,
                                 const OneColumn& in, float (&acc)[2]) {
  switch (type) {
#define APR_ROW_TILE(id) \
  case id: row_tile_dot<id>(tiles, first, step, n_tiles, in, acc); break;
    APR_FOR_TILE_TYPES(APR_ROW_TILE)
#undef APR_ROW_TILE
    default: break;
  }
}

/// The column into shared memory: copied, or normed and quantised by this block for itself.
APR_DEVICE void fill_column(const LinearParams& p, const Linear1Shared& at, int padded) {
  if (p.input == LinearInput::Ready) {
    const ActivationRow in = activation_row(p.ready, 0);
    Global<const uint32_t> words = cast<const uint32_t>(in.q);
    for (int i = thread(); i < padded / 4; i += n_threads()) shared<uint32_t>(at.q)[i] = words[i];
    for (int i = thread(); i < padded / 32; i += n_threads()) {
      shared<float>(at.d)[i] = in.d[i];
      shared<float>(at.s)[i] = in.s[i];
    }
    for (int i = thread(); i < padded && p.keep_float != 0; i += n_threads()) shared<float>(at.x)[i] = in.x[i];
    return;
  }
  Global<const float> x = global<const float>(p.x), weight = global<const float>(p.norm_weight);
  const bool norm = p.input == LinearInput::Norm;
  const float factor = norm ? norm_factor(x, p.n_cols, p.eps, shared<float>(at.scratch)) : 1.0f;
  ActivationRow own;
  own.q = shared<int8_t>(at.q);
  own.d = shared<float>(at.d);
  own.s = shared<float>(at.s);
  for (int group = warp(); group < padded / 32; group += n_threads() / 32) {
    const int i = 32 * group + lane();
    float value = 0;
    if (i < p.n_cols) value = norm ? x[i] * factor * weight[i] : static_cast<float>(x[i]);
    if (p.keep_float != 0) shared<float>(at.x)[i] = value;
    store_quantised(own, group, value);
  }
}

APR_KERNEL(linear1, LinearParams, 256, 2) {
  allow_early();
  prefetch_first_unit(p);
  wait_early();
  const int n_tiles = ceil_div(p.n_cols, 256), warps_r = linear_warps / p.warps_k;
  const Linear1Shared at(256 * n_tiles, p.keep_float != 0);
  fill_column(p, at, 256 * n_tiles);
  sync();
  const OneColumn in = {shared<const uint32_t>(at.q), shared<const float>(at.d), shared<const float>(at.s),
                        shared<const float>(at.x)};
  int set = 0;
  for (int unit = block_x(); unit < n_units(p); unit += grid_x(), set ^= 1) {
    Shared<float> sums = shared<float>(at.sums) + set * linear_warps * 16;
    const RowTile own = row_tile(p, unit, warp() / p.warps_k);
    float acc[2] = {0, 0};
    if (own.matrix >= 0) {
      any_row_tile_dot(p.matrix[own.matrix].type, first_tile(p, own), warp() % p.warps_k, p.warps_k, n_tiles, in, acc);
    }
    APR_UNROLL for (int r = 0; r < 2; ++r) {
      acc[r] += shuffle_xor(acc[r], 1);
      acc[r] += shuffle_xor(acc[r], 2);
      if (lane() % 4 == 0) sums[warp() * 16 + lane() / 4 + 8 * r] = acc[r];
    }
    sync();  // the other set is free: everyone has passed the barrier after its last use
    if (is_gated(p)) {
      if (warp() == 0) store_gated(p, sums, unit, 0, 1, 0);
    } else if (thread() < 16 * warps_r) {
      const int slot = thread() / 16, row = thread() % 16;
      const RowTile to = row_tile(p, unit, slot);
      if (to.matrix >= 0) store_result(p, to, row, 0, sum_warps(p, sums, slot, row, 0, 1));
    }
  }
}

}  // namespace apr::kernels::cuda
