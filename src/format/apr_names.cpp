#include "apr/format/apr_names.h"

#include <algorithm>

namespace apr::format {
namespace {

constexpr LayoutRow kContract[] = {
    {"token_embd.weight", "model.embed_tokens.weight", "H,V", "V,H", false, "row lookup"},
    {"output.weight", "lm_head.weight", "H,V", "V,H", true, "matmul, V outputs"},
    {"blk.{n}.attn_q.weight", "model.layers.{n}.self_attn.q_proj.weight", "H,A", "A,H", false, "matmul, A outputs"},
    {"blk.{n}.attn_k.weight", "model.layers.{n}.self_attn.k_proj.weight", "H,K", "K,H", false, "matmul, K outputs"},
    {"blk.{n}.attn_v.weight", "model.layers.{n}.self_attn.v_proj.weight", "H,K", "K,H", false, "matmul, K outputs"},
    {"blk.{n}.attn_output.weight", "model.layers.{n}.self_attn.o_proj.weight", "A,H", "H,A", false,
     "matmul, H outputs"},
    {"blk.{n}.ffn_gate.weight", "model.layers.{n}.mlp.gate_proj.weight", "H,I", "I,H", false, "matmul, I outputs"},
    {"blk.{n}.ffn_up.weight", "model.layers.{n}.mlp.up_proj.weight", "H,I", "I,H", false, "matmul, I outputs"},
    {"blk.{n}.ffn_down.weight", "model.layers.{n}.mlp.down_proj.weight", "I,H", "H,I", false, "matmul, H outputs"},
    {"blk.{n}.attn_norm.weight", "model.layers.{n}.input_layernorm.weight", "H", "H", false, "element-wise"},
    {"blk.{n}.ffn_norm.weight", "model.layers.{n}.post_attention_layernorm.weight", "H", "H", false, "element-wise"},
    {"output_norm.weight", "model.norm.weight", "H", "H", false, "element-wise"},
};

/// In aprender's name map, though not in its contract.
struct Suffix {
  std::string_view gguf, apr;
};
constexpr Suffix kBesideContract[] = {
    {"attn_q.bias", "self_attn.q_proj.bias"},          {"attn_k.bias", "self_attn.k_proj.bias"},
    {"attn_v.bias", "self_attn.v_proj.bias"},          {"attn_output.bias", "self_attn.o_proj.bias"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"}, {"attn_k_norm.weight", "self_attn.k_norm.weight"},
};
constexpr std::string_view kGgufLayer = "blk.{n}.", kAprLayer = "model.layers.{n}.";

/// "blk.7.attn_q.weight" -> "7" and "attn_q.weight". False for any other name.
bool split_layer(std::string_view name, std::string_view& number, std::string_view& suffix) {
  if (!name.starts_with("blk.")) return false;
  name.remove_prefix(4);
  const std::size_t digits = name.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string_view::npos || name[digits] != '.') return false;
  number = name.substr(0, digits);
  suffix = name.substr(digits + 1);
  return !suffix.empty();
}

/// The suffix of a layer's tensor in APR.
std::string_view apr_suffix(std::string_view suffix) {
  for (const LayoutRow& row : kContract)
    if (row.gguf.starts_with(kGgufLayer) && row.gguf.substr(kGgufLayer.size()) == suffix)
      return row.apr.substr(kAprLayer.size());
  for (const Suffix& row : kBesideContract)
    if (row.gguf == suffix) return row.apr;
  return suffix;
}

}  // namespace

std::span<const LayoutRow> layout_contract() noexcept { return kContract; }

bool apr_renames(std::string_view architecture) noexcept {
  constexpr std::string_view renamed[] = {"qwen", "qwen2", "qwen2.5", "qwen3", "qwen35", "qwen3_5", "qwen3.5"};
  return std::find(std::begin(renamed), std::end(renamed), architecture) != std::end(renamed);
}

std::string apr_name_of(std::string_view architecture, std::string_view gguf_name) {
  if (!apr_renames(architecture)) return std::string(gguf_name);
  std::string_view number, suffix;
  if (split_layer(gguf_name, number, suffix))
    return std::string("model.layers.").append(number).append(".").append(apr_suffix(suffix));
  for (const LayoutRow& row : kContract)
    if (row.gguf == gguf_name) return std::string(row.apr);
  return std::string(gguf_name);
}

}  // namespace apr::format
