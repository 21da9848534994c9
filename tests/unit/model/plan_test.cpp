// Plans: what each architecture lists, its tensors checked by name and shape, and the cost of every op.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "apr/core/error.h"
#include "apr/model/architecture.h"
#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"

namespace apr::model {
namespace {

TEST(Tables, NamesAreUniqueAndEveryRowIsFound) {
  std::set<std::string_view> names;
  for (const OpKind kind : op_kinds()) EXPECT_TRUE(names.insert(name(kind)).second) << name(kind);
  names.clear();
  for (const BrickId brick : bricks()) {
    EXPECT_TRUE(names.insert(name(brick)).second) << name(brick);
    EXPECT_FALSE(group(brick).empty());
  }
  for (const Architecture& arch : architectures()) {
    EXPECT_EQ(find_architecture(arch.name), &arch);
    EXPECT_NE(arch.build, nullptr);
  }
  EXPECT_EQ(find_architecture("LlamaForCausalLM"), find_architecture("mistral"));
  EXPECT_EQ(find_architecture("QWEN3"), find_architecture("qwen3"));
  EXPECT_EQ(find_architecture("gemma3_text")->name, "gemma3");
  for (const char* unknown : {"", "llam", "llama|", "mistral|llama2", "gpt2"})
    EXPECT_EQ(find_architecture(unknown), nullptr);
}

TEST(Plan, EveryOpAndBrickIsUsedBySomeArchitecture) {
  std::set<OpKind> kinds;
  std::set<BrickId> used;
  for (const std::string_view golden : test::kAllGoldenModels) {
    const Model model = load_model(test::golden_folder(golden));
    for (const Op& op : model.plan.ops) {
      kinds.insert(op.kind);
      used.insert(op.brick);
    }
  }
  EXPECT_EQ(kinds.size(), op_kinds().size());
  EXPECT_EQ(used.size(), bricks().size());
}

TEST(Plan, OperandsAreInRangeAndWidthsMatch) {
  for (const std::string_view golden : test::kAllGoldenModels) {
    const Model model = load_model(test::golden_folder(golden));
    const Plan& plan = model.plan;
    const auto width = [&](std::int32_t i) { return plan.values.at(static_cast<std::size_t>(i)).width; };
    bool logits_rows = false;
    for (const Op& op : plan.ops) {
      if (op.in != kNone) EXPECT_EQ(width(op.in), op.n_in) << plan.op_name(op);
      if (op.out != kNone) EXPECT_EQ(width(op.out), op.n_out) << plan.op_name(op);
      if (op.weight != kNone && op.kind == OpKind::MatMul) {
        const Weight& weight = plan.weights.at(static_cast<std::size_t>(op.weight));
        EXPECT_EQ(weight.n_rows, op.n_out);
        EXPECT_EQ(weight.n_cols, op.n_in);
      }
      EXPECT_FALSE(logits_rows && op.rows == RowSet::Tokens) << "rows come back after they were dropped";
      logits_rows = logits_rows || op.rows == RowSet::Logits;
    }
    EXPECT_TRUE(logits_rows);
    EXPECT_EQ(plan.ops.back().out, plan.logits);
    EXPECT_EQ(plan.ops.back().brick, BrickId::LmHead);
    EXPECT_EQ(width(plan.logits), plan.hparams.n_vocab);
  }
}

TEST(Plan, TiedModelsUseTheEmbeddingTwice) {
  const Model tied = load_model(test::golden_folder("qwen2"));
  const Model untied = load_model(test::golden_folder("llama"));
  EXPECT_EQ(tied.plan.ops.back().weight, tied.plan.ops.front().weight);
  EXPECT_NE(untied.plan.ops.back().weight, untied.plan.ops.front().weight);
  EXPECT_EQ(tied.plan.weight_bytes(), tied.file->n_parameters() * 2);  // BF16, each tensor once
}

TEST(Plan, CostsByHand) {
  const Model model = load_model(test::golden_folder("mistral"));  // F32, every layer slides over 5
  const Plan& plan = model.plan;
  const auto op_named = [&](const std::string& wanted) {
    return *std::ranges::find_if(plan.ops, [&](const Op& op) { return plan.op_name(op) == wanted; });
  };
  const Batch batch{.n_tokens = 3, .position = 4, .n_logits = 1, .kv_element_bytes = 2};
  const OpCost embed = plan.cost(op_named("embed"), batch);
  EXPECT_EQ(embed.weight_bytes, 3U * 52 * 4);  // three rows, not the table
  EXPECT_EQ(embed.value_bytes, 3U * 52 * 4);
  const OpCost query = plan.cost(op_named("blk.0.attn_q"), batch);
  EXPECT_EQ(query.weight_bytes, 64U * 52 * 4);
  EXPECT_EQ(query.value_bytes, 3U * (64 + 52) * 4);
  EXPECT_EQ(query.flops, 2U * 3 * 64 * 52);
  const OpCost store = plan.cost(op_named("blk.0.kv_store"), batch);
  EXPECT_EQ(store.kv_bytes, 3U * 2 * 32 * 2);
  // Queries at 4, 5 and 6 see five positions each: 0-4, 1-5, 2-6, that is seven distinct ones.
  const OpCost attention = plan.cost(op_named("blk.0.attn"), batch);
  EXPECT_EQ(attention.kv_bytes, 7U * 2 * 32 * 2);
  EXPECT_EQ(attention.flops, 15U * 4 * (4 * 16 + 5));
  const OpCost early =
      plan.cost(op_named("blk.0.attn"), {.n_tokens = 7, .position = 0, .n_logits = 1, .kv_element_bytes = 4});
  EXPECT_EQ(early.flops, (1U + 2 + 3 + 4 + 5 + 5 + 5) * 4 * (4 * 16 + 5));
  EXPECT_EQ(early.kv_bytes, 7U * 2 * 32 * 4);
  // The head runs on the wanted rows only.
  const OpCost head = plan.cost(op_named("lm_head"), batch);
  EXPECT_EQ(head.weight_bytes, 131U * 52 * 4);
  EXPECT_EQ(head.flops, 2U * 131 * 52);
  EXPECT_EQ(head.bytes(), head.weight_bytes + (131U + 52) * 4);
}

TEST(Plan, AttentionOfAllPositions) {
  const Model model = load_model(test::golden_folder("llama"));
  for (const Op& op : model.plan.ops) {
    if (op.kind != OpKind::Attention) continue;
    const OpCost cost = model.plan.cost(op, {.n_tokens = 2, .position = 10, .n_logits = 1, .kv_element_bytes = 4});
    EXPECT_EQ(cost.kv_bytes, 12U * 2 * 32 * 4);
    EXPECT_EQ(cost.flops, (11U + 12) * 4 * (4 * 16 + 5));
  }
}

/// The golden model with its tensors changed, as an APR file.
std::optional<Error> load_failure(const std::string& golden,
                                  const std::function<void(std::vector<test::PlainTensor>&)>& change) {
  std::vector<test::PlainTensor> tensors = test::plain_tensors(format::open_model(test::golden_folder(golden)));
  change(tensors);
  const test::TempFolder folder;
  const std::string path = folder.path("plan_tensors.apr");
  test::write_golden_apr(golden, path, tensors);
  try {
    (void)load_model(path);
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

void drop(std::vector<test::PlainTensor>& tensors, const std::string& tensor) {
  std::erase_if(tensors, [&](const test::PlainTensor& t) { return t.name == tensor; });
}

TEST(Plan, AMissingTensorIsRefusedByBothItsNames) {
  const std::pair<const char*, const char*> cases[] = {
      {"model.embed_tokens.weight", "token_embd.weight"},
      {"model.norm.weight", "output_norm.weight"},
      {"model.layers.1.self_attn.k_proj.weight", "blk.1.attn_k.weight"},
      {"model.layers.0.self_attn.v_proj.bias", "blk.0.attn_v.bias"},
      {"model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight"},
  };
  for (const auto& [hf, gguf] : cases) {
    const std::string tensor = hf;
    const auto error = load_failure("qwen2", [&](auto& tensors) { drop(tensors, tensor); });
    ASSERT_TRUE(error) << hf;
    EXPECT_EQ(error->code, ErrorCode::ModelLoad);
    EXPECT_EQ(error->field, std::string("tensor ") + gguf);
    EXPECT_NE(error->expected.find(hf), std::string::npos) << error->what();
  }
  EXPECT_TRUE(load_failure("qwen3", [](auto& t) { drop(t, "model.layers.0.self_attn.q_norm.weight"); }));
  EXPECT_TRUE(load_failure("gemma3", [](auto& t) { drop(t, "model.layers.6.post_feedforward_layernorm.weight"); }));
  EXPECT_FALSE(load_failure("qwen2", [](auto&) {}));
  EXPECT_FALSE(load_failure("llama", [](auto& t) { drop(t, "lm_head.weight"); }));  // tied instead
}

TEST(Plan, AWrongShapeIsRefusedWithBothShapes) {
  const auto error = load_failure("qwen2", [](auto& tensors) {
    for (test::PlainTensor& t : tensors) {
      if (t.name == "model.layers.1.mlp.gate_proj.weight") std::swap(t.shape[0], t.shape[1]);
    }
  });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::ModelLoad);
  EXPECT_EQ(error->expected, "[90, 64]");
  EXPECT_EQ(error->found, "[64, 90]");
  EXPECT_NE(error->field.find("gate_proj"), std::string::npos);
  EXPECT_TRUE(error->offset.has_value());
}

TEST(Plan, NamesWithOtherPrefixesAreFound) {
  for (const char* prefix : {"", "language_model.model.", "model.language_model."}) {
    EXPECT_FALSE(load_failure("qwen3", [&](auto& tensors) {
      for (test::PlainTensor& t : tensors) t.name = test::replaced(t.name, "model.", prefix);
    })) << prefix;
  }
}

TEST(Plan, RopeFactorsMustBeFiniteAndAboveZero) {
  const test::TempFolder folder;
  const std::string path = folder.path("plan_rope.gguf");
  for (const float factor : {0.0F, -1.0F, NAN, INFINITY}) {
    test::write_golden_gguf("llama", path, [&](std::vector<test::PlainTensor>& tensors) {
      for (test::PlainTensor& t : tensors) {
        if (t.name == "rope_freqs.weight") t.values[3] = factor;
      }
    });
    try {
      (void)load_model(path);
      ADD_FAILURE() << factor;
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::ModelLoad);
      EXPECT_EQ(error.field, "tensor rope_freqs.weight");
    }
  }
}

}  // namespace
}  // namespace apr::model
