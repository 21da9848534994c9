// How the bytes of a tensor fall into streams of one kind each.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/tensor_type.h"

namespace apr::inspect {

inline constexpr std::size_t kMostStreams = 4;
inline constexpr std::size_t kMostScales = 2;

/// Bytes of a unit that are counted by nibbles: a field of a block, or byte i of every element of a plain type.
struct ScanStream {
  std::string name;
  std::uint32_t offset = 0, width = 0;
};

/// Floats of a block: counted by their six high bits, sign and high exponent bits.
struct ScanScale {
  std::string name;
  std::uint32_t offset = 0, count = 0;  // values in a block
  FieldEncoding encoding = FieldEncoding::F16;
  [[nodiscard]] std::uint32_t width() const noexcept;  // bytes of a value
};

struct ScanLayout {
  std::uint32_t unit_bytes = 1;  // block, or element
  std::uint32_t head_bytes = 0;  // before the first unit (the scale of APR_Q8)
  int period = 0;                // plain types: bytes of an element told apart (1, 2, 4); 0: fields of a block
  int float_bits = 0;            // plain floats: 16 or 32; 0: no magnitude
  std::uint32_t octave = 0;      // of the 16 high bits of a magnitude: steps that double it
  std::uint32_t infinity = 0;    // of these 16 bits
  std::vector<ScanStream> streams;
  std::vector<ScanScale> scales;
};

[[nodiscard]] ScanLayout scan_layout(const TypeInfo& type);

/// The name without what numbers it: "blk.*.ffn_down.weight".
[[nodiscard]] std::string tensor_role(std::string_view name);
/// The number in it, "3" of "blk.3.ffn_down.weight", or -1.
[[nodiscard]] int tensor_layer(std::string_view name);

}  // namespace apr::inspect
