// Attention of a tile of queries over the cache of one head, chunk by chunk with online softmax. Every sum runs in an order
// that depends on the row alone: scores over the elements of the head, weights in 16 lanes of positions, values over the
// positions. So a row gives the same bits in any tile and with any instruction set.
namespace apr::kernels {
namespace {

/// Vectors of positions or elements that run together for up to 6 rows: as many sums as fit into the registers.
template <class V>
constexpr int attention_vectors = V::lanes == 16 ? 4 : 2;

template <int N>
struct RowCount {
  static constexpr int value = N;
};
/// Calls f(RowCount, first row) for all rows, in parts of 6, 4, 2 and 1.
template <class F>
inline __attribute__((always_inline)) void for_row_parts(int n_rows, F f) {
  int r = 0;
  for (; r + 6 <= n_rows; r += 6) f(RowCount<6>{}, r);
  if (r + 4 <= n_rows) f(RowCount<4>{}, r), r += 4;
  if (r + 2 <= n_rows) f(RowCount<2>{}, r), r += 2;
  if (r < n_rows) f(RowCount<1>{}, r);
}

/// score[r][i] = q_r . key of position i of the chunk, for R rows and the whole vectors that cover n positions.
template <class V, int R>
void attention_scores(const AttentionRow* rows, const uint16_t* keys, int64_t stride, int64_t head_dim, int64_t n,
                      float (*score)[attention_chunk]) {
  constexpr int nv = attention_vectors<V>, L = V::lanes;
  for (int first = 0; first < n; first += nv * L) {
    const uint16_t* block[nv];
    typename V::F sum[R][nv];
    for (int v = 0; v < nv; ++v) {
      const int at = first + v * L;
      block[v] = keys + at / key_block * stride * key_block + at % key_block;
      for (int r = 0; r < R; ++r) sum[r][v] = V::splat_f(0.0f);
    }
    for (int64_t i = 0; i < head_dim; ++i) {
      typename V::F key[nv];
#pragma GCC unroll 4
      for (int v = 0; v < nv; ++v) key[v] = V::load_f16(reinterpret_cast<const uint8_t*>(block[v] + i * key_block));
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r) {
        const auto q = V::splat_f(rows[r].q[i]);
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v) sum[r][v] = V::fma(q, key[v], sum[r][v]);
      }
    }
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < nv; ++v) V::store(score[r] + first + v * L, sum[r][v]);
  }
}

/// acc[r] = acc[r] * shrink[r] + sum of weight[r][i] * value of position i, for R rows and NV vectors of elements.
template <class V, int R, int NV>
void attention_values(const float (*weight)[attention_chunk], const uint16_t* values, int64_t stride, int64_t n,
                      const float* shrink, float (*acc)[max_head_dim]) {
  typename V::F sum[R][NV];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < NV; ++v)
      sum[r][v] = V::mul(V::load_f32(reinterpret_cast<const uint8_t*>(acc[r] + V::lanes * v)), V::splat_f(shrink[r]));
  for (int64_t i = 0; i < n; ++i, values += stride) {
    typename V::F value[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) value[v] = V::load_f16(reinterpret_cast<const uint8_t*>(values + V::lanes * v));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const auto w = V::splat_f(weight[r][i]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] = V::fma(w, value[v], sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < NV; ++v) V::store(acc[r] + V::lanes * v, sum[r][v]);
}

/// What a tile carries from chunk to chunk.
struct AttentionState {
  float score[max_attention_rows][attention_chunk];
  float acc[max_attention_rows][max_head_dim];
  float sums[max_attention_rows][row_lanes];  // of the weights, by position % 16
  float highest[max_attention_rows], shrink[max_attention_rows];
};

/// Turns the scores of positions [p, p + n) into weights, n a multiple of 16; those that the row does not see become 0.
void attention_weights(const AttentionRow& row, int64_t p, int n, float scale, float* score, float* highest, float* sums, float* shrink) {
  const auto first = static_cast<int>(row.first > p ? row.first - p : 0);
  const auto last = static_cast<int>(row.last - p < n ? row.last - p : n);
  *shrink = 1.0f;
  if (first >= last) {  // it sees nothing of this chunk
    for (int i = 0; i < n; ++i) score[i] = 0.0f;
    return;
  }
  const float never = bits_to_float(0xFF800000U), before = *highest;
  float most[row_lanes];
  for (int k = 0; k < row_lanes; ++k) most[k] = before;
  for (int i = 0; i < n; i += row_lanes)
    for (int k = 0; k < row_lanes; ++k) {
      const float x = i + k >= first && i + k < last ? score[i + k] * scale : never;
      score[i + k] = x;
      most[k] = x > most[k] ? x : most[k];
    }
  float top = most[0];
  for (int k = 1; k < row_lanes; ++k) top = most[k] > top ? most[k] : top;
  // The first chunk multiplies zeros by e^-infinity = 0. A NaN score is never the highest and stays a NaN weight.
  *highest = top;
  *shrink = exp_f32(before - top);
  for (int i = 0; i < n; ++i) score[i] = exp_f32(score[i] - top);
  for (int k = 0; k < row_lanes; ++k) sums[k] *= *shrink;
  for (int i = 0; i < n; i += row_lanes)
    for (int k = 0; k < row_lanes; ++k) sums[k] += score[i + k];
}

/// One chunk for R rows.
template <class V, int R>
void attention_chunk_values(AttentionState& state, int r, const uint16_t* values, int64_t stride, int64_t n) {
  constexpr int nv = attention_vectors<V>, step = nv * V::lanes;
  int64_t i = 0;
  for (; i + step <= stride; i += step)
    attention_values<V, R, nv>(state.score + r, values + i, stride, n, state.shrink + r,
                               reinterpret_cast<float (*)[max_head_dim]>(state.acc[r] + i));
  for (; i < stride; i += V::lanes)
    attention_values<V, R, 1>(state.score + r, values + i, stride, n, state.shrink + r,
                              reinterpret_cast<float (*)[max_head_dim]>(state.acc[r] + i));
}

template <class V>
void attention_tile(const AttentionRow* rows, int n_rows, const KvHead* kv, int64_t head_dim, float scale) {
  AttentionState state;
  int64_t first = rows[0].first, last = rows[0].last;
  for (int r = 0; r < n_rows; ++r) {
    first = rows[r].first < first ? rows[r].first : first;
    last = rows[r].last > last ? rows[r].last : last;
    state.highest[r] = bits_to_float(0xFF800000U);
    for (int64_t i = 0; i < kv->stride; ++i) state.acc[r][i] = 0.0f;
    for (float& sum : state.sums[r]) sum = 0.0f;
  }
  for (int64_t p = first / attention_chunk * attention_chunk; p < last; p += attention_chunk) {
    const int64_t n = last - p < attention_chunk ? last - p : attention_chunk;
    const uint16_t* keys = kv->keys + p * kv->stride;
    const uint16_t* values = kv->values + p * kv->stride;
    for_row_parts(n_rows, [&](auto count, int r) {
      attention_scores<V, decltype(count)::value>(rows + r, keys, kv->stride, head_dim, n, state.score + r);
    });
    const auto whole = static_cast<int>((n + row_lanes - 1) / row_lanes * row_lanes);
    for (int r = 0; r < n_rows; ++r)
      attention_weights(rows[r], p, whole, scale, state.score[r], &state.highest[r], state.sums[r], &state.shrink[r]);
    for_row_parts(n_rows, [&](auto count, int r) {
      attention_chunk_values<V, decltype(count)::value>(state, r, values, kv->stride, n);
    });
  }
  for (int r = 0; r < n_rows; ++r) {
    const float sum = lane_sum(state.sums[r]);
    for (int64_t i = 0; i < head_dim; ++i) rows[r].out[i] = state.acc[r][i] / sum;
  }
}

}  // namespace
}  // namespace apr::kernels
