// The name contract against the golden models: names both ways, what is required, what is wrong, what is unknown.
#include "apr/inspect/contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "apr/format/apr_names.h"
#include "apr/model/architecture.h"
#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"

namespace apr::inspect {
namespace {

using model::WeightRole;
using test::PlainTensor;
using ::testing::HasSubstr;

constexpr std::string_view kGgufModels[] = {"llama", "qwen2", "qwen3", "gemma3"};

const ContractRow* row_of(const ContractReport& report, WeightRole role) {
  for (const ContractRow& row : report.rows)
    if (row.names.role == role) return &row;
  return nullptr;
}

TEST(Contract, F_HEX_005_NamesOfTheGoldenModelsMapBothWays) {
  for (const std::string_view golden : kGgufModels) {
    SCOPED_TRACE(golden);
    const NameContract contract(golden);
    const auto file = format::open_model(test::golden_folder(golden));
    std::size_t n = 0;
    for (const format::TensorInfo& tensor : file.tensors) {
      const auto names = contract.find(tensor.name);
      ASSERT_TRUE(names) << tensor.name;
      EXPECT_EQ(names->hugging_face, tensor.name);
      EXPECT_EQ(names->gguf, test::gguf_name_of(std::string(tensor.name), golden == "gemma3"));
      EXPECT_EQ(names->apr, format::apr_name_of(golden, names->gguf));
      for (const NameSpace space : {NameSpace::Gguf, NameSpace::HuggingFace, NameSpace::Apr}) {
        const auto back = contract.find(names->in(space));
        ASSERT_TRUE(back) << names->in(space);
        EXPECT_EQ(back->gguf, names->gguf);
        EXPECT_EQ(back->layer, names->layer);
      }
      ++n;
    }
    EXPECT_GT(n, 10U);
  }
}

TEST(Contract, NamesOfMultimodalCheckpointsAndOldAprFilesAreFound) {
  const NameContract contract("gemma3");
  for (const char* name :
       {"language_model.model.layers.7.self_attn.q_proj.weight",
        "model.language_model.layers.7.self_attn.q_proj.weight", "layers.7.self_attn.q_proj.weight"}) {
    const auto names = contract.find(name);
    ASSERT_TRUE(names) << name;
    EXPECT_EQ(names->gguf, "blk.7.attn_q.weight");
    EXPECT_EQ(names->layer, 7U);
  }
  EXPECT_EQ(contract.find("language_model.lm_head.weight")->gguf, "output.weight");
  for (const char* name : {"", ".", "blk..attn_q.weight", "blk.07.attn_q.weight", "blk.4294967296.attn_q.weight",
                           "blk.{}.attn_q.weight", "xblk.1.attn_q.weight", "blk.1.attn_q.weight ", "vision.1.x"})
    EXPECT_FALSE(contract.find(name)) << name;
}

TEST(Contract, TheGoldenModelsHold) {
  const test::TempFolder folder;
  for (const std::string_view golden : kGgufModels) {
    SCOPED_TRACE(golden);
    const std::string path = folder.path(std::string(golden) + ".gguf");
    test::write_golden_gguf(golden, path);
    const auto gguf = format::open_model(path);
    const auto hf = format::open_model(test::golden_folder(golden));
    for (const auto* file : {&gguf, &hf}) {
      const ContractReport report = contract_report(*file);
      EXPECT_TRUE(report.holds()) << (report.problems.empty()
                                          ? ""
                                          : report.problems[0].field + " " + report.problems[0].message);
      EXPECT_EQ(report.not_checked_reason, "");
      EXPECT_TRUE(report.architecture_known);
      EXPECT_TRUE(report.unmapped.empty());
      EXPECT_EQ(report.n_mapped, file->tensors.size());
      EXPECT_EQ(report.style, file == &gguf ? NameSpace::Gguf : NameSpace::HuggingFace);
      const ContractRow* query = row_of(report, WeightRole::AttnQ);
      ASSERT_NE(query, nullptr);
      EXPECT_EQ(query->permuted, golden == "llama");
      EXPECT_EQ(query->names.gguf, "blk.{n}.attn_q.weight");
      EXPECT_EQ(query->shape, "A, H");
      EXPECT_EQ(query->gguf_dims, "H, A");
      EXPECT_EQ(query->n_found, query->n_expected);
      EXPECT_EQ(row_of(report, WeightRole::OutputNorm)->hf_plus, golden == "gemma3" ? 1 : 0);
      const ContractRow* output = row_of(report, WeightRole::Output);
      ASSERT_NE(output, nullptr);
      EXPECT_TRUE(output->critical && output->tied_when_absent);
      EXPECT_EQ(report.output_is_tied, output->n_found == 0);
      EXPECT_EQ(std::count_if(report.rows.begin(), report.rows.end(), [](const auto& r) { return r.critical; }), 1);
    }
  }
}

// Each tensor taken away in turn: the contract misses it exactly when the model cannot be built without it.
TEST(Contract, WhatIsRequiredIsWhatTheArchitecturesAskFor) {
  const test::TempFolder folder;
  for (const std::string_view golden : kGgufModels) {
    std::vector<std::string> names;
    const std::string whole = folder.path("whole.gguf");
    test::write_golden_gguf(golden, whole);
    for (const auto& tensor : format::open_model(whole).tensors) names.emplace_back(tensor.name);
    std::size_t n_required = 0, n_optional = 0;
    for (const std::string& name : names) {
      SCOPED_TRACE(std::string(golden) + " without " + name);
      const std::string path = folder.path("without.gguf");
      test::write_golden_gguf(golden, path, [&name](std::vector<PlainTensor>& tensors) {
        std::erase_if(tensors, [&name](const PlainTensor& t) { return t.name == name; });
      });
      auto file = format::open_model(path);
      const ContractReport report = contract_report(file);
      bool builds = true;
      try {
        (void)model::load_model(std::move(file));
      } catch (const Error& error) {
        EXPECT_EQ(error.code, ErrorCode::ModelLoad);
        builds = false;
      }
      EXPECT_EQ(report.holds(), builds);
      ++(builds ? n_optional : n_required);
      if (builds || report.problems.empty()) continue;
      EXPECT_EQ(report.problems[0].rule, "contract.missing");
      EXPECT_EQ(report.problems[0].field, name);
      EXPECT_EQ(report.problems.size(), 1U);
    }
    EXPECT_GT(n_required, 10U);
  }
}

TEST(Contract, AWrongShapeIsAProblemAndTheOutputIsCritical) {
  const test::TempFolder folder;
  const std::string path = folder.path("m.gguf");
  test::write_golden_gguf("llama", path, [](std::vector<PlainTensor>& tensors) {
    for (PlainTensor& t : tensors) {
      const bool output = t.name == "output.weight";
      if (!output && t.name != "blk.0.ffn_up.weight") continue;
      std::swap(t.shape[0], t.shape[1]);
    }
  });
  const ContractReport report = contract_report(format::open_model(path));
  std::set<std::string> fields;
  for (const ContractProblem& problem : report.problems) {
    EXPECT_EQ(problem.rule, "contract.shape");
    fields.insert(problem.field);
    EXPECT_EQ(problem.critical, problem.field == "output.weight");
    EXPECT_NE(problem.expected, problem.found);
  }
  EXPECT_TRUE(fields.count("blk.0.ffn_up.weight"));
}

TEST(Contract, UnknownNamesAndArchitecturesAreSaidSo) {
  const test::TempFolder folder;
  const std::string path = folder.path("m.gguf");
  test::write_golden_gguf("qwen2", path, [](std::vector<PlainTensor>& tensors) {
    tensors.push_back({"blk.0.surprise.weight", {2}, {1, 2}});
  });
  const auto with_surprise = format::open_model(path);
  const ContractReport report = contract_report(with_surprise);
  EXPECT_TRUE(report.holds()) << "a tensor too many is no breach";
  ASSERT_EQ(report.unmapped.size(), 1U);
  EXPECT_EQ(report.unmapped[0]->name, "blk.0.surprise.weight");
  test::write_model(format::Format::Gguf, path, {{"general.architecture", format::WriteValue::string("mamba")}},
                    {{"blk.0.attn_q.weight", {2}, {1, 2}}, {"blk.0.ssm_a", {2}, {1, 2}}});
  const auto mamba = format::open_model(path);
  const ContractReport unknown = contract_report(mamba);
  EXPECT_FALSE(unknown.architecture_known);
  EXPECT_EQ(unknown.architecture, "mamba");
  EXPECT_THAT(unknown.not_checked_reason, HasSubstr("apr cannot run this architecture"));
  EXPECT_EQ(unknown.n_mapped, 1U);
  EXPECT_EQ(unknown.unmapped.size(), 1U);
  EXPECT_TRUE(unknown.problems.empty());
  for (const ContractRow& row : unknown.rows) EXPECT_FALSE(row.required);
}

TEST(Contract, AprNamesFollowTheArchitecture) {
  EXPECT_EQ(NameContract("qwen2").names(WeightRole::AttnQ).apr, "model.layers.{n}.self_attn.q_proj.weight");
  EXPECT_EQ(NameContract("qwen2").names(WeightRole::AttnQ, 3).apr, "model.layers.3.self_attn.q_proj.weight");
  EXPECT_EQ(NameContract("llama").names(WeightRole::AttnQ, 3).apr, "blk.3.attn_q.weight");
  EXPECT_EQ(NameContract("gemma3").names(WeightRole::FfnNorm, 1).hugging_face,
            "model.layers.1.pre_feedforward_layernorm.weight");
  EXPECT_EQ(NameContract("llama").names(WeightRole::FfnNorm, 1).hugging_face,
            "model.layers.1.post_attention_layernorm.weight");
  EXPECT_EQ(NameContract("llama").names(WeightRole::RopeFreqs).hugging_face, "");
}

}  // namespace
}  // namespace apr::inspect
