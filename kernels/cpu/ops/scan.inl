// The body of every isa_scan_*.cpp. Nibbles are counted by parities (scan_parity.inl), by table lookup
// (scan_lookup.inl), or one after another.
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

}  // namespace
}  // namespace apr::kernels

#if defined(__GFNI__) && defined(__AVX512BITALG__)
#include "kernels/cpu/ops/scan_parity.inl"
#elif defined(__AVX512BW__)
#include "kernels/cpu/ops/scan_lookup.inl"
#endif

namespace apr::kernels {
namespace {

#if defined(__AVX512BW__)

constexpr int64_t kAhead = 6144;  // one window and a half: nearer and farther were slower

/// Counts segments of at most 16 or of 32 bytes, four or two to a vector.
template <int Segments>
void count_short(const uint8_t* bytes, int64_t width, int64_t stride, int64_t count, NibbleCounts* counts) {
  const auto mask = static_cast<__mmask16>((1ULL << width) - 1);  // of 16 bytes at most; not used for 32
  const auto vector = [&](int64_t i, int64_t n) {                 // the first n of its segments
    const uint8_t* p = bytes + stride * Segments * i;
    if constexpr (Segments == 4) {
      const auto load = [&](int64_t s) {
        return _mm_maskz_loadu_epi8(s < n ? mask : static_cast<__mmask16>(0), p + stride * s);
      };
      const __m256i a = _mm256_inserti128_si256(_mm256_castsi128_si256(load(0)), load(1), 1);
      const __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(load(2)), load(3), 1);
      return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
    } else {
      const auto load = [&](int64_t s) { return _mm256_maskz_loadu_epi8(s < n ? ~0U : 0U, p + stride * s); };
      return _mm512_inserti64x4(_mm512_castsi256_si512(load(0)), load(1), 1);
    }
  };
  const int64_t whole = count / Segments, rest = count % Segments;
  // What stands between narrow segments is asked for by those who count it.
  const int64_t span = 2 * width > stride ? 8 * Segments * stride : 0;
  count_vectors(1, counts, whole + (rest > 0 ? 1 : 0), Segments * width, count * width, bytes + kAhead, span,
                [&](int64_t i) { return i < whole ? vector(i, Segments) : vector(i, rest); });
}

void count_nibbles(const uint8_t* bytes, int64_t width, int64_t stride, int64_t count, int period,
                   NibbleCounts* counts) {
  const int64_t per_segment = width / 64, rest = width % 64;
  if (per_segment == 1 && period == 1)
    count_vectors(1, counts, count, 64, 64 * count, bytes + kAhead, 8 * stride,
                  [&](int64_t i) { return _mm512_loadu_si512(bytes + stride * i); });
  else if (per_segment == 2 && period == 1)
    count_vectors(1, counts, 2 * count, 64, 128 * count, bytes + kAhead, 4 * stride,
                  [&](int64_t i) { return _mm512_loadu_si512(bytes + stride * (i / 2) + 64 * (i & 1)); });
  else
    for (int64_t s = 0; s < count && per_segment > 0; ++s)
      count_vectors(period, counts, per_segment, 64, 64 * per_segment, bytes + stride * s + kAhead, 512,
                    [&](int64_t i) { return _mm512_loadu_si512(bytes + stride * s + 64 * i); });
  const uint8_t* tail = bytes + 64 * per_segment;
  if (rest == 32 && period == 1)
    count_short<2>(tail, rest, stride, count, counts);
  else if (rest > 0 && rest <= 16 && period == 1)
    count_short<4>(tail, rest, stride, count, counts);
  else
    for (int64_t s = 0; s < count && rest > 0; ++s) count_bytes(tail + stride * s, rest, period, counts);
}

#else

void count_nibbles(const uint8_t* bytes, int64_t width, int64_t stride, int64_t count, int period,
                   NibbleCounts* counts) {
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
  const int64_t last = n / 64 * 64 - 64;  // where the last chunk starts
  int64_t last_of[3];                     // and the last that has a partner at each lag
  int64_t all_have = last, used[3] = {}, n_used = 0;
  for (int k = 0; k < 3; ++k) {
    last_of[k] = lag[k] <= 0 ? -1 : end - bytes - lag[k] - 64 < last ? end - bytes - lag[k] - 64 : last;
    if (lag[k] <= 0) continue;
    used[n_used++] = lag[k];
    all_have = last_of[k] < all_have ? last_of[k] : all_have;
  }
  const auto look_closely = [&](int64_t i) {
    const uint8_t* p = bytes + i;
    counts->no_high_bit += no_high_bit(p) ? 1 : 0;
    for (int k = 0; k < 3; ++k)
      if (i <= last_of[k] && equal_chunks(p, p + lag[k])) ++counts->equal[k];
  };
  if (n_used == 0) all_have = -1;
  const int64_t a = used[0], b = used[n_used > 1 ? 1 : 0], c = used[n_used > 0 ? n_used - 1 : 0];
  const auto look = [&](int64_t i) {  // the first word nearly always tells
    const uint8_t* p = bytes + i;
    const uint64_t word = load_word(p);
    if (i > all_have || (word & 0x8080808080808080ULL) == 0 || word == load_word(p + a) || word == load_word(p + b) ||
        word == load_word(p + c))
      look_closely(i);
  };
  for (int64_t i = 0; i < last; i += 128) look(i);
  if (last >= 0) look(last);
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
}  // namespace apr::kernels

#include "kernels/cpu/ops/scan_moments.inl"

namespace apr::kernels {

#define APR_STRING2(x) #x
#define APR_STRING(x) APR_STRING2(x)
#define APR_JOIN2(a, b) a##b
#define APR_JOIN(a, b) APR_JOIN2(a, b)

extern const ScanKernels APR_JOIN(table_, APR_ISA_NAME);
constinit const ScanKernels APR_JOIN(table_, APR_ISA_NAME) = {
    APR_STRING(APR_ISA_NAME), count_nibbles, screen, max_abs_16, max_abs_32, moments};

}  // namespace apr::kernels
