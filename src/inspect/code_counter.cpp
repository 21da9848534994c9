#include "src/inspect/code_counter.h"

#include <algorithm>
#include <set>

namespace apr::inspect {
namespace {

constexpr std::uint32_t kTritBytes = 52;  // of a TQ1_0 block; five trits each in the first 48, four in the others

/// Pieces of a part that lie in one byte each.
struct Piece {
  unsigned byte, shift, width, to;
};
std::vector<Piece> pieces_of(const PartBits& part) {
  std::vector<Piece> pieces;
  for (std::size_t r = 0; r < part.n_runs; ++r)
    for (unsigned bit = part.runs[r].first, to = part.runs[r].to, left = part.runs[r].width; left > 0;) {
      const unsigned width = std::min(left, 8 - bit % 8);
      pieces.push_back({bit / 8, bit % 8, width, to});
      bit += width, to += width, left -= width;
    }
  return pieces;
}

}  // namespace

CodeCounter::CodeCounter(const TypeInfo& type) : block_bytes_(type.block_bytes), trits_(type.type == TensorType::TQ1_0) {
  if (type.fields.empty() && type.type != TensorType::AprQ8) return;
  if (trits_) {
    n_codes_ = 3;
    bits_ = 2;
    return;
  }
  std::set<unsigned> seen;
  for (std::uint32_t e = 0; e < type.block_elements; ++e) {
    const ElementBits bits = element_bits(type, e);
    for (const PartBits& part : bits.all()) {
      if (part.kind != PartKind::Code && part.kind != PartKind::GridIndex) continue;
      if (!seen.insert(part.runs[0].first).second) continue;  // a grid index once for its lanes
      const std::vector<Piece> pieces = pieces_of(part);
      if (pieces.size() > 2) {
        unsigned all = 0;
        for (const Piece& piece : pieces) all += piece.width;
        bits_ = std::max(bits_, all);
        scattered_.push_back(part);
        continue;
      }
      const auto mask = [](const Piece& p) { return static_cast<std::uint8_t>((1U << p.width) - 1); };
      Slot slot{static_cast<std::uint16_t>(pieces[0].byte), 0, static_cast<std::uint8_t>(pieces[0].shift), mask(pieces[0]), 0, 0, 0};
      unsigned width = pieces[0].width;
      if (pieces.size() == 2) {
        slot.byte2 = static_cast<std::uint16_t>(pieces[1].byte);
        slot.shift2 = static_cast<std::uint8_t>(pieces[1].shift);
        slot.mask2 = mask(pieces[1]);
        slot.to2 = static_cast<std::uint8_t>(pieces[1].to);
        width += pieces[1].width;
      }
      bits_ = std::max(bits_, width);
      slots_.push_back(slot);
    }
  }
  n_codes_ = std::size_t{1} << bits_;
}

void CodeCounter::count(std::span<const std::byte> blocks, std::vector<std::uint64_t>& counts) const {
  if (n_codes_ == 0) return;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(blocks.data());
  for (std::size_t at = 0; at + block_bytes_ <= blocks.size(); at += block_bytes_) {
    const std::uint8_t* block = bytes + at;
    if (trits_) {
      for (std::uint32_t b = 0; b < kTritBytes; ++b) {
        unsigned rest = block[b];
        for (int n = 0; n < (b < 48 ? 5 : 4); ++n) {
          ++counts[(rest * 3) >> 8];
          rest = rest * 3 & 0xFF;
        }
      }
      continue;
    }
    for (const PartBits& part : scattered_) ++counts[gather(blocks.subspan(at, block_bytes_), part)];
    for (const Slot& s : slots_)
      ++counts[(static_cast<unsigned>(block[s.byte]) >> s.shift & s.mask) |
               (static_cast<unsigned>(block[s.byte2]) >> s.shift2 & s.mask2) << s.to2];
  }
}

}  // namespace apr::inspect
