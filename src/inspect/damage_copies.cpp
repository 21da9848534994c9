// The same bytes in two places: data of another tensor. Places are found by anchors and then compared byte by byte.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

#include "apr/core/text.h"
#include "src/inspect/damage_parts.h"

namespace apr::inspect {
namespace {

// Shorter copies happen in sound models (equal rows of unused tokens), and anchors stand 4 KiB apart on average.
constexpr std::uint64_t kLeastCopyBytes = 2048;
constexpr std::size_t kMostPartners =
    8;  // more places with the same hash are a pattern, which is not for this detector

struct Copy {
  std::size_t a = 0, b = 0;  // in ScanData::tensors, a before b in the file
  std::uint64_t a_begin = 0, b_begin = 0, size = 0;
};

std::uint64_t common_ahead(std::span<const std::byte> a, std::span<const std::byte> b) {
  const std::size_t n = std::min(a.size(), b.size());
  std::size_t i = 0;
  while (i + 64 <= n && std::memcmp(a.data() + i, b.data() + i, 64) == 0) i += 64;
  while (i < n && a[i] == b[i]) ++i;
  return i;
}

std::uint64_t common_behind(std::span<const std::byte> a, std::span<const std::byte> b) {
  const std::size_t n = std::min(a.size(), b.size());
  std::size_t i = 0;
  while (i < n && a[a.size() - 1 - i] == b[b.size() - 1 - i]) ++i;
  return i;
}

class Copies {
 public:
  explicit Copies(const DamageContext& context) : context_(context) {}

  void run() {
    const auto& anchors = context_.scan.anchors;
    for (std::size_t i = 0; i < anchors.size();) {
      std::size_t end = i + 1;
      while (end < anchors.size() && anchors[end].hash == anchors[i].hash) ++end;
      if (end - i > 1 && end - i <= kMostPartners)
        for (std::size_t k = i + 1; k < end && found_.size() < kMostRanges; ++k) compare(anchors[i], anchors[k]);
      i = end;
    }
    for (const Copy& copy : found_)
      if (!context_.full()) report(copy);
  }

 private:
  std::uint64_t place(const Anchor& anchor) const {
    const TensorScan& tensor = context_.scan.tensors[anchor.tensor];
    return anchor.unit * anchor_unit_bytes(*tensor.target.layout);
  }

  void compare(const Anchor& one, const Anchor& two) {
    const bool in_order = std::pair(one.tensor, one.unit) < std::pair(two.tensor, two.unit);
    const Anchor &first = in_order ? one : two, &second = in_order ? two : one;
    const std::uint64_t a_at = place(first), b_at = place(second);
    DataRange& done = reach_[{first.tensor, second.tensor, b_at - a_at}];  // wraps alike for the same distance
    if (a_at >= done.begin && a_at < done.end) return;
    const auto a = context_.scan.tensors[first.tensor].target.data,
               b = context_.scan.tensors[second.tensor].target.data;
    const std::uint64_t ahead = common_ahead(a.subspan(a_at), b.subspan(b_at));
    const std::uint64_t behind = common_behind(a.first(a_at), b.first(b_at));
    done = {a_at - behind, a_at + ahead};
    if (ahead + behind < kLeastCopyBytes) return;
    found_.push_back({first.tensor, second.tensor, a_at - behind, b_at - behind, ahead + behind});
    shared_[{first.tensor, second.tensor}] += ahead + behind;
  }

  /// A tied output may be written twice, rows of unused tokens may be equal, a vector may be what its neighbour is.
  bool is_usual(const Copy& copy) const {
    const TensorScan &a = context_.scan.tensors[copy.a], &b = context_.scan.tensors[copy.b];
    if (a.target.row_bytes == 0 && b.target.row_bytes == 0) return true;
    if (!is_vocabulary_role(context_.group(a).role) || !is_vocabulary_role(context_.group(b).role)) return false;
    const std::size_t least = std::min(a.target.data.size(), b.target.data.size());
    return copy.a == copy.b || shared_.at({copy.a, copy.b}) * 2 >= least;
  }

  void report(const Copy& copy) {
    const TensorScan &a = context_.scan.tensors[copy.a], &b = context_.scan.tensors[copy.b];
    if (copy.a == copy.b && copy.a_begin + copy.size > copy.b_begin) return;  // a pattern that repeats itself
    if (context_.explained(a, copy.a_begin, copy.a_begin + copy.size) * 2 >= copy.size) return;
    const bool usual = is_usual(copy);
    add(a, b, copy.a_begin, copy.b_begin, copy.size, usual);
    add(b, a, copy.b_begin, copy.a_begin, copy.size, usual);
  }

  void add(const TensorScan& at, const TensorScan& other, std::uint64_t begin, std::uint64_t other_begin,
           std::uint64_t size, bool usual) {
    DamageRange& range = context_.add(
        DamageCause::Copy, Certainty::Exact, at, begin, begin + size,
        fmt::format("{} bytes equal those at 0x{:x} in {}: one of the two places is wrong", size,
                    other.target.offset + other_begin, escaped(context_.model.tensors[other.index].name, 80)));
    range.other_offset = other.target.offset + other_begin;
    range.other_tensor = other.index;
    range.suspicious = !usual;
    if (usual)
      range.evidence =
          fmt::format("{} bytes equal those at 0x{:x} in {}, as tied or untrained tensors do", size,
                      other.target.offset + other_begin, escaped(context_.model.tensors[other.index].name, 80));
  }

  using Distance = std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>;

  const DamageContext& context_;
  std::map<Distance, DataRange> reach_;  // what was compared last at each distance
  std::vector<Copy> found_;
  std::map<std::pair<std::size_t, std::size_t>, std::uint64_t> shared_;  // bytes that two tensors have in common
};

}  // namespace

void find_copies(const DamageContext& context) { Copies(context).run(); }

}  // namespace apr::inspect
