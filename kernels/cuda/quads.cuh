// A quad of a tile times eight columns on the matrix unit, for the kernels of several columns.
#pragma once
#include "kernels/cuda/fragments.cuh"

namespace apr::kernels::cuda {

/// acc[2 row half + column] += quad `q`. `in` has the activations of this tile for this lane: word(i) and pair(i), of
/// the column of the right side that it holds (g); d(c, group) and s(c, group), of the two columns of the result that
/// it holds (2 t, 2 t + 1).
template <class T, class Columns>
APR_DEVICE void add_quad(const Planes<T>& planes, const QuadScales<T>& scales, const Columns& in, int q,
                         float (&acc)[4]) {
  const int t = lane() % 4;
  constexpr bool split = T::scale == TileScale::K6;
  int dots[4][4] = {};  // [even, odd group; of Q6_K: both halves of each][register]
  APR_UNROLL for (int i = 0; i < 2; ++i) {
    if constexpr (split) {
      const int j = q + 4 * i;
      mma_k16(dots[2 * i], fragment(planes, j, 0), fragment(planes, j, 1), in.word(8 * j + t));
      mma_k16(dots[2 * i + 1], fragment(planes, j, 2), fragment(planes, j, 3), in.word(8 * j + 4 + t));
    } else {
      const int j = 2 * q + i;
      const Word2 words = in.pair(4 * j + t);
      mma_k32<T::is_signed>(dots[i], fragment(planes, j, 0), fragment(planes, j, 1), fragment(planes, j, 2),
                            fragment(planes, j, 3), words.x, words.y);
    }
  }
  const int even = split ? q : 2 * q, odd = split ? q + 4 : 2 * q + 1;
  APR_UNROLL for (int c = 0; c < 2; ++c) {
    QuadInput quad = {{in.d(c, even) * factor<T>(0), in.d(c, odd) * factor<T>(1)}, {0, 0}};
    if constexpr (T::scale == TileScale::K || T::scale == TileScale::DM) {
      quad.s[0] = in.s(c, even);
      quad.s[1] = in.s(c, odd);
    }
    APR_UNROLL for (int r = 0; r < 2; ++r) {
      const int dot[4] = {dots[0][2 * r + c], dots[1][2 * r + c], dots[2][2 * r + c], dots[3][2 * r + c]};
      acc[2 * r + c] = add_term(scales, r, dot, quad, acc[2 * r + c]);
    }
  }
}

}  // namespace apr::kernels::cuda
