// Runs gates on a model that a test made.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "apr/qa/qa.h"
#include "tests/support/bigram_model.h"
#include "tests/support/json_builder.h"

namespace apr::qa {

class QaTest : public testing::Test {
 protected:
  test::TempFolder folder_;
  test::BigramModel model_;
  std::string path_ = folder_.path("model.gguf");

  /// Writes model_ and runs one gate on it.
  GateResult run_only(std::string_view gate, QaOptions options = {}) {
    model_.write(path_);
    return run_file(gate, std::move(options));
  }
  GateResult run_file(std::string_view gate, QaOptions options = {}) {
    options.only = {std::string(gate)};
    if (options.n_threads == 0) options.n_threads = 2;
    return gate_of(run_gates(path_, options), gate);
  }
  static GateResult gate_of(const QaReport& report, std::string_view name) {
    for (const GateResult& result : report.gates)
      if (gates()[static_cast<std::size_t>(result.gate)].name == name) return result;
    ADD_FAILURE() << "no gate " << name;
    return {};
  }
  static const Finding* find(const GateResult& result, std::string_view rule) {
    for (const Finding& finding : result.findings)
      if (finding.rule == rule) return &finding;
    return nullptr;
  }
  static std::string all(const GateResult& result) {
    std::string text = std::string(name(result.verdict)) + ": " + result.message;
    for (const Finding& f : result.findings)
      text += "\n  " + std::string(apr::name(f.severity)) + " " + f.rule + ": " + to_error(f).what();
    return text;
  }
  /// The gate failed, by an error of that rule.
  static testing::AssertionResult red(const GateResult& result, std::string_view rule) {
    const Finding* finding = find(result, rule);
    if (result.verdict == Verdict::Fail && finding != nullptr && finding->severity == Severity::Error &&
        result.n_compared > 0)
      return testing::AssertionSuccess();
    return testing::AssertionFailure() << "not red by " << rule << ", but " << all(result);
  }
  static testing::AssertionResult green(const GateResult& result) {
    if (result.verdict == Verdict::Pass && result.n_compared > 0) return testing::AssertionSuccess();
    return testing::AssertionFailure() << all(result);
  }
};

}  // namespace apr::qa
