// Every rule of the gates that look at the file turns red by its own damage: container, architecture, tensors.
#include "qa_fixture.h"

namespace apr::qa {
namespace {

using format::WriteValue;
using testing::HasSubstr;
using FileGates = QaTest;

TEST_F(FileGates, ContainerIsRedOnATruncatedFile) {
  model_.write(path_);
  const std::string bytes = test::read_whole(path_);
  folder_.write("model.gguf", std::string_view(bytes).substr(0, bytes.size() - 1000));
  const GateResult result = run_file("container");
  EXPECT_EQ(result.verdict, Verdict::Fail) << all(result);
  EXPECT_GT(result.n_compared, 0U);
  const QaReport report = run_gates(path_, {});
  EXPECT_EQ(report.count(Verdict::Fail), 1U);
  EXPECT_THAT(gate_of(report, "values").message, HasSubstr("breaks the rules of its format"));
}

TEST_F(FileGates, ContainerIsRedWithoutTensors) {
  model_.tensors.clear();
  EXPECT_TRUE(red(run_only("container"), "qa.container.tensors"));
}

TEST_F(FileGates, ArchitectureIsRedByEachRule) {
  const auto red_with = [&](const char* key, WriteValue value) {
    model_ = {};
    model_.set(key, std::move(value));
    const GateResult result = run_only("architecture");
    EXPECT_EQ(result.verdict, Verdict::Fail) << key << " " << all(result);
    ASSERT_FALSE(result.findings.empty());
    EXPECT_EQ(result.findings[0].field, key);
  };
  red_with("llama.attention.head_count_kv", WriteValue::u32(3));
  red_with("llama.rope.freq_base", WriteValue::f32(0));
  red_with("llama.rope.freq_base", WriteValue::f32(NAN));
  red_with("llama.attention.layer_norm_rms_epsilon", WriteValue::f32(0.5F));
  red_with("general.architecture", WriteValue::string("mamba"));
  red_with("llama.block_count", WriteValue::u32(0));
}

TEST_F(FileGates, TensorsNamesAllThatAreMissing) {
  model_.drop_tensor("blk.0.ffn_up.weight");
  model_.drop_tensor("blk.1.attn_q.weight");
  const GateResult result = run_only("tensors");
  EXPECT_TRUE(red(result, "qa.tensors.contract"));
  ASSERT_EQ(result.findings.size(), 2U) << all(result);
  EXPECT_EQ(result.findings[0].tensor, "blk.0.ffn_up.weight");
  EXPECT_EQ(result.findings[1].tensor, "blk.1.attn_q.weight");
  EXPECT_THAT(result.findings[1].expected, HasSubstr("[320, 320]"));
}

TEST_F(FileGates, TensorsIsRedOnAWrongShape) {
  model_.tensor("blk.1.ffn_gate.weight").shape = {320, 64};
  const GateResult result = run_only("tensors");
  EXPECT_TRUE(red(result, "qa.tensors.contract"));
  EXPECT_EQ(result.findings.at(0).expected, "[64, 320]");
  EXPECT_EQ(result.findings.at(0).found, "[320, 64]");
  EXPECT_TRUE(result.findings.at(0).offset.has_value());
}

TEST_F(FileGates, TensorsIsRedOnATensorThatNothingReads) {
  auto extra = model_.tensor("blk.1.attn_norm.weight");
  extra.name = "blk.1.attn_sinks.weight";
  model_.tensors.push_back(extra);
  const GateResult result = run_only("tensors");
  EXPECT_TRUE(red(result, "qa.tensors.extra"));
  EXPECT_EQ(result.findings.at(0).tensor, "blk.1.attn_sinks.weight");
  extra.name = "v.blk.0.ln1.weight";  // a part of the file that is not the text model
  model_.tensors.back() = extra;
  EXPECT_TRUE(green(run_only("tensors")));
}

TEST_F(FileGates, TensorsIsRedOnATypeThatHoldsNoNumbers) {
  model_.write(path_);
  std::string bytes = test::read_whole(path_);
  const std::string name = "blk.0.attn_norm.weight";
  const std::size_t type = bytes.find(name) + name.size() + 4 + 8;  // behind the rank and one dimension
  ASSERT_EQ(bytes[type], 0);
  bytes[type] = 26;  // I32: as wide as F32
  folder_.write("model.gguf", bytes);
  const GateResult result = run_file("tensors");
  EXPECT_TRUE(red(result, "qa.tensors.contract"));
  EXPECT_EQ(result.findings.at(0).found, "I32");
}

TEST_F(FileGates, ATiedOutputIsNoMissingTensor) {
  model_.drop_tensor("output.weight");
  const GateResult result = run_only("tensors");
  EXPECT_TRUE(green(result));
  EXPECT_THAT(result.message, HasSubstr("tied"));
}

TEST_F(FileGates, RopeFactorsAreJudgedWithTheOthers) {
  test::PlainTensor factors{"rope_freqs.weight", {16}, std::vector<float>(16, 1)};
  factors.values[3] = 0;
  model_.tensors.push_back(factors);
  EXPECT_TRUE(red(run_only("tensors"), "qa.tensors.contract"));
  model_.tensors.back().shape = {8};
  model_.tensors.back().values.resize(8);
  model_.drop_tensor("output_norm.weight");
  EXPECT_EQ(run_only("tensors").findings.size(), 2U) << "the wrong shape does not hide what is missing";
}

}  // namespace
}  // namespace apr::qa
