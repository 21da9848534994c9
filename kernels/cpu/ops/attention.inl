// Attention of a tile of queries over the cache of one head: segments of positions, in a segment chunk by chunk with
// online softmax. Every sum runs in an order that depends on the row alone: scores over the elements of the head,
// weights in 16 lanes of positions, values over the positions, segments in rising order. So a row gives the same bits
// in any tile, with any instruction set, and whoever computes its segments.
namespace apr::kernels {
namespace {

/// Vectors of positions or elements that run together for up to 6 rows: as many sums as fit into the registers.
template <class V>
constexpr int attention_vectors = V::lanes == 16 ? 4 : 2;

template <int N>
struct RowCount {
  static constexpr int value = N;
};
/// Calls f(RowCount, first row) for all rows, in parts of 6, 4, 3, 2 and 1.
template <class F>
inline __attribute__((always_inline)) void for_row_parts(int n_rows, F f) {
  int r = 0;
  for (; r + 6 <= n_rows; r += 6) f(RowCount<6>{}, r);
  if (r + 4 <= n_rows) f(RowCount<4>{}, r), r += 4;
  if (r + 3 <= n_rows) f(RowCount<3>{}, r), r += 3;
  if (r + 2 <= n_rows) f(RowCount<2>{}, r), r += 2;
  if (r < n_rows) f(RowCount<1>{}, r);
}

#define APR_INLINE inline __attribute__((always_inline))

/// The cache in f16: what a lane of positions (Keys) or elements (value) holds, as f32.
struct CacheF16 {
  template <class V>
  struct Keys {  // the positions of one vector
    const uint16_t* p;
    APR_INLINE void begin(const KvHead* kv, int64_t position) {
      const int64_t in_block = position % key_block;
      p = static_cast<const uint16_t*>(kv->keys) + (position - in_block) * kv->stride + in_block;
    }
    APR_INLINE void group(int64_t) {}
    APR_INLINE typename V::F element(int64_t i) const {
      return V::load_f16(reinterpret_cast<const uint8_t*>(p + i * key_block));
    }
  };
  /// Scales of the values of n positions from `position` on, [position][kv_groups].
  template <class V>
  static APR_INLINE void value_scales(const KvHead*, int64_t, int64_t, float*) {}
  /// Elements from `at` on of a position.
  template <class V>
  static APR_INLINE typename V::F value(const KvHead* kv, int64_t position, int64_t at, const float*) {
    return V::load_f16(
        reinterpret_cast<const uint8_t*>(static_cast<const uint16_t*>(kv->values) + position * kv->stride + at));
  }
};

/// The cache in q8_0.
struct CacheQ8 {
  template <class V>
  struct Keys {
    const uint8_t* p;
    const uint16_t* scales;
    typename V::F scale;
    APR_INLINE void begin(const KvHead* kv, int64_t position) {
      const int64_t in_block = position % key_block, first = position - in_block;
      p = static_cast<const uint8_t*>(kv->keys) + first * kv->stride + in_block;
      scales = kv->key_scales + first * kv_groups(kv->stride) + in_block;
    }
    APR_INLINE void group(int64_t g) { scale = V::load_f16(reinterpret_cast<const uint8_t*>(scales + g * key_block)); }
    APR_INLINE typename V::F element(int64_t i) const { return V::mul(V::to_f(V::load_i8(p + i * key_block)), scale); }
  };
  template <class V>
  static APR_INLINE void value_scales(const KvHead* kv, int64_t position, int64_t n, float* out) {
    const int64_t n_groups = kv_groups(kv->stride);
    const auto* from = reinterpret_cast<const uint8_t*>(kv->value_scales + position * n_groups);
    for (int64_t i = 0; i < n * n_groups; i += V::lanes)
      V::store(out + i, V::load_f16(from + 2 * i));  // up to a whole chunk
  }
  template <class V>
  static APR_INLINE typename V::F value(const KvHead* kv, int64_t position, int64_t at, const float* scales) {
    const auto* p = static_cast<const uint8_t*>(kv->values) + position * kv->stride + at;
    return V::mul(V::to_f(V::load_i8(p)), V::splat_f(scales[at / kv_group]));
  }
};

template <class V>
void store_kv_f16(const float* key, const float* value, int64_t head_dim, const KvHead* kv, int64_t position) {
  const int64_t in_block = position % key_block;
  store_row_f16<V>(key, head_dim, static_cast<uint16_t*>(kv->keys) + (position - in_block) * kv->stride + in_block,
                   key_block);
  store_row_f16<V>(value, head_dim, static_cast<uint16_t*>(kv->values) + position * kv->stride, 1);
}

/// n <= kv_group elements as integers times a scale; the elements `stride` apart.
inline uint16_t store_q8_group(const float* x, int64_t n, int8_t* q, int64_t stride) {
  int32_t largest = 0;  // magnitudes compare as integers; NaN and infinity are the largest
  for (int64_t i = 0; i < n; ++i) {
    const auto magnitude = static_cast<int32_t>(float_to_bits(x[i]) & 0x7FFFFFFFU);
    largest = magnitude > largest ? magnitude : largest;
  }
  const bool finite_group = largest < 0x7F800000;
  const float scale = bits_to_float(static_cast<uint32_t>(largest)) / 127.0f;
  const float inverse = finite_group && scale > 0x1p-126f ? 1.0f / scale : 0.0f;
  for (int64_t i = 0; i < n; ++i) {
    const float v = finite_group ? x[i] * inverse : 0.0f;
    q[i * stride] = static_cast<int8_t>(static_cast<int32_t>(float_to_bits(v + 12582912.0f)) - 0x4B400000);
  }
  return finite_group ? f32_to_f16(scale) : static_cast<uint16_t>(0x7E00);
}

void store_kv_q8(const float* key, const float* value, int64_t head_dim, const KvHead* kv, int64_t position) {
  const int64_t in_block = position % key_block, first = position - in_block, n_groups = kv_groups(kv->stride);
  auto* keys = static_cast<int8_t*>(kv->keys) + first * kv->stride + in_block;
  auto* values = static_cast<int8_t*>(kv->values) + position * kv->stride;
  for (int64_t g = 0, at = 0; at < head_dim; ++g, at += kv_group) {
    const int64_t n = head_dim - at < kv_group ? head_dim - at : kv_group;
    kv->key_scales[first * n_groups + g * key_block + in_block] =
        store_q8_group(key + at, n, keys + at * key_block, key_block);
    kv->value_scales[position * n_groups + g] = store_q8_group(value + at, n, values + at, 1);
  }
}

/// score[r][i] = q_r . key of position p + i, for R rows and the whole vectors that cover n positions.
template <class V, class Cache, int R>
void attention_scores(const AttentionRow* rows, const KvHead* kv, int64_t p, int64_t head_dim, int64_t n,
                      float (*score)[attention_chunk]) {
  constexpr int nv = attention_vectors<V>, L = V::lanes;
  for (int first = 0; first < n; first += nv * L) {
    typename Cache::template Keys<V> keys[nv];
    typename V::F sum[R][nv];
    for (int v = 0; v < nv; ++v) {
      keys[v].begin(kv, p + first + v * L);
      for (int r = 0; r < R; ++r) sum[r][v] = V::splat_f(0.0f);
    }
    for (int64_t at = 0; at < head_dim; at += kv_group) {
      for (int v = 0; v < nv; ++v) keys[v].group(at / kv_group);
      const int64_t end = head_dim - at < kv_group ? head_dim : at + kv_group;
      for (int64_t i = at; i < end; ++i) {
        typename V::F key[nv];
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v) key[v] = keys[v].element(i);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const auto q = V::splat_f(rows[r].q[i]);
#pragma GCC unroll 4
          for (int v = 0; v < nv; ++v) sum[r][v] = V::fma(q, key[v], sum[r][v]);
        }
      }
    }
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < nv; ++v) V::store(score[r] + first + v * L, sum[r][v]);
  }
}

/// What a tile carries from chunk to chunk.
struct AttentionState {
  float score[max_attention_rows][attention_chunk];
  float acc[max_attention_rows][max_head_dim];
  float sums[max_attention_rows][row_lanes];  // of the weights, by position % 16
  float highest[max_attention_rows], shrink[max_attention_rows];
  float value_scales[attention_chunk * max_head_dim / kv_group];
};

/// acc[r] = acc[r] * shrink[r] + sum of weight[r][i] * value of position p + i, for rows r .. r + R - 1 and NV vectors
/// of elements from `at` on.
template <class V, class Cache, int R, int NV>
void attention_values(AttentionState& state, int r0, const KvHead* kv, int64_t p, int64_t at, int64_t n) {
  typename V::F sum[R][NV];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < NV; ++v)
      sum[r][v] = V::mul(V::load_f32(reinterpret_cast<const uint8_t*>(state.acc[r0 + r] + at + V::lanes * v)),
                         V::splat_f(state.shrink[r0 + r]));
  const float* scales = state.value_scales;
  for (int64_t i = 0; i < n; ++i, scales += kv_groups(kv->stride)) {
    typename V::F value[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) value[v] = Cache::template value<V>(kv, p + i, at + V::lanes * v, scales);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const auto w = V::splat_f(state.score[r0 + r][i]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] = V::fma(w, value[v], sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < NV; ++v) V::store(state.acc[r0 + r] + at + V::lanes * v, sum[r][v]);
}

/// Turns the scores of positions [p, p + n) into weights, n a multiple of 16; those that the row does not see become 0.
void attention_weights(const AttentionRow& row, int64_t p, int n, float scale, float* score, float* highest,
                       float* sums, float* shrink) {
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
template <class V, class Cache, int R>
void attention_chunk_values(AttentionState& state, int r, const KvHead* kv, int64_t p, int64_t n) {
  constexpr int nv = attention_vectors<V>, step = nv * V::lanes;
  int64_t at = 0;
  for (; at + step <= kv->stride; at += step) attention_values<V, Cache, R, nv>(state, r, kv, p, at, n);
  for (; at < kv->stride; at += V::lanes) attention_values<V, Cache, R, 1>(state, r, kv, p, at, n);
}

inline bool sees_segment(const AttentionRow& row, int64_t segment) {
  return row.first < (segment + 1) * attention_segment && row.last > segment * attention_segment;
}

/// What the rows see of one segment, from nothing.
template <class V, class Cache>
void attention_segment_rows(const AttentionRow* rows, int n_rows, const KvHead* kv, int64_t head_dim, float scale,
                            int64_t segment, AttentionState& state) {
  int64_t first = rows[0].first, last = rows[0].last;
  for (int r = 0; r < n_rows; ++r) {
    first = rows[r].first < first ? rows[r].first : first;
    last = rows[r].last > last ? rows[r].last : last;
    state.highest[r] = bits_to_float(0xFF800000U);
    for (int64_t i = 0; i < kv->stride; ++i) state.acc[r][i] = 0.0f;
    for (float& sum : state.sums[r]) sum = 0.0f;
  }
  const int64_t from = segment * attention_segment, to = from + attention_segment;
  first = first < from ? from : first;
  last = last > to ? to : last;
  for (int64_t p = first / attention_chunk * attention_chunk; p < last; p += attention_chunk) {
    const int64_t n = last - p < attention_chunk ? last - p : attention_chunk;
    for_row_parts(n_rows, [&](auto count, int r) {
      attention_scores<V, Cache, decltype(count)::value>(rows + r, kv, p, head_dim, n, state.score + r);
    });
    const auto whole = static_cast<int>((n + row_lanes - 1) / row_lanes * row_lanes);
    for (int r = 0; r < n_rows; ++r)
      attention_weights(rows[r], p, whole, scale, state.score[r], &state.highest[r], state.sums[r], &state.shrink[r]);
    Cache::template value_scales<V>(kv, p, n, state.value_scales);
    for_row_parts(n_rows, [&](auto count, int r) {
      attention_chunk_values<V, Cache, decltype(count)::value>(state, r, kv, p, n);
    });
  }
}

/// acc, sum and highest become those of the positions of both. A NaN is never the highest.
void merge_attention(float* __restrict acc, float* sum, float* highest, const float* __restrict part, float part_sum,
                     float part_highest, int64_t head_dim) {
  const float top = part_highest > *highest ? part_highest : *highest;
  const float a = exp_f32(*highest - top), b = exp_f32(part_highest - top);
  for (int64_t i = 0; i < head_dim; ++i) acc[i] = acc[i] * a + part[i] * b;
  *sum = *sum * a + part_sum * b;
  *highest = top;
}

template <class V, class Cache>
void attention_rows(const AttentionRow* rows, int n_rows, const KvHead* kv, int64_t head_dim, float scale) {
  AttentionState state;
  float sum[max_attention_rows], highest[max_attention_rows];
  int64_t first = rows[0].first, last = rows[0].last;
  for (int r = 1; r < n_rows; ++r) {
    first = rows[r].first < first ? rows[r].first : first;
    last = rows[r].last > last ? rows[r].last : last;
  }
  for (int64_t segment = first / attention_segment; segment * attention_segment < last; ++segment) {
    attention_segment_rows<V, Cache>(rows, n_rows, kv, head_dim, scale, segment, state);
    for (int r = 0; r < n_rows; ++r) {
      if (!sees_segment(rows[r], segment)) continue;
      const float part_sum = lane_sum(state.sums[r]);
      if (segment == rows[r].first / attention_segment) {
        __builtin_memcpy(rows[r].out, state.acc[r], static_cast<size_t>(head_dim) * sizeof(float));
        sum[r] = part_sum;
        highest[r] = state.highest[r];
      } else {
        merge_attention(rows[r].out, &sum[r], &highest[r], state.acc[r], part_sum, state.highest[r], head_dim);
      }
    }
  }
  for (int r = 0; r < n_rows; ++r)
    for (int64_t i = 0; i < head_dim; ++i) rows[r].out[i] = rows[r].out[i] / sum[r];
}

template <class V, class Cache>
void attention_part(const AttentionRow* rows, int n_rows, const KvHead* kv, int64_t head_dim, float scale,
                    int64_t segment) {
  AttentionState state;
  attention_segment_rows<V, Cache>(rows, n_rows, kv, head_dim, scale, segment, state);
  for (int r = 0; r < n_rows; ++r) {
    if (!sees_segment(rows[r], segment)) continue;
    __builtin_memcpy(rows[r].out, state.acc[r], static_cast<size_t>(head_dim) * sizeof(float));
    rows[r].out[head_dim] = lane_sum(state.sums[r]);
    rows[r].out[head_dim + 1] = state.highest[r];
  }
}

void attention_merge(float* parts, int64_t n_parts, int64_t head_dim, float* out) {
  const int64_t step = attention_part_floats(head_dim);
  for (int64_t k = 1; k < n_parts; ++k) {
    const float* part = parts + k * step;
    merge_attention(parts, parts + head_dim, parts + head_dim + 1, part, part[head_dim], part[head_dim + 1], head_dim);
  }
  for (int64_t i = 0; i < head_dim; ++i) out[i] = parts[i] / parts[head_dim];
}

#undef APR_INLINE

}  // namespace
}  // namespace apr::kernels
