// Counts nibbles in vectors by bit planes: for machines with AVX-512 BITALG.
//
// Eight vectors are turned into eight planes: byte lane L of plane j holds bit j of lane L of each of the eight.
//   step 4: x0 x4 exchange the high half of x0's bytes with the low half of x4's, likewise x1 x5, x2 x6, x3 x7
//   step 2: pairs of bits, x0 x2 ...;  step 1: single bits, x0 x1 ...
// The lanes with low nibble 5 = 0101 are then one AND of planes, 8 lanes a byte, and a count of bits. A byte stays in its
// lane, so the counts by place come for free.
namespace apr::kernels {
namespace {

/// Exchanges the bits of `a` above Mask's with the bits of `b` in Mask. Mask: the low Shift bits of each 2 * Shift.
template <int Shift, int Mask>
inline __attribute__((always_inline)) void exchange(__m512i& a, __m512i& b) {
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(Mask));
  const __m512i low = _mm512_ternarylogic_epi64(mask, a, _mm512_slli_epi64(b, Shift), 0xCA);   // mask ? a : b << Shift
  const __m512i high = _mm512_ternarylogic_epi64(mask, _mm512_srli_epi64(a, Shift), b, 0xCA);  // mask ? a >> Shift : b
  a = low;
  b = high;
}

/// x[0..3] become the planes of bits 0..3 and x[4..7] those of bits 4..7.
inline __attribute__((always_inline)) void to_planes(__m512i x[8]) {
  for (int i = 0; i < 4; ++i) exchange<4, 0x0F>(x[i], x[i + 4]);
  for (int i = 0; i < 8; i += 4)
    for (int k = i; k < i + 2; ++k) exchange<2, 0x33>(x[k], x[k + 2]);
  for (int i = 0; i < 8; i += 2) exchange<1, 0x55>(x[i], x[i + 1]);
}

/// Adds to the byte counter of each of 16 values the lanes that hold it.
inline __attribute__((always_inline)) void add_values(__m512i sum[16], __m512i p0, __m512i p1, __m512i p2, __m512i p3) {
  const __m512i low[4] = {_mm512_ternarylogic_epi64(p0, p1, p1, 0x03), _mm512_andnot_si512(p1, p0),
                          _mm512_andnot_si512(p0, p1), _mm512_and_si512(p0, p1)};
  const __m512i high[4] = {_mm512_ternarylogic_epi64(p2, p3, p3, 0x03), _mm512_andnot_si512(p3, p2),
                           _mm512_andnot_si512(p2, p3), _mm512_and_si512(p2, p3)};
  for (int v = 0; v < 16; ++v)
    sum[v] = _mm512_add_epi8(sum[v], _mm512_popcnt_epi8(_mm512_and_si512(low[v & 3], high[v >> 2])));
}

/// Counts the nibbles of vector(0) .. vector(n - 1).
template <class Vector>
inline __attribute__((always_inline)) void count_vectors(int period, NibbleCounts* counts, int64_t n, const Vector& vector) {
  constexpr int64_t most_groups = 31;  // 31 * 8 fits a byte
  for (int64_t i = 0; i < n;) {
    __m512i high[most_groups][4];
    __m512i sum[16] = {};
    const int64_t left = (n - i + 7) / 8;
    const int64_t n_groups = left < most_groups ? left : most_groups;
    for (int64_t g = 0; g < n_groups; ++g, i += 8) {
      __m512i x[8];
      if (i + 8 <= n)
        for (int k = 0; k < 8; ++k) x[k] = vector(i + k);
      else
        for (int k = 0; k < 8; ++k) x[k] = i + k < n ? vector(i + k) : _mm512_setzero_si512();
      to_planes(x);
      for (int k = 0; k < 4; ++k) high[g][k] = x[4 + k];
      add_values(sum, x[0], x[1], x[2], x[3]);
    }
    add_byte_counters(sum, 0, period, counts);
    for (auto& s : sum) s = _mm512_setzero_si512();
    for (int64_t g = 0; g < n_groups; ++g) add_values(sum, high[g][0], high[g][1], high[g][2], high[g][3]);
    add_byte_counters(sum, 1, period, counts);
  }
  const auto padding = static_cast<uint32_t>((n + 7) / 8 * 8 - n) * static_cast<uint32_t>(64 / period);
  for (int p = 0; p < period; ++p) {
    counts[p].n[0][0] -= padding;
    counts[p].n[1][0] -= padding;
  }
}

}  // namespace
}  // namespace apr::kernels
