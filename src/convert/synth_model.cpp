#include "src/convert/synth_model.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace apr::convert {
namespace {

// Which architectures have a row.
enum Condition : unsigned { Always, Qwen2Only, HasQkNorm, GemmaOnly, NotGemma };

bool holds(Condition condition, const SynthPreset& preset) {
  const bool gemma = preset.arch == "gemma3";
  switch (condition) {
    case Always: return true;
    case Qwen2Only: return preset.arch == "qwen2";
    case HasQkNorm: return gemma || preset.arch == "qwen3";
    case GemmaOnly: return gemma;
    case NotGemma: return !gemma;
  }
  return false;
}

// H hidden, F feed-forward, Q all query heads, K all key (or value) heads, D one head.
enum class Dim : std::uint8_t { None, H, F, Q, K, D };

std::int64_t size_of(Dim dim, const SynthPreset& p) {
  switch (dim) {
    case Dim::H: return p.n_hidden;
    case Dim::F: return p.n_ffn;
    case Dim::Q: return std::int64_t{p.n_heads} * p.head_dim;
    case Dim::K: return std::int64_t{p.n_kv_heads} * p.head_dim;
    case Dim::D: return p.head_dim;
    case Dim::None: break;
  }
  return 0;
}

// The tensors of one layer, ordered by published name. Names: gguf-py/gguf/constants.py and tensor_mapping.py.
struct LayerRow {
  Role role;
  const char* gguf;
  const char* hf;
  Dim rows, columns;
  Condition condition;
};
constexpr LayerRow kLayerRows[] = {
    {Role::AttnNorm, "attn_norm.weight", "input_layernorm.weight", Dim::None, Dim::H, Always},
    {Role::FfnDown, "ffn_down.weight", "mlp.down_proj.weight", Dim::H, Dim::F, Always},
    {Role::FfnGate, "ffn_gate.weight", "mlp.gate_proj.weight", Dim::F, Dim::H, Always},
    {Role::FfnUp, "ffn_up.weight", "mlp.up_proj.weight", Dim::F, Dim::H, Always},
    {Role::FfnNorm, "ffn_norm.weight", "post_attention_layernorm.weight", Dim::None, Dim::H, NotGemma},
    {Role::AttnPostNorm, "post_attention_norm.weight", "post_attention_layernorm.weight", Dim::None, Dim::H, GemmaOnly},
    {Role::FfnPostNorm, "post_ffw_norm.weight", "post_feedforward_layernorm.weight", Dim::None, Dim::H, GemmaOnly},
    {Role::FfnNorm, "ffn_norm.weight", "pre_feedforward_layernorm.weight", Dim::None, Dim::H, GemmaOnly},
    {Role::AttnKNorm, "attn_k_norm.weight", "self_attn.k_norm.weight", Dim::None, Dim::D, HasQkNorm},
    {Role::AttnKBias, "attn_k.bias", "self_attn.k_proj.bias", Dim::None, Dim::K, Qwen2Only},
    {Role::AttnK, "attn_k.weight", "self_attn.k_proj.weight", Dim::K, Dim::H, Always},
    {Role::AttnOutput, "attn_output.weight", "self_attn.o_proj.weight", Dim::H, Dim::Q, Always},
    {Role::AttnQNorm, "attn_q_norm.weight", "self_attn.q_norm.weight", Dim::None, Dim::D, HasQkNorm},
    {Role::AttnQBias, "attn_q.bias", "self_attn.q_proj.bias", Dim::None, Dim::Q, Qwen2Only},
    {Role::AttnQ, "attn_q.weight", "self_attn.q_proj.weight", Dim::Q, Dim::H, Always},
    {Role::AttnVBias, "attn_v.bias", "self_attn.v_proj.bias", Dim::None, Dim::K, Qwen2Only},
    {Role::AttnV, "attn_v.weight", "self_attn.v_proj.weight", Dim::K, Dim::H, Always},
};

bool is_norm(Role role) {
  switch (role) {
    case Role::OutputNorm:
    case Role::AttnNorm:
    case Role::AttnQNorm:
    case Role::AttnKNorm:
    case Role::AttnPostNorm:
    case Role::FfnNorm:
    case Role::FfnPostNorm: return true;
    default: return false;
  }
}

}  // namespace

std::vector<SynthTensor> synth_tensors(const SynthPreset& p) {
  const std::int64_t hidden = p.n_hidden;
  std::vector<SynthTensor> named;
  named.push_back({Role::TokenEmbd, -1, "token_embd.weight", "model.embed_tokens.weight", {p.n_vocab, hidden}});
  named.push_back({Role::OutputNorm, -1, "output_norm.weight", "model.norm.weight", {hidden}});
  if (!p.tied) named.push_back({Role::Output, -1, "output.weight", "lm_head.weight", {p.n_vocab, hidden}});
  for (int layer = 0; layer < static_cast<int>(p.n_layers); ++layer) {
    const std::string number = std::to_string(layer);
    for (const LayerRow& row : kLayerRows) {
      if (!holds(row.condition, p)) continue;
      std::vector<std::int64_t> shape;
      if (row.rows != Dim::None) shape.push_back(size_of(row.rows, p));
      shape.push_back(size_of(row.columns, p));
      named.push_back(
          {row.role, layer, "blk." + number + "." + row.gguf, "model.layers." + number + "." + row.hf, shape});
    }
  }
  std::ranges::sort(named, {}, &SynthTensor::hf_name);
  if (p.rope_scaling > 0.0) {
    named.insert(named.begin(), {Role::RopeFreqs, -1, "rope_freqs.weight", "", {std::int64_t{p.head_dim} / 2}});
  }
  return named;
}

void sort_as_quantized(std::vector<SynthTensor>& tensors) {
  std::ranges::sort(tensors, {}, [](const SynthTensor& t) { return std::tie(t.layer, t.gguf_name); });
}

Spread spread_of(const SynthPreset& p, const SynthTensor& tensor) {
  const double by_input = 1.0 / std::sqrt(static_cast<double>(tensor.n_columns()));
  Spread s;
  s.row_spread = tensor.is_matrix() ? 0.15 : 0.0;
  s.column_spread = tensor.is_matrix() ? 0.15 : 0.0;
  const auto outliers = [&s](bool rows, double factor) {
    (rows ? s.outlier_rows : s.outlier_columns) = true;
    s.outlier_factor = factor;
  };
  switch (tensor.role) {
    case Role::TokenEmbd:
      s.deviation = 0.02;
      s.row_spread = 0.05;  // a row much longer than the others would win every tied output
      outliers(false, 2.0);
      break;
    case Role::Output: s.deviation = by_input; break;
    case Role::AttnQ:
    case Role::AttnK: s.deviation = 1.2 * by_input; break;
    case Role::AttnV:
    case Role::FfnGate:
    case Role::FfnUp: s.deviation = by_input; break;
    case Role::AttnOutput:
    case Role::FfnDown:
      s.deviation = 0.7 * by_input;
      outliers(true, 4.0);
      break;
    case Role::AttnQBias: s.deviation = 0.5; break;
    case Role::AttnKBias: s.deviation = 2.0; break;
    case Role::AttnVBias: s.deviation = 0.05; break;
    default: break;
  }
  if (is_norm(tensor.role)) {
    // Gemma scales its embeddings by sqrt(hidden); its post-norms are larger in turn, or the input token would win.
    s.mean = tensor.role == Role::AttnPostNorm || tensor.role == Role::FfnPostNorm ? 3.0 : 1.0;
    s.deviation = 0.15 * s.mean;
    // The norms take back part of what the outlier channels add; those inside a head have no such channel.
    if (tensor.n_columns() == p.n_hidden) outliers(false, 0.4);
  }
  return s;
}

std::vector<float> llama3_rope_factors(const SynthPreset& p) {
  constexpr double kTwoPi = 6.283185307179586;
  constexpr double kLowFreqFactor = 1.0, kHighFreqFactor = 4.0;  // of all published llama 3.x configurations
  const double longest = p.rope_orig_context / kLowFreqFactor, shortest = p.rope_orig_context / kHighFreqFactor;
  // base^(2 / head_dim) by square roots (head_dim is a power of two): unlike pow, sqrt is the same on every machine.
  double step = p.rope_base;
  for (std::uint32_t d = p.head_dim; d > 2; d /= 2) step = std::sqrt(step);
  std::vector<float> factors;
  double inverse_freq = 1.0;
  for (std::uint32_t i = 0; i < p.head_dim / 2; ++i, inverse_freq *= step) {
    const double wavelength = kTwoPi * inverse_freq;
    double divisor = 1.0;
    if (wavelength > longest) {
      divisor = p.rope_scaling;
    } else if (wavelength >= shortest) {
      const double smooth = (p.rope_orig_context / wavelength - kLowFreqFactor) / (kHighFreqFactor - kLowFreqFactor);
      divisor = 1.0 / ((1.0 - smooth) / p.rope_scaling + smooth);
    }
    factors.push_back(static_cast<float>(divisor));
  }
  return factors;
}

std::int64_t gguf_row_of(const SynthPreset& p, const SynthTensor& tensor, std::int64_t row) noexcept {
  if (p.arch != "llama" || (tensor.role != Role::AttnQ && tensor.role != Role::AttnK)) return row;
  const std::int64_t head = row / p.head_dim, within = row % p.head_dim, half = p.head_dim / 2;
  return head * p.head_dim + 2 * (within % half) + within / half;
}

}  // namespace apr::convert
