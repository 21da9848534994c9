// Every rule of the gates that run the model turns red by its own damage, of the model or of the executor.
#include <algorithm>
#include <memory>
#include <utility>

#include "qa_fixture.h"
#include "src/qa/answer.h"

namespace apr::qa {
namespace {

using format::WriteValue;
using testing::HasSubstr;

/// An executor with a fault. The rest is the real one.
class FaultyExecutor final : public engine::Executor {
 public:
  using Fault = std::function<void(std::span<const std::int32_t>, std::span<float>)>;
  FaultyExecutor(std::unique_ptr<Executor> real, Fault fault, std::uint64_t wasted_bytes = 0)
      : real_(std::move(real)), fault_(std::move(fault)), waste_(wasted_bytes, 'w') {}
  void forward(std::span<const std::int32_t> tokens, std::uint32_t position, engine::LogitsRequest request,
               std::span<float> logits) override {
    real_->forward(tokens, position, request, logits);
    if (fault_) fault_(tokens, logits);
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "faulty"; }
  [[nodiscard]] const engine::MemoryPlan& memory() const noexcept override { return real_->memory(); }
  [[nodiscard]] const engine::ExecutorOptions& options() const noexcept override { return real_->options(); }
  [[nodiscard]] const model::Plan& plan() const noexcept override { return real_->plan(); }
  void set_observer(engine::OpObserver* observer) noexcept override { real_->set_observer(observer); }

 private:
  std::unique_ptr<Executor> real_;
  Fault fault_;
  std::string waste_;
};

class RunGates : public QaTest {
 protected:
  /// `fault` gets the thread count of the executor that it is in.
  static QaOptions faulty(std::function<FaultyExecutor::Fault(unsigned)> fault) {
    QaOptions options;
    options.make_executor = [fault](const model::Plan& plan, const engine::ExecutorOptions& o) {
      return std::make_unique<FaultyExecutor>(engine::make_fast_executor(plan, o), fault(o.n_threads));
    };
    return options;
  }
};

TEST_F(RunGates, LoadIsRedWhenTheModelDoesNotFit) {
  QaOptions options;
  options.memory_limit_bytes = 1000;
  EXPECT_TRUE(red(run_only("load", options), "qa.load.executor"));
  EXPECT_THAT(run_only("golden", options).message, HasSubstr("cannot be loaded"));
}

TEST_F(RunGates, LoadIsRedWhenMoreMemoryIsTakenThanPlanned) {
  const GateResult sound = run_only("load");
  EXPECT_TRUE(green(sound));
  EXPECT_EQ(sound.n_compared, 2U);
  QaOptions options;
  options.make_executor = [](const model::Plan& plan, const engine::ExecutorOptions& o) {
    return std::make_unique<FaultyExecutor>(engine::make_fast_executor(plan, o), nullptr, 150U << 20);
  };
  EXPECT_TRUE(red(run_only("load", options), "qa.load.memory"));
}

TEST_F(RunGates, DeterminismComparesFourRuns) {
  const GateResult result = run_only("determinism");
  EXPECT_TRUE(green(result));
  EXPECT_EQ(result.n_compared, 4U * 32U * 288U);
}

TEST_F(RunGates, DeterminismIsRedWhenARunDiffersFromTheLast) {
  auto calls = std::make_shared<int>(0);
  const auto drift = [calls](unsigned) -> FaultyExecutor::Fault {
    return [calls](auto, std::span<float> logits) {
      logits[7] = std::nextafter(logits[7], 1e9F * static_cast<float>(*calls % 2 * 2 - 1));
      ++*calls;
    };
  };
  const GateResult result = run_only("determinism", faulty(drift));
  EXPECT_TRUE(red(result, "qa.determinism.bits"));
  EXPECT_THAT(result.message, HasSubstr("the same run again"));
  EXPECT_EQ(result.findings.at(0).field, "position 0, token 7");
}

TEST_F(RunGates, DeterminismIsRedWhenThreadsOrCutsChangeABit) {
  const auto by_threads = [](unsigned n_threads) -> FaultyExecutor::Fault {
    return [n_threads](auto, std::span<float> logits) { logits.back() += n_threads == 1 ? 0.001F : 0; };
  };
  EXPECT_THAT(run_only("determinism", faulty(by_threads)).message, HasSubstr("1 threads instead of 2"));
  const auto by_cut = [](unsigned) -> FaultyExecutor::Fault {
    return [](std::span<const std::int32_t> tokens, std::span<float> logits) {
      logits[0] += tokens.size() == 7 ? 0.001F : 0;
    };
  };
  EXPECT_THAT(run_only("determinism", faulty(by_cut)).message, HasSubstr("pieces of 7"));
}

TEST_F(RunGates, NaNInTheWeightsIsNamedByOpAndLayer) {
  model_.tensor("blk.1.ffn_up.weight").values[99] = NAN;
  for (const char* gate : {"determinism", "golden", "throughput"}) {
    QaOptions options;
    options.min_tokens_per_s = gate == std::string("throughput") ? std::optional(1e-6) : std::nullopt;
    const GateResult result = run_only(gate, options);
    EXPECT_EQ(result.verdict, Verdict::Fail) << gate << all(result);
    ASSERT_FALSE(result.findings.empty()) << gate;
    EXPECT_EQ(result.findings[0].field, "blk.1.ffn_up") << gate;
  }
}

TEST_F(RunGates, GoldenSaysWhatItDidNotJudge) {
  const GateResult result = run_only("golden");
  EXPECT_TRUE(green(result));
  EXPECT_THAT(result.message, HasSubstr("sense was not judged"));
  const auto measured = [&](const std::string& name) {
    for (const Measurement& m : result.measured)
      if (m.name == name) return m.value;
    return std::nan("");
  };
  EXPECT_TRUE(measured("surprise") < measured("surprise_of_chance"));
  EXPECT_EQ(measured("answers_that_end"), 3);
}

TEST_F(RunGates, GoldenIsRedOnALoop) {
  model_.follow('Q', 'Q');
  const GateResult result = run_only("golden");
  EXPECT_TRUE(red(result, "qa.golden.form"));
  EXPECT_EQ(std::ranges::count(result.findings, std::string("qa.golden.form"), &Finding::rule), 3);
}

TEST_F(RunGates, GoldenIsRedOnAnEmptyAnswer) {
  model_.follow('\n', test::BigramModel::kEnd);
  EXPECT_TRUE(red(run_only("golden"), "qa.golden.form"));
}

TEST_F(RunGates, GoldenIsRedWhenTextIsNoBetterThanChance) {
  for (float& v : model_.tensor("output.weight").values) v *= 30;  // sure of everything, and wrong
  EXPECT_TRUE(red(run_only("golden"), "qa.golden.surprise"));
}

TEST_F(RunGates, GoldenWantsWordsAndEndsOfALargeModel) {
  // A vision part of 100 M elements makes it a model that should know.
  model_.write(path_);
  const auto plain = format::open_model(path_);
  const std::string large = folder_.path("large.gguf");
  const auto writer = format::make_writer(format::Format::Gguf, large);
  std::vector<format::WriteEntry> metadata;
  for (const auto& entry : plain.metadata)
    metadata.push_back({std::string(entry.key), WriteValue::copy_of(entry.value)});
  std::vector<format::TensorDecl> declared;
  for (const auto& t : plain.tensors) declared.push_back({std::string(t.name), t.type, t.shape});
  declared.push_back({"v.filling", TensorType::TQ1_0, {400000, 256}});
  writer->begin(metadata, declared);
  for (const auto& t : plain.tensors) {
    writer->write(plain.data(t));
    writer->end_tensor();
  }
  const std::string filling(400000 * 54, '\1');
  writer->write(std::as_bytes(std::span(filling)));
  writer->end_tensor();
  writer->finish();
  path_ = large;
  const GateResult result = run_file("golden");
  EXPECT_TRUE(red(result, "qa.golden.answer"));
  EXPECT_EQ(std::ranges::count(result.findings, std::string("qa.golden.answer"), &Finding::rule), 3);
  EXPECT_THAT(find(result, "qa.golden.answer")->found, HasSubstr("QZX!"));
  const auto never_ends = [](unsigned) -> FaultyExecutor::Fault {
    return [](auto, std::span<float> logits) {
      if (!logits.empty()) logits[logits.size() - 2] = -1e9F;  // <|im_end|>
      if (!logits.empty()) logits.back() = -1e9F;              // <|endoftext|>
    };
  };
  EXPECT_TRUE(red(run_file("golden", faulty(never_ends)), "qa.golden.endless"));
}

TEST_F(RunGates, ThroughputTakesTheThresholdAsGiven) {
  QaOptions options;
  options.min_tokens_per_s = 1e9;
  const GateResult result = run_only("throughput", options);
  EXPECT_TRUE(red(result, "qa.throughput.decode"));
  EXPECT_THAT(result.findings.at(0).expected, HasSubstr("1000000000 tokens/s"));
  options.min_tokens_per_s = 1e-6;
  EXPECT_TRUE(green(run_only("throughput", options)));
  options.n_ctx = 1;
  EXPECT_EQ(run_only("throughput", options).verdict, Verdict::Skip);
}

TEST(Answer, WordsStandAlone) {
  EXPECT_TRUE(contains_word("It is in Paris.", "paris"));
  EXPECT_TRUE(contains_word("7", "7"));
  EXPECT_TRUE(contains_word("17 or (7)", "7"));
  EXPECT_FALSE(contains_word("There are 17 or 72.", "7"));
  EXPECT_FALSE(contains_word("Parisian", "Paris"));
  EXPECT_FALSE(
      contains_word("\xC3\xA9"
                    "cold",
                    "cold"));
  EXPECT_FALSE(contains_word("anything", ""));
  EXPECT_FALSE(contains_word("", "Paris"));
}

TEST(Answer, LoopsAndRunsAreDegenerate) {
  std::vector<std::int32_t> sound;
  for (std::int32_t i = 0; i < 96; ++i) sound.push_back(i % 40);
  EXPECT_EQ(degenerate(sound), "");
  EXPECT_EQ(degenerate(std::vector<std::int32_t>{5}), "");
  EXPECT_NE(degenerate({}), "");
  EXPECT_NE(degenerate(std::vector<std::int32_t>(9, 3)), "");
  EXPECT_EQ(degenerate(std::vector<std::int32_t>(8, 3)), "");
  for (const std::size_t period : {2U, 7U, 16U}) {
    std::vector<std::int32_t> loop = sound;
    for (std::size_t i = 0; i < 48; ++i) loop[48 + i] = static_cast<std::int32_t>(i % period);
    EXPECT_NE(degenerate(loop), "") << period;
    loop[95] = 77;
    EXPECT_EQ(degenerate(loop), "") << period;
  }
}

TEST(Answer, FormOfTheText) {
  EXPECT_EQ(ill_formed("The sea."), "");
  EXPECT_EQ(ill_formed("caf\xC3"), "") << "cut in the last character";
  for (const char* bad : {"", " \n", "a\xC3 b c", "\xEF\xBF\xBD", "<|im_start|>x"})
    EXPECT_NE(ill_formed(bad), "") << bad;
  EXPECT_NE(ill_formed(std::string_view("a\0b", 3)), "");
}

}  // namespace
}  // namespace apr::qa
