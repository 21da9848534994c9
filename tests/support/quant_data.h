// Blocks and values for the tests of the quant types: the same as tests/golden/quant/make_goldens.py makes.
#pragma once
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "apr/core/tensor_type.h"

namespace apr::test {

/// Output number `index` (from 0) of splitmix64.
inline std::uint64_t splitmix64(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

struct ScaleField {
  std::size_t offset;
  FieldEncoding encoding;
};

inline std::size_t encoding_bytes(FieldEncoding encoding) {
  switch (encoding) {
    case FieldEncoding::F64:
    case FieldEncoding::I64: return 8;
    case FieldEncoding::F32:
    case FieldEncoding::I32: return 4;
    case FieldEncoding::U16:
    case FieldEncoding::I16:
    case FieldEncoding::F16:
    case FieldEncoding::BF16: return 2;
    default: return 1;
  }
}

inline std::span<const std::uint64_t> special_numbers(FieldEncoding encoding) {
  static constexpr std::uint64_t kF16[] = {0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00,
                                           0xFC00, 0x7E00, 0x7C01, 0x3C00, 0xBC00, 0xFE55};
  static constexpr std::uint64_t kBf16[] = {0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x7F7F,
                                            0x7F80, 0xFF80, 0x7FC0, 0x7F81, 0x3F80};
  static constexpr std::uint64_t kF32[] = {0,          0x80000000, 1,          0x807FFFFF, 0x00800000, 0x7F7FFFFF,
                                           0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0x3F800000};
  static constexpr std::uint64_t kF64[] = {0,
                                           0x8000000000000000,
                                           1,
                                           0x7FEFFFFFFFFFFFFF,
                                           0x7FF0000000000000,
                                           0xFFF0000000000000,
                                           0x7FF8000000000000,
                                           0x47EFFFFFE0000000,
                                           0x47EFFFFFF0000000,
                                           0x36A0000000000000,
                                           0x3690000000000000,
                                           0x3FF0000010000000};
  static constexpr std::uint64_t kE8m0[] = {0, 1, 2, 127, 254, 255};
  static constexpr std::uint64_t kE4m3[] = {0x00, 0x7F, 0x7E, 0xFF, 0x80, 0x01, 0x07, 0x08, 0x38};
  static constexpr std::uint64_t kI16[] = {0, 1, 0x7FFF, 0x8000, 0xFFFF};
  static constexpr std::uint64_t kI32[] = {0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x01000001};
  static constexpr std::uint64_t kI64[] = {
      0, 1, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, (std::uint64_t{1} << 53) + 1};
  switch (encoding) {
    case FieldEncoding::F16: return kF16;
    case FieldEncoding::BF16: return kBf16;
    case FieldEncoding::F32: return kF32;
    case FieldEncoding::F64: return kF64;
    case FieldEncoding::E8M0: return kE8m0;
    case FieldEncoding::E4M3: return kE4m3;
    case FieldEncoding::I16: return kI16;
    case FieldEncoding::I32: return kI32;
    case FieldEncoding::I64: return kI64;
    default: return {};
  }
}

/// The numbers of a block that are not random bits; a plain type is one such number.
inline std::vector<ScaleField> scale_fields(const TypeInfo& type) {
  std::vector<ScaleField> scales;
  for (const BlockField& field : type.fields) {
    const bool scale = field.encoding == FieldEncoding::F16 || field.encoding == FieldEncoding::F32 ||
                       field.encoding == FieldEncoding::E8M0 || field.encoding == FieldEncoding::E4M3;
    const std::size_t width = encoding_bytes(field.encoding);
    for (std::size_t i = 0; scale && i < field.bytes; i += width) scales.push_back({field.offset + i, field.encoding});
  }
  switch (type.type) {
    case TensorType::F16: return {{0, FieldEncoding::F16}};
    case TensorType::BF16: return {{0, FieldEncoding::BF16}};
    case TensorType::F32: return {{0, FieldEncoding::F32}};
    case TensorType::F64: return {{0, FieldEncoding::F64}};
    case TensorType::I16: return {{0, FieldEncoding::I16}};
    case TensorType::I32: return {{0, FieldEncoding::I32}};
    case TensorType::I64: return {{0, FieldEncoding::I64}};
    default: return scales;
  }
}

/// `n_blocks` blocks of random bytes; every fourth has special scales, the one after it ordinary ones.
inline std::vector<std::byte> make_blocks(const TypeInfo& type, std::size_t n_blocks) {
  std::vector<std::byte> data(n_blocks * type.block_bytes);
  for (std::size_t at = 0; at < data.size(); at += 8) {
    const std::uint64_t word = splitmix64(1 + static_cast<std::uint64_t>(type.type), at / 8);
    std::memcpy(data.data() + at, &word, std::min<std::size_t>(8, data.size() - at));
  }
  const std::vector<ScaleField> scales = scale_fields(type);
  const auto nibble = [](std::uint64_t value, std::size_t k) {
    return static_cast<std::byte>((value >> (4 * k)) & 15);
  };
  for (std::size_t b = 0; b < n_blocks; b += 4) {
    std::byte* block = data.data() + b * type.block_bytes;
    for (std::size_t k = 0; k < scales.size(); ++k) {
      const auto specials = special_numbers(scales[k].encoding);
      std::memcpy(block + scales[k].offset, &specials[(b / 4 + 7 * k) % specials.size()],
                  encoding_bytes(scales[k].encoding));
    }
    if (type.type == TensorType::IQ1_M) {  // its f16 scale is spread over the top nibbles of four u16
      const auto specials = special_numbers(FieldEncoding::F16);
      for (std::size_t k = 0; k < 4; ++k) {
        std::byte& top = block[49 + 2 * k];
        top = (top & std::byte{0x0F}) | (nibble(specials[(b / 4) % specials.size()], k) << 4);
      }
    }
    for (const ScaleField& scale : scales) {
      if (scale.encoding != FieldEncoding::F16 || b + 1 >= n_blocks) continue;
      std::byte& top = block[type.block_bytes + scale.offset + 1];  // magnitude in [2^-5, 2^-4)
      top = (top & std::byte{0x83}) | std::byte{0x28};
    }
  }
  return data;
}

/// Sum of four 16-bit numbers less its mean: near-Gaussian with deviation 37837, exact in every language.
inline std::int64_t near_gaussian_at(std::uint64_t seed, std::uint64_t index) {
  const std::uint64_t word = splitmix64(seed, index);
  std::uint64_t sum = 0;
  for (int k = 0; k < 4; ++k) sum += (word >> (16 * k)) & 0xFFFF;
  return static_cast<std::int64_t>(sum) - 131070;
}

/// Special case number `kind` of a block to quantise; `raw` are the sums that the block was made from.
inline void make_special_values(std::size_t kind, std::size_t block, const std::vector<std::int64_t>& raw,
                                std::span<float> x) {
  const float first = x[0];
  for (std::size_t i = 0; i < x.size(); ++i) {
    const bool even = i % 2 == 0;
    switch (kind) {
      case 0: x[i] = 0.0f; break;
      case 1: x[i] = -0.0f; break;
      case 2: x[i] = first; break;
      case 3: x[i] = i == block / 16 % x.size() ? first : 0.0f; break;
      case 4: x[i] = even ? std::fabs(first) : -std::fabs(first); break;
      case 5: x[i] = std::ldexp(static_cast<float>(raw[i]), -40); break;
      case 6: x[i] = std::ldexp(static_cast<float>(raw[i]), 10); break;
      case 7: x[i] = std::fabs(x[i]); break;
      case 8: x[i] = -std::fabs(x[i]); break;
      case 9: x[i] = static_cast<float>(raw[i] >> 12); break;
      default: x[i] = even ? 0.0f : -0.0f; break;
    }
  }
}

/// `n_blocks` blocks of values to quantise; one block of sixteen is a special case. Plain types: every other is random
/// bits.
inline std::vector<float> make_values(const TypeInfo& type, std::size_t n_blocks) {
  const std::size_t n = type.block_elements;
  const auto id = static_cast<std::uint64_t>(type.type);
  std::vector<float> values(n_blocks * n);
  std::vector<std::int64_t> raw(n);
  for (std::size_t b = 0; b < n_blocks; ++b) {
    const std::span<float> x(values.data() + b * n, n);
    for (std::size_t i = 0; i < n; ++i) {
      raw[i] = near_gaussian_at(1001 + id, b * n + i);
      x[i] = std::ldexp(static_cast<float>(raw[i]), static_cast<int>(b * 5 % 21) - 30);
    }
    if (n == 1) {
      if (b % 2 == 0) x[0] = std::bit_cast<float>(static_cast<std::uint32_t>(splitmix64(2001 + id + b, 0) >> 32));
    } else if (b % 16 == 0) {
      make_special_values(b / 16 % 11, b, raw, x);
    }
  }
  return values;
}

/// 1000 blocks of the near-Gaussian distribution, for the error of a quantiser.
inline std::vector<float> error_values(const TypeInfo& type) {
  std::vector<float> values(std::size_t{1000} * type.block_elements);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::ldexp(static_cast<float>(near_gaussian_at(3001 + static_cast<std::uint64_t>(type.type), i)), -16);
  }
  return values;
}

/// Bits of a float; every NaN has the same ones, since only the fact of a NaN is specified.
inline std::uint32_t canonical_bits(float value) {
  return value != value ? 0x7FC00000u : std::bit_cast<std::uint32_t>(value);
}

}  // namespace apr::test
