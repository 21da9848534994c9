// Counts nibbles in vectors by table lookup: for machines with AVX-512 BW alone.
//
// A lookup turns the 16 values into one of two 4-bit counters of one of 8 bytes:
//   value   0     1     2     3     4 ... 15
//   T[0]   0x01  0x10   0     0     0      0      accumulator 0 counts 0 in its low half, 1 in its high half
//   T[1]    0     0    0x01  0x10   0      0      accumulator 1 counts 2 and 3, and so on to T[7]
// 15 additions fill a 4-bit counter; then the halves go to byte counters. 64 bytes cost 16 lookups and 16 additions; a
// table of counters in memory costs one store for each byte.
namespace apr::kernels {
namespace {

/// Adds 16 vectors of byte counters, one for each value, to counts[place].n[half].
void add_byte_counters(const __m512i bytes[16], int half, int period, NibbleCounts* counts) {
  const uint64_t place_mask[3] = {~0ULL, 0x00FF00FF00FF00FFULL, 0x000000FF000000FFULL};
  const uint64_t first = place_mask[period == 1 ? 0 : period == 2 ? 1 : 2];
  for (int p = 0; p < period; ++p) {
    const __m512i mask = _mm512_set1_epi64(static_cast<long long>(first << (8 * p)));
    const auto sums = [&](int v) { return _mm512_sad_epu8(_mm512_and_si512(bytes[v], mask), _mm512_setzero_si512()); };
    for (int v = 0; v < 16; v += 4) {  // a sum of 255 * 64 fits 16 bits: four in one 64-bit lane
      const __m512i four =
          _mm512_or_si512(_mm512_or_si512(sums(v), _mm512_slli_epi64(sums(v + 1), 16)),
                          _mm512_or_si512(_mm512_slli_epi64(sums(v + 2), 32), _mm512_slli_epi64(sums(v + 3), 48)));
      const auto all = static_cast<uint64_t>(_mm512_reduce_add_epi64(four));
      for (int i = 0; i < 4; ++i) counts[p].n[half][v + i] += static_cast<uint32_t>(all >> (16 * i) & 0xFFFF);
    }
  }
}

inline __attribute__((always_inline)) __m512i count_table(int k) {
  alignas(16) static constexpr uint8_t tables[8][16] = {{1, 16},
                                                        {0, 0, 1, 16},
                                                        {0, 0, 0, 0, 1, 16},
                                                        {0, 0, 0, 0, 0, 0, 1, 16},
                                                        {0, 0, 0, 0, 0, 0, 0, 0, 1, 16},
                                                        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 16},
                                                        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 16},
                                                        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 16}};
  return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(tables[k])));
}

/// Counts the nibbles of vector(0) .. vector(n - 1), n_bytes in all; the others are zero.
template <class Vector>
inline __attribute__((always_inline)) void count_vectors(int period, NibbleCounts* counts, int64_t n, int64_t,
                                                         int64_t n_bytes, const uint8_t*, int64_t,
                                                         const Vector& vector) {
  const __m512i low_bits = _mm512_set1_epi8(15);
  for (int64_t i = 0; i < n;) {
    __m512i bytes[32] = {};  // byte counters of the 16 low values, then of the 16 high ones
    for (int spills = 0; spills < 17 && i < n; ++spills) {
      const int64_t end = n - i < 15 ? n : i + 15;
      __m512i sum[16] = {};
      for (; i < end; ++i) {
        const __m512i x = vector(i);
        const __m512i low = _mm512_and_si512(x, low_bits);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(x, 4), low_bits);
        for (int k = 0; k < 8; ++k) {
          const __m512i t = count_table(k);
          sum[k] = _mm512_add_epi8(sum[k], _mm512_shuffle_epi8(t, low));
          sum[8 + k] = _mm512_add_epi8(sum[8 + k], _mm512_shuffle_epi8(t, high));
        }
      }
      for (int k = 0; k < 16; ++k) {
        bytes[2 * k] = _mm512_add_epi8(bytes[2 * k], _mm512_and_si512(sum[k], low_bits));
        bytes[2 * k + 1] = _mm512_add_epi8(bytes[2 * k + 1], _mm512_and_si512(_mm512_srli_epi16(sum[k], 4), low_bits));
      }
    }
    add_byte_counters(bytes, 0, period, counts);
    add_byte_counters(bytes + 16, 1, period, counts);
  }
  const auto padding = static_cast<uint32_t>((64 * n - n_bytes) / period);
  for (int p = 0; p < period; ++p) {
    counts[p].n[0][0] -= padding;
    counts[p].n[1][0] -= padding;
  }
}

}  // namespace
}  // namespace apr::kernels
