// What a gate is: a function that compares, counts its comparisons and notes what is wrong. The runner draws the
// verdict.
#pragma once
#include <string>
#include <string_view>

#include "apr/qa/qa.h"
#include "subject.h"

namespace apr::qa {

/// Handed to a gate. A gate cannot say that it passed: that follows from the count and from what it noted.
class GateRun {
 public:
  GateRun(Subject& model, GateResult& result) : subject(model), result_(result) {}
  Subject& subject;

  void compared(std::uint64_t count = 1) noexcept { result_.n_compared += count; }
  /// What the count counts.
  void of(std::string what) { result_.compared = std::move(what); }
  /// What a pass says.
  void note(std::string message) { result_.message = std::move(message); }
  void measure(std::string name, double value, std::string unit) {
    result_.measured.push_back({std::move(name), std::move(unit), value});
  }
  /// Ends as a skip, whatever was counted before.
  void skip(std::string reason);
  [[nodiscard]] bool skipped() const noexcept { return result_.verdict == Verdict::Skip; }

  /// Notes what is wrong; severity Error fails the gate.
  Finding& add(Severity severity, std::string rule, std::string message);
  Finding& fail(std::string rule, std::string message) {
    return add(Severity::Error, std::move(rule), std::move(message));
  }
  /// A failure of a layer below as what is wrong.
  Finding& fail(std::string rule, const Error& error);

 private:
  GateResult& result_;
};

/// What follows from what a gate counted and noted; sets the message of a failure and of an error.
[[nodiscard]] Verdict verdict_of(GateResult& result);

#define APR_QA_GATE(symbol, name, compares) void run_gate_##symbol(GateRun& run);
#include "apr/qa/gates.def"
#undef APR_QA_GATE

}  // namespace apr::qa
