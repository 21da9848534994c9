// Which gates run, in which order, and what verdict follows from what they noted.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <new>

#include "apr/core/file.h"
#include "apr/core/text.h"
#include "gate.h"

namespace apr::qa {
namespace {

constexpr GateInfo kGates[] = {
#define APR_QA_GATE(symbol, name, compares) {Gate::symbol, name, compares},
#include "apr/qa/gates.def"
#undef APR_QA_GATE
};
using GateFunction = void (*)(GateRun&);
constexpr GateFunction kFunctions[] = {
#define APR_QA_GATE(symbol, name, compares) run_gate_##symbol,
#include "apr/qa/gates.def"
#undef APR_QA_GATE
};

bool listed(const std::vector<std::string>& names, std::string_view gate) {
  return std::find(names.begin(), names.end(), gate) != names.end();
}

void check_names(const std::vector<std::string>& names, const char* option) {
  std::vector<std::string_view> known;
  for (const GateInfo& gate : kGates) known.push_back(gate.name);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const auto near = nearest(name, known, 1);
    throw Error(ErrorCode::Usage, "unknown gate")
        .in(option)
        .want(fmt::format("{}", fmt::join(known, ", ")))
        .got(name)
        .help(near.empty() ? "" : fmt::format("did you mean {}?", near.front()));
  }
}

void check_options(const QaOptions& options) {
  check_names(options.only, "--only");
  check_names(options.skip, "--skip");
  check_names(options.require, "--require");
  for (const GateInfo& gate : kGates) {
    const std::string name(gate.name);
    if (!listed(options.skip, name)) continue;
    for (const auto& [names, option] : {std::pair{&options.only, "--only"}, std::pair{&options.require, "--require"}})
      if (listed(*names, name))
        throw Error(ErrorCode::Usage, fmt::format("a gate is both wanted ({}) and skipped", option))
            .in("--skip")
            .got(name);
  }
  if (options.min_tokens_per_s && !(std::isfinite(*options.min_tokens_per_s) && *options.min_tokens_per_s > 0)) {
    throw Error(ErrorCode::Usage, "the threshold is out of range")
        .in("--assert-tps")
        .want("a finite number above 0")
        .got(fmt::format("{}", *options.min_tokens_per_s));
  }
  if (options.min_tokens_per_s &&
      (listed(options.skip, "throughput") || (!options.only.empty() && !listed(options.only, "throughput")))) {
    throw Error(ErrorCode::Usage, "a threshold for a gate that does not run")
        .in("--assert-tps")
        .got("gate throughput not chosen");
  }
}

/// Whose fault a failure inside a gate is: the model's (the gate fails), or the tool's or the machine's (an error).
bool is_the_models(ErrorCode code) {
  return code == ErrorCode::InvalidFormat || code == ErrorCode::ValidationFailed || code == ErrorCode::ModelLoad ||
         code == ErrorCode::Inference;
}

void run_one(const GateInfo& gate, Subject& subject, GateResult& result) {
  const auto start = std::chrono::steady_clock::now();
  GateRun run(subject, result);
  std::optional<std::string> broken;
  try {
    kFunctions[static_cast<std::size_t>(gate.gate)](run);
  } catch (const Error& error) {
    if (error.code == ErrorCode::Interrupted || error.code == ErrorCode::NotFound || error.code == ErrorCode::Io) throw;
    if (is_the_models(error.code)) {
      run.fail(fmt::format("qa.{}.failed", gate.name), error);
    } else {
      broken = error.what();
    }
  } catch (const std::bad_alloc&) {
    broken = "out of memory";
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (broken) {
    result.verdict = Verdict::Error;
    result.message = "the gate could not do its work: " + *broken;
  } else if (!run.skipped()) {
    result.verdict = verdict_of(result);
  }
}

}  // namespace

std::span<const GateInfo> gates() noexcept { return kGates; }

std::string_view name(Verdict verdict) noexcept {
  constexpr std::string_view kNames[] = {"pass", "fail", "skip", "error"};
  return kNames[static_cast<std::size_t>(verdict)];
}

std::uint64_t QaReport::count(Verdict verdict) const noexcept {
  return static_cast<std::uint64_t>(
      std::count_if(gates.begin(), gates.end(), [&](const GateResult& g) { return g.verdict == verdict; }));
}

bool QaReport::passed() const noexcept {
  return count(Verdict::Pass) > 0 &&
         std::all_of(gates.begin(), gates.end(), [](const GateResult& g) { return g.good(); });
}

Verdict verdict_of(GateResult& result) {
  const auto worst = std::find_if(result.findings.begin(), result.findings.end(),
                                  [](const Finding& f) { return f.severity == Severity::Error; });
  if (worst != result.findings.end()) {
    const auto n = std::count_if(result.findings.begin(), result.findings.end(),
                                 [](const Finding& f) { return f.severity == Severity::Error; });
    result.message = worst->message;
    if (!worst->tensor.empty()) result.message += ": " + worst->tensor;
    if (n > 1) result.message += fmt::format(" (and {} more)", n - 1);
    return Verdict::Fail;
  }
  if (result.n_compared > 0) return Verdict::Pass;
  result.message = "nothing was compared";
  return Verdict::Error;
}

void GateRun::skip(std::string reason) {
  result_.verdict = Verdict::Skip;
  result_.message = std::move(reason);
}

Finding& GateRun::add(Severity severity, std::string rule, std::string message) {
  Finding& finding = result_.findings.emplace_back();
  finding.rule = std::move(rule);
  finding.severity = severity;
  finding.message = std::move(message);
  finding.file = subject.path();
  return finding;
}

Finding& GateRun::fail(std::string rule, const Error& error) {
  Finding& finding = fail(std::move(rule), error.message);
  if (!error.file.empty()) finding.file = error.file;
  finding.offset = error.offset;
  finding.field = error.field;
  finding.expected = error.expected;
  finding.found = error.found;
  finding.hint = error.hint;
  return finding;
}

QaReport run_gates(const std::string& path, const QaOptions& options) {
  check_options(options);
  QaReport report;
  Subject subject(path, options);
  if (const auto& file = subject.file(); file.value) {
    report.size_bytes = file.value->total_bytes();
    report.format = format::name(file.value->format);
  }
  for (const GateInfo& gate : kGates) {
    check_interrupted();
    GateResult& result = report.gates.emplace_back();
    result.gate = gate.gate;
    result.required = listed(options.require, gate.name);
    result.verdict = Verdict::Skip;
    if (listed(options.skip, gate.name)) {
      result.message = "left out by --skip";
    } else if (!options.only.empty() && !listed(options.only, gate.name)) {
      result.message = "not among --only";
    } else {
      result.verdict = Verdict::Error;
      if (options.starting) options.starting(gate);
      run_one(gate, subject, result);
    }
    if (subject.has_executor()) report.executor = subject.executor().value->get()->name();
  }
  if (const std::string* name = subject.template_name()) report.chat_template = *name;
  if (const auto& file = subject.file(); file.value) file.value->check_intact();
  return report;
}

}  // namespace apr::qa
