// Two model files compared, whatever their formats: metadata, tensors by name and by contract, bytes and values.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/model_file.h"

namespace apr::inspect {

/// An entry that only one file has, or that differs. Values as text, cut; nothing: the file has no such key.
struct MetadataDiff {
  std::string key;
  std::optional<std::string> a, b;
};

/// How the values of two tensors of one shape differ. Elements count in the order of the first file; where rows are
/// permuted, in that of the Hugging Face one.
struct ValueDiff {
  std::string not_compared_reason;  // not empty: nothing below was computed
  std::uint64_t n_elements = 0;
  std::uint64_t n_different = 0;
  std::uint64_t n_not_finite = 0;  // elements where one of the two is NaN or infinite and they differ
  /// Sum of squared differences over the sum of squares of the first file. Nothing where an element is not finite, or
  /// where the first file is all zero and the second is not.
  std::optional<double> nmse;
  double largest = 0;            // |a - b| of finite elements
  std::uint64_t largest_at = 0;  // element
  double a_at_largest = 0, b_at_largest = 0;
};

/// Stored bytes of two tensors of one type and size.
struct ByteDiff {
  std::uint64_t n_bytes = 0, n_different = 0;
  std::uint64_t first_different = 0;  // in the tensor
  std::uint64_t n_blocks = 0, n_blocks_different = 0;
  std::uint64_t first_block = 0;
};

struct TensorDiff {
  std::string name_a, name_b;
  const format::TensorInfo* a = nullptr;
  const format::TensorInfo* b = nullptr;
  bool renamed = false;           // paired by the name contract
  bool permuted = false;          // rows of query or key are in another order
  double plus_a = 0, plus_b = 0;  // added to the values of a file before comparing (norms of Gemma)
  bool type_changed = false, shape_changed = false;
  std::optional<ByteDiff> bytes;    // same type and size, and stored in the same order
  std::optional<ValueDiff> values;  // when the bytes differ or cannot be compared
  [[nodiscard]] bool same_values() const noexcept;
  /// The same name, type, shape and bytes.
  [[nodiscard]] bool same() const noexcept;
};

struct DiffReport {
  std::vector<MetadataDiff> metadata;  // those that differ, by key
  std::uint64_t n_metadata_same = 0;
  std::vector<TensorDiff> tensors;  // pairs that differ in anything, in the order of the first file
  std::uint64_t n_same = 0;         // pairs that do not
  std::vector<const format::TensorInfo*> only_in_a, only_in_b;
  std::uint64_t bytes_compared = 0;
  std::string format_a, format_b;
  /// No difference in metadata, names, types, shapes or bytes.
  [[nodiscard]] bool equal() const noexcept {
    return metadata.empty() && tensors.empty() && only_in_a.empty() && only_in_b.empty();
  }
};

struct DiffOptions {
  unsigned n_threads = 1;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes of the first file
};
/// Reads each file once. Polls check_interrupted(). The result does not depend on the number of threads.
[[nodiscard]] DiffReport diff(const format::ModelFile& a, const format::ModelFile& b, const DiffOptions& options = {});

}  // namespace apr::inspect
