#include "apr/inspect/block_layout.h"

#include <algorithm>
#include <cmath>

#include "apr/core/bytes.h"
#include "apr/core/error.h"
#include "apr/kernels/codebook.h"
#include "apr/kernels/dispatch.h"

namespace apr::inspect {
namespace {

using enum PartKind;

/// Collects the parts of one element. Bytes and bits are those of the little-endian block.
class Builder {
 public:
  Builder& part(PartKind kind) {
    APR_CHECK(out_.n_parts < out_.parts.size());
    out_.parts[out_.n_parts++] = {kind, 0, {}};
    return *this;
  }
  /// `width` bits of the last part: from bit `bit` of byte `byte` on, to bit `to` of the number.
  Builder& bits(std::uint32_t byte, std::uint32_t bit, std::uint32_t width, std::uint32_t to = 0) {
    PartBits& last = out_.parts[out_.n_parts - 1U];
    APR_CHECK(last.n_runs < last.runs.size());
    last.runs[last.n_runs++] = {static_cast<std::uint16_t>(byte * 8 + bit), static_cast<std::uint8_t>(width),
                                static_cast<std::uint8_t>(to)};
    return *this;
  }
  Builder& f16(PartKind kind, std::uint32_t byte) { return part(kind).bits(byte, 0, 16); }
  /// A nibble: the low one of `byte`, or the high one.
  Builder& nibble(std::uint32_t byte, std::uint32_t high, std::uint32_t to = 0) { return bits(byte, 4 * high, 4, to); }
  [[nodiscard]] ElementBits get() const { return out_; }

 private:
  ElementBits out_;
};

/// The packed 6-bit scales and minima of Q4_K and Q5_K; drawn in q4_k.inl.
void add_scale_min(Builder& b, std::uint32_t s) {
  constexpr std::uint32_t kScales = 4;
  if (s < 4) {
    b.part(SubScale).bits(kScales + s, 0, 6);
    b.part(SubMin).bits(kScales + 4 + s, 0, 6);
  } else {
    b.part(SubScale).nibble(kScales + 4 + s, 0).bits(kScales + s - 4, 6, 2, 4);
    b.part(SubMin).nibble(kScales + 4 + s, 1).bits(kScales + s, 6, 2, 4);
  }
}

ElementBits q3_k(std::uint32_t e) {
  const std::uint32_t s = e / 16;
  Builder b;
  b.f16(Scale, 108);
  b.part(SubScale).nibble(96 + s % 8, s / 8).bits(104 + s % 4, 2 * (s / 4), 2, 4);
  b.part(Code).bits(32 + 32 * (e / 128) + e % 32, 2 * (e / 32 % 4), 2).bits(e % 32, e / 32, 1, 2);
  return b.get();
}

ElementBits q6_k(std::uint32_t e) {
  const std::uint32_t half = e / 128, r = e % 128 / 32, j = e % 32;
  Builder b;
  b.f16(Scale, 208);
  b.part(SubScale).bits(192 + e / 16, 0, 8);
  b.part(Code).nibble(64 * half + 32 * (r & 1) + j, r >> 1).bits(128 + 32 * half + j, 2 * r, 2, 4);
  return b.get();
}

/// Lane `lane` of a group whose first seven signs start at a bit; the eighth makes the number of negative ones even.
void add_parity_sign(Builder& b, std::uint32_t byte, std::uint32_t first_bit, std::uint32_t lane) {
  b.part(Sign);
  if (lane < 7)
    b.bits(byte, first_bit + lane, 1);
  else
    b.bits(byte, first_bit, 7);
}

ElementBits iq1_m(std::uint32_t e) {
  const std::uint32_t group = e / 8, s = e / 16;
  Builder b;
  b.part(Scale).bits(49, 4, 4).bits(51, 4, 4, 4).bits(53, 4, 4, 8).bits(55, 4, 4, 12);
  b.part(SubScale).bits(48 + 2 * (s / 4), 3 * (s % 4), 3);
  b.part(GridIndex).bits(group, 0, 8).bits(32 + group / 2, 4 * (group & 1), 3, 8);
  b.part(Shift).bits(32 + group / 2, 4 * (group & 1) + 3, 1);
  return b.get();
}

/// The IQ types with a grid.
ElementBits grid_type(TensorType type, std::uint32_t e) {
  const std::uint32_t s = e / 32, l = e % 32 / 8, lane = e % 8, group = e / 8;
  if (type == TensorType::IQ1_M) return iq1_m(e);
  Builder b;
  b.f16(Scale, 0);
  switch (type) {
    case TensorType::IQ1_S:
      b.part(SubScale).bits(34 + 2 * s, 12, 3);
      b.part(GridIndex).bits(2 + group, 0, 8).bits(34 + 2 * s, 3 * l, 3, 8);
      b.part(Shift).bits(34 + 2 * s, 15, 1);
      break;
    case TensorType::IQ2_XXS:
      b.part(SubScale).bits(6 + 8 * s, 28, 4);
      b.part(GridIndex).bits(2 + 8 * s + l, 0, 8);
      add_parity_sign(b, 6 + 8 * s, 7 * l, lane);
      break;
    case TensorType::IQ2_XS:
      b.part(SubScale).nibble(66 + s, l >> 1);
      b.part(GridIndex).bits(2 + 2 * group, 0, 9);
      add_parity_sign(b, 2 + 2 * group, 9, lane);
      break;
    case TensorType::IQ2_S:
      b.part(SubScale).nibble(74 + s, l >> 1);
      b.part(GridIndex).bits(2 + group, 0, 8).bits(66 + s, 2 * l, 2, 8);
      b.part(Sign).bits(34 + group, lane, 1);
      break;
    case TensorType::IQ3_XXS:
      b.part(SubScale).bits(66 + 4 * s, 28, 4);
      b.part(GridIndex).bits(2 + e / 4, 0, 8);
      add_parity_sign(b, 66 + 4 * s, 7 * l, lane);
      break;
    default:  // IQ3_S
      b.part(SubScale).nibble(106 + s / 2, s & 1);
      b.part(GridIndex).bits(2 + e / 4, 0, 8).bits(66 + s, e % 32 / 4, 1, 8);
      b.part(Sign).bits(74 + group, lane, 1);
      break;
  }
  return b.get();
}

/// Types of 32 elements with a nibble each: element j in the low nibble of byte j, element j + 16 in the high one.
void add_halves(Builder& b, std::uint32_t first_byte, std::uint32_t e) {
  b.part(Code).nibble(first_byte + e % 16, e / 16);
}

ElementBits k_type(TensorType type, std::uint32_t e) {
  Builder b;
  const std::uint32_t s = e / 32, j = e % 32;
  switch (type) {
    case TensorType::Q2_K:
      b.f16(Scale, 80).f16(Minimum, 82);
      b.part(SubScale).nibble(e / 16, 0).part(SubMin).nibble(e / 16, 1);
      b.part(Code).bits(16 + 32 * (e / 128) + j, 2 * (s % 4), 2);
      break;
    case TensorType::Q4_K:
      b.f16(Scale, 0).f16(Minimum, 2);
      add_scale_min(b, s);
      b.part(Code).nibble(16 + 32 * (s / 2) + j, s & 1);
      break;
    default:  // Q5_K
      b.f16(Scale, 0).f16(Minimum, 2);
      add_scale_min(b, s);
      b.part(Code).nibble(48 + 32 * (s / 2) + j, s & 1).bits(16 + j, s, 1, 4);
      break;
  }
  return b.get();
}

ElementBits trits(std::uint32_t e) {
  const std::uint32_t byte = e < 160 ? e % 32 : e < 240 ? 32 + (e - 160) % 16 : 48 + (e - 240) % 4;
  return Builder().f16(Scale, 52).part(Code).bits(byte, 0, 8).get();
}

/// Which of the trits of its byte an element of TQ1_0 is.
std::uint32_t trit_of(std::uint32_t e) { return e < 160 ? e / 32 : e < 240 ? (e - 160) / 16 : (e - 240) / 4; }

double f16_value(std::uint64_t bits) {
  const auto exponent = static_cast<int>((bits >> 10) & 31), mantissa = static_cast<int>(bits & 1023);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return mantissa != 0 ? std::nan("") : sign * HUGE_VAL;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24) : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

/// NVFP4's scale: 0x7F counts as 0 and bit 7 is not looked at.
double unsigned_e4m3(std::uint64_t code) {
  if (code == 0x7F) return 0;
  const auto exponent = static_cast<int>((code >> 3) & 15), mantissa = static_cast<int>(code & 7);
  return exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
}

double as_signed(std::uint64_t stored, unsigned bits) {
  const auto half = std::uint64_t{1} << (bits - 1);
  return static_cast<double>(static_cast<std::int64_t>(stored ^ half) - static_cast<std::int64_t>(half));
}

double scale_value(TensorType type, std::uint64_t stored) {
  switch (type) {
    case TensorType::Q8_K: return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(stored)));
    case TensorType::MXFP4: return std::ldexp(1.0, static_cast<int>(stored) - 127);
    case TensorType::AprQ4: {  // its own reader takes anything but a normal number for 0
      const auto exponent = (stored >> 10) & 31;
      return exponent == 0 || exponent == 31 ? 0 : f16_value(stored);
    }
    default: return f16_value(stored);
  }
}

double sub_scale_value(TensorType type, std::uint64_t stored) {
  const auto n = static_cast<double>(stored);
  switch (type) {
    case TensorType::Q3_K:
    case TensorType::IQ4_XS: return n - 32;
    case TensorType::Q6_K: return as_signed(stored, 8);
    case TensorType::NVFP4: return unsigned_e4m3(stored);
    case TensorType::IQ1_S:
    case TensorType::IQ1_M:
    case TensorType::IQ3_S: return 2 * n + 1;
    case TensorType::IQ2_XXS:
    case TensorType::IQ2_XS:
    case TensorType::IQ2_S: return (n + 0.5) / 4;
    case TensorType::IQ3_XXS: return (n + 0.5) / 2;
    default: return n;
  }
}

double code_value(TensorType type, std::uint64_t stored, std::uint32_t element) {
  const auto n = static_cast<double>(stored);
  if (const auto table = kernels::code_values(type); !table.empty()) {
    const bool doubled = type == TensorType::MXFP4 || type == TensorType::NVFP4;
    return table[stored & 15] * (doubled ? 0.5 : 1.0);
  }
  switch (type) {
    case TensorType::Q4_0:
    case TensorType::AprQ4: return n - 8;
    case TensorType::Q5_0: return n - 16;
    case TensorType::Q8_0:
    case TensorType::Q8_1:
    case TensorType::Q8_K:
    case TensorType::AprQ8: return as_signed(stored, 8);
    case TensorType::Q3_K: return n - 4;
    case TensorType::Q6_K: return n - 32;
    case TensorType::Q2_0:
    case TensorType::TQ2_0: return n - 1;
    case TensorType::Q1_0: return stored != 0 ? 1 : -1;
    case TensorType::TQ1_0: {  // the digits of a fraction in base 3, first one most significant
      constexpr std::uint32_t kPowers[] = {1, 3, 9, 27, 81};
      return static_cast<double>(((static_cast<std::uint32_t>(stored) * kPowers[trit_of(element)] & 0xFF) * 3) >> 8) -
             1;
    }
    default: return n;
  }
}

/// The element from its parts, with the float operations of the kernels in their order.
float computed(TensorType type, const Element& element) {
  double scale = 0, minimum = 0, sub_min = 0, code = 0, sign = 1, shift = 0;
  double sub_scale = 0;
  bool has_scale = false, has_sub = false, has_min = false, has_sub_min = false;
  std::uint64_t sub_stored = 0;
  for (const Part& part : element.all()) switch (part.bits.kind) {
      case Scale: scale = part.value, has_scale = true; break;
      case Minimum: minimum = part.value, has_min = true; break;
      case SubScale: sub_scale = part.value, has_sub = true, sub_stored = part.stored; break;
      case SubMin: sub_min = part.value, has_sub_min = true; break;
      case Code:
      case GridIndex: code = part.value; break;
      case Sign: sign = part.value; break;
      case Shift: shift = part.value; break;
    }
  const auto d = static_cast<float>(scale), q = static_cast<float>(code);
  switch (type) {
    case TensorType::MXFP4:  // ggml halves the scale and doubles the codes; 2^128 is no float, its half is
      return static_cast<float>(scale * 0.5) * static_cast<float>(code * 2);
    case TensorType::NVFP4: return static_cast<float>(sub_scale * 0.5) * static_cast<float>(code * 2);
    case TensorType::Q1_0: return code > 0 ? d : -d;
    case TensorType::IQ2_XXS:
    case TensorType::IQ2_XS:
    case TensorType::IQ2_S: {
      const float value = d * (0.5F + static_cast<float>(sub_stored)) * 0.25F * q;
      return sign < 0 ? -value : value;
    }
    case TensorType::IQ3_XXS: {
      const float value = d * (0.5F + static_cast<float>(sub_stored)) * 0.5F * q;
      return sign < 0 ? -value : value;
    }
    default: break;
  }
  if (!has_scale) return q;
  if (!has_sub) return has_min ? q * d + static_cast<float>(minimum) : q * d;
  const float step = d * static_cast<float>(sub_scale);
  if (has_sub_min) return step * q - static_cast<float>(minimum) * static_cast<float>(sub_min);
  if (type == TensorType::IQ1_S || type == TensorType::IQ1_M) return step * (q + static_cast<float>(shift));
  const float value = step * q;
  return sign < 0 ? -value : value;
}

double part_value(const TypeInfo& type, const PartBits& bits, std::uint64_t stored, std::uint32_t element) {
  switch (bits.kind) {
    case Scale:
    case Minimum: return scale_value(type.type, stored);
    case SubScale: return sub_scale_value(type.type, stored);
    case SubMin: return static_cast<double>(stored);
    case Code: return code_value(type.type, stored, element);
    case GridIndex: {
      const auto row = kernels::grid_values(type.type, static_cast<std::uint32_t>(stored));
      return row.empty() ? std::nan("") : row[element % row.size()];
    }
    case Sign:  // seven stored signs: this is the eighth
      return (bits.runs[0].width == 7 ? __builtin_parityll(stored) != 0 : stored != 0) ? -1 : 1;
    case Shift: return stored != 0 ? -0.125 : 0.125;
  }
  return 0;
}

}  // namespace

std::string_view name(PartKind kind) noexcept {
  constexpr std::string_view kNames[] = {"scale", "minimum",    "sub_scale", "sub_minimum",
                                         "code",  "grid_index", "sign",      "shift"};
  return kNames[static_cast<std::size_t>(kind)];
}

ElementBits element_bits(const TypeInfo& type, std::uint32_t e) noexcept {
  switch (type.type) {
    case TensorType::Q4_0:
    case TensorType::IQ4_NL: {
      Builder b;
      b.f16(Scale, 0);
      add_halves(b, 2, e);
      return b.get();
    }
    case TensorType::Q4_1: {
      Builder b;
      b.f16(Scale, 0).f16(Minimum, 2);
      add_halves(b, 4, e);
      return b.get();
    }
    case TensorType::Q5_0:
      return Builder().f16(Scale, 0).part(Code).nibble(6 + e % 16, e / 16).bits(2 + e / 8, e % 8, 1, 4).get();
    case TensorType::Q5_1:
      return Builder()
          .f16(Scale, 0)
          .f16(Minimum, 2)
          .part(Code)
          .nibble(8 + e % 16, e / 16)
          .bits(4 + e / 8, e % 8, 1, 4)
          .get();
    case TensorType::Q8_0: return Builder().f16(Scale, 0).part(Code).bits(2 + e, 0, 8).get();
    case TensorType::Q8_1: return Builder().f16(Scale, 0).part(Code).bits(4 + e, 0, 8).get();
    case TensorType::Q8_K: return Builder().part(Scale).bits(0, 0, 32).part(Code).bits(4 + e, 0, 8).get();
    case TensorType::Q2_K:
    case TensorType::Q4_K:
    case TensorType::Q5_K: return k_type(type.type, e);
    case TensorType::Q3_K: return q3_k(e);
    case TensorType::Q6_K: return q6_k(e);
    case TensorType::IQ1_S:
    case TensorType::IQ1_M:
    case TensorType::IQ2_XXS:
    case TensorType::IQ2_XS:
    case TensorType::IQ2_S:
    case TensorType::IQ3_XXS:
    case TensorType::IQ3_S: return grid_type(type.type, e);
    case TensorType::IQ4_XS: {
      const std::uint32_t s = e / 32;
      Builder b;
      b.f16(Scale, 0);
      b.part(SubScale).nibble(4 + s / 2, s & 1).bits(2, 2 * s, 2, 4);
      b.part(Code).nibble(8 + 16 * s + e % 16, e % 32 / 16);
      return b.get();
    }
    case TensorType::TQ1_0: return trits(e);
    case TensorType::TQ2_0:
      return Builder().f16(Scale, 64).part(Code).bits(32 * (e / 128) + e % 32, 2 * (e / 32 % 4), 2).get();
    case TensorType::MXFP4: return Builder().part(Scale).bits(0, 0, 8).part(Code).nibble(1 + e % 16, e / 16).get();
    case TensorType::NVFP4:
      return Builder().part(SubScale).bits(e / 16, 0, 8).part(Code).nibble(4 + 8 * (e / 16) + e % 8, e % 16 / 8).get();
    case TensorType::Q1_0: return Builder().f16(Scale, 0).part(Code).bits(2 + e / 8, e % 8, 1).get();
    case TensorType::Q2_0: return Builder().f16(Scale, 0).part(Code).bits(2 + e / 4, 2 * (e % 4), 2).get();
    case TensorType::AprQ4: return Builder().f16(Scale, 0).part(Code).nibble(2 + e / 2, e & 1).get();
    default: break;
  }
  if (type.block_elements == 0 || !type.fields.empty()) return {};
  const std::uint32_t width = type.block_bytes * 8 / type.block_elements;
  return Builder().part(Code).bits(0, e * width, width).get();
}

std::uint64_t gather(std::span<const std::byte> block, const PartBits& part) noexcept {
  std::uint64_t stored = 0;
  for (std::size_t r = 0; r < part.n_runs; ++r) {
    const BitRun& run = part.runs[r];
    for (unsigned i = 0; i < run.width; ++i) {
      const unsigned bit = run.first + i;
      const auto set = static_cast<std::uint64_t>((std::to_integer<unsigned>(block[bit / 8]) >> (bit % 8)) & 1U);
      stored |= set << (run.to + i);
    }
  }
  return stored;
}

Element read_element(const TypeInfo& type, std::span<const std::byte> block, std::uint32_t element) {
  Element out;
  const ElementBits bits = element_bits(type, element);
  for (const PartBits& part : bits.all()) {
    const std::uint64_t stored = gather(block, part);
    out.parts[out.n_parts++] = {part, stored, part_value(type, part, stored, element)};
  }
  if (!type.fields.empty() || type.type == TensorType::AprQ8) {
    out.value = computed(type.type, out);
    return out;
  }
  float value[4] = {};  // a plain type: its number is all that there is
  if (type.block_elements <= 4 &&
      kernels::decode(type.type, block.first(type.block_bytes), 0, std::span(value, type.block_elements))) {
    out.value = value[element];
    out.parts[0].value = static_cast<double>(out.value);
  } else {
    out.value = std::nanf("");
  }
  return out;
}

const BlockField* field_at(const TypeInfo& type, std::uint32_t byte) noexcept {
  for (const BlockField& field : type.fields)
    if (byte >= field.offset && byte - field.offset < field.bytes) return &field;
  return nullptr;
}

std::uint32_t big_endian_byte(const TypeInfo& type, std::uint32_t byte) noexcept {
  std::uint32_t start = 0, width = 1;
  if (const BlockField* field = field_at(type, byte)) {
    start = field->offset;
    width = encoding_width(field->encoding);
  } else if (type.fields.empty() && type.block_elements == 1) {
    width = type.type == TensorType::C64 ? 4 : type.block_bytes;
  }
  const std::uint32_t within = (byte - start) % width;
  return byte - within + (width - 1 - within);
}

std::uint32_t sub_block_elements(const TypeInfo& type) noexcept {
  const auto sub_bit = [&](std::uint32_t e) {
    const ElementBits bits = element_bits(type, e);
    for (const PartBits& part : bits.all())
      if (part.kind == PartKind::SubScale) return static_cast<int>(part.runs[0].first);
    return -1;
  };
  for (std::uint32_t e = 1; e < type.block_elements; ++e)
    if (sub_bit(e) != sub_bit(0)) return e;
  return type.block_elements;
}

}  // namespace apr::inspect
