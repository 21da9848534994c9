// What the block kernels share: unaligned loads, the 16-bit float conversions, rounding. Internal linkage only.
// All arithmetic is plain IEEE single precision in a fixed order (the build sets -ffp-contract=off), so every
// instruction set gives the same bits. Selections are written as `a > b ? a : b`, which is one instruction and sends
// NaN to b.
#include <stddef.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the block layouts are read as little-endian");

namespace apr::kernels {
namespace {

inline uint32_t float_to_bits(float value) { return __builtin_bit_cast(uint32_t, value); }
inline float bits_to_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }

template <typename T>
inline T load(const uint8_t* at) {
  T value;
  __builtin_memcpy(&value, at, sizeof(T));
  return value;
}
template <typename T>
inline void store(uint8_t* at, T value) {
  __builtin_memcpy(at, &value, sizeof(T));
}

/// IEEE binary16 -> binary32, exact. Three cases: subnormal (m * 2^-24), normal (exponent 15 -> 127), Inf and NaN.
inline float f16_to_f32(uint16_t half) {
  const int32_t magnitude = half & 0x7FFF;
  const uint32_t subnormal = float_to_bits(static_cast<float>(magnitude) * 0x1p-24f);
  const uint32_t normal = (static_cast<uint32_t>(magnitude) << 13) + (112u << 23);
  const uint32_t special = (static_cast<uint32_t>(magnitude) << 13) | 0x7F800000u;
  const uint32_t bits = magnitude < 0x0400 ? subnormal : (magnitude < 0x7C00 ? normal : special);
  return bits_to_float(bits | (static_cast<uint32_t>(half & 0x8000) << 16));
}

/// binary32 -> binary16, round to nearest even; above the largest half it is Inf; every NaN becomes 0x7E00 with its
/// sign.
inline uint16_t f32_to_f16(float value) {
  const uint32_t bits = float_to_bits(value);
  const int32_t magnitude = static_cast<int32_t>(bits & 0x7FFFFFFFu);
  // Adding 0.5 (unit in the last place 2^-24, as a subnormal half has) lets the FPU do the rounding.
  const int32_t subnormal =
      static_cast<int32_t>(float_to_bits(bits_to_float(static_cast<uint32_t>(magnitude)) + 0.5f)) - 0x3F000000;
  const int32_t normal = (magnitude - (112 << 23) + 0x0FFF + ((magnitude >> 13) & 1)) >> 13;
  const int32_t large = magnitude > 0x7F800000 ? 0x7E00 : 0x7C00;
  const int32_t rounded = magnitude < 0x38800000 ? subnormal : (magnitude < 0x47800000 ? normal : large);
  return static_cast<uint16_t>(static_cast<uint32_t>(rounded) | ((bits >> 16) & 0x8000u));
}

inline float load_f16(const uint8_t* at) { return f16_to_f32(load<uint16_t>(at)); }
inline void store_f16(uint8_t* at, float value) { store(at, f32_to_f16(value)); }

/// What a quantiser sees of an input: NaN counts as 0, an infinity as the largest finite float of its sign.
inline float finite(float value) {
  const uint32_t bits = float_to_bits(value);
  int32_t magnitude = static_cast<int32_t>(bits & 0x7FFFFFFFu);
  magnitude = magnitude > 0x7F800000 ? 0 : magnitude;
  magnitude = magnitude > 0x7F7FFFFF ? 0x7F7FFFFF : magnitude;
  return bits_to_float(static_cast<uint32_t>(magnitude) | (bits & 0x80000000u));
}
template <int N>
inline void load_finite(const float* __restrict src, float* __restrict out) {
  for (int i = 0; i < N; ++i) out[i] = finite(src[i]);
}

/// low <= value <= high; NaN gives low.
inline float clamp(float value, float low, float high) {
  value = value > low ? value : low;
  return value < high ? value : high;
}
/// Truncates a value within [low, high], which must fit an int; NaN gives low.
inline int truncate_to(float value, float low, float high) { return static_cast<int>(clamp(value, low, high)); }
/// Rounds to the nearest integer, halves away from zero; |low| and |high| below 2^22. Adding the float below 0.5
/// instead of 0.5 keeps 0.49999997 from becoming 1.
inline int round_to(float value, float low, float high) {
  const float half = bits_to_float((float_to_bits(value) & 0x80000000u) | float_to_bits(0x1.fffffep-2f));
  return truncate_to(value + half, low, high);
}

/// Rounds to the nearest integer, halves to even: the FPU's own rounding at a magnitude where the unit is 1.
inline int round_even_to(float value, float low, float high) {
  return static_cast<int>((clamp(value, low, high) + 0x1.8p23f) - 0x1.8p23f);
}
/// Rounds halves away from zero to an integer type, saturating; NaN is 0.
template <typename T>
inline T saturated(float value) {
  constexpr int bits = 8 * static_cast<int>(sizeof(T));
  constexpr T highest = static_cast<T>((uint64_t{1} << (bits - 1)) - 1), lowest = static_cast<T>(-highest - 1);
  const double rounded = static_cast<double>(value) + (value < 0.0f ? -0.5 : 0.5);  // the conversion truncates
  if (value != value) return 0;
  if (rounded >= static_cast<double>(uint64_t{1} << (bits - 1))) return highest;
  return rounded <= static_cast<double>(lowest) ? lowest : static_cast<T>(rounded);
}

/// For each x[i] the code whose value[code] * scale lies nearest; of equally near ones the lowest code.
template <int N>
inline void nearest_codes(const float* __restrict x, float scale, const int8_t* __restrict value,
                          int32_t* __restrict code) {
  float error[N];
  for (int i = 0; i < N; ++i) {
    error[i] = __builtin_fabsf(static_cast<float>(value[0]) * scale - x[i]);
    code[i] = 0;
  }
  for (int32_t k = 1; k < 16; ++k) {
    const float candidate = static_cast<float>(value[k]) * scale;
    for (int i = 0; i < N; ++i) {
      const float other = __builtin_fabsf(candidate - x[i]);
      code[i] = other < error[i] ? k : code[i];
      error[i] = other < error[i] ? other : error[i];
    }
  }
}

inline float inverse_or_zero(float value) { return value != 0.0f ? 1.0f / value : 0.0f; }

/// max |x[i]| of finite values. Bit patterns of magnitudes order as the values do, and integer maxima vectorise.
template <int N>
inline float absolute_max(const float* __restrict x) {
  int32_t best = 0;
  for (int i = 0; i < N; ++i) {
    const int32_t magnitude = static_cast<int32_t>(float_to_bits(x[i]) & 0x7FFFFFFFu);
    best = magnitude > best ? magnitude : best;
  }
  return bits_to_float(static_cast<uint32_t>(best));
}
/// The first of the elements with the largest magnitude, sign kept.
template <int N>
inline float signed_absolute_max(const float* __restrict x) {
  const float magnitude = absolute_max<N>(x);
  for (int i = 0; i < N; ++i)
    if (__builtin_fabsf(x[i]) == magnitude) return magnitude == 0.0f ? 0.0f : x[i];
  return 0.0f;
}

/// Smallest and largest element of finite values. A float's bits, with the magnitude of negative ones inverted, order
/// as signed integers do (and -0 below +0; where the smallest is a zero the first zero's sign is returned).
struct Range {
  float min, max;
};
template <int N>
inline Range value_range(const float* __restrict x) {
  int32_t low = INT32_MAX, high = INT32_MIN;
  for (int i = 0; i < N; ++i) {
    const int32_t bits = static_cast<int32_t>(float_to_bits(x[i]));
    const int32_t key = bits ^ ((bits >> 31) & 0x7FFFFFFF);
    low = key < low ? key : low;
    high = key > high ? key : high;
  }
  Range range = {bits_to_float(static_cast<uint32_t>(low ^ ((low >> 31) & 0x7FFFFFFF))),
                 bits_to_float(static_cast<uint32_t>(high ^ ((high >> 31) & 0x7FFFFFFF)))};
  if (range.min == 0.0f) {
    int i = 0;
    while (i < N - 1 && x[i] != 0.0f) ++i;
    range.min = x[i];
    range.max = range.max == 0.0f ? range.min : range.max;
  }
  return range;
}

/// Scale and minimum j (0..7) of the 12 packed bytes of Q4_K and Q5_K; drawn in q4_k.inl.
struct ScaleMin {
  int scale, min;
};
inline ScaleMin load_scale_min(const uint8_t* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 0x0F) | ((packed[j - 4] >> 6) << 4), (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4)};
}
inline void store_scale_mins(const int* scale, const int* min, uint8_t* packed) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<uint8_t>(scale[j] | ((scale[j + 4] >> 4) << 6));
    packed[j + 4] = static_cast<uint8_t>(min[j] | ((min[j + 4] >> 4) << 6));
    packed[j + 8] = static_cast<uint8_t>((scale[j + 4] & 0x0F) | ((min[j + 4] & 0x0F) << 4));
  }
}

}  // namespace
}  // namespace apr::kernels
