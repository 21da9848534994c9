// How the values of tensors are distributed: exact moments, extremes with their places, entropies, a histogram. Every
// element is read; nothing is sampled. Memory does not grow with the tensors.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apr/diag/moments.h"
#include "apr/format/model_file.h"

namespace apr::inspect {

/// An element and where its code stands.
struct ExtremePlace {
  std::size_t tensor = 0;           // in ModelFile::tensors
  std::uint64_t element = 0;        // row-major
  std::vector<std::int64_t> index;  // outermost first
  std::uint64_t offset = 0;         // of the block that holds it
  double value = 0;
};

struct Histogram {
  double low = 0, high = 0;           // the extremes of the finite values: bin i is [low + i w, low + (i + 1) w)
  std::vector<std::uint64_t> counts;  // the last bin holds `high`, too
};

/// Of the finite elements of one tensor or several, decoded to f32; sums are in double.
struct Distribution {
  std::string label;  // the tensor's name, a role, or "all tensors"
  std::vector<std::size_t> tensors;
  std::vector<std::string> types;  // of the tensors, each once
  std::uint64_t n_elements = 0, size_bytes = 0;
  diag::Moments moments;                // count, NaN, Inf, zeros, extremes, central moments
  std::optional<ExtremePlace> abs_max;  // nothing: no finite value
  double value_entropy = 0;             // of the upper 16 bits of the f32 values (their bf16), in bits: 0 to 16
  std::optional<double>
      code_entropy;        // of the quant codes, in bits; nothing: the types store no codes, or several kinds
  unsigned code_bits = 0;  // how many a code has: the most that its entropy can be
  std::optional<Histogram> histogram;  // when it was asked for and there is a finite value
  struct Unread {
    std::size_t tensor;
    std::string reason;
  };
  std::vector<Unread> unread;  // tensors that could not be decoded; they count in nothing above

  [[nodiscard]] double std_deviation() const;
  /// Third standardised moment; nothing without spread.
  [[nodiscard]] std::optional<double> skewness() const;
  /// Fourth standardised moment - 3: 0 for a normal distribution. Nothing without spread.
  [[nodiscard]] std::optional<double> excess_kurtosis() const;
};

struct DistributionOptions {
  unsigned n_threads = 1;
  std::uint32_t bins = 0;  // of the histogram; 0: none, which saves the second pass
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes
};

/// One distribution over all elements of the tensors. The result does not depend on the number of threads. Polls
/// check_interrupted().
[[nodiscard]] Distribution distribution_of(const format::ModelFile& model, std::string label,
                                           std::vector<std::size_t> tensors, const DistributionOptions& options);
/// One distribution per tensor.
[[nodiscard]] std::vector<Distribution> distributions(const format::ModelFile& model,
                                                      const std::vector<std::size_t>& tensors,
                                                      const DistributionOptions& options);

/// A role and its tensors: those of equal name but for the layer number.
struct RoleGroup {
  std::string role;  // "blk.*.ffn_up.weight"
  std::vector<std::size_t> tensors;
};
/// The roles that a word selects: the whole role, or whole components of it in a row ("ffn_up", "ffn_up.weight").
/// Throws ValidationFailed with the nearest roles when none does.
[[nodiscard]] std::vector<RoleGroup> select_roles(const format::ModelFile& model, const std::string& word);
/// The tensors that a name or glob, or a role selects, in file order; all without either. Throws Usage when both are
/// given.
[[nodiscard]] std::vector<std::size_t> chosen_tensors(const format::ModelFile& model,
                                                      const std::optional<std::string>& pattern,
                                                      const std::optional<std::string>& role);

}  // namespace apr::inspect
