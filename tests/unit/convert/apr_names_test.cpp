// GGUF names and metadata keys inside APR files.
#include "apr/convert/apr_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace apr::convert {
namespace {

TEST(AprNames, TheContractHasTwelveRowsAndIsWalked) {
  ASSERT_EQ(layout_contract().size(), 12U);
  int critical = 0;
  for (const LayoutRow& row : layout_contract()) {
    std::string gguf(row.gguf), apr(row.apr);
    if (const auto at = gguf.find("{n}"); at != std::string::npos) gguf.replace(at, 3, "27");
    if (const auto at = apr.find("{n}"); at != std::string::npos) apr.replace(at, 3, "27");
    EXPECT_EQ(apr_name_of("qwen2", gguf), apr);
    std::string reversed(row.gguf_shape.rbegin(), row.gguf_shape.rend());
    EXPECT_EQ(reversed, row.apr_shape) << row.gguf << ": the shape is read backwards, the bytes never move";
    critical += row.critical ? 1 : 0;
    if (row.critical) EXPECT_EQ(row.apr, "lm_head.weight");
  }
  EXPECT_EQ(critical, 1);
}

TEST(AprNames, RowsOfTheContract) {
  const std::pair<const char*, const char*> rows[] = {
      {"token_embd.weight", "model.embed_tokens.weight"},
      {"output.weight", "lm_head.weight"},
      {"output_norm.weight", "model.norm.weight"},
      {"blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"},
      {"blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight"},
      {"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"},
      {"blk.12.attn_output.weight", "model.layers.12.self_attn.o_proj.weight"},
      {"blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight"},
      {"blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight"},
      {"blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"},
      {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
      {"blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"},
      {"blk.3.attn_q.bias", "model.layers.3.self_attn.q_proj.bias"},
      {"blk.3.attn_k.bias", "model.layers.3.self_attn.k_proj.bias"},
      {"blk.3.attn_v.bias", "model.layers.3.self_attn.v_proj.bias"},
      {"blk.3.attn_output.bias", "model.layers.3.self_attn.o_proj.bias"},
      {"blk.3.attn_q_norm.weight", "model.layers.3.self_attn.q_norm.weight"},
      {"blk.3.attn_k_norm.weight", "model.layers.3.self_attn.k_norm.weight"},
      {"blk.3.ffn_gate_inp.weight", "model.layers.3.ffn_gate_inp.weight"},
      {"rope_freqs.weight", "rope_freqs.weight"},
  };
  for (const auto& [gguf, apr] : rows)
    for (const char* arch : {"qwen2", "qwen3"}) EXPECT_EQ(apr_name_of(arch, gguf), apr);
}

TEST(AprNames, OtherArchitecturesKeepGgufNames) {
  for (const char* arch : {"llama", "gemma3", "phi3", "mamba", ""})
    for (const LayoutRow& row : layout_contract()) EXPECT_EQ(apr_name_of(arch, row.gguf), row.gguf);
}

TEST(AprNames, WhatOnlyLooksLikeALayerStays) {
  for (const char* name :
       {"blk.", "blk.1", "blk.1.", "blk.x.attn_q.weight", "blk..attn_q.weight", "blk.-1.attn_q.weight", ""})
    EXPECT_EQ(apr_name_of("qwen2", name), name);
}

}  // namespace
}  // namespace apr::convert
