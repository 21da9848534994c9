#include "src/inspect/code_counter.h"

#include <algorithm>
#include <set>

#include "apr/kernels/scan.h"

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

CodeCounter::CodeCounter(const TypeInfo& type)
    : block_bytes_(type.block_bytes), trits_(type.type == TensorType::TQ1_0) {
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
      Slot slot{static_cast<std::uint16_t>(pieces[0].byte),
                0,
                static_cast<std::uint8_t>(pieces[0].shift),
                mask(pieces[0]),
                0,
                0,
                0};
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
  make_runs();
}

void CodeCounter::make_runs() {
  std::uint32_t low = UINT32_MAX, high = 0;
  bool nibbles = !slots_.empty() && scattered_.empty();
  for (const Slot& s : slots_) {
    low = std::min<std::uint32_t>(low, s.byte);
    high = std::max<std::uint32_t>(high, s.byte);
    nibbles = nibbles && s.mask == 15 && s.shift % 4 == 0 && s.mask2 == 0;
  }
  if (nibbles && slots_.size() == 2 * (std::size_t{high} - low + 1)) {  // each is there once
    nibbles_ = Nibbles{low, high - low + 1};
    slots_.clear();
    return;
  }
  if (bits_ > 8) return;
  for (const Slot& s : slots_) {
    const Slot* before = runs_.empty() ? nullptr : &runs_.back().first;
    const std::uint32_t n = runs_.empty() ? 0 : runs_.back().n;
    if (before != nullptr && s.byte == before->byte + n && (s.mask2 == 0 || s.byte2 == before->byte2 + n) &&
        s.shift == before->shift && s.mask == before->mask && s.shift2 == before->shift2 && s.mask2 == before->mask2 &&
        s.to2 == before->to2)
      ++runs_.back().n;
    else
      runs_.push_back({s, 1});
  }
  if (runs_.size() * 8 > slots_.size())
    runs_.clear();
  else
    slots_.clear();
}

void CodeCounter::count_runs(std::span<const std::byte> blocks, std::vector<std::uint64_t>& counts) const {
  constexpr std::size_t kMostRun = 256;
  // Four counters a code: neighbours are often equal, and one counter would wait for itself.
  std::uint32_t sums[4][256] = {};
  std::uint8_t codes[kMostRun];
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(blocks.data());
  for (std::size_t at = 0; at + block_bytes_ <= blocks.size(); at += block_bytes_)
    for (const Run& run : runs_) {
      const Slot s = run.first;
      const std::uint8_t* a = bytes + at + s.byte;
      const std::uint8_t* b = bytes + at + s.byte2;
      for (std::uint32_t done = 0; done < run.n;) {
        const std::uint32_t n = std::min<std::uint32_t>(kMostRun, run.n - done);
        if (s.mask2 == 0)
          for (std::uint32_t k = 0; k < n; ++k) codes[k] = static_cast<std::uint8_t>(a[done + k] >> s.shift & s.mask);
        else
          for (std::uint32_t k = 0; k < n; ++k)
            codes[k] = static_cast<std::uint8_t>((a[done + k] >> s.shift & s.mask) | (b[done + k] >> s.shift2 & s.mask2)
                                                                                         << s.to2);
        std::uint32_t k = 0;
        for (; k + 4 <= n; k += 4)
          for (std::uint32_t lane = 0; lane < 4; ++lane) ++sums[lane][codes[k + lane]];
        for (; k < n; ++k) ++sums[0][codes[k]];
        done += n;
      }
    }
  for (std::size_t c = 0; c < std::min<std::size_t>(n_codes_, 256); ++c)
    counts[c] += std::uint64_t{sums[0][c]} + sums[1][c] + sums[2][c] + sums[3][c];
}

void CodeCounter::count(std::span<const std::byte> blocks, std::vector<std::uint64_t>& counts) const {
  if (n_codes_ == 0) return;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(blocks.data());
  if (nibbles_) {
    kernels::NibbleCounts found{};
    kernels::active_scan().count_nibbles(bytes + nibbles_->offset, nibbles_->width, block_bytes_,
                                         static_cast<std::int64_t>(blocks.size() / block_bytes_), 1, &found);
    for (std::size_t c = 0; c < 16; ++c) counts[c] += std::uint64_t{found.n[0][c]} + found.n[1][c];
    return;
  }
  if (!runs_.empty()) {
    count_runs(blocks, counts);
    if (scattered_.empty()) return;
  }
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
