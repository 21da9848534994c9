// Is a model file fit to be released? Gates, each of which compares something and can fail. Nothing is printed here.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/executor.h"

namespace apr::qa {

/// Rows: gates.def.
enum class Gate : std::uint8_t {
#define APR_QA_GATE(symbol, name, compares) symbol,
#include "apr/qa/gates.def"
#undef APR_QA_GATE
};
struct GateInfo {
  Gate gate;
  std::string_view name, compares;
};
[[nodiscard]] std::span<const GateInfo> gates() noexcept;

/// Pass: something was compared and nothing is wrong. Skip is never a pass. Error: the gate itself could not do its
/// work, or compared nothing.
enum class Verdict : std::uint8_t { Pass, Fail, Skip, Error };
[[nodiscard]] std::string_view name(Verdict verdict) noexcept;  // "pass", ...

/// A number that a gate took.
struct Measurement {
  std::string name, unit;
  double value = 0;
};

struct GateResult {
  Gate gate = Gate::Container;
  Verdict verdict = Verdict::Error;
  std::string message;           // one line: what was found, or why it did not run
  std::uint64_t n_compared = 0;  // comparisons that were made
  std::string compared;          // of what
  std::vector<Measurement> measured;
  std::vector<Finding> findings;  // what is wrong (severity Error turns the gate red) or odd
  double seconds = 0;
  bool required = false;  // --require: a skip is as bad as a failure
  [[nodiscard]] bool good() const noexcept {
    return verdict == Verdict::Pass || (verdict == Verdict::Skip && !required);
  }
};

using MakeExecutor =
    std::function<std::unique_ptr<engine::Executor>(const model::Plan&, const engine::ExecutorOptions&)>;

struct QaOptions {
  std::vector<std::string> only, skip, require;   // names of gates; all must exist
  std::optional<double> min_tokens_per_s;         // finite and above 0: taken as it is
  unsigned n_threads = 0;                         // 0: available_cpus()
  std::uint32_t n_ctx = 0;                        // 0: as `apr run` chooses it
  TensorType kv_type = TensorType::F16;           // of the fast executor's cache
  std::uint64_t memory_limit_bytes = 0;           // 0: what is free
  std::optional<std::int64_t> local_time;         // for templates that print the date
  MakeExecutor make_executor;                     // empty: the fast executor, which production uses
  std::function<void(const GateInfo&)> starting;  // before each gate that runs
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes, of the values gate
};

struct QaReport {
  std::optional<std::uint64_t> size_bytes;  // nothing: the file could not be opened
  std::string format;                       // empty: likewise
  std::string executor;                     // "fast avx2"; empty when none was made
  std::string chat_template;                // where it comes from; empty when there is none
  std::vector<GateResult> gates;            // every row of gates.def, in its order
  [[nodiscard]] std::uint64_t count(Verdict verdict) const noexcept;
  /// All good, and at least one gate passed.
  [[nodiscard]] bool passed() const noexcept;
};

/// Runs the gates on a model. Throws Usage (an unknown gate, with the nearest name; a gate both wanted and skipped;
/// thresholds out of range), NotFound and Io (the file cannot be read), Interrupted. Everything else is a verdict.
[[nodiscard]] QaReport run_gates(const std::string& path, const QaOptions& options);

}  // namespace apr::qa
