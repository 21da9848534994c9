// What cannot be right in the values of a tensor, and where it stands. One pass over the data, in bounded memory.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "apr/core/thread_pool.h"
#include "apr/format/model_file.h"

namespace apr::diag {

/// How often something occurs, and the first time: an index of an element in storage order, of a block, or of a row.
struct Occurrences {
  std::uint64_t count = 0;
  std::uint64_t first = 0;
  void add(std::uint64_t index) noexcept { first = count++ == 0 ? index : first; }
  /// What `later` counted comes behind what this one did.
  void append(const Occurrences& later) noexcept {
    if (count == 0) first = later.first;
    count += later.count;
  }
};

/// Facts, no verdicts. Elements are those of the storage order: the padding of a last block counts.
struct ValueScan {
  std::string unread_reason;  // not empty: the tensor could not be decoded, and nothing below was computed
  std::uint64_t n_elements = 0;
  Occurrences nan, inf;    // elements
  Occurrences bad_blocks;  // blocks that hold any of them
  std::uint64_t n_zero = 0;
  float min = 0, max = 0;                               // of the finite elements; 0 when there is none
  float largest = 0;                                    // |x|, finite
  std::uint64_t largest_at = 0;                         // element
  std::array<std::uint64_t, 256> exponents{};           // finite elements but zeros, by the exponent field of their f32
  std::uint64_t longest_zero_run = 0, zero_run_at = 0;  // elements next to each other that are exactly 0

  // Rows of a matrix; n_rows is 0 for vectors, and for rows of more than 8 MiB.
  std::uint64_t n_rows = 0;
  Occurrences zero_rows;      // every element 0
  Occurrences constant_rows;  // every element the same, but not 0
  Occurrences repeated_rows;  // stored bytes equal to the row before, but not zero_rows
};

/// Where an element is stored.
struct ElementPlace {
  std::uint64_t block = 0;   // index in the tensor; the element's own for plain types
  std::uint64_t offset = 0;  // of the block in its file
};
[[nodiscard]] ElementPlace place_of(const format::TensorInfo& tensor, std::uint64_t element) noexcept;
/// "scale d is NaN": the first scale of a block that is not finite; empty when all are, or the type has none.
[[nodiscard]] std::string bad_scale(const format::ModelFile& model, const format::TensorInfo& tensor,
                                    std::uint64_t block);

/// Reads one tensor on all threads of the pool. The result does not depend on their number. Polls check_interrupted().
[[nodiscard]] ValueScan scan_values(const format::ModelFile& model, const format::TensorInfo& tensor, ThreadPool& pool);

}  // namespace apr::diag
