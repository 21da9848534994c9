// Which bits of a block an element is computed from, for every element type: the one description that the block view,
// the semantic address and its inverse, and the counts of codes are made from. Layouts are drawn in
// docs/formats/quant-types.md.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "apr/core/tensor_type.h"

namespace apr::inspect {

/// A run of bits in a block. Bit b is bit b % 8, counted from the least, of byte b / 8 of a little-endian block.
struct BitRun {
  std::uint16_t first = 0;
  std::uint8_t width = 0;
  std::uint8_t to = 0;  // where the run's least bit goes in the number
};

enum class PartKind : std::uint8_t {
  Scale,     // d, e: multiplies the whole block
  Minimum,   // m, dmin
  SubScale,  // of a sub-block
  SubMin,
  Code,       // the element's own number
  GridIndex,  // selects 4 or 8 values; the element is one of them
  Sign,
  Shift,  // +-0.125 of IQ1
};
[[nodiscard]] std::string_view name(PartKind kind) noexcept;  // "scale", "sub_scale", "code", ...

/// One number in a block: where its bits are.
struct PartBits {
  PartKind kind = PartKind::Code;
  std::uint8_t n_runs = 0;
  std::array<BitRun, 4> runs{};
};

/// The parts of one element, at most: d, dmin, scale, minimum, code, sign.
struct ElementBits {
  std::uint8_t n_parts = 0;
  std::array<PartBits, 6> parts{};
  [[nodiscard]] std::span<const PartBits> all() const noexcept { return {parts.data(), n_parts}; }
};

/// A part with what its bits say.
struct Part {
  PartBits bits;
  std::uint64_t stored = 0;  // the bits put together
  double value = 0;          // what they mean: an f16, scale - 32, the grid's value for this element, +-1
};

struct Element {
  std::uint8_t n_parts = 0;
  std::array<Part, 6> parts{};
  float value = 0;  // computed from the parts alone, in the order of operations of the kernels
  [[nodiscard]] std::span<const Part> all() const noexcept { return {parts.data(), n_parts}; }
};

/// Where the parts of element `element` (< block_elements) of a block stand. Types that store a number per element
/// (F32, F4,
/// ...) have one Code. No parts: removed types, AprQ8's scale (it belongs to the tensor).
[[nodiscard]] ElementBits element_bits(const TypeInfo& type, std::uint32_t element) noexcept;

/// Reads the parts out of a little-endian block and computes the element's value from them: bit for bit what the
/// kernels give, without using them (except for plain numbers, which kernels alone decode). `block` holds block_bytes.
[[nodiscard]] Element read_element(const TypeInfo& type, std::span<const std::byte> block, std::uint32_t element);

/// The bits of a part put together.
[[nodiscard]] std::uint64_t gather(std::span<const std::byte> block, const PartBits& part) noexcept;

/// The field of block_fields.def that holds a byte of the block, or null (plain types).
[[nodiscard]] const BlockField* field_at(const TypeInfo& type, std::uint32_t byte) noexcept;

/// Where byte `byte` of a little-endian block stands in a block of a big-endian file, and the reverse: the bytes of
/// each multi-byte number are turned around.
[[nodiscard]] std::uint32_t big_endian_byte(const TypeInfo& type, std::uint32_t byte) noexcept;

/// Elements that share a sub-scale, or the block's elements where there is none; 0 for removed types.
[[nodiscard]] std::uint32_t sub_block_elements(const TypeInfo& type) noexcept;

}  // namespace apr::inspect
