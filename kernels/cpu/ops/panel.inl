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

constexpr bool is_super(Scale s) { return s != Scale::D16 && s != Scale::D16M16 && s != Scale::D32; }
constexpr bool has_min(Scale s) { return s == Scale::D16M16 || s == Scale::K32M || s == Scale::K16M; }
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
constexpr int unit_row_bytes = scale_bytes(T::scale) + 4 * T::bits* groups_of<T>;

inline uint32_t dword(const uint8_t* q, int j) { return load<uint32_t>(q + 4 * j); }

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
  for (int64_t u = 0; u < n_units; ++u, rows += T::block_bytes, panel += unit_row_bytes<T> * L)
    for (int r = 0; r < n_rows; ++r) {
      UnitRow row;
      T::read(rows + r * row_stride, row);
      for (int g = 0; g < groups; ++g) store_planes<T::bits, L>(row.q + 32 * g, r, panel + g * plane_bytes);
      uint8_t* at = panel + groups * plane_bytes;
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

/// The 32 elements of a group as 8 vectors of bytes, as the file's type means them (unsigned).
template <class V, int Bits>
inline __attribute__((always_inline)) void load_group(const uint8_t* p, typename V::I w[8]) {
  constexpr int bytes = 4 * V::lanes;
  if constexpr (Bits == 8) {
    for (int j = 0; j < 8; ++j) w[j] = V::load(p + j * bytes);
    return;
  }
  if constexpr (Bits >= 4) {
    for (int j = 0; j < 4; ++j) {
      const auto both = V::load(p + j * bytes);
      w[j] = V::template field<0, 0, 15>(both);
      w[j + 4] = V::template field<4, 0, 15>(both);
    }
    p += 4 * bytes;
  }
  if constexpr (Bits == 2 || Bits == 3 || Bits == 6) {
    constexpr int to = Bits == 6 ? 4 : 0;
    const auto put = [&](typename V::I& at, typename V::I top) { at = Bits == 6 ? V::or_(at, top) : top; };
    for (int v = 0; v < 2; ++v) {
      const auto a = V::load(p + v * bytes);
      put(w[2 * v], V::template field<0, to, 3>(a));
      put(w[2 * v + 1], V::template field<4, to, 3>(a));
      put(w[2 * v + 4], V::template field<2, to, 3>(a));
      put(w[2 * v + 5], V::template field<6, to, 3>(a));
    }
    p += 2 * bytes;
  }
  if constexpr (Bits == 3 || Bits == 5) {
    const auto a = V::load(p);
    w[0] = V::or_(w[0], V::template field<0, Bits - 1, 1>(a));
    w[1] = V::or_(w[1], V::template field<1, Bits - 1, 1>(a));
    w[2] = V::or_(w[2], V::template field<2, Bits - 1, 1>(a));
    w[3] = V::or_(w[3], V::template field<3, Bits - 1, 1>(a));
    w[4] = V::or_(w[4], V::template field<4, Bits - 1, 1>(a));
    w[5] = V::or_(w[5], V::template field<5, Bits - 1, 1>(a));
    w[6] = V::or_(w[6], V::template field<6, Bits - 1, 1>(a));
    w[7] = V::or_(w[7], V::template field<7, Bits - 1, 1>(a));
  }
}

template <class T>
constexpr bool is_signed = T::table != nullptr || T::bits == 8;

/// The weights in the form that the products of V take, and what has to come off: w = weight + offset.
template <class V, class T>
inline __attribute__((always_inline)) void load_weights(const uint8_t* p, typename V::I w[8]) {
  load_group<V, T::bits>(p, w);
  if constexpr (T::table != nullptr)
    for (int j = 0; j < 8; ++j) w[j] = V::lookup(w[j], T::table);
  if constexpr (is_signed<T> && V::unsigned_only)
    for (int j = 0; j < 8; ++j) w[j] = V::flip_sign(w[j]);
}
template <class V, class T>
constexpr int offset_of = is_signed<T> ? (V::unsigned_only ? 128 : 0) : T::offset;

/// One block of columns: the activations of C tokens, group after group, in a group token after token.
struct Columns {
  const int8_t* q;
  const float* d;
  const float* s;
  const int16_t* sums;
};

/// Exact sums over a group of weight * x for N columns.
template <class V, class T, int N>
inline __attribute__((always_inline)) void dot_group(const typename V::I w[8], const int8_t* x, const int16_t* sums,
                                                     typename V::I sum[N]) {
  if constexpr (is_signed<T> && !V::unsigned_only) {
    for (int n = 0; n < N; ++n) sum[n] = V::dot32_signed(w, x + 32 * n);
  } else {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      sum[n] = V::splat(offset_of<V, T> == 0 ? 0 : -offset_of<V, T> * (sums[2 * n] + sums[2 * n + 1]));
    V::template dot32<T::bits, N>(w, x, sum);
  }
}

/// Scales and minima of a group, one row per lane.
template <class V>
struct GroupScales {
  typename V::F d, m;       // weight = d q + m, or d q - m for super-blocks
  typename V::I sc[2], mn;  // Scale::K16, K16M: factors of the halves; minima of the halves as pairs of int16
};

/// The scales of group k of a unit whose scales start at `scales`.
template <class V, class T>
inline __attribute__((always_inline)) void load_scales(const uint8_t* scales, int k, GroupScales<V>& g) {
  constexpr int L = V::lanes;
  if constexpr (T::scale == Scale::D32) g.d = V::load_f32(scales);
  if constexpr (T::scale == Scale::D16 || T::scale == Scale::D16M16) g.d = V::load_f16(scales);
  if constexpr (T::scale == Scale::D16M16) g.m = V::load_f16(scales + 2 * L);
  if constexpr (T::scale == Scale::K32) g.d = V::mul(V::load_f16(scales + 8 * L), V::to_f(V::load_i8(scales + k * L)));
  if constexpr (T::scale == Scale::K32M) {
    g.d = V::mul(V::load_f16(scales + 16 * L), V::to_f(V::load_u8(scales + k * L)));
    g.m = V::mul(V::load_f16(scales + 18 * L), V::to_f(V::load_u8(scales + (8 + k) * L)));
  }
  if constexpr (T::scale == Scale::K16) {
    g.d = V::load_f16(scales + 16 * L);
    for (int h = 0; h < 2; ++h) g.sc[h] = V::load_i8(scales + (2 * k + h) * L);
  }
  if constexpr (T::scale == Scale::K16M) {
    g.d = V::load_f16(scales + 16 * L);
    g.m = V::load_f16(scales + 18 * L);
    typename V::I minima[2];
    for (int h = 0; h < 2; ++h) {
      const auto both = V::load_u8(scales + (2 * k + h) * L);
      g.sc[h] = V::template field<0, 0, 15>(both);
      minima[h] = V::template field<4, 0, 15>(both);
    }
    g.mn = V::pairs(minima[0], minima[1]);
  }
}

/// acc[c] += weights of a group . column c, scaled.
template <class V, class T, int C>
inline __attribute__((always_inline)) void step_group(const typename V::I w[8], const GroupScales<V>& g,
                                                      const Columns& x, typename V::F* acc) {
  constexpr bool halves = T::scale == Scale::K16 || T::scale == Scale::K16M;
  typename V::I offsets = {};
  if constexpr (halves && T::offset != 0)
    offsets = V::pairs(V::mul(g.sc[0], V::splat(-T::offset)), V::mul(g.sc[1], V::splat(-T::offset)));
  constexpr int N = C < V::together ? C : V::together;
#pragma GCC unroll 16
  for (int first = 0; first < C; first += N) {
    typename V::I sums[N];
    if constexpr (halves)
      V::template dot32_scaled<T::bits, N>(w, x.q + 32 * first, g.sc, sums);
    else
      dot_group<V, T, N>(w, x.q + 32 * first, x.sums + 2 * first, sums);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const int c = first + n;
      typename V::I sum = sums[n];
      if constexpr (halves && T::offset != 0) sum = V::add(sum, V::mul_pairs(offsets, x.sums + 2 * c));
      const auto d = V::splat_f(x.d[c]);
      acc[c] = V::fma(V::to_f(sum), V::mul(g.d, d), acc[c]);
      if constexpr (T::scale == Scale::D16M16) acc[c] = V::fma(g.m, V::splat_f(x.s[c]), acc[c]);
      if constexpr (T::scale == Scale::K32M) acc[c] = V::fnma(g.m, V::splat_f(x.s[c]), acc[c]);
      if constexpr (T::scale == Scale::K16M)
        acc[c] = V::fnma(V::to_f(V::mul_pairs(g.mn, x.sums + 2 * c)), V::mul(g.m, d), acc[c]);
    }
  }
}

template <class V>
inline void store_rows(typename V::F acc, int n_rows, float* out) {
  if (n_rows == V::lanes) return V::store(out, acc);
  float all[V::lanes];
  V::store(all, acc);
  for (int r = 0; r < n_rows; ++r) out[r] = all[r];
}

template <class V, class T, int C>
void multiply_columns(const uint8_t* panel, const Activation* a, int64_t t, int n_tokens, int n_rows, float* out,
                      int64_t out_stride) {
  constexpr int groups = groups_of<T>, unit_bytes = unit_row_bytes<T> * V::lanes, plane_bytes = T::bits * 4 * V::lanes;
  Columns x = {a->q + t * a->n_cols, a->d + t * (a->n_cols / 32), a->s + t * (a->n_cols / 32),
               a->sums + t * (a->n_cols / 16)};
  typename V::F acc[C];
  for (int c = 0; c < C; ++c) acc[c] = V::splat_f(0.0f);
  const int64_t n_units = a->n_cols / (32 * groups), ahead = a->ahead;
  for (int64_t u = 0; u < n_units; ++u, panel += unit_bytes) {
    const uint8_t* scales = panel + groups * plane_bytes;
#pragma GCC unroll 1
    for (int k = 0; k < groups; ++k) {
      constexpr int share = unit_bytes / groups;  // spread over the groups: a burst would fill the queue of misses
#pragma GCC unroll 16
      for (int b = 0; b < share; b += 64) V::prefetch(panel + k * share + ahead + b);
      typename V::I w[8];
      load_weights<V, T>(panel + k * plane_bytes, w);
      GroupScales<V> g;
      load_scales<V, T>(scales, k, g);
      step_group<V, T, C>(w, g, x, acc);
      x = {x.q + 32 * C, x.d + C, x.s + C, x.sums + 2 * C};
    }
  }
  for (int c = 0; c < C; ++c)
    if (c < n_tokens) store_rows<V>(acc[c], n_rows, out + c * out_stride);
}

template <class V, class T>
void multiply_panel(const uint8_t* panel, const Activation* a, int64_t t, int width, int n_tokens, int n_rows,
                    float* out, int64_t out_stride) {
  switch (width) {
    case 1: return multiply_columns<V, T, 1>(panel, a, t, n_tokens, n_rows, out, out_stride);
    case 2: return multiply_columns<V, T, 2>(panel, a, t, n_tokens, n_rows, out, out_stride);
    case 4: return multiply_columns<V, T, 4>(panel, a, t, n_tokens, n_rows, out, out_stride);
    case 8:
      if constexpr (V::block_cols >= 8)
        return multiply_columns<V, T, 8>(panel, a, t, n_tokens, n_rows, out, out_stride);
      return;
    default:
      if constexpr (V::block_cols >= 16)
        return multiply_columns<V, T, 16>(panel, a, t, n_tokens, n_rows, out, out_stride);
  }
}

// ---- float panels: element k of all rows, then element k + 1. Four partial sums, of the elements k % 4, hide the
// latency of the FMA for one column; with many columns they run one after the other, over so few elements at a time
// that these stay in the first-level cache.

template <class V, class T, int C>
void multiply_float_columns(const uint8_t* panel, const Activation* a, int64_t t, int n_tokens, int n_rows, float* out,
                            int64_t out_stride) {
  constexpr int step = T::element_bytes * V::lanes;
  constexpr int together = C >= 8 ? 1 : (C == 4 ? 2 : 4);
  const int64_t whole = a->n_cols / 4 * 4, ahead = a->ahead, piece = together == 4 ? whole : 256;
  const float* x = a->x + t * a->n_cols;
  typename V::F part[4][C];
  for (auto& of_k : part)
    for (auto& sum : of_k) sum = V::splat_f(0.0f);
  for (int64_t begin = 0; begin < whole; begin += piece) {
    const int64_t end = whole - begin < piece ? whole : begin + piece;
    for (int k = 0; k < 4; k += together) {
      typename V::F acc[together][C];
      for (int j = 0; j < together; ++j)
        for (int c = 0; c < C; ++c) acc[j][c] = part[k + j][c];
      for (int64_t i = begin + k; i < end; i += 4) {
        if (k == 0)
          for (int b = 0; b < 4 * step; b += 64) V::prefetch(panel + i * step + ahead + b);
#pragma GCC unroll 4
        for (int j = 0; j < together; ++j) {
          const auto w = T::template load<V>(panel + (i + j) * step);
#pragma GCC unroll 16
          for (int c = 0; c < C; ++c) acc[j][c] = V::fma(w, V::splat_f(x[(i + j) * C + c]), acc[j][c]);
        }
      }
      for (int j = 0; j < together; ++j)
        for (int c = 0; c < C; ++c) part[k + j][c] = acc[j][c];
    }
  }
  for (int64_t i = whole; i < a->n_cols; ++i)
    for (int c = 0; c < C; ++c)
      part[0][c] = V::fma(T::template load<V>(panel + i * step), V::splat_f(x[i * C + c]), part[0][c]);
  for (int c = 0; c < C; ++c)
    if (c < n_tokens)
      store_rows<V>(V::add(V::add(part[0][c], part[1][c]), V::add(part[2][c], part[3][c])), n_rows,
                    out + c * out_stride);
}

template <class V, class T>
void multiply_float_panel(const uint8_t* panel, const Activation* a, int64_t t, int width, int n_tokens, int n_rows,
                          float* out, int64_t out_stride) {
  switch (width) {
    case 1: return multiply_float_columns<V, T, 1>(panel, a, t, n_tokens, n_rows, out, out_stride);
    case 2: return multiply_float_columns<V, T, 2>(panel, a, t, n_tokens, n_rows, out, out_stride);
    case 4: return multiply_float_columns<V, T, 4>(panel, a, t, n_tokens, n_rows, out, out_stride);
    case 8:
      if constexpr (V::block_cols >= 8)
        return multiply_float_columns<V, T, 8>(panel, a, t, n_tokens, n_rows, out, out_stride);
      return;
    default:
      if constexpr (V::block_cols >= 16)
        return multiply_float_columns<V, T, 16>(panel, a, t, n_tokens, n_rows, out, out_stride);
  }
}

template <class T, int L>
void repack_float_panel(const uint8_t* rows, int64_t row_stride, int n_rows, int64_t n_cols, uint8_t* panel) {
  constexpr int bytes = T::element_bytes;
  if (n_rows < L) __builtin_memset(panel, 0, static_cast<size_t>(n_cols * bytes * L));
  for (int64_t i = 0; i < n_cols; ++i)
    for (int r = 0; r < n_rows; ++r)
      __builtin_memcpy(panel + (i * L + r) * bytes, rows + r * row_stride + i * bytes, bytes);
}

}  // namespace
}  // namespace apr::kernels
