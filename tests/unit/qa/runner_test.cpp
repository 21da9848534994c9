// Verdicts, choices of gates and what follows from them.
#include <cmath>
#include <fstream>
#include <limits>

#include "qa_fixture.h"
#include "src/qa/gate.h"
#include "tests/support/paths.h"

namespace apr::qa {
namespace {

using testing::HasSubstr;

using RunnerTest = QaTest;

TEST_F(RunnerTest, AHealthyModelPassesEveryGate) {
  model_.write(path_);
  QaOptions options;
  options.min_tokens_per_s = 1e-6;
  const QaReport report = run_gates(path_, options);
  ASSERT_EQ(report.gates.size(), gates().size());
  for (const GateResult& result : report.gates) {
    EXPECT_TRUE(green(result)) << gates()[static_cast<std::size_t>(result.gate)].name;
    EXPECT_FALSE(result.compared.empty() || result.message.empty()) << all(result);
    for (const Finding& finding : result.findings) EXPECT_NE(finding.severity, Severity::Error) << finding.rule;
  }
  EXPECT_TRUE(report.passed());
  EXPECT_THAT(report.executor, HasSubstr("fast"));
  EXPECT_EQ(report.chat_template, "tokenizer.chat_template");
}

TEST_F(RunnerTest, EveryRowOfTheTableIsInTheDocument) {
  ASSERT_GE(gates().size(), 10U);
  const std::string document = test::read_whole(test::source_dir() + "/docs/gates.md");
  for (const GateInfo& gate : gates()) EXPECT_THAT(document, HasSubstr("| `" + std::string(gate.name) + "` |"));
}

TEST_F(RunnerTest, ASkipIsNoPass) {
  model_.write(path_);
  QaOptions options;
  options.only = {"throughput"};  // without a threshold it measures and judges nothing
  QaReport report = run_gates(path_, options);
  EXPECT_EQ(gate_of(report, "throughput").verdict, Verdict::Skip);
  EXPECT_THAT(gate_of(report, "throughput").message, HasSubstr("tokens/s"));
  EXPECT_EQ(report.count(Verdict::Pass), 0U);
  EXPECT_FALSE(report.passed()) << "nothing was judged";

  options.only = {"container", "throughput"};
  EXPECT_TRUE(run_gates(path_, options).passed());
  options.require = {"throughput"};
  report = run_gates(path_, options);
  EXPECT_FALSE(report.passed()) << "a required gate was skipped";
  EXPECT_TRUE(gate_of(report, "throughput").required);
}

TEST_F(RunnerTest, EveryGateSkippedIsAFailure) {
  model_.write(path_);
  QaOptions options;
  for (const GateInfo& gate : gates()) options.skip.emplace_back(gate.name);
  const QaReport report = run_gates(path_, options);
  EXPECT_EQ(report.count(Verdict::Skip), gates().size());
  EXPECT_FALSE(report.passed());
}

TEST(Verdict, FollowsFromWhatWasCountedAndNoted) {
  GateResult result;
  EXPECT_EQ(verdict_of(result), Verdict::Error) << "nothing was compared";
  EXPECT_EQ(result.message, "nothing was compared");
  result.n_compared = 1;
  EXPECT_EQ(verdict_of(result), Verdict::Pass);
  result.findings.emplace_back().severity = Severity::Warning;
  EXPECT_EQ(verdict_of(result), Verdict::Pass);
  result.findings.emplace_back().message = "broken";
  EXPECT_EQ(verdict_of(result), Verdict::Fail);
  EXPECT_EQ(result.message, "broken");
  result.n_compared = 0;
  EXPECT_EQ(verdict_of(result), Verdict::Fail) << "what is wrong is wrong";
}

TEST_F(RunnerTest, SkippedAndUnchosenGatesSayWhy) {
  model_.write(path_);
  QaOptions options;
  options.skip = {"values"};
  options.only = {"values", "container"};
  EXPECT_THROW(static_cast<void>(run_gates(path_, options)), Error);
  options.only = {"container", "architecture"};
  options.skip = {"tensors"};
  const QaReport report = run_gates(path_, options);
  EXPECT_THAT(gate_of(report, "tensors").message, HasSubstr("--skip"));
  EXPECT_THAT(gate_of(report, "values").message, HasSubstr("--only"));
  EXPECT_TRUE(green(gate_of(report, "architecture")));
}

TEST_F(RunnerTest, RefusesWhatItDoesNotUnderstand) {
  model_.write(path_);
  const auto refusal = [&](QaOptions options) {
    try {
      static_cast<void>(run_gates(path_, options));
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::Usage);
      return error;
    }
    ADD_FAILURE() << "nothing was refused";
    return Error(ErrorCode::Internal, "");
  };
  QaOptions options;
  options.only = {"tensor"};
  EXPECT_EQ(refusal(options).hint, "did you mean tensors?");
  options = {};
  options.require = {"goldn"};
  EXPECT_EQ(refusal(options).hint, "did you mean golden?");
  options = {};
  options.require = options.skip = {"golden"};
  EXPECT_THAT(refusal(options).message, HasSubstr("both"));
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity(), 0.0, -1.0}) {
    options = {};
    options.min_tokens_per_s = bad;
    EXPECT_EQ(refusal(options).field, "--assert-tps");
  }
  options.min_tokens_per_s = 1;
  options.skip = {"throughput"};
  EXPECT_EQ(refusal(options).field, "--assert-tps");
}

TEST_F(RunnerTest, AFileThatCannotBeOpenedFailsTheContainerAndSkipsTheRest) {
  folder_.write("model.gguf", "<!DOCTYPE html><html><body>404</body></html>");
  const QaReport report = run_gates(path_, {});
  EXPECT_TRUE(red(report.gates[0], "qa.container.open"));
  EXPECT_EQ(report.count(Verdict::Skip), gates().size() - 1);
  for (std::size_t i = 1; i < report.gates.size(); ++i)
    EXPECT_THAT(report.gates[i].message, HasSubstr("cannot be opened"));
  EXPECT_FALSE(report.passed());
  path_ = folder_.path("missing.gguf");
  try {
    static_cast<void>(run_gates(path_, {}));
    ADD_FAILURE() << "a missing file is no verdict";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::NotFound);
  }
}

}  // namespace
}  // namespace apr::qa
