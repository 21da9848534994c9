// Matrices times 16, 32 or 64 columns of a prompt. Grid: (blocks, that many columns each).
//
// As linear8, but a tile of weights is unpacked once for all columns, and the activations that the row tiles of a block
// share pass through shared memory: of each warp that shares a row tile those of one tile at a time. A result has one
// sum per warp, where linear1 keeps four: other bits, the same for every number of columns.
#include "kernels/cuda/linear_common.cuh"
#include "kernels/cuda/quads.cuh"

namespace apr::kernels::cuda {

/// Starts the copies of the activations of tiles first .. first + warps_k - 1. Columns that do not exist become 0.
template <int Columns>
APR_DEVICE void fetch_activations(const LinearParams& p, int first, int n_tiles) {
  using Layout = LinearPromptShared<Columns>;
  constexpr int parts = 16 + 2 + 2;  // of 16 bytes: q, d, s of a column
  const int column0 = Columns * block_y();
  for (int i = thread(); i < p.warps_k * Columns * parts; i += n_threads()) {
    const int part = i % parts, column = i / parts % Columns, k = first + i / parts / Columns;
    if (k >= n_tiles) break;
    const bool exists = column0 + column < p.n_columns;
    const int at = exists ? (column0 + column) * p.ready.stride + 256 * k : 0;
    Shared<uint8_t> tile = shared<uint8_t>(i / parts / Columns * Layout::tile_bytes);
    if (part < 16) {
      copy_async(cast<Word4>(tile + (column * Layout::q_stride + 16 * part)),
                 cast<const Word4>(global<const int8_t>(p.ready.q) + (at + 16 * part)), exists);
    } else {
      Global<const float> from = global<const float>(part < 18 ? p.ready.d : p.ready.s) + at / 32;
      copy_async(cast<Word4>(tile + (Layout::scales + column * Layout::scale_stride + 16 * (part - 16))),
                 cast<const Word4>(from + 4 * (part % 2)), exists);
    }
  }
}

/// Eight columns of a tile in shared memory, for add_quad.
template <int Columns>
struct StagedColumns {
  Shared<const uint8_t> q, scales;  // of the first column that this lane reads there
  APR_METHOD uint32_t word(int i) const { return cast<const uint32_t>(q)[i]; }
  APR_METHOD Word2 pair(int i) const { return cast<const Word2>(q)[i]; }
  APR_METHOD float d(int c, int group) const {
    return cast<const float>(scales)[c * (LinearPromptShared<Columns>::scale_stride / 4) + group];
  }
  APR_METHOD float s(int c, int group) const { return d(c, 8 + group); }
};

/// The planes of quads 2 half and 2 half + 1, put where those of quads 0 and 1 lie: half as many registers.
template <class T>
APR_DEVICE void load_half_planes(Global<const uint8_t> tile, int half, Planes<T>& planes) {
  Global<const Word4> own = cast<const Word4>(tile + 16 * lane());
  if constexpr (T::bits == 6) {  // groups 2 half, 2 half + 1 and the same behind 4
    planes.main[0] = load_stream(own + 32 * half);
    planes.main[2] = load_stream(own + 32 * (half + 2));
    APR_UNROLL for (int i = 0; i < 2; ++i) {
      const Word2 extra = load_stream(cast<const Word2>(tile + (T::extra_at + 512 * i + 16 * lane() + 8 * half)));
      planes.extra[i] = {extra.x, extra.y, 0, 0};
    }
  } else {
    constexpr int n = T::bits == 8 ? 4 : 2;
    APR_UNROLL for (int i = 0; i < n; ++i) planes.main[i] = load_stream(own + 32 * (n * half + i));
    if constexpr (T::bits == 5) {
      const Word2 extra = load_stream(cast<const Word2>(tile + (T::extra_at + 16 * lane() + 8 * half)));
      planes.extra[0] = {extra.x, extra.y, 0, 0};
    }
  }
}

/// acc[eight columns][2 row half + column] += one tile.
template <int Id, int Columns>
APR_DEVICE void tile_product(Global<const uint8_t> tile, Shared<const uint8_t> staged, float (&acc)[Columns / 8][4]) {
  using T = TileType<Id>;
  using Layout = LinearPromptShared<Columns>;
  if constexpr (!T::is_float) {
    constexpr int groups = T::scale == TileScale::K6 ? 2 : 4;  // between a quad and the one of the other half
    APR_UNROLL_1 for (int half = 0; half < 2; ++half) {
      Planes<T> planes;
      load_half_planes(tile, half, planes);
      Shared<const uint8_t> q = staged + (lane() / 4 * Layout::q_stride + 32 * groups * half);
      Shared<const uint8_t> scales =
          staged + (Layout::scales + 2 * (lane() % 4) * Layout::scale_stride + 4 * groups * half);
      APR_UNROLL for (int quad = 0; quad < 2; ++quad) {
        const QuadScales<T> of_quad = load_scales<T>(tile, 2 * half + quad);
        APR_UNROLL for (int e = 0; e < Columns / 8; ++e) {
          const StagedColumns<Columns> in = {q + 8 * e * Layout::q_stride, scales + 8 * e * Layout::scale_stride};
          add_quad(planes, of_quad, in, quad, acc[e]);
        }
      }
    }
  }
}

template <int Columns>
APR_DEVICE void any_tile_product(int type, Global<const uint8_t> tile, Shared<const uint8_t> staged,
                                 float (&acc)[Columns / 8][4]) {
  switch (type) {
#define APR_TILE_PRODUCT(id) \
  case id: tile_product<id, Columns>(tile, staged, acc); break;
    APR_FOR_TILE_TYPES(APR_TILE_PRODUCT)
#undef APR_TILE_PRODUCT
    default: break;
  }
}

/// What becomes of the sums of a unit.
template <int Columns>
APR_DEVICE void store_unit(const LinearParams& p, int unit, Shared<const float> sums) {
  using Layout = LinearPromptShared<Columns>;
  const int column0 = Columns * block_y();
  if (is_gated(p)) {
    for (int c = warp(); c < Columns && column0 + c < p.n_columns; c += linear_warps) {
      store_gated(p, sums, unit, c, Layout::sum_stride, column0 + c);
    }
    return;
  }
  for (int i = thread(); i < 16 * (linear_warps / p.warps_k) * Columns; i += n_threads()) {
    const int row = i % 16, column = i / 16 % Columns, slot = i / 16 / Columns;
    const RowTile to = row_tile(p, unit, slot);
    if (to.matrix < 0 || column0 + column >= p.n_columns) continue;
    store_result(p, to, row, column0 + column, sum_warps(p, sums, slot, row, column, Layout::sum_stride));
  }
}

template <int Columns>
APR_DEVICE void linear_prompt(const LinearParams& p) {
  using Layout = LinearPromptShared<Columns>;
  allow_early();
  prefetch_first_unit(p);
  wait_early();
  const int n_tiles = ceil_div(p.n_cols, 256), slice = warp() % p.warps_k, g = lane() / 4, t = lane() % 4;
  for (int unit = block_x(); unit < n_units(p); unit += grid_x()) {
    const RowTile own = row_tile(p, unit, warp() / p.warps_k);
    const int type = own.matrix < 0 ? -1 : p.matrix[own.matrix].type;
    Global<const uint8_t> tiles = own.matrix < 0 ? Global<const uint8_t>() : first_tile(p, own);
    float acc[Columns / 8][4] = {};
    for (int first = 0; first < n_tiles; first += p.warps_k) {
      fetch_activations<Columns>(p, first, n_tiles);
      await_copies();
      sync();
      const int64_t k = first + slice;
      if (own.matrix >= 0 && k < n_tiles) {
        any_tile_product<Columns>(type, tiles + k * tile_bytes_of(type),
                                  shared<const uint8_t>(slice * Layout::tile_bytes), acc);
      }
      sync();  // everyone is done with the activations
    }
    Shared<float> sums = shared<float>(0) + warp() * 16 * Layout::sum_stride;
    APR_UNROLL for (int e = 0; e < Columns / 8; ++e) {
      APR_UNROLL for (int i = 0; i < 4; ++i) {
        sums[(g + 8 * (i / 2)) * Layout::sum_stride + 8 * e + 2 * t + i % 2] = acc[e][i];
      }
    }
    sync();
    store_unit<Columns>(p, unit, shared<const float>(0));
    sync();  // everyone is done with the sums
  }
}

APR_KERNEL(linear16, LinearParams, 256, 2) { linear_prompt<16>(p); }
APR_KERNEL(linear32, LinearParams, 256, 1) { linear_prompt<32>(p); }
APR_KERNEL(linear64, LinearParams, 256, 1) { linear_prompt<64>(p); }

}  // namespace apr::kernels::cuda
