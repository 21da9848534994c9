// The vector interface with AVX2, FMA and F16C: 8 lanes.
#include <immintrin.h>

namespace apr::kernels {
namespace {

#define APR_INLINE static inline __attribute__((always_inline))

struct Avx2Vec {
  static constexpr int lanes = 8;
  static constexpr int block_cols = 8;
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
  APR_INLINE I flip_sign(I a) { return _mm256_xor_si256(a, _mm256_set1_epi8(static_cast<char>(0x80))); }
  APR_INLINE I pairs(I low, I high) { return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xAA); }
  APR_INLINE I mul_pairs(I a, const int16_t* two) {
    int32_t v;
    __builtin_memcpy(&v, two, 4);
    return _mm256_madd_epi16(a, _mm256_set1_epi32(v));
  }
  static constexpr bool unsigned_only = false;
  // vpmaddubsw adds pairs of u8 * s8 in int16: at most 2 * (2^Bits - 1) * 127, which saturates nothing for Bits <= 6.
  // As many of these are added in int16 as fit (8 for 4 bits: 30480, 4 for 5 bits: 31496, 2 for 6 bits: 32004), then
  // vpmaddwd widens.
  template <int Bits>
  static constexpr int in_int16 = Bits <= 4 ? 8 : (Bits == 5 ? 4 : 2);
  /// Sum over N steps of 4 elements, times `scale` (pairs of int16), widened.
  template <int Bits, int N>
  APR_INLINE I dot_scaled(const I* w, const int8_t* x, I scale) {
    constexpr int run = in_int16<Bits> < N ? in_int16<Bits> : N;
    I sum = _mm256_setzero_si256();
    for (int i = 0; i < N; i += run) {
      I pairs16 = _mm256_maddubs_epi16(w[i], splat4(x + 4 * i));
      for (int k = 1; k < run; ++k)
        pairs16 = _mm256_add_epi16(pairs16, _mm256_maddubs_epi16(w[i + k], splat4(x + 4 * (i + k))));
      const I wide = _mm256_madd_epi16(pairs16, scale);
      sum = i == 0 ? wide : _mm256_add_epi32(sum, wide);
    }
    return sum;
  }
  static constexpr int together = 1;
  template <int Bits, int N>
  APR_INLINE void dot32(const I w[8], const int8_t* x, I sum[N]) {
    for (int n = 0; n < N; ++n)
      sum[n] = _mm256_add_epi32(sum[n], dot_scaled<Bits, 8>(w, x + 32 * n, _mm256_set1_epi16(1)));
  }
  template <int Bits, int N>
  APR_INLINE void dot32_scaled(const I w[8], const int8_t* x, const I sc[2], I sum[N]) {
    for (int n = 0; n < N; ++n, x += 32)
      sum[n] = _mm256_add_epi32(dot_scaled<Bits, 4>(w, x, pairs(sc[0], sc[0])),
                                dot_scaled<Bits, 4>(w + 4, x + 16, pairs(sc[1], sc[1])));
  }
  // |w| * (x with the sign of w): 2 * 128 * 127 = 32512 fits.
  APR_INLINE I dot32_signed(const I w[8], const int8_t* x) {
    const I one = _mm256_set1_epi16(1);
    I sum = _mm256_setzero_si256();
    for (int i = 0; i < 8; ++i) {
      const I pairs16 = _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]), _mm256_sign_epi8(splat4(x + 4 * i), w[i]));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs16, one));
    }
    return sum;
  }
  APR_INLINE I add(I a, I b) { return _mm256_add_epi32(a, b); }
  APR_INLINE I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
  APR_INLINE I mul(I a, I b) { return _mm256_mullo_epi32(a, b); }
  APR_INLINE I load_u8(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  APR_INLINE I load_i8(const uint8_t* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  APR_INLINE F to_f(I a) { return _mm256_cvtepi32_ps(a); }
  APR_INLINE F splat_f(float x) { return _mm256_set1_ps(x); }
  APR_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  APR_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
  APR_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  APR_INLINE F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
  APR_INLINE F load_f32(const uint8_t* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }
  APR_INLINE F load_f16(const uint8_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  APR_INLINE F load_bf16(const uint8_t* p) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
  }
  APR_INLINE void store_f16(uint16_t* p, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }
  APR_INLINE void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  APR_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
};

#undef APR_INLINE

}  // namespace
}  // namespace apr::kernels
