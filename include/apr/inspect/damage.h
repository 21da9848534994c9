// What is damaged in the data of a model, where, and by what: one pass, no reference needed.
//
// Statistics see bytes that are not what their type, field and role usually hold. They do not see an exchange of
// equals: rows in another order, a tensor of the same role from another model, one wrong weight of usual size
// (docs/hex.md).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/inspect/scan.h"

namespace apr::inspect {

enum class DamageCause : std::uint8_t {
  Truncated,      // the file ends before the tensor does
  ZeroFill,       // a run of zero bytes
  Constant,       // a run of one other byte
  RepeatedBlock,  // the same block, chunk or row over and over
  Text,           // printable text among weights
  NonFinite,      // NaN or infinity as a weight or a scale
  ScaleOutlier,   // a scale many octaves above all others: a flipped exponent bit
  ValueOutlier,   // the same of a plain float
  Shifted,        // the fields stand some bytes beside their places
  ByteSwapped,    // the bytes of each number are reversed
  RandomBytes,    // every value equally likely: overwritten, encrypted or compressed
  ForeignBytes,   // something else, no weights of this type
  Copy,           // the same bytes as elsewhere in the file
};
inline constexpr std::size_t kDamageCauses = 13;
[[nodiscard]] std::string_view name(DamageCause cause) noexcept;  // "zero_fill"

/// How sure the cause is. Exact: the bytes say it themselves. Strong: the named cause was tried on the bytes and
/// undoing it restores what is usual, or all streams agree. Likely: the range is unusual, the cause is the best of the
/// known ones.
enum class Certainty : std::uint8_t { Likely, Strong, Exact };
[[nodiscard]] std::string_view name(Certainty certainty) noexcept;

struct DamageRange {
  DamageCause cause = DamageCause::ForeignBytes;
  Certainty certainty = Certainty::Likely;
  bool suspicious = true;  // false: noteworthy, but sound models have it, too (zero rows of a padded vocabulary)
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0, size_bytes = 0;
  TensorPlace place;
  std::string evidence;                       // one line with its numbers
  std::optional<std::int64_t> shift_bytes;    // Shifted: data stand this many bytes too far back
  std::optional<std::uint64_t> other_offset;  // Copy: where the same bytes stand
  std::optional<std::size_t> other_tensor;
};

struct DamageReport {
  std::uint64_t n_bytes = 0;        // scanned
  std::uint64_t tensor_bytes = 0;   // of all tensors
  std::vector<DamageRange> ranges;  // by file, then offset
  bool complete = true;             // false: the search stopped at 2000 ranges
  // Of the suspicious ranges:
  std::uint64_t n_suspicious = 0;
  std::uint64_t damaged_bytes = 0;  // a byte counts once
  double share = 0;                 // of tensor_bytes
  std::vector<std::size_t> tensors;
  std::vector<int> layers;
  std::vector<std::size_t> not_scanned;  // tensors: unreadable or overlapping
};

[[nodiscard]] DamageReport damage_report(const format::ModelFile& model, unsigned n_threads,
                                         const ScanProgress& progress);

}  // namespace apr::inspect
