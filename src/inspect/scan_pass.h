// The one pass over all data that the entropy report and the damage map are made from.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apr/inspect/scan.h"
#include "src/inspect/scan_window.h"

namespace apr::inspect {

enum WindowFlag : std::uint8_t {
  kScreened = 1,   // a 64-byte chunk repeats, or holds no byte above 0x7F
  kDiverges = 2,   // a stream is not as usual
  kScalesOff = 4,  // many scales are out of their range
  kNotFinite = 8,  // a float may be NaN or infinite: look closely
  kUniform = 16,   // all streams look like dice
};

/// Eight bytes for each window: what is kept of it.
struct WindowRecord {
  std::uint16_t entropy = 0;  // bits per byte, in steps of 1 / kEntropySteps
  std::uint16_t peak = 0;     // plain floats: high bits of the greatest magnitude; else of each scale, a byte each
  std::uint8_t flags = 0;
  std::uint8_t stream = 0;  // that diverges most
  std::uint16_t n_units = 0;
};
inline constexpr double kEntropySteps = 8000;

/// The greatest magnitude of plain floats, or among the six bits of one scale.
[[nodiscard]] inline std::uint32_t peak_of(const WindowRecord& window, const ScanLayout& layout,
                                           std::size_t scale) noexcept {
  return layout.float_bits > 0 ? window.peak : window.peak >> (8 * scale) & 0xFFU;
}

struct GroupScan {
  const TypeInfo* type = nullptr;
  std::string role;
  const ScanLayout* layout = nullptr;
  std::vector<std::size_t> members;  // in ScanData::tensors
  Baseline baseline;
  std::array<std::array<std::array<std::uint64_t, 16>, 2>, kMostStreams> counts{};
  std::array<std::array<std::uint64_t, kScaleSymbols>, kMostScales> scale_counts{};
};

struct TensorScan {
  std::size_t index = 0;  // in ModelFile::tensors
  std::size_t group = 0;
  std::uint32_t file_index = 0;
  ScanTarget target;
  std::uint64_t first_window = 0;  // of its file
  std::vector<WindowRecord> windows;
};

/// The hash of some bytes at a place that their content chose.
struct Anchor {
  std::uint64_t hash = 0;
  std::uint32_t tensor = 0;  // in ScanData::tensors
  std::uint64_t unit = 0;    // block, or 64-byte chunk of a plain type
};

struct ScanData {
  std::vector<std::unique_ptr<ScanLayout>> layouts;
  std::vector<GroupScan> groups;
  std::vector<TensorScan> tensors;       // by file, then offset; none overlaps another
  std::vector<std::size_t> not_scanned;  // in ModelFile::tensors: unreadable, or overlapping another
  std::vector<Anchor> anchors;           // by hash
  std::vector<RegionEntropy> regions;
  std::vector<WindowEntropy> other_windows;  // of regions without tensors
  std::uint64_t n_bytes = 0;
};

/// Bytes of an anchor's unit.
[[nodiscard]] std::uint64_t anchor_unit_bytes(const ScanLayout& layout) noexcept;

[[nodiscard]] ScanData scan_model(const format::ModelFile& model, unsigned n_threads, bool with_anchors,
                                  const ScanProgress& progress);

}  // namespace apr::inspect
