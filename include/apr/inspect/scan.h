// Every byte of a model file, looked at once: entropy by region and by field, and what does not look like its
// neighbours.
//
// Entropy here is that of nibbles: H(high half) + H(low half), in bits per byte. It is 0 for one repeated byte, at most
// 8, and never below the entropy of bytes; the two are equal where the halves are independent, as the two codes of a
// 4-bit type are. Every byte is counted, none is sampled.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/model_file.h"

namespace apr::inspect {

using ScanProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

inline constexpr std::uint64_t kWindowBytes = 4096;  // windows start at multiples of it in the file

/// A place in a tensor: the blocks (elements of a plain type) and rows that a byte range touches.
struct TensorPlace {
  std::size_t tensor = 0;  // in ModelFile::tensors
  std::uint64_t first_block = 0, last_block = 0;
  std::uint64_t first_row = 0, last_row = 0;
};
[[nodiscard]] TensorPlace place_in_tensor(const format::ModelFile& model, std::size_t tensor, std::uint64_t offset,
                                          std::uint64_t size_bytes);

struct RegionEntropy {
  std::string name;
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0, size_bytes = 0;
  std::uint64_t n_windows = 0;      // a window counts where it starts; a region inside one window has one
  double bits_per_byte = 0;         // of all its bytes together
  double lowest = 0, highest = 0;   // of its windows
  std::uint64_t lowest_offset = 0;  // window with the lowest
};

/// A field of all tensors of one type and role: "ffn_down" of every layer.
struct FieldEntropy {
  std::string type, role, field;
  std::uint64_t n_tensors = 0, n_bytes = 0;
  double bits_per_byte = 0;  // all of it together; of a float scale: of its sign and high exponent bits, at most 6
  std::optional<double>
      usual;  // of the baseline: the median of windows spread over the tensors; nothing: all are too small
};

enum class AnomalyKind : std::uint8_t { Uniform, Repeats, LowBits, Diverges, Scales, NonFinite };
[[nodiscard]] std::string_view name(AnomalyKind kind) noexcept;

/// Neighbouring windows that differ from the baseline of their type and role.
struct Anomaly {
  AnomalyKind kind = AnomalyKind::Diverges;
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0, size_bytes = 0;
  std::uint64_t n_windows = 0;
  double bits_per_byte = 0;  // lowest of the windows
  double usual = 0;          // of the windows of its tensor: the median
  std::string field;         // that differs most; empty: the whole window
  TensorPlace place;
};

/// What of a region lies in one window.
struct WindowEntropy {
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0;
  double bits_per_byte = 0;
  std::optional<std::size_t> tensor;  // in ModelFile::tensors; nothing: another region
  bool stands_out = false;            // part of an anomaly
};

struct EntropyReport {
  std::uint64_t n_bytes = 0;  // counted
  std::vector<RegionEntropy> regions;
  std::vector<FieldEntropy> fields;
  std::vector<Anomaly> anomalies;      // by file and offset
  std::vector<WindowEntropy> windows;  // when asked for; by file and offset; of a tensor in steps of 1/8000 bit
};

/// One pass over every byte.
[[nodiscard]] EntropyReport entropy_report(const format::ModelFile& model, unsigned n_threads,
                                           const ScanProgress& progress, bool with_windows = false);

}  // namespace apr::inspect
