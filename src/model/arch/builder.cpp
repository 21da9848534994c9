#include "builder.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

#include "apr/core/bytes.h"
#include "apr/core/error.h"

namespace apr::model {
namespace {

/// The factors of rope_freqs.weight, one for each pair; nothing where the file has no such tensor.
std::vector<float> read_rope_factors(const WeightSource& source, std::uint32_t n_rot) {
  const std::array<std::int64_t, 1> shape = {n_rot / 2};
  const std::optional<Weight> tensor = source.optional(WeightRole::RopeFreqs, 0, shape);
  if (!tensor || tensor->bytes.empty()) return {};  // without bytes: wrong in shape or type, and noted
  const auto refuse = [&](std::string rule, std::string expected, std::string found) {
    return Error(ErrorCode::ModelLoad, std::move(rule))
        .at(source.file().path, tensor->tensor->offset)
        .in("tensor rope_freqs.weight")
        .want(std::move(expected))
        .got(std::move(found));
  };
  if (tensor->type != TensorType::F32) {
    throw refuse("the factors of the rotation must be plain numbers", "F32", std::string(apr::name(tensor->type)));
  }
  std::vector<float> factors(n_rot / 2);
  for (std::size_t i = 0; i < factors.size(); ++i) {
    factors[i] = load<float>(tensor->bytes.data() + i * sizeof(float));
    if (!(factors[i] > 0) || !std::isfinite(factors[i])) {
      throw refuse("a factor of the rotation must be a finite number above 0", "> 0", std::to_string(factors[i]));
    }
  }
  return factors;
}

/// What transformers' rope type "llama3" divides a frequency by.
double llama3_factor(const RopeParams& p, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = p.original_context;
  if (wavelength < context / p.high_freq_factor) return 1;
  if (wavelength > context / p.low_freq_factor) return p.factor;
  const double smooth = (context / wavelength - p.low_freq_factor) / (p.high_freq_factor - p.low_freq_factor);
  return 1 / ((1 - smooth) / p.factor + smooth);
}

}  // namespace

Rope make_rope(const RopeParams& params, double base, bool scaled, const std::vector<float>& factors) {
  Rope rope{params.layout, static_cast<std::int32_t>(params.n_rot), {}};
  for (std::uint32_t i = 0; i < params.n_rot / 2; ++i) {
    double frequency = std::pow(base, -2.0 * i / params.n_rot);
    if (scaled && params.scaling == RopeScaling::Llama3) frequency /= llama3_factor(params, frequency);
    if (scaled && params.scaling == RopeScaling::Linear) frequency /= params.factor;
    if (i < factors.size()) frequency /= static_cast<double>(factors[i]);
    rope.inverse_freq.push_back(frequency);
  }
  return rope;
}

PlanBuilder::PlanBuilder(const HParams& hparams, const WeightSource& weights, bool gemma_norms)
    : h_(hparams), source_(weights), norm_plus_(gemma_norms ? 1.0F : 0.0F) {
  plan_.hparams = hparams;
  x_ = value("x", h_.n_embd);
  y_ = value("y", h_.n_embd);
  q_ = value("q", h_.q_width());
  k_ = value("k", h_.kv_width());
  v_ = value("v", h_.kv_width());
  attended_ = value("attended", h_.q_width());
  gate_ = value("gate", h_.n_ffn);
  up_ = value("up", h_.n_ffn);
  plan_.logits = value("logits", h_.n_vocab);
  plan_.ropes.push_back(make_rope(h_.rope, h_.rope.base, true, read_rope_factors(source_, h_.rope.n_rot)));
  if (h_.rope.local_base > 0) plan_.ropes.push_back(make_rope(h_.rope, h_.rope.local_base, false, {}));
}

std::int32_t PlanBuilder::value(const char* text, std::int64_t width) {
  plan_.values.push_back({text, width});
  return static_cast<std::int32_t>(plan_.values.size()) - 1;
}

std::int32_t PlanBuilder::weight(Weight&& weight) {
  plan_.weights.push_back(std::move(weight));
  return static_cast<std::int32_t>(plan_.weights.size()) - 1;
}

Op& PlanBuilder::add(OpKind kind, BrickId brick, std::int32_t layer) {
  Op& op = plan_.ops.emplace_back();
  op.kind = kind;
  op.brick = brick;
  op.layer = layer;
  op.rows = rows_selected_ ? RowSet::Logits : RowSet::Tokens;
  return op;
}

void PlanBuilder::embed(float scale) {
  const std::array<std::int64_t, 2> shape = {h_.n_vocab, h_.n_embd};
  embedding_ = weight(source_.require(WeightRole::TokenEmbd, 0, shape));
  Op& op = add(OpKind::Embed, BrickId::Embed, kNone);
  op.weight = embedding_;
  op.out = x_;
  op.n_out = h_.n_embd;
  op.scale = scale;
}

void PlanBuilder::norm_op(WeightRole role, BrickId brick, std::int32_t layer, std::int32_t in, std::int32_t out) {
  const std::array<std::int64_t, 1> shape = {width(in)};
  Weight tensor = source_.require(role, static_cast<std::uint32_t>(std::max(layer, 0)), shape);
  if (source_.style(*tensor.tensor) == NameStyle::HuggingFace) tensor.plus = norm_plus_;
  const std::int32_t index = weight(std::move(tensor));
  Op& op = add(OpKind::RmsNorm, brick, layer);
  op.weight = index;
  op.in = in;
  op.out = out;
  op.n_in = op.n_out = width(in);
  op.eps = static_cast<float>(h_.rms_eps);
}

void PlanBuilder::norm(WeightRole role, BrickId brick, std::int32_t layer) { norm_op(role, brick, layer, x_, y_); }

void PlanBuilder::post_norm(WeightRole role, BrickId brick, std::int32_t layer) { norm_op(role, brick, layer, y_, y_); }

std::int32_t PlanBuilder::bias(WeightRole role, std::int32_t layer, std::int32_t value, bool required) {
  const std::array<std::int64_t, 1> shape = {width(value)};
  const auto at = static_cast<std::uint32_t>(layer);
  if (required) return weight(source_.require(role, at, shape));
  std::optional<Weight> tensor = source_.optional(role, at, shape);
  return tensor ? weight(*std::move(tensor)) : kNone;
}

void PlanBuilder::mat_mul(WeightRole role, BrickId brick, std::int32_t layer, std::int32_t in, std::int32_t out,
                          std::int32_t bias) {
  const std::array<std::int64_t, 2> shape = {width(out), width(in)};
  const std::int32_t index = weight(source_.require(role, static_cast<std::uint32_t>(layer), shape));
  Op& op = add(OpKind::MatMul, brick, layer);
  op.weight = index;
  op.bias = bias;
  op.in = in;
  op.out = out;
  op.n_in = width(in);
  op.n_out = width(out);
}

void PlanBuilder::qkv(std::int32_t layer, bool bias_required) {
  mat_mul(WeightRole::AttnQ, BrickId::AttnQ, layer, y_, q_, bias(WeightRole::AttnQBias, layer, q_, bias_required));
  mat_mul(WeightRole::AttnK, BrickId::AttnK, layer, y_, k_, bias(WeightRole::AttnKBias, layer, k_, bias_required));
  mat_mul(WeightRole::AttnV, BrickId::AttnV, layer, y_, v_, bias(WeightRole::AttnVBias, layer, v_, bias_required));
}

void PlanBuilder::head_norm(WeightRole role, BrickId brick, std::int32_t layer, std::int32_t value,
                            std::uint32_t n_heads) {
  const std::array<std::int64_t, 1> shape = {h_.head_dim};
  Weight tensor = source_.require(role, static_cast<std::uint32_t>(layer), shape);
  if (source_.style(*tensor.tensor) == NameStyle::HuggingFace) tensor.plus = norm_plus_;
  const std::int32_t index = weight(std::move(tensor));
  Op& op = add(OpKind::RmsNorm, brick, layer);
  op.weight = index;
  op.in = op.out = value;
  op.n_in = op.n_out = width(value);
  op.n_heads = static_cast<std::int32_t>(n_heads);
  op.head_dim = static_cast<std::int32_t>(h_.head_dim);
  op.eps = static_cast<float>(h_.rms_eps);
}

void PlanBuilder::qk_norm(std::int32_t layer) {
  head_norm(WeightRole::AttnQNorm, BrickId::AttnQNorm, layer, q_, h_.n_heads);
  head_norm(WeightRole::AttnKNorm, BrickId::AttnKNorm, layer, k_, h_.n_kv_heads);
}

void PlanBuilder::attention(std::int32_t layer) {
  const bool slides = h_.slides(static_cast<std::uint32_t>(layer));
  const auto head_dim = static_cast<std::int32_t>(h_.head_dim);
  for (const auto& [value, n_heads] : {std::pair{q_, h_.n_heads}, std::pair{k_, h_.n_kv_heads}}) {
    Op& op = add(OpKind::Rope, BrickId::Rope, layer);
    op.in = op.out = value;
    op.n_in = op.n_out = width(value);
    op.n_heads = static_cast<std::int32_t>(n_heads);
    op.head_dim = head_dim;
    op.rope = slides && plan_.ropes.size() > 1 ? 1 : 0;
  }
  Op& store = add(OpKind::StoreKv, BrickId::KvStore, layer);
  store.in = k_;
  store.in2 = v_;
  store.n_in = width(k_);
  store.n_kv_heads = static_cast<std::int32_t>(h_.n_kv_heads);
  store.head_dim = head_dim;
  Op& attend = add(OpKind::Attention, BrickId::Attn, layer);
  attend.in = q_;
  attend.out = attended_;
  attend.n_in = attend.n_out = width(q_);
  attend.n_heads = static_cast<std::int32_t>(h_.n_heads);
  attend.n_kv_heads = static_cast<std::int32_t>(h_.n_kv_heads);
  attend.head_dim = head_dim;
  attend.window = slides ? h_.sliding_window : 0;
  attend.scale = static_cast<float>(h_.attn_scale);
}

void PlanBuilder::select_rows(std::int32_t layer) {
  if (static_cast<std::uint32_t>(layer) + 1 != h_.n_layers) return;
  rows_selected_ = true;
  for (const std::int32_t value : {x_, attended_}) {
    Op& op = add(OpKind::SelectRows, BrickId::SelectRows, layer);
    op.in = op.out = value;
    op.n_in = op.n_out = width(value);
  }
}

void PlanBuilder::attention_out(std::int32_t layer) {
  mat_mul(WeightRole::AttnOut, BrickId::AttnOut, layer, attended_, y_, bias(WeightRole::AttnOutBias, layer, y_, false));
}

void PlanBuilder::residual(BrickId brick, std::int32_t layer) {
  Op& op = add(OpKind::Add, brick, layer);
  op.in = op.out = x_;
  op.in2 = y_;
  op.n_in = op.n_out = width(x_);
}

void PlanBuilder::ffn(OpKind activation, std::int32_t layer) {
  mat_mul(WeightRole::FfnGate, BrickId::FfnGate, layer, y_, gate_, bias(WeightRole::FfnGateBias, layer, gate_, false));
  mat_mul(WeightRole::FfnUp, BrickId::FfnUp, layer, y_, up_, bias(WeightRole::FfnUpBias, layer, up_, false));
  Op& op = add(activation, BrickId::FfnAct, layer);
  op.in = op.out = gate_;
  op.in2 = up_;
  op.n_in = op.n_out = width(gate_);
  mat_mul(WeightRole::FfnDown, BrickId::FfnDown, layer, gate_, y_, bias(WeightRole::FfnDownBias, layer, y_, false));
}

void PlanBuilder::output() {
  norm_op(WeightRole::OutputNorm, BrickId::OutputNorm, kNone, x_, y_);
  const std::array<std::int64_t, 2> shape = {h_.n_vocab, h_.n_embd};
  std::optional<Weight> own = source_.optional(WeightRole::Output, 0, shape);
  const std::int32_t index = own ? weight(*std::move(own)) : embedding_;
  Op& op = add(OpKind::MatMul, BrickId::LmHead, kNone);
  op.weight = index;
  op.in = y_;
  op.out = plan_.logits;
  op.n_in = h_.n_embd;
  op.n_out = h_.n_vocab;
}

}  // namespace apr::model
