// Attention of a piece of a prompt: many consecutive positions of one sequence, behind StoreKv.
//
// The rows of a kv head are its query heads at every position, the heads of a position side by side, so that all of
// them share what is read of the cache. A block has 64 rows, a warp 16 of them. Keys and values pass through shared
// memory in tiles that start at multiples of their length: a row's result depends neither on its neighbours nor on how
// the prompt was cut. Tiles that no row of the block sees are left out. Scores and weighted values are products of the
// matrix unit (f16, sums f32); a query row stays in registers as its left side, and the scores, once they are weights,
// are the left side of the second product as they lie. Softmax is online, in powers of two.
#include "apr/kernels/cuda_params.h"
#include "kernels/cuda/heads.cuh"
#include "kernels/cuda/shared_layout.h"

namespace apr::kernels::cuda {

/// First position that one sees.
APR_DEVICE int first_seen(const PrefillAttentionParams& p, int position) {
  return p.window == 0 || position < p.window ? 0 : position + 1 - p.window;
}

/// Starts the copy of positions base .. into a tile. What lies past `end` or past the head's width becomes 0.
template <int Dim>
APR_DEVICE void fetch_tile(const HeadParams& h, Global<const uint16_t> cache, int base, int end, Shared<uint16_t> to) {
  using Tile = PrefillTile<Dim>;
  constexpr int per_row = Dim / 8;
  const int part = thread() % per_row;
  if (8 * part >= (h.head_dim + 15) / 16 * 16) return;  // no product reads it
  for (int row = thread() / per_row; row < Tile::positions; row += prefill_threads / per_row) {
    const bool exists = base + row < end && 8 * part < h.head_dim;
    copy_async(cast<Word4>(to + (row * Tile::stride + 8 * part)),
               cast<const Word4>(cache + (static_cast<int64_t>(base + row) * h.head_dim + 8 * part)), exists);
  }
}

/// What a lane holds of its two rows, g and g + 8 of the warp.
template <int Dim>
struct PrefillRows {
  uint32_t query[Dim / 16][4];  // left side of the first product
  int position[2], first[2];    // the last and the first position seen
  float most[2], sum[2];        // highest score; sum of weights, of this lane's positions
  float out[Dim / 8][4];        // [eight elements][2 row + column]
};

template <int Dim>
APR_DEVICE void load_rows(const PrefillAttentionParams& p, int kv_head, int first_row, int last_row,
                          PrefillRows<Dim>& rows) {
  const HeadParams& h = p.head;
  const int group = h.n_heads / h.n_kv_heads, g = lane() / 4, t = lane() % 4;
  APR_UNROLL for (int r = 0; r < 2; ++r) {
    int row = first_row + 16 * warp() + g + 8 * r;
    row = row < last_row ? row : last_row;  // one that does not exist is computed as the last one
    const int column = row / group;
    const Column state = global<const Column>(h.columns)[column];
    rows.position[r] = state.position;
    rows.first[r] = first_seen(p, rows.position[r]);
    rows.most[r] = minus_infinity();
    rows.sum[r] = 0.0f;
    Global<const float> query = qkv_head(h, column, kv_head * group + row % group);
    APR_UNROLL for (int k = 0; k < Dim / 16; ++k) {
      APR_UNROLL for (int half = 0; half < 2; ++half) {
        const int i = 16 * k + 8 * half + 2 * t;
        rows.query[k][r + 2 * half] = i < h.head_dim ? pack_halves(query[i], query[i + 1]) : 0u;
      }
    }
  }
  APR_UNROLL for (int i = 0; i < Dim / 8; ++i) { APR_UNROLL for (int j = 0; j < 4; ++j) rows.out[i][j] = 0.0f; }
}

/// score[eight positions][2 row + column] = query . key
template <int Dim>
APR_DEVICE void score_tile(const HeadParams& h, const PrefillRows<Dim>& rows, Shared<const uint16_t> keys,
                           float (&score)[PrefillTile<Dim>::positions / 8][4]) {
  using Tile = PrefillTile<Dim>;
  // Matrices of a load: positions 0-7 and 8-15, each with elements 0-7 and 8-15.
  Shared<const uint16_t> own = keys + ((lane() / 16 * 8 + lane() % 8) * Tile::stride + lane() / 8 % 2 * 8);
  APR_UNROLL for (int k = 0; k < Dim / 16; ++k) {
    if (16 * k >= h.head_dim) break;
    APR_UNROLL for (int n = 0; n < Tile::positions / 16; ++n) {
      uint32_t key[4];
      load_matrices(own + (16 * n * Tile::stride + 16 * k), key);
      mma_f16(score[2 * n], rows.query[k], key[0], key[1]);
      mma_f16(score[2 * n + 1], rows.query[k], key[2], key[3]);
    }
  }
}

/// Scores of positions that a row does not see become minus infinity.
template <int Dim>
APR_DEVICE void hide_positions(int base, const PrefillRows<Dim>& rows,
                               float (&score)[PrefillTile<Dim>::positions / 8][4]) {
  APR_UNROLL for (int n = 0; n < PrefillTile<Dim>::positions / 8; ++n) {
    APR_UNROLL for (int i = 0; i < 4; ++i) {
      const int position = base + 8 * n + 2 * (lane() % 4) + i % 2, r = i / 2;
      if (position > rows.position[r] || position < rows.first[r]) score[n][i] = minus_infinity();
    }
  }
}

/// Scores -> weights 2^(scale * score - highest), and what came before them shrunk to the new highest score.
template <int Dim>
APR_DEVICE void weigh_tile(float scale, PrefillRows<Dim>& rows, float (&score)[PrefillTile<Dim>::positions / 8][4]) {
  constexpr int n_blocks = PrefillTile<Dim>::positions / 8;
  APR_UNROLL for (int r = 0; r < 2; ++r) {
    float most = rows.most[r];
    APR_UNROLL for (int n = 0; n < n_blocks; ++n) {
      APR_UNROLL for (int c = 0; c < 2; ++c) {
        score[n][2 * r + c] *= scale;
        most = highest(most, score[n][2 * r + c]);  // passes over NaN, whose weight stays NaN
      }
    }
    most = highest(most, shuffle_xor(most, 1));
    most = highest(most, shuffle_xor(most, 2));
    const float level = most == minus_infinity() ? 0.0f : most;  // a row that has seen nothing yet
    const float shrink = exponential2(rows.most[r] - level);
    rows.most[r] = most;
    float sum = 0;
    APR_UNROLL for (int n = 0; n < n_blocks; ++n) {
      APR_UNROLL for (int c = 0; c < 2; ++c) {
        score[n][2 * r + c] = exponential2(score[n][2 * r + c] - level);
        sum += score[n][2 * r + c];
      }
    }
    rows.sum[r] = fused(rows.sum[r], shrink, sum);
    APR_UNROLL for (int i = 0; i < Dim / 8; ++i) {
      rows.out[i][2 * r] *= shrink;
      rows.out[i][2 * r + 1] *= shrink;
    }
  }
}

/// out += weights x values
template <int Dim>
APR_DEVICE void add_tile(const HeadParams& h, const float (&weight)[PrefillTile<Dim>::positions / 8][4],
                         Shared<const uint16_t> values, PrefillRows<Dim>& rows) {
  using Tile = PrefillTile<Dim>;
  // Matrices of a load: positions 0-7 and 8-15 of elements 0-7, then of elements 8-15.
  Shared<const uint16_t> own = values + ((lane() / 8 % 2 * 8 + lane() % 8) * Tile::stride + lane() / 16 * 8);
  APR_UNROLL for (int k = 0; k < Tile::positions / 16; ++k) {
    const float(&low)[4] = weight[2 * k], (&high)[4] = weight[2 * k + 1];
    const uint32_t left[4] = {pack_halves(low[0], low[1]), pack_halves(low[2], low[3]), pack_halves(high[0], high[1]),
                              pack_halves(high[2], high[3])};
    APR_UNROLL for (int i = 0; i < Dim / 16; ++i) {
      if (16 * i >= h.head_dim) break;
      uint32_t value[4];
      load_matrices_turned(own + (16 * k * Tile::stride + 16 * i), value);
      mma_f16(rows.out[2 * i], left, value[0], value[1]);
      mma_f16(rows.out[2 * i + 1], left, value[2], value[3]);
    }
  }
}

template <int Dim>
APR_DEVICE void store_rows(const PrefillAttentionParams& p, int kv_head, int first_row, int last_row,
                           const PrefillRows<Dim>& rows) {
  const int group = p.head.n_heads / p.head.n_kv_heads;
  APR_UNROLL for (int r = 0; r < 2; ++r) {
    float sum = rows.sum[r] + shuffle_xor(rows.sum[r], 1);
    sum += shuffle_xor(sum, 2);
    const int row = first_row + 16 * warp() + lane() / 4 + 8 * r;
    if (row > last_row) continue;
    Global<float> out = global<float>(p.out.x) + (static_cast<int64_t>(row / group) * p.out.stride +
                                                  (kv_head * group + row % group) * p.head.head_dim);
    APR_UNROLL for (int i = 0; i < Dim / 8; ++i) {
      if (8 * i >= p.head.head_dim) break;
      APR_UNROLL for (int c = 0; c < 2; ++c) out[8 * i + 2 * (lane() % 4) + c] = rows.out[i][2 * r + c] / sum;
    }
  }
}

template <int Dim>
APR_DEVICE void prefill_attention(const PrefillAttentionParams& p) {
  using Tile = PrefillTile<Dim>;
  const HeadParams& h = p.head;
  const int group = h.n_heads / h.n_kv_heads, kv_head = block_y(), n_rows = h.n_columns * group;
  const int first_row = prefill_rows * (grid_x() - 1 - block_x());  // the rows that see most come first
  const int last_row = (first_row + prefill_rows < n_rows ? first_row + prefill_rows : n_rows) - 1;
  Global<const Column> columns = global<const Column>(h.columns);
  const Column oldest = columns[first_row / group], newest = columns[last_row / group];
  const int end = newest.position + 1;
  const float scale = p.scale * 1.44269504088896341f;  // log2(e)
  const int64_t at = cache_row(h, oldest.slot, kv_head, 0) * h.head_dim;
  Global<const uint16_t> keys = global<const uint16_t>(h.k_cache) + at;
  Global<const uint16_t> values = global<const uint16_t>(h.v_cache) + at;
  Shared<uint16_t> key_tile = shared<uint16_t>(Tile::keys), value_tile = shared<uint16_t>(Tile::values);
  const int begin = first_seen(p, oldest.position) / Tile::positions * Tile::positions;
  fetch_tile<Dim>(h, keys, begin, end, key_tile);
  PrefillRows<Dim> rows;
  load_rows(p, kv_head, first_row, last_row, rows);
  for (int base = begin; base < end; base += Tile::positions) {
    await_copies();
    sync();  // the keys are there, and everyone is done with the values before
    fetch_tile<Dim>(h, values, base, end, value_tile);
    float score[Tile::positions / 8][4] = {};
    score_tile<Dim>(h, rows, key_tile, score);
    const bool edge = base + Tile::positions > oldest.position + 1 || base < first_seen(p, newest.position);
    if (edge) hide_positions<Dim>(base, rows, score);
    weigh_tile<Dim>(scale, rows, score);
    await_copies();
    sync();  // the values are there, and everyone is done with the keys
    if (base + Tile::positions < end) fetch_tile<Dim>(h, keys, base + Tile::positions, end, key_tile);
    add_tile<Dim>(h, score, value_tile, rows);
  }
  store_rows(p, kv_head, first_row, last_row, rows);
}

/// Grid: (64 rows each, kv heads).
APR_KERNEL(prefill_attention64, PrefillAttentionParams, 128, 4) {
  allow_early();
  wait_early();
  prefill_attention<64>(p);
}
APR_KERNEL(prefill_attention128, PrefillAttentionParams, 128, 2) {
  allow_early();
  wait_early();
  prefill_attention<128>(p);
}
APR_KERNEL(prefill_attention256, PrefillAttentionParams, 128, 2) {
  allow_early();
  wait_early();
  prefill_attention<256>(p);
}

}  // namespace apr::kernels::cuda
