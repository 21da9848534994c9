// The vector interface with AVX-512 (F, BW, DQ, VL), with or without VNNI: 16 lanes.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined_ps of gcc 12 (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

namespace apr::kernels {
namespace {

#define APR_INLINE static inline __attribute__((always_inline))

struct Avx512Vec {
  static constexpr int lanes = 16;
  static constexpr int block_cols = 16;
  using I = __m512i;
  using F = __m512;

  APR_INLINE I load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  APR_INLINE I splat(int32_t x) { return _mm512_set1_epi32(x); }
  template <int From, int To, int Mask>
  APR_INLINE I field(I a) {
    if constexpr (From > To) a = _mm512_srli_epi16(a, From - To);
    if constexpr (From < To) a = _mm512_slli_epi16(a, To - From);
    return _mm512_and_si512(a, _mm512_set1_epi8(static_cast<char>(Mask << To)));
  }
  APR_INLINE I or_(I a, I b) { return _mm512_or_si512(a, b); }
  APR_INLINE I lookup(I index, const int8_t table[16]) {
    const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), index);
  }
  APR_INLINE I splat4(const int8_t* x) {
    int32_t v;
    __builtin_memcpy(&v, x, 4);
    return _mm512_set1_epi32(v);
  }
  APR_INLINE I flip_sign(I a) { return _mm512_xor_si512(a, _mm512_set1_epi8(static_cast<char>(0x80))); }
  APR_INLINE I pairs(I low, I high) {
    return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi32(0xFFFF)), _mm512_slli_epi32(high, 16));
  }
  APR_INLINE I splat2(const int16_t* two) {
    int32_t v;
    __builtin_memcpy(&v, two, 4);
    return _mm512_set1_epi32(v);
  }
  APR_INLINE I mul_pairs(I a, const int16_t* two) { return _mm512_madd_epi16(a, splat2(two)); }
#if defined(__AVX512VNNI__)
  static constexpr bool unsigned_only = true;  // vpdpbusd takes one unsigned and one signed operand
  /// sum += w * x of the 4 bytes at x for every lane. In assembly, because gcc 12 has no such operand for the
  /// intrinsic: a register for each would cost the kernels of many columns what their sums need.
  APR_INLINE void add_dot4(I& sum, I w, const int8_t* x) {
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*reinterpret_cast<const int8_t(*)[4]>(x)));
  }
  static constexpr int together = 2;
  template <int Bits, int N>
  APR_INLINE void dot32(const I w[8], const int8_t* x, I sum[N]) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) add_dot4(sum[n], w[i], x + 32 * n + 4 * i);
  }
  template <int Bits, int N>
  APR_INLINE void dot32_scaled(const I w[8], const int8_t* x, const I sc[2], I sum[N]) {
    I half[2][N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) half[0][n] = half[1][n] = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        add_dot4(half[0][n], w[i], x + 32 * n + 4 * i);
        add_dot4(half[1][n], w[i + 4], x + 32 * n + 16 + 4 * i);
      }
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      sum[n] = _mm512_add_epi32(_mm512_mullo_epi32(half[0][n], sc[0]), _mm512_mullo_epi32(half[1][n], sc[1]));
  }
#else
  static constexpr bool unsigned_only = false;
  // vpmaddubsw adds pairs of u8 * s8 in int16: at most 2 * (2^Bits - 1) * 127, which saturates nothing for Bits <= 6.
  // As many of these are added in int16 as fit (8 for 4 bits: 30480, 4 for 5 bits: 31496, 2 for 6 bits: 32004), then
  // vpmaddwd widens.
  template <int Bits>
  static constexpr int in_int16 = Bits <= 4 ? 8 : (Bits == 5 ? 4 : 2);
  /// Sum over `n` of the 4-byte steps, times `scale` (pairs of int16), widened.
  template <int Bits, int N>
  APR_INLINE I dot_scaled(const I* w, const int8_t* x, I scale) {
    constexpr int run = in_int16<Bits> < N ? in_int16<Bits> : N;
    I sum = _mm512_setzero_si512();
    for (int i = 0; i < N; i += run) {
      I pairs16 = _mm512_maddubs_epi16(w[i], splat4(x + 4 * i));
      for (int k = 1; k < run; ++k)
        pairs16 = _mm512_add_epi16(pairs16, _mm512_maddubs_epi16(w[i + k], splat4(x + 4 * (i + k))));
      sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs16, scale));
    }
    return sum;
  }
  static constexpr int together = 1;
  template <int Bits, int N>
  APR_INLINE void dot32(const I w[8], const int8_t* x, I sum[N]) {
    for (int n = 0; n < N; ++n)
      sum[n] = _mm512_add_epi32(sum[n], dot_scaled<Bits, 8>(w, x + 32 * n, _mm512_set1_epi16(1)));
  }
  template <int Bits, int N>
  APR_INLINE void dot32_scaled(const I w[8], const int8_t* x, const I sc[2], I sum[N]) {
    for (int n = 0; n < N; ++n, x += 32)
      sum[n] = _mm512_add_epi32(dot_scaled<Bits, 4>(w, x, pairs(sc[0], sc[0])),
                                dot_scaled<Bits, 4>(w + 4, x + 16, pairs(sc[1], sc[1])));
  }
  // |w| * (x with the sign of w): 2 * 128 * 127 = 32512 fits.
  APR_INLINE I dot32_signed(const I w[8], const int8_t* x) {
    const I one = _mm512_set1_epi16(1);
    I sum = _mm512_setzero_si512();
    for (int i = 0; i < 8; ++i) {
      const I b = splat4(x + 4 * i);
      const I signed_x = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(w[i]), _mm512_setzero_si512(), b);
      sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(_mm512_abs_epi8(w[i]), signed_x), one));
    }
    return sum;
  }
#endif
  APR_INLINE I add(I a, I b) { return _mm512_add_epi32(a, b); }
  APR_INLINE I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
  APR_INLINE I mul(I a, I b) { return _mm512_mullo_epi32(a, b); }
  APR_INLINE I load_u8(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  APR_INLINE I load_i8(const uint8_t* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  APR_INLINE F to_f(I a) { return _mm512_cvtepi32_ps(a); }
  APR_INLINE F splat_f(float x) { return _mm512_set1_ps(x); }
  APR_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  APR_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
  APR_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  APR_INLINE F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  APR_INLINE F load_f32(const uint8_t* p) { return _mm512_loadu_ps(p); }
  APR_INLINE F load_f16(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  APR_INLINE F load_bf16(const uint8_t* p) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
  }
  APR_INLINE void store_f16(uint16_t* p, F a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }
  APR_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  APR_INLINE void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
};

#undef APR_INLINE

}  // namespace
}  // namespace apr::kernels
