// What this core can do at most: the roofs that a profile compares with. Measured with the instructions that the matrix
// kernels of the same object use, on registers and on plain reads.
namespace apr::kernels {
namespace {

/// Reads `bytes` (a multiple of 64) once; the result depends on every one.
uint64_t read_all(const uint8_t* bytes, int64_t n, int64_t ahead) {
  uint64_t lanes[8] = {};
  for (int64_t i = 0; i < n; i += 64) {
    __builtin_prefetch(bytes + i + ahead);
    uint64_t line[8];
    __builtin_memcpy(line, bytes + i, 64);
    for (int k = 0; k < 8; ++k) lanes[k] ^= line[k];
  }
  return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3] ^ lanes[4] ^ lanes[5] ^ lanes[6] ^ lanes[7];
}

/// A multiply-accumulate of int8 as often as `rounds` says, on registers; returns the operations (2 per multiply-add).
/// Twelve independent sums hide the latency; as an array gcc would keep them in memory, at half the rate. The empty asm
/// keeps the compiler from folding the loop.
template <class Sum, class Step>
void twelve_sums(int64_t rounds, Sum zero, Step step) {
  Sum s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero, s8 = zero, s9 = zero,
      s10 = zero, s11 = zero;
  for (int64_t i = 0; i < rounds; ++i) {
    step(s0), step(s1), step(s2), step(s3), step(s4), step(s5);
    step(s6), step(s7), step(s8), step(s9), step(s10), step(s11);
  }
}

int64_t peak_int8(int64_t rounds) {
#if defined(__AVX512VNNI__)
  const __m512i a = _mm512_set1_epi8(3);
  twelve_sums(
      rounds, _mm512_setzero_si512(), [a](__m512i & s) __attribute__((always_inline)) {
        s = _mm512_dpbusd_epi32(s, a, a);
        __asm__ volatile("" : "+v"(s));
      });
  constexpr int64_t ops_per_step = 2 * 64;
#elif defined(__AVX512BW__)
  __m512i a = _mm512_set1_epi8(3);
  twelve_sums(
      rounds, _mm512_setzero_si512(), [&a](__m512i & s) __attribute__((always_inline)) {
        __asm__ volatile("" : "+v"(a));  // else the product is computed once
        __m512i product = _mm512_maddubs_epi16(a, a);
        __asm__ volatile("" : "+v"(product));
        s = _mm512_add_epi16(s, product);
        __asm__ volatile("" : "+v"(s));
      });
  constexpr int64_t ops_per_step = 2 * 64;
#elif defined(__AVX2__)
  __m256i a = _mm256_set1_epi8(3);
  twelve_sums(
      rounds, _mm256_setzero_si256(), [&a](__m256i & s) __attribute__((always_inline)) {
        __asm__ volatile("" : "+x"(a));  // else the product is computed once
        __m256i product = _mm256_maddubs_epi16(a, a);
        __asm__ volatile("" : "+x"(product));
        s = _mm256_add_epi16(s, product);
        __asm__ volatile("" : "+x"(s));
      });
  constexpr int64_t ops_per_step = 2 * 32;
#else
  int32_t a = 3;
  __asm__ volatile("" : "+r"(a));
  twelve_sums(
      rounds, int32_t{0}, [a](int32_t & s) __attribute__((always_inline)) {
        s += a * a;
        __asm__ volatile("" : "+r"(s));
      });
  constexpr int64_t ops_per_step = 2;
#endif
  return rounds * 12 * ops_per_step;
}

}  // namespace
}  // namespace apr::kernels
