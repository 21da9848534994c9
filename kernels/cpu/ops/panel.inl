// Weight panels: L rows (L = lanes of the vector) interleaved, so that a 32-bit lane is a row.
//
// A row is cut into groups of 32 elements, 8 dwords of 4 elements each. Of the element's integer q (Bits wide) a panel
// stores bit planes; every plane vector holds L dwords, dword r for row r, and byte b of dword j is element 4 j + b:
//
//   plane of 4 bits   4 vectors   vector j    bits 0..3 dword j, bits 4..7 dword j + 4              (j = 0..3)
//   plane of 2 bits   2 vectors   vector v    bits 4 i + 2 h .. + 1 dword 2 v + i + 4 h             (i, h = 0..1)
//   plane of 1 bit    1 vector                bit j + 4 h dword j + 4 h
//   8 bits            8 vectors   vector j    dword j
//
//   Bits 2 = {2}; 3 = {2, 1}; 4 = {4}; 5 = {4, 1}; 6 = {4, 2}; 8 = {8}: the first plane holds the low bits.
//   "Half" h of a group is its dwords 4 h .. 4 h + 3: 16 elements.
//
// A unit is one group (types with blocks of 32) or eight (super-blocks of 256), then its scales, L of each, row by row:
//
//   Scale::D16     | planes | d f16 |                                   w = d (q - offset)
//   Scale::D16M16  | planes | d f16 | m f16 |                           w = d q + m
//   Scale::D32     | planes | d f32 |                                   w = d table[q]
//   Scale::K32     | 8 planes | 8 sc i8 | d f16 |                       w = d sc table[q], sc per group
//   Scale::K32M    | 8 planes | 8 sc u8 | 8 mn u8 | d f16 | dmin f16 |  w = d sc q - dmin mn, per group
//   Scale::K16     | 8 planes | 16 sc i8 | d f16 |                      w = d sc (q - offset), sc per half
//   Scale::K16M    | 8 planes | 16 (sc | mn << 4) | d f16 | dmin f16 |  w = d sc q - dmin mn, per half
namespace apr::kernels {
namespace {

enum class Scale { D16, D16M16, D32, K32, K32M, K16, K16M };

constexpr bool is_super(Scale s) {
  return s != Scale::D16 && s != Scale::D16M16 && s != Scale::D32;
}
constexpr bool has_min(Scale s) {
  return s == Scale::D16M16 || s == Scale::K32M || s == Scale::K16M;
}
/// Bytes of the scales of one unit and row.
constexpr int scale_bytes(Scale s) {
  switch (s) {
    case Scale::D16: return 2;
    case Scale::D16M16: return 4;
    case Scale::D32: return 4;
    case Scale::K32: return 8 + 2;
    case Scale::K32M: return 16 + 4;
    case Scale::K16: return 16 + 2;
    case Scale::K16M: return 16 + 4;
  }
  return 0;
}

/// What a type's row holds for one unit, before it is interleaved.
struct UnitRow {
  uint8_t q[256];
  uint8_t sc[16], mn[16];
  uint8_t d[4], m[2];  // raw bytes of the file's scale, or of an f32
};

template <class T>
constexpr int groups_of = is_super(T::scale) ? 8 : 1;
/// Bytes of one unit of one row in a panel.
template <class T>
constexpr int unit_row_bytes = groups_of<T> * T::bits * 4 + scale_bytes(T::scale);

inline uint32_t dword(const uint8_t* q, int j) {
  return load<uint32_t>(q + 4 * j);
}

/// Writes the planes of one group of one row; `to` is the group's first vector.
template <int Bits, int L>
void store_planes(const uint8_t* q, int row, uint8_t* to) {
  const auto put = [&](int vector, uint32_t value) { store(to + 4 * (vector * L + row), value); };
  int vector = 0;
  if constexpr (Bits == 8)
    for (int j = 0; j < 8; ++j) put(vector++, dword(q, j));
  constexpr uint32_t low4 = 0x0F0F0F0FU, low2 = 0x03030303U, low1 = 0x01010101U;
  if constexpr (Bits >= 4 && Bits <= 6)
    for (int j = 0; j < 4; ++j) put(vector++, (dword(q, j) & low4) | (dword(q, j + 4) & low4) << 4);
  if constexpr (Bits == 2 || Bits == 3 || Bits == 6) {
    constexpr int from = Bits == 6 ? 4 : 0;
    for (int v = 0; v < 2; ++v) {
      uint32_t word = 0;
      for (int i = 0; i < 2; ++i)
        for (int h = 0; h < 2; ++h) word |= ((dword(q, 2 * v + i + 4 * h) >> from) & low2) << (4 * i + 2 * h);
      put(vector++, word);
    }
  }
  if constexpr (Bits == 3 || Bits == 5) {
    uint32_t word = 0;
    for (int j = 0; j < 8; ++j) word |= ((dword(q, j) >> (Bits - 1)) & low1) << j;
    put(vector, word);
  }
}

template <class T, int L>
void repack_panel(const uint8_t* rows, int64_t row_stride, int n_rows, int64_t n_cols, uint8_t* panel) {
  constexpr int groups = groups_of<T>, plane_bytes = T::bits * 4 * L;
  const int64_t n_units = n_cols / (32 * groups);
  if (n_rows < L) __builtin_memset(panel, 0, static_cast<size_t>(n_units * unit_row_bytes<T> * L));
  for (int r = 0; r < n_rows; ++r) {
    const uint8_t* block = rows + r * row_stride;
    uint8_t* to = panel;
    for (int64_t u = 0; u < n_units; ++u, block += T::block_bytes, to += unit_row_bytes<T> * L) {
      UnitRow row;
      T::read(block, row);
      for (int g = 0; g < groups; ++g) store_planes<T::bits, L>(row.q + 32 * g, r, to + g * plane_bytes);
      uint8_t* at = to + groups * plane_bytes;
      if constexpr (is_super(T::scale)) {
        constexpr int n_scales = T::scale == Scale::K32 || T::scale == Scale::K32M ? 8 : 16;
        for (int s = 0; s < n_scales; ++s) at[s * L + r] = row.sc[s];
        at += n_scales * L;
        if constexpr (T::scale == Scale::K32M) {
          for (int s = 0; s < 8; ++s) at[s * L + r] = row.mn[s];
          at += 8 * L;
        }
      }
      constexpr int d_bytes = T::scale == Scale::D32 ? 4 : 2;
      __builtin_memcpy(at + d_bytes * r, row.d, d_bytes);
      if constexpr (has_min(T::scale)) __builtin_memcpy(at + d_bytes * L + 2 * r, row.m, 2);
    }
  }
}

/// The 16 elements of half H of a group as 4 vectors of bytes.
template <class V, int Bits, int H>
inline __attribute__((always_inline)) void load_half(const uint8_t* p, typename V::I w[4]) {
  constexpr int bytes = 4 * V::lanes;
  if constexpr (Bits == 8) {
    for (int j = 0; j < 4; ++j) w[j] = V::load(p + (j + 4 * H) * bytes);
    return;
  }
  if constexpr (Bits >= 4) {
    for (int j = 0; j < 4; ++j) w[j] = V::template field<4 * H, 0, 15>(V::load(p + j * bytes));
    p += 4 * bytes;
  }
  if constexpr (Bits == 2 || Bits == 3 || Bits == 6) {
    constexpr int to = Bits == 6 ? 4 : 0;
    const auto a = V::load(p), b = V::load(p + bytes);
    const typename V::I top[4] = {V::template field<2 * H, to, 3>(a), V::template field<4 + 2 * H, to, 3>(a),
                                  V::template field<2 * H, to, 3>(b), V::template field<4 + 2 * H, to, 3>(b)};
    for (int j = 0; j < 4; ++j) w[j] = Bits == 6 ? V::or_(w[j], top[j]) : top[j];
    p += 2 * bytes;
  }
  if constexpr (Bits == 3 || Bits == 5) {
    const auto a = V::load(p);
    w[0] = V::or_(w[0], V::template field<4 * H, Bits - 1, 1>(a));
    w[1] = V::or_(w[1], V::template field<4 * H + 1, Bits - 1, 1>(a));
    w[2] = V::or_(w[2], V::template field<4 * H + 2, Bits - 1, 1>(a));
    w[3] = V::or_(w[3], V::template field<4 * H + 3, Bits - 1, 1>(a));
  }
}

/// Exact sum over the 16 elements of half H of (q - offset) * x, or of table[q] * x.
template <class V, class T, int H>
inline __attribute__((always_inline)) typename V::I dot_half(const typename V::I w[4], const int8_t* x, int sum) {
  if constexpr (T::table != nullptr || T::bits == 8) {
    return V::dot16_signed(w, x + 16 * H, sum);
  } else {
    const auto dot = V::template dot16_unsigned<T::bits>(w, x + 16 * H);
    return T::offset == 0 ? dot : V::sub(dot, V::splat(T::offset * sum));
  }
}

template <class V, class T, int H>
inline __attribute__((always_inline)) void weights_of_half(const uint8_t* p, typename V::I w[4]) {
  load_half<V, T::bits, H>(p, w);
  if constexpr (T::table != nullptr)
    for (int j = 0; j < 4; ++j) w[j] = V::lookup(w[j], T::table);
}

/// One column's views of the activations.
struct Column {
  const int8_t* q;
  const float* d;
  const float* s;
  const int16_t* sums;
};

/// Groups that share one f16 scale: the integer sum of the whole group, then one FMA.
template <class V, class T, int C>
inline __attribute__((always_inline)) void step_simple(const uint8_t* p, const Column* x, int64_t g, typename V::F* acc) {
  constexpr int L = V::lanes;
  typename V::I w[4], sum[C];
  weights_of_half<V, T, 0>(p, w);
  for (int c = 0; c < C; ++c) sum[c] = dot_half<V, T, 0>(w, x[c].q + 32 * g, x[c].sums[2 * g]);
  weights_of_half<V, T, 1>(p, w);
  for (int c = 0; c < C; ++c) sum[c] = V::add(sum[c], dot_half<V, T, 1>(w, x[c].q + 32 * g, x[c].sums[2 * g + 1]));
  const uint8_t* scales = p + T::bits * 4 * L;
  const auto d = T::scale == Scale::D32 ? V::load_f32(scales) : V::load_f16(scales);
  for (int c = 0; c < C; ++c) acc[c] = V::fma(V::to_f(sum[c]), V::mul(d, V::splat_f(x[c].d[g])), acc[c]);
  if constexpr (T::scale == Scale::D16M16) {
    const auto m = V::load_f16(scales + 2 * L);
    for (int c = 0; c < C; ++c) acc[c] = V::fma(m, V::splat_f(x[c].s[g]), acc[c]);
  }
}

/// A super-block: integer scales inside, one f16 scale (and one of the minima) at its end.
template <class V, class T, int C>
inline __attribute__((always_inline)) void step_super(const uint8_t* p, const Column* x, int64_t u, typename V::F* acc) {
  constexpr int L = V::lanes, plane_bytes = T::bits * 4 * L;
  const uint8_t* scales = p + 8 * plane_bytes;
  typename V::F part[C], least[C];
  for (int c = 0; c < C; ++c) part[c] = least[c] = V::splat_f(0.0f);
#pragma GCC unroll 1
  for (int k = 0; k < 8; ++k, p += plane_bytes) {
    const int64_t g = 8 * u + k;
    typename V::I w[4], sum[C];
    weights_of_half<V, T, 0>(p, w);
    for (int c = 0; c < C; ++c) sum[c] = dot_half<V, T, 0>(w, x[c].q + 32 * g, x[c].sums[2 * g]);
    if constexpr (T::scale == Scale::K32 || T::scale == Scale::K32M) {
      weights_of_half<V, T, 1>(p, w);
      const auto sc = T::scale == Scale::K32 ? V::load_i8(scales + k * L) : V::load_u8(scales + k * L);
      for (int c = 0; c < C; ++c)
        sum[c] = V::mul(V::add(sum[c], dot_half<V, T, 1>(w, x[c].q + 32 * g, x[c].sums[2 * g + 1])), sc);
      if constexpr (T::scale == Scale::K32M) {
        const auto mn = V::to_f(V::load_u8(scales + (8 + k) * L));
        for (int c = 0; c < C; ++c) least[c] = V::fma(mn, V::splat_f(x[c].s[g]), least[c]);
      }
    } else {
      const uint8_t* at = scales + 2 * k * L;
      auto sc = V::load_i8(at), sc2 = V::load_i8(at + L);
      if constexpr (T::scale == Scale::K16M) {
        const auto packed = V::load_u8(at), packed2 = V::load_u8(at + L);
        const auto mn = V::template field<4, 0, 15>(packed), mn2 = V::template field<4, 0, 15>(packed2);
        sc = V::template field<0, 0, 15>(packed);
        sc2 = V::template field<0, 0, 15>(packed2);
        for (int c = 0; c < C; ++c) {
          const auto both = V::add(V::mul(mn, V::splat(x[c].sums[2 * g])), V::mul(mn2, V::splat(x[c].sums[2 * g + 1])));
          least[c] = V::fma(V::to_f(both), V::splat_f(x[c].d[g]), least[c]);
        }
      }
      for (int c = 0; c < C; ++c) sum[c] = V::mul(sum[c], sc);
      weights_of_half<V, T, 1>(p, w);
      for (int c = 0; c < C; ++c)
        sum[c] = V::add(sum[c], V::mul(dot_half<V, T, 1>(w, x[c].q + 32 * g, x[c].sums[2 * g + 1]), sc2));
    }
    for (int c = 0; c < C; ++c) part[c] = V::fma(V::to_f(sum[c]), V::splat_f(x[c].d[g]), part[c]);
  }
  constexpr int n_scale_bytes = scale_bytes(T::scale) - (has_min(T::scale) ? 4 : 2);
  const auto d = V::load_f16(scales + n_scale_bytes * L);
  for (int c = 0; c < C; ++c) acc[c] = V::fma(d, part[c], acc[c]);
  if constexpr (has_min(T::scale)) {
    const auto dmin = V::load_f16(scales + (n_scale_bytes + 2) * L);
    for (int c = 0; c < C; ++c) acc[c] = V::fnma(dmin, least[c], acc[c]);
  }
}

template <class V>
inline void store_rows(typename V::F acc, int n_rows, float* out) {
  if (n_rows == V::lanes) return V::store(out, acc);
  float all[V::lanes];
  V::store(all, acc);
  for (int r = 0; r < n_rows; ++r) out[r] = all[r];
}

/// Bytes ahead that a decode step asks for: one token streams the panel from memory.
inline constexpr int prefetch_bytes = 4096;

template <class V, class T, int C>
void multiply_columns(const uint8_t* panel, const Activation* a, int64_t t, int n_rows, float* out, int64_t out_stride) {
  constexpr int groups = groups_of<T>, unit_bytes = unit_row_bytes<T> * V::lanes;
  Column x[C];
  for (int c = 0; c < C; ++c)
    x[c] = {a->q + (t + c) * a->n_cols, a->d + (t + c) * (a->n_cols / 32), a->s + (t + c) * (a->n_cols / 32),
            a->sums + (t + c) * (a->n_cols / 16)};
  typename V::F acc[C];
  for (int c = 0; c < C; ++c) acc[c] = V::splat_f(0.0f);
  const int64_t n_units = a->n_cols / (32 * groups);
  for (int64_t u = 0; u < n_units; ++u, panel += unit_bytes) {
    if constexpr (C == 1)
      for (int b = 0; b < unit_bytes; b += 64) V::prefetch(panel + prefetch_bytes + b);
    if constexpr (is_super(T::scale)) step_super<V, T, C>(panel, x, u, acc);
    else step_simple<V, T, C>(panel, x, u, acc);
  }
  for (int c = 0; c < C; ++c) store_rows<V>(acc[c], n_rows, out + (t + c) * out_stride);
}

template <class V, class T>
void multiply_panel(const uint8_t* panel, const Activation* a, int64_t n_tokens, int n_rows, float* out,
                    int64_t out_stride) {
  int64_t t = 0;
  for (; t + 4 <= n_tokens; t += 4) multiply_columns<V, T, 4>(panel, a, t, n_rows, out, out_stride);
  if (n_tokens - t >= 2) multiply_columns<V, T, 2>(panel, a, t, n_rows, out, out_stride), t += 2;
  if (n_tokens - t >= 1) multiply_columns<V, T, 1>(panel, a, t, n_rows, out, out_stride);
}

// ---- float panels: element k of all rows, then element k + 1; four partial sums hide the latency of the FMA ----

template <class V, class T, int C>
void multiply_float_columns(const uint8_t* panel, const Activation* a, int64_t t, int n_rows, float* out,
                            int64_t out_stride) {
  constexpr int step = T::element_bytes * V::lanes;
  typename V::F acc[C][4];
  for (int c = 0; c < C; ++c)
    for (int k = 0; k < 4; ++k) acc[c][k] = V::splat_f(0.0f);
  const float* x = a->x + t * a->n_cols;
  int64_t i = 0;
  for (; i + 4 <= a->n_cols; i += 4, panel += 4 * step) {
    if constexpr (C == 1)
      for (int b = 0; b < 4 * step; b += 64) V::prefetch(panel + prefetch_bytes + b);
    for (int k = 0; k < 4; ++k) {
      const auto w = T::template load<V>(panel + k * step);
      for (int c = 0; c < C; ++c) acc[c][k] = V::fma(w, V::splat_f(x[c * a->n_cols + i + k]), acc[c][k]);
    }
  }
  for (; i < a->n_cols; ++i, panel += step)
    for (int c = 0; c < C; ++c)
      acc[c][0] = V::fma(T::template load<V>(panel), V::splat_f(x[c * a->n_cols + i]), acc[c][0]);
  for (int c = 0; c < C; ++c)
    store_rows<V>(V::add(V::add(acc[c][0], acc[c][1]), V::add(acc[c][2], acc[c][3])), n_rows, out + (t + c) * out_stride);
}

template <class V, class T>
void multiply_float_panel(const uint8_t* panel, const Activation* a, int64_t n_tokens, int n_rows, float* out,
                          int64_t out_stride) {
  int64_t t = 0;
  for (; t + 2 <= n_tokens; t += 2) multiply_float_columns<V, T, 2>(panel, a, t, n_rows, out, out_stride);
  if (t < n_tokens) multiply_float_columns<V, T, 1>(panel, a, t, n_rows, out, out_stride);
}

template <class T, int L>
void repack_float_panel(const uint8_t* rows, int64_t row_stride, int n_rows, int64_t n_cols, uint8_t* panel) {
  constexpr int bytes = T::element_bytes;
  if (n_rows < L) __builtin_memset(panel, 0, static_cast<size_t>(n_cols * bytes * L));
  for (int r = 0; r < n_rows; ++r)
    for (int64_t i = 0; i < n_cols; ++i)
      __builtin_memcpy(panel + (i * L + r) * bytes, rows + r * row_stride + i * bytes, bytes);
}

}  // namespace
}  // namespace apr::kernels
