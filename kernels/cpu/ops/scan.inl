// The body of every isa_scan_*.cpp. Nibbles are counted by bit planes (scan_planes.inl), by table lookup (scan_lookup.inl), or
// one after another.
#include "apr/kernels/scan.h"
#if defined(__AVX512BW__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of gcc 12's own header (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#endif

namespace apr::kernels {
namespace {

void count_bytes(const uint8_t* bytes, int64_t width, int period, NibbleCounts* counts) {
  for (int64_t i = 0; i < width; ++i) {
    NibbleCounts& c = counts[i % period];
    ++c.n[0][bytes[i] & 15];
    ++c.n[1][bytes[i] >> 4];
  }
}

#if defined(__AVX512BW__)

/// Adds 16 vectors of byte counters, one for each value, to counts[place].n[half].
void add_byte_counters(const __m512i bytes[16], int half, int period, NibbleCounts* counts) {
  const uint64_t place_mask[3] = {~0ULL, 0x00FF00FF00FF00FFULL, 0x000000FF000000FFULL};
  const uint64_t first = place_mask[period == 1 ? 0 : period == 2 ? 1 : 2];
  for (int p = 0; p < period; ++p) {
    const __m512i mask = _mm512_set1_epi64(static_cast<long long>(first << (8 * p)));
    const auto sums = [&](int v) { return _mm512_sad_epu8(_mm512_and_si512(bytes[v], mask), _mm512_setzero_si512()); };
    for (int v = 0; v < 16; v += 4) {  // a sum of 255 * 64 fits 16 bits: four in one 64-bit lane
      const __m512i four = _mm512_or_si512(
          _mm512_or_si512(sums(v), _mm512_slli_epi64(sums(v + 1), 16)),
          _mm512_or_si512(_mm512_slli_epi64(sums(v + 2), 32), _mm512_slli_epi64(sums(v + 3), 48)));
      const auto all = static_cast<uint64_t>(_mm512_reduce_add_epi64(four));
      for (int i = 0; i < 4; ++i) counts[p].n[half][v + i] += static_cast<uint32_t>(all >> (16 * i) & 0xFFFF);
    }
  }
}

}  // namespace
}  // namespace apr::kernels

#if defined(__AVX512BITALG__)
#include "kernels/cpu/ops/scan_planes.inl"
#else
#include "kernels/cpu/ops/scan_lookup.inl"
#endif

namespace apr::kernels {
namespace {

/// Four or two short segments in one vector; returns how many segments were counted.
int64_t count_short(const uint8_t* bytes, int64_t width, int64_t stride, int64_t count, NibbleCounts* counts) {
  if (width <= 16 && count >= 4) {
    const auto mask = static_cast<__mmask16>((1U << width) - 1);
    const auto load = [&](int64_t s) { return _mm_maskz_loadu_epi8(mask, bytes + stride * s); };
    count_vectors(1, counts, count / 4, [&](int64_t i) {
      const __m256i a = _mm256_inserti128_si256(_mm256_castsi128_si256(load(4 * i)), load(4 * i + 1), 1);
      const __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(load(4 * i + 2)), load(4 * i + 3), 1);
      return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
    });
    const auto padding = static_cast<uint32_t>(count / 4 * 4 * (16 - width));
    counts->n[0][0] -= padding;
    counts->n[1][0] -= padding;
    return count / 4 * 4;
  }
  if (width == 32) {
    count_vectors(1, counts, count / 2, [&](int64_t i) {
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + stride * 2 * i));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + stride * (2 * i + 1)));
      return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
    });
    return count / 2 * 2;
  }
  return 0;
}

void count_nibbles(const uint8_t* bytes, int64_t width, int64_t stride, int64_t count, int period, NibbleCounts* counts) {
  const int64_t per_segment = width / 64, rest = width % 64;
  if (per_segment == 1)
    count_vectors(period, counts, count, [&](int64_t i) { return _mm512_loadu_si512(bytes + stride * i); });
  else if (per_segment == 2)
    count_vectors(period, counts, 2 * count,
                  [&](int64_t i) { return _mm512_loadu_si512(bytes + stride * (i / 2) + 64 * (i & 1)); });
  else
    for (int64_t s = 0; s < count && per_segment > 0; ++s)
      count_vectors(period, counts, per_segment,
                    [&](int64_t i) { return _mm512_loadu_si512(bytes + stride * s + 64 * i); });
  const uint8_t* tail = bytes + 64 * per_segment;
  int64_t done = rest > 0 && period == 1 ? count_short(tail, rest, stride, count, counts) : 0;
  for (; done < count && rest > 0; ++done) count_bytes(tail + stride * done, rest, period, counts);
}

#else

void count_nibbles(const uint8_t* bytes, int64_t width, int64_t stride, int64_t count, int period, NibbleCounts* counts) {
  for (int64_t s = 0; s < count; ++s) count_bytes(bytes + stride * s, width, period, counts);
}

#endif

uint64_t load_word(const uint8_t* p) {
  uint64_t word;
  __builtin_memcpy(&word, p, 8);
  return word;
}

bool equal_chunks(const uint8_t* a, const uint8_t* b) {
  uint64_t differ = 0;
  for (int i = 0; i < 64; i += 8) differ |= load_word(a + i) ^ load_word(b + i);
  return differ == 0;
}

bool no_high_bit(const uint8_t* p) {
#if defined(__AVX512BW__)
  return _mm512_movepi8_mask(_mm512_loadu_si512(p)) == 0;
#else
  uint64_t high = 0;
  for (int k = 0; k < 64; k += 8) high |= load_word(p + k);
  return (high & 0x8080808080808080ULL) == 0;
#endif
}

void screen(const uint8_t* bytes, int64_t n, const uint8_t* end, const int64_t lag[3], ScreenCounts* counts) {
  const int64_t last = n - 64;  // where the last chunk starts
  int64_t last_of[3];           // and the last that has a partner at each lag
  for (int k = 0; k < 3; ++k) last_of[k] = lag[k] <= 0 ? -1 : end - bytes - lag[k] - 64 < last ? end - bytes - lag[k] - 64 : last;
  for (int64_t i = 0; i <= last; i += 64) {
    const uint8_t* p = bytes + i;
    counts->no_high_bit += no_high_bit(p) ? 1 : 0;
    const uint64_t word = load_word(p);
    for (int k = 0; k < 3; ++k)  // the first word differs nearly always
      if (i <= last_of[k] && word == load_word(p + lag[k]) && equal_chunks(p, p + lag[k])) ++counts->equal[k];
  }
}

uint16_t max_abs_16(const uint8_t* bytes, int64_t n_values) {
  uint16_t most = 0;
  for (int64_t i = 0; i < n_values; ++i) {
    uint16_t x;
    __builtin_memcpy(&x, bytes + 2 * i, 2);
    x = static_cast<uint16_t>(x & 0x7FFF);
    most = x > most ? x : most;
  }
  return most;
}

uint32_t max_abs_32(const uint8_t* bytes, int64_t n_values) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n_values; ++i) {
    uint32_t x;
    __builtin_memcpy(&x, bytes + 4 * i, 4);
    x &= 0x7FFFFFFFU;
    most = x > most ? x : most;
  }
  return most;
}

}  // namespace

#define APR_STRING2(x) #x
#define APR_STRING(x) APR_STRING2(x)
#define APR_JOIN2(a, b) a##b
#define APR_JOIN(a, b) APR_JOIN2(a, b)

extern const ScanKernels APR_JOIN(table_, APR_ISA_NAME);
constinit const ScanKernels APR_JOIN(table_, APR_ISA_NAME) = {APR_STRING(APR_ISA_NAME), count_nibbles, screen, max_abs_16,
                                                              max_abs_32};

}  // namespace apr::kernels
