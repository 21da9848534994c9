// The vector interface with AVX2, FMA and F16C: 8 lanes.
#include <immintrin.h>

namespace apr::kernels {
namespace {

#define APR_INLINE static inline __attribute__((always_inline))

struct Avx2Vec {
  static constexpr int lanes = 8;
  using I = __m256i;
  using F = __m256;

  APR_INLINE I load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  APR_INLINE I splat(int32_t x) { return _mm256_set1_epi32(x); }
  template <int From, int To, int Mask>
  APR_INLINE I field(I a) {
    if constexpr (From > To) a = _mm256_srli_epi16(a, From - To);
    if constexpr (From < To) a = _mm256_slli_epi16(a, To - From);
    return _mm256_and_si256(a, _mm256_set1_epi8(static_cast<char>(Mask << To)));
  }
  APR_INLINE I or_(I a, I b) { return _mm256_or_si256(a, b); }
  APR_INLINE I lookup(I index, const int8_t table[16]) {
    const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), index);
  }
  APR_INLINE I splat4(const int8_t* x) {
    int32_t v;
    __builtin_memcpy(&v, x, 4);
    return _mm256_set1_epi32(v);
  }
  // vpmaddubsw adds pairs of u8 * s8 in int16: at most 2 * (2^Bits - 1) * 127, which saturates nothing for Bits <= 6.
  // As many of these are added in int16 as fit (4 for 5 bits: 31496, 2 for 6 bits: 32004), then vpmaddwd widens.
  template <int Bits>
  APR_INLINE I dot16_unsigned(const I w[4], const int8_t* x) {
    static_assert(Bits <= 6);
    const I one = _mm256_set1_epi16(1);
    const I a = _mm256_add_epi16(_mm256_maddubs_epi16(w[0], splat4(x)), _mm256_maddubs_epi16(w[1], splat4(x + 4)));
    const I b = _mm256_add_epi16(_mm256_maddubs_epi16(w[2], splat4(x + 8)), _mm256_maddubs_epi16(w[3], splat4(x + 12)));
    if constexpr (Bits <= 5) return _mm256_madd_epi16(_mm256_add_epi16(a, b), one);
    return _mm256_add_epi32(_mm256_madd_epi16(a, one), _mm256_madd_epi16(b, one));
  }
  // |w| * (x with the sign of w): 2 * 128 * 127 = 32512 fits.
  APR_INLINE I dot16_signed(const I w[4], const int8_t* x, int32_t) {
    const I one = _mm256_set1_epi16(1);
    I sum = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i) {
      const I pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]), _mm256_sign_epi8(splat4(x + 4 * i), w[i]));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, one));
    }
    return sum;
  }
  APR_INLINE I add(I a, I b) { return _mm256_add_epi32(a, b); }
  APR_INLINE I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
  APR_INLINE I mul(I a, I b) { return _mm256_mullo_epi32(a, b); }
  APR_INLINE I load_u8(const uint8_t* p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
  APR_INLINE I load_i8(const uint8_t* p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
  APR_INLINE F to_f(I a) { return _mm256_cvtepi32_ps(a); }
  APR_INLINE F splat_f(float x) { return _mm256_set1_ps(x); }
  APR_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  APR_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
  APR_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  APR_INLINE F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
  APR_INLINE F load_f32(const uint8_t* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }
  APR_INLINE F load_f16(const uint8_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  APR_INLINE F load_bf16(const uint8_t* p) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
  }
  APR_INLINE void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  APR_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
};

#undef APR_INLINE

}  // namespace
}  // namespace apr::kernels
