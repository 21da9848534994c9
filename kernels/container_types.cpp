#include "kernels/container_types.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>

namespace apr::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

template <typename T>
T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// --- plain integers --------------------------------------------------------------------------------------------------

template <typename T>
void dequantize_plain(const void* src, float* dst, std::int64_t n_blocks) {
  const auto* bytes = static_cast<const std::uint8_t*>(src);
  for (std::int64_t i = 0; i < n_blocks; ++i) {
    dst[i] = static_cast<float>(load<T>(bytes + i * static_cast<std::int64_t>(sizeof(T))));
  }
}

/// Any byte but 0 is true.
void dequantize_bool(const void* src, float* dst, std::int64_t n_blocks) {
  const auto* bytes = static_cast<const std::uint8_t*>(src);
  for (std::int64_t i = 0; i < n_blocks; ++i) dst[i] = bytes[i] != 0 ? 1.0f : 0.0f;
}

// --- small floats ----------------------------------------------------------------------------------------------------

/// How the codes at the top of a small float format are used.
enum class Specials {
  Ieee,        // the top exponent is Inf (mantissa 0) and NaN
  AllOnesNan,  // only the code of all ones is NaN; no Inf ("FN")
  NegZeroNan,  // only the code of negative zero is NaN; no Inf, no -0 ("FNUZ")
  None,        // every code is a finite number
};
struct SmallFloat {
  int exponent_bits, mantissa_bits, bias;
  Specials specials;
};
// Formats of "FP8 Formats for Deep Learning" (arXiv 2209.05433), its FNUZ variants (arXiv 2206.02915) and the OCP
// Microscaling specification 1.0.
constexpr SmallFloat kE4M3 = {4, 3, 7, Specials::AllOnesNan};
constexpr SmallFloat kE5M2 = {5, 2, 15, Specials::Ieee};
constexpr SmallFloat kE4M3Fnuz = {4, 3, 8, Specials::NegZeroNan};
constexpr SmallFloat kE5M2Fnuz = {5, 2, 16, Specials::NegZeroNan};
constexpr SmallFloat kE2M1 = {2, 1, 1, Specials::None};
constexpr SmallFloat kE2M3 = {2, 3, 1, Specials::None};
constexpr SmallFloat kE3M2 = {3, 2, 3, Specials::None};

/// sign | exponent | mantissa: (1 + m / 2^M) 2^(e - bias), or m / 2^M 2^(1 - bias) when e is 0.
float decode_small(unsigned code, const SmallFloat& format) {
  const int magnitude_bits = format.exponent_bits + format.mantissa_bits;
  const unsigned magnitude = code & ((1u << magnitude_bits) - 1);
  const bool negative = ((code >> magnitude_bits) & 1u) != 0;
  const int exponent = static_cast<int>(magnitude >> format.mantissa_bits);
  const int mantissa = static_cast<int>(magnitude & ((1u << format.mantissa_bits) - 1));
  const float sign = negative ? -1.0f : 1.0f;
  switch (format.specials) {
    case Specials::Ieee:
      if (exponent == (1 << format.exponent_bits) - 1) {
        return mantissa == 0 ? sign * std::numeric_limits<float>::infinity() : kNaN;
      }
      break;
    case Specials::AllOnesNan:
      if (magnitude == (1u << magnitude_bits) - 1) return kNaN;
      break;
    case Specials::NegZeroNan:
      if (negative && magnitude == 0) return kNaN;
      break;
    case Specials::None: break;
  }
  const int implicit_one = exponent == 0 ? 0 : 1 << format.mantissa_bits;
  const int power = (exponent == 0 ? 1 : exponent) - format.bias - format.mantissa_bits;
  return sign * std::ldexp(static_cast<float>(implicit_one + mantissa), power);
}

template <const SmallFloat& format>
void dequantize_f8(const void* src, float* dst, std::int64_t n_blocks) {
  const auto* bytes = static_cast<const std::uint8_t*>(src);
  for (std::int64_t i = 0; i < n_blocks; ++i) dst[i] = decode_small(bytes[i], format);
}

/// A power of two, 2^(code - 127); 255 is NaN.
void dequantize_e8m0(const void* src, float* dst, std::int64_t n_blocks) {
  const auto* bytes = static_cast<const std::uint8_t*>(src);
  for (std::int64_t i = 0; i < n_blocks; ++i) dst[i] = bytes[i] == 255 ? kNaN : std::ldexp(1.0f, bytes[i] - 127);
}

/// Two elements a byte, the first in the low nibble.
void dequantize_f4(const void* src, float* dst, std::int64_t n_blocks) {
  const auto* bytes = static_cast<const std::uint8_t*>(src);
  for (std::int64_t i = 0; i < n_blocks; ++i) {
    dst[2 * i] = decode_small(bytes[i] & 0x0Fu, kE2M1);
    dst[2 * i + 1] = decode_small(bytes[i] >> 4, kE2M1);
  }
}

/// Four elements in three bytes: element k is bits 6 k .. 6 k + 5 of the little-endian 24-bit number.
template <const SmallFloat& format>
void dequantize_f6(const void* src, float* dst, std::int64_t n_blocks) {
  const auto* bytes = static_cast<const std::uint8_t*>(src);
  for (std::int64_t i = 0; i < n_blocks; ++i, bytes += 3, dst += 4) {
    const unsigned packed = bytes[0] | (static_cast<unsigned>(bytes[1]) << 8) | (static_cast<unsigned>(bytes[2]) << 16);
    for (unsigned k = 0; k < 4; ++k) dst[k] = decode_small((packed >> (6 * k)) & 0x3Fu, format);
  }
}

// --- APR -------------------------------------------------------------------------------------------------------------

// AprQ4: 32 elements in 18 bytes, x = d * (q - 8); byte j of qs holds element 2 j (low nibble) and 2 j + 1 (high
// nibble).
//
//   byte 0   2    18
//        | d | qs |
//
// A scale that is NaN, Inf or smaller than the smallest normal half counts as 0, as the format's own reader has it.
void dequantize_apr_q4(const void* src, float* dst, std::int64_t n_blocks) {
  const auto* block = static_cast<const std::uint8_t*>(src);
  for (std::int64_t i = 0; i < n_blocks; ++i, block += 18, dst += 32) {
    const unsigned bits = load<std::uint16_t>(block);
    const unsigned exponent = (bits >> 10) & 31u;
    const SmallFloat half = {5, 10, 15, Specials::Ieee};
    const float d = exponent == 0 || exponent == 31 ? 0.0f : decode_small(bits, half);
    for (int j = 0; j < 16; ++j) {
      dst[2 * j] = static_cast<float>((block[2 + j] & 0x0F) - 8) * d;
      dst[2 * j + 1] = static_cast<float>((block[2 + j] >> 4) - 8) * d;
    }
  }
}

}  // namespace

QuantKernels container_kernels(TensorType type) noexcept {
  switch (type) {
    case TensorType::Bool: return {dequantize_bool, nullptr};
    case TensorType::U8: return {dequantize_plain<std::uint8_t>, nullptr};
    case TensorType::U16: return {dequantize_plain<std::uint16_t>, nullptr};
    case TensorType::U32: return {dequantize_plain<std::uint32_t>, nullptr};
    case TensorType::U64: return {dequantize_plain<std::uint64_t>, nullptr};
    case TensorType::F8_E4M3: return {dequantize_f8<kE4M3>, nullptr};
    case TensorType::F8_E5M2: return {dequantize_f8<kE5M2>, nullptr};
    case TensorType::F8_E8M0: return {dequantize_e8m0, nullptr};
    case TensorType::F8_E4M3FNUZ: return {dequantize_f8<kE4M3Fnuz>, nullptr};
    case TensorType::F8_E5M2FNUZ: return {dequantize_f8<kE5M2Fnuz>, nullptr};
    case TensorType::F4: return {dequantize_f4, nullptr};
    case TensorType::F6_E2M3: return {dequantize_f6<kE2M3>, nullptr};
    case TensorType::F6_E3M2: return {dequantize_f6<kE3M2>, nullptr};
    case TensorType::AprQ4: return {dequantize_apr_q4, nullptr};
    default: return {nullptr, nullptr};
  }
}

void decode_apr_q8(const std::byte* tensor, std::uint64_t first_element, float* dst, std::uint64_t n) noexcept {
  const auto scale = load<float>(tensor);
  const std::byte* codes = tensor + sizeof(float) + first_element;
  for (std::uint64_t i = 0; i < n; ++i) dst[i] = static_cast<float>(std::to_integer<std::int8_t>(codes[i])) * scale;
}

}  // namespace apr::kernels
