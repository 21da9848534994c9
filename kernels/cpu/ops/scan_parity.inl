// Counts nibbles in vectors by parities: for machines with AVX-512 GFNI, VBMI and BITALG.
//
// For each mask m of the four bits of a nibble, W(m) is the number of nibbles x in which parity(x & m) is odd. The 15
// of them say all 16 counts: count(v) = 1/16 sum over m of (n - 2 W(m)) (-1)^parity(v & m), a Walsh-Hadamard transform.
// A GFNI product turns a byte into eight parities, so 30 of them are four bytes, of which one is the byte itself (the
// single bits). What is left is to count the ones at each bit: full adders take eight bytes of a lane to their sum in
// bits (ones, twos, fours, eights), seven adders of two instructions each; the eights are counted right away, the
// others at the end. A byte stays in its lane, so the counts by place come for free. Zeros add nothing: short vectors
// need no correction.
namespace apr::kernels {
namespace {

/// The parities of each of the four bytes, by bit: low nibble (half 0) or high one, mask. Mask 0: unused.
struct Parity {
  uint8_t half, mask;
};
constexpr Parity parities[4][8] = {{{0, 1}, {0, 2}, {0, 4}, {0, 8}, {1, 1}, {1, 2}, {1, 4}, {1, 8}},
                                   {{0, 3}, {0, 5}, {0, 9}, {0, 6}, {0, 10}, {0, 12}, {0, 7}, {0, 11}},
                                   {{1, 3}, {1, 5}, {1, 9}, {1, 6}, {1, 10}, {1, 12}, {1, 7}, {1, 11}},
                                   {{0, 13}, {0, 14}, {0, 15}, {1, 13}, {1, 14}, {1, 15}, {0, 0}, {0, 0}}};

constexpr uint64_t parity_matrix(int s) {
  uint64_t matrix = 0;
  for (int bit = 0; bit < 8; ++bit)
    matrix |= static_cast<uint64_t>(parities[s][bit].mask << (4 * parities[s][bit].half)) << (8 * (7 - bit));
  return matrix;
}

/// Where W(mask) of a half stands in the sums of finish(), by half * 16 + mask.
struct ParityOrder {
  uint16_t at[32];
};
constexpr ParityOrder parity_order() {
  ParityOrder order = {};
  for (int s = 0; s < 4; ++s)
    for (int bit = 0; bit < 8; ++bit)
      if (parities[s][bit].mask != 0)
        order.at[16 * parities[s][bit].half + parities[s][bit].mask] = static_cast<uint16_t>(4 * bit + s);
  return order;
}

/// Byte i of each 8 becomes bit i of the 8 bytes (in reverse order).
inline __attribute__((always_inline)) __m512i transpose_bits(__m512i x) {
  return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64(static_cast<long long>(0x8040201008040201ULL)), x, 0);
}

/// a + b + c of single bits: the sum's low bit stays in a, its high bit is returned.
inline __attribute__((always_inline)) __m512i full_add(__m512i& a, __m512i b, __m512i c) {
  const __m512i high = _mm512_ternarylogic_epi64(a, b, c, 0xE8);
  a = _mm512_ternarylogic_epi64(a, b, c, 0x96);
  return high;
}

/// Lanes 8 l .. 8 l + 7 of place p, in the bits of transpose_bits.
inline __attribute__((always_inline)) __m512i place_bits(__m512i transposed, int p, int period) {
  const int first = period == 2 ? 0xAA : 0x88;  // the first byte is the highest bit
  return period == 1 ? transposed : _mm512_and_si512(transposed, _mm512_set1_epi8(static_cast<char>(first >> p)));
}

/// Partner lanes i ^ distance, for 32 lanes of 16 bits.
template <int Distance>
inline __attribute__((always_inline)) __m512i partner(__m512i x) {
  if constexpr (Distance == 1) return _mm512_rol_epi32(x, 16);
  if constexpr (Distance == 2) return _mm512_shuffle_epi32(x, _MM_PERM_CDAB);
  if constexpr (Distance == 4) return _mm512_shuffle_epi32(x, _MM_PERM_BADC);
  return _mm512_shuffle_i64x2(x, x, 0xB1);
}

/// A step of the transform, halved: every value stays an integer below n.
template <int Distance, uint32_t Upper>
inline __attribute__((always_inline)) __m512i transform_step(__m512i x) {
  const __m512i other = partner<Distance>(x);
  return _mm512_srai_epi16(_mm512_mask_sub_epi16(_mm512_add_epi16(other, x), Upper, other, x), 1);
}

/// Adds to `counts` what the parities say of n nibbles.
inline __attribute__((always_inline)) void add_transformed(__m512i odd, int64_t n, NibbleCounts* counts) {
  static constexpr ParityOrder order = parity_order();
  constexpr uint32_t all_but_mask_0 = 0xFFFEFFFE;
  const __m512i w = _mm512_maskz_permutexvar_epi16(all_but_mask_0, _mm512_loadu_si512(order.at), odd);
  __m512i x = _mm512_sub_epi16(_mm512_set1_epi16(static_cast<short>(n)), _mm512_add_epi16(w, w));
  x = transform_step<1, 0xAAAAAAAA>(x);
  x = transform_step<2, 0xCCCCCCCC>(x);
  x = transform_step<4, 0xF0F0F0F0>(x);
  x = transform_step<8, 0xFF00FF00>(x);
  const auto add = [](uint32_t* to, __m256i part) {
    _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_loadu_si512(to), _mm512_cvtepu16_epi32(part)));
  };
  add(counts->n[0], _mm512_castsi512_si256(x));
  add(counts->n[1], _mm512_extracti64x4_epi64(x, 1));
}

/// Counts the nibbles of vector(0) .. vector(n - 1), `filled` bytes in each but the last, n_bytes in all; the others
/// are zero. Eight of them span eight_span bytes; what stands at `ahead`, in step with them, is asked for.
template <int Period, class Vector>
inline __attribute__((always_inline)) void count_by_parity(NibbleCounts* counts, int64_t n, int64_t filled,
                                                           int64_t n_bytes, const uint8_t* ahead, int64_t eight_span,
                                                           const Vector& vector) {
  constexpr int64_t most_groups = 31;  // 31 * 8 fits a byte
  const __m512i matrix[4] = {_mm512_setzero_si512(), _mm512_set1_epi64(static_cast<long long>(parity_matrix(1))),
                             _mm512_set1_epi64(static_cast<long long>(parity_matrix(2))),
                             _mm512_set1_epi64(static_cast<long long>(parity_matrix(3)))};
  alignas(64) static constexpr uint8_t by_bit[64] = {0, 8,  16, 24, 32, 40, 48, 56, 1, 9,  17, 25, 33, 41, 49, 57,
                                                     2, 10, 18, 26, 34, 42, 50, 58, 3, 11, 19, 27, 35, 43, 51, 59,
                                                     4, 12, 20, 28, 36, 44, 52, 60, 5, 13, 21, 29, 37, 45, 53, 61,
                                                     6, 14, 22, 30, 38, 46, 54, 62, 7, 15, 23, 31, 39, 47, 55, 63};
  for (int64_t i = 0; i < n;) {
    const int64_t left = (n - i + 7) / 8;
    const int64_t n_groups = left < most_groups ? left : most_groups;
    const int64_t bytes = n - i <= 8 * n_groups ? n_bytes - i * filled : 8 * n_groups * filled;
    __m512i ones[4] = {}, twos[4] = {}, fours[4] = {}, eights[4][Period] = {};
    for (int64_t g = 0; g < n_groups; ++g, i += 8) {
      __m512i x[8];
      if (i + 8 <= n)
        for (int k = 0; k < 8; ++k) x[k] = vector(i + k);
      else
        for (int k = 0; k < 8; ++k) x[k] = i + k < n ? vector(i + k) : _mm512_setzero_si512();
      for (int64_t line = 0; line < eight_span; line += 64) __builtin_prefetch(ahead + line, 0, 2);
      ahead += eight_span;
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        const auto y = [&](int k) { return s == 0 ? x[k] : _mm512_gf2p8affine_epi64_epi8(x[k], matrix[s], 0); };
        __m512i a = full_add(ones[s], y(0), y(1)), b = full_add(ones[s], y(2), y(3));
        const __m512i c = full_add(twos[s], a, b);
        a = full_add(ones[s], y(4), y(5));
        b = full_add(ones[s], y(6), y(7));
        const __m512i d = full_add(twos[s], a, b);
        const __m512i eight = transpose_bits(full_add(fours[s], c, d));
        for (int p = 0; p < Period; ++p)
          eights[s][p] = _mm512_add_epi8(eights[s][p], _mm512_popcnt_epi8(place_bits(eight, p, Period)));
      }
    }
    const __m512i gather = _mm512_load_si512(by_bit);
    for (int p = 0; p < Period; ++p) {
      __m512i odd = _mm512_setzero_si512();
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        const auto bits = [&](__m512i of) { return _mm512_popcnt_epi8(place_bits(transpose_bits(of), p, Period)); };
        const auto sum = [&](__m512i of) {
          return _mm512_sad_epu8(_mm512_permutexvar_epi8(gather, of), _mm512_setzero_si512());
        };
        __m512i few = _mm512_add_epi8(bits(twos[s]), _mm512_slli_epi16(bits(fours[s]), 1));  // at most 24 in a byte
        few = _mm512_add_epi8(bits(ones[s]), _mm512_slli_epi16(few, 1));
        const __m512i all = _mm512_add_epi64(sum(few), _mm512_slli_epi64(sum(eights[s][p]), 3));
        odd = _mm512_or_si512(odd, _mm512_slli_epi64(all, static_cast<unsigned>(16 * s)));
      }
      add_transformed(odd, bytes / Period, counts + p);
    }
  }
}

template <class Vector>
inline __attribute__((always_inline)) void count_vectors(int period, NibbleCounts* counts, int64_t n, int64_t filled,
                                                         int64_t n_bytes, const uint8_t* ahead, int64_t eight_span,
                                                         const Vector& vector) {
  if (period == 1) return count_by_parity<1>(counts, n, filled, n_bytes, ahead, eight_span, vector);
  if (period == 2) return count_by_parity<2>(counts, n, filled, n_bytes, ahead, eight_span, vector);
  count_by_parity<4>(counts, n, filled, n_bytes, ahead, eight_span, vector);
}

}  // namespace
}  // namespace apr::kernels
