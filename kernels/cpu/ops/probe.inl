// What this core can do at most: the roofs that a profile compares with. Measured with the instructions that the matrix
// kernels of the same object use, on registers and on plain reads.
namespace apr::kernels {
namespace {

/// Reads `bytes` (a multiple of 64) once; the result depends on every one.
uint64_t read_all(const uint8_t* bytes, int64_t n) {
  uint64_t lanes[8] = {};
  for (int64_t i = 0; i < n; i += 64) {
    uint64_t line[8];
    __builtin_memcpy(line, bytes + i, 64);
    for (int k = 0; k < 8; ++k) lanes[k] ^= line[k];
  }
  return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3] ^ lanes[4] ^ lanes[5] ^ lanes[6] ^ lanes[7];
}

/// A multiply-accumulate of int8 as often as `rounds` says, on registers; returns the operations (2 per multiply-add).
/// Twelve independent sums hide the latency. The empty asm keeps the compiler from folding the loop.
int64_t peak_int8(int64_t rounds) {
#if defined(__AVX512VNNI__)
  __m512i sum[12], a = _mm512_set1_epi8(3);
  for (auto& s : sum) s = _mm512_setzero_si512();
  for (int64_t i = 0; i < rounds; ++i)
    for (auto& s : sum) {
      s = _mm512_dpbusd_epi32(s, a, a);
      __asm__ volatile("" : "+v"(s));
    }
  constexpr int64_t ops_per_step = 2 * 64;
#elif defined(__AVX512BW__)
  __m512i sum[12], a = _mm512_set1_epi8(3);
  for (auto& s : sum) s = _mm512_setzero_si512();
  for (int64_t i = 0; i < rounds; ++i)
    for (auto& s : sum) {
      __m512i product = _mm512_maddubs_epi16(a, a);
      __asm__ volatile("" : "+v"(product));
      s = _mm512_add_epi16(s, product);
    }
  constexpr int64_t ops_per_step = 2 * 64;
#elif defined(__AVX2__)
  __m256i sum[12], a = _mm256_set1_epi8(3);
  for (auto& s : sum) s = _mm256_setzero_si256();
  for (int64_t i = 0; i < rounds; ++i)
    for (auto& s : sum) {
      __m256i product = _mm256_maddubs_epi16(a, a);
      __asm__ volatile("" : "+x"(product));
      s = _mm256_add_epi16(s, product);
      __asm__ volatile("" : "+x"(s));
    }
  constexpr int64_t ops_per_step = 2 * 32;
#else
  int32_t sum[12] = {}, a = 3;
  for (int64_t i = 0; i < rounds; ++i)
    for (auto& s : sum) {
      s += a * a;
      __asm__ volatile("" : "+r"(s), "+r"(a));
    }
  constexpr int64_t ops_per_step = 2;
#endif
  return rounds * 12 * ops_per_step;
}

}  // namespace
}  // namespace apr::kernels
