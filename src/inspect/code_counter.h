// How often each quant code occurs in blocks; made from the bit layout, fast enough for whole files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "apr/inspect/block_layout.h"

namespace apr::inspect {

class CodeCounter {
 public:
  explicit CodeCounter(const TypeInfo& type);
  /// How many codes there are: 2^bits, 3 for trits, 0 for types that store numbers.
  [[nodiscard]] std::size_t n_codes() const noexcept { return n_codes_; }
  [[nodiscard]] unsigned code_bits() const noexcept { return bits_; }
  /// Adds the codes of whole little-endian blocks. `counts` has n_codes() entries.
  void count(std::span<const std::byte> blocks, std::vector<std::uint64_t>& counts) const;

 private:
  /// A code in at most two bytes: (byte >> shift & mask) | (byte2 >> shift2 & mask2) << to2.
  struct Slot {
    std::uint16_t byte, byte2;
    std::uint8_t shift, mask, shift2, mask2, to2;
  };
  /// Slots of neighbouring bytes that are alike but for the byte.
  struct Run {
    Slot first;
    std::uint32_t n;
  };
  /// Bytes whose two nibbles are a code each, and nothing else is one.
  struct Nibbles {
    std::uint32_t offset = 0, width = 0;
  };
  void make_runs();
  void count_runs(std::span<const std::byte> blocks, std::vector<std::uint64_t>& counts) const;
  std::vector<Slot> slots_;
  std::vector<Run> runs_;            // of slots_, when they are long and the codes are bytes; then slots_ is empty
  std::optional<Nibbles> nibbles_;   // then slots_ and runs_ are empty
  std::vector<PartBits> scattered_;  // codes in three bytes (IQ1_S): one in eight elements, so they may be slow
  std::size_t n_codes_ = 0;
  std::uint32_t block_bytes_ = 0;
  unsigned bits_ = 0;
  bool trits_ = false;
};

}  // namespace apr::inspect
