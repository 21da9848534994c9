// Every element of every tensor. What counts as wrong is decided here; what is there is counted by diag::scan_values.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "apr/core/text.h"
#include "apr/core/thread_pool.h"
#include "apr/diag/values.h"
#include "gate.h"

namespace apr::qa {
namespace {

/// No weight of a published model that was surveyed for this limit exceeded about 1000.
constexpr float kLargestWeight = 1e6F;
/// A tensor whose largest element is below this scales nothing: what a swapped byte order leaves of most types.
constexpr float kSmallestPeak = 1e-20F;
/// Zeros in a row that no training leaves in a matrix: the size of a lost disk page, 4 KiB, in F32.
constexpr std::uint64_t kLongestZeroRun = 1024;
/// Powers of two without a single element below the largest ones. Tails of healthy tensors are without such gaps; a
/// flipped top bit of an exponent moves a value by 16 (F16) or 128 (F32, BF16) of them. Vectors are short, so more may
/// be missing by chance.
constexpr int kWidestGap = 6, kWidestVectorGap = 10;

struct Judge {
  GateRun& run;
  const format::ModelFile& file;
  const format::TensorInfo& tensor;
  const diag::ValueScan& scan;

  Finding& note(Severity severity, std::string rule, std::string message, std::optional<std::uint64_t> element,
                std::string found) const {
    Finding& finding = run.add(severity, "qa.values." + std::move(rule), std::move(message));
    finding.file = file.files[tensor.file_index]->path();
    finding.tensor = tensor.name;
    finding.offset = tensor.offset;
    if (element) {
      const diag::ElementPlace place = diag::place_of(tensor, *element);
      finding.offset = place.offset;
      finding.field = fmt::format("block[{}]", place.block);
    }
    finding.found = std::move(found);
    return finding;
  }
  [[nodiscard]] bool is_matrix() const { return tensor.shape.size() >= 2; }
  [[nodiscard]] bool has(std::string_view part) const { return tensor.name.find(part) != std::string_view::npos; }
  /// Rows stand for tokens: those of unused tokens may be zero or alike.
  [[nodiscard]] bool rows_are_tokens() const {
    return has("embd") || has("embed_tokens") || has("lm_head") || tensor.name == "output.weight";
  }
  [[nodiscard]] std::uint64_t row_start(std::uint64_t row) const { return row * (scan.n_elements / scan.n_rows); }

  void not_finite() const;
  void scale() const;
  void sameness() const;
  void rows() const;
};

void Judge::not_finite() const {
  for (const auto& [what, count] : {std::pair{"NaN", &scan.nan}, std::pair{"infinities", &scan.inf}}) {
    if (count->count == 0) continue;
    const std::string scale = diag::bad_scale(file, tensor, diag::place_of(tensor, count->first).block);
    Finding& finding =
        note(Severity::Error, what[0] == 'N' ? "nan" : "inf", fmt::format("the tensor holds {}", what), count->first,
             fmt::format("{} of {} elements in {} blocks, the first at element {}{}", count->count, scan.n_elements,
                         scan.bad_blocks.count, count->first, scale.empty() ? "" : "; " + scale + " there"));
    finding.expected = "finite numbers";
  }
}

/// Elements that are too large, too small, or far above all others.
void Judge::scale() const {
  if (scan.largest > kLargestWeight) {
    note(Severity::Error, "extreme", "a value is larger than any weight", scan.largest_at,
         fmt::format("{:g} at element {}", scan.largest, scan.largest_at))
        .expected = fmt::format("at most {:g}", kLargestWeight);
    return;
  }
  if (scan.largest > 0 && scan.largest < kSmallestPeak) {
    note(Severity::Error, "vanishing", "every value is as good as zero", scan.largest_at,
         fmt::format("largest {:g}", scan.largest))
        .expected = fmt::format("a largest value of at least {:g}", kSmallestPeak);
    return;
  }
  // The topmost gap in the exponents, and how many elements lie above it.
  const int widest = is_matrix() ? kWidestGap : kWidestVectorGap;
  std::uint64_t above = 0;
  int last = -1;
  for (int e = 255; e >= 0; --e) {
    const std::uint64_t n = scan.exponents[static_cast<std::size_t>(e)];
    if (n == 0) continue;
    if (last >= 0 && last - e - 1 >= widest && above <= std::max<std::uint64_t>(1, scan.n_elements / 1000)) {
      note(Severity::Error, "isolated", "values far above all others", scan.largest_at,
           fmt::format("{} of {} elements up to {:g} (element {}), and none in the {} powers of two below them", above,
                       scan.n_elements, scan.largest, scan.largest_at, last - e - 1))
          .expected = fmt::format("fewer than {} powers of two without an element", widest);
      return;
    }
    if (std::ldexp(1.0, e - 127) < static_cast<double>(scan.largest) / 4096) return;  // the bulk is reached
    above += n;
    last = e;
  }
}

void Judge::sameness() const {
  if (scan.n_elements < 2) return;
  if (scan.n_zero == scan.n_elements) {
    const bool may_be_zero = tensor.name.ends_with(".bias");
    note(may_be_zero ? Severity::Warning : Severity::Error, "all_zero", "every element is zero", 0,
         fmt::format("{} elements", scan.n_elements));
  } else if (scan.min == scan.max && scan.nan.count + scan.inf.count == 0) {
    note(is_matrix() ? Severity::Error : Severity::Warning, "constant", "every element has the same value", 0,
         fmt::format("{:g}", scan.min));
  } else if (is_matrix() && scan.longest_zero_run >= kLongestZeroRun) {
    note(rows_are_tokens() ? Severity::Warning : Severity::Error, "zero_run", "a stretch of the tensor is zero",
         scan.zero_run_at, fmt::format("{} zeros from element {} on", scan.longest_zero_run, scan.zero_run_at))
        .expected = fmt::format("fewer than {} in a row", kLongestZeroRun);
  }
}

void Judge::rows() const {
  if (scan.n_rows < 2 || scan.constant_rows.count == scan.n_rows || scan.n_zero == scan.n_elements) return;
  const Severity severity = rows_are_tokens() ? Severity::Warning : Severity::Error;
  const bool wide = tensor.shape.back() >= 32;  // short rows may agree by chance
  const auto tell = [&](std::string rule, std::string message, const diag::Occurrences& rows) {
    if (rows.count == 0 || !wide) return;
    note(severity, std::move(rule), std::move(message), row_start(rows.first),
         fmt::format("{} of {} rows, the first is row {}", rows.count, scan.n_rows, rows.first));
  };
  tell("constant_rows", "rows hold one value only", scan.constant_rows);
  tell("repeated_rows", "rows equal the row before them", scan.repeated_rows);
}

}  // namespace

void run_gate_Values(GateRun& run) {
  run.of("elements");
  if (std::string line = run.subject.lacks_file(); !line.empty()) return run.skip(std::move(line));
  const format::ModelFile& file = *run.subject.sound_file();
  const QaOptions& options = run.subject.options();
  ThreadPool pool(options.n_threads == 0 ? available_cpus() : options.n_threads);
  std::uint64_t total = 0, done = 0, n_elements = 0;
  for (const format::TensorInfo& tensor : file.tensors) total += tensor.size_bytes;
  float largest = 0;
  for (const format::TensorInfo& tensor : file.tensors) {
    const diag::ValueScan scan = diag::scan_values(file, tensor, pool);
    const Judge judge{run, file, tensor, scan};
    if (!scan.unread_reason.empty()) {
      judge.note(Severity::Error, "unread", "a tensor cannot be decoded", std::nullopt, scan.unread_reason);
    } else {
      judge.not_finite();
      judge.scale();
      judge.sameness();
      judge.rows();
    }
    run.compared(scan.n_elements);
    n_elements += scan.n_elements;
    largest = std::max(largest, scan.largest);
    done += tensor.size_bytes;
    if (options.progress) options.progress(done, total);
  }
  run.note(
      fmt::format("{} tensors, {} elements, largest {:.4g}", file.tensors.size(), human_count(n_elements), largest));
}

}  // namespace apr::qa
