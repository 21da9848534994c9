// The detectors of the damage map. Each looks only at windows that the pass has flagged, and appends what it is sure
// of.
#pragma once
#include <vector>

#include "apr/inspect/damage.h"
#include "src/inspect/scan_pass.h"

namespace apr::inspect {

/// A file full of damage is not described better by more ranges than this; the report says that it stopped.
inline constexpr std::size_t kMostRanges = 2000;

/// What the detectors share.
struct DamageContext {
  const format::ModelFile& model;
  const ScanData& scan;
  std::vector<DamageRange>& ranges;

  [[nodiscard]] const GroupScan& group(const TensorScan& tensor) const { return scan.groups[tensor.group]; }
  /// A range of bytes [begin, end) of the tensor's data.
  DamageRange& add(DamageCause cause, Certainty certainty, const TensorScan& tensor, std::uint64_t begin,
                   std::uint64_t end, std::string evidence) const;
  [[nodiscard]] bool full() const noexcept { return ranges.size() >= kMostRanges; }
  /// Bytes of [begin, end) of the tensor's data that ranges found so far explain.
  [[nodiscard]] std::uint64_t explained(const TensorScan& tensor, std::uint64_t begin, std::uint64_t end) const;
};

/// One that maps tokens to rows, in which rows nobody trained are equal or zero.
[[nodiscard]] bool is_vocabulary_role(std::string_view role) noexcept;

void find_truncated(const DamageContext& context);
void find_runs(const DamageContext& context);        // ZeroFill, Constant, RepeatedBlock, Text
void find_copies(const DamageContext& context);      // Copy
void find_foreign(const DamageContext& context);     // Shifted, ByteSwapped, RandomBytes, ForeignBytes
void find_bad_values(const DamageContext& context);  // NonFinite, ScaleOutlier, ValueOutlier

/// Calls body(first, last) for each run of windows of a tensor with one of `flags`; up to `gap` others may be between.
template <class Body>
void for_each_run(const TensorScan& tensor, unsigned flags, std::size_t gap, const Body& body) {
  const std::size_t n = tensor.windows.size();
  for (std::size_t w = 0; w < n; ++w) {
    if ((tensor.windows[w].flags & flags) == 0) continue;
    std::size_t last = w;
    for (std::size_t k = w + 1; k < n && k <= last + gap + 1; ++k)
      if ((tensor.windows[k].flags & flags) != 0) last = k;
    body(w, last);
    w = last;
  }
}

/// Where windows [first, last] begin and end in the tensor's data.
struct DataRange {
  std::uint64_t begin = 0, end = 0;
};
[[nodiscard]] DataRange data_range(const TensorScan& tensor, std::size_t first, std::size_t last) noexcept;

}  // namespace apr::inspect
