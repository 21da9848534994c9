// What the architectures share: one method per step of a transformer layer, in the words of the plan.
#pragma once
#include <cstdint>
#include <vector>

#include "apr/model/plan.h"

namespace apr::model {

/// Collects weights and ops. Each method appends one op (or one for each of query, key and value) and checks its
/// tensors.
class PlanBuilder {
 public:
  /// Declares the values that every architecture uses.
  PlanBuilder(const HParams& hparams, const WeightSource& weights, bool gemma_norms);

  void embed(float scale);
  /// y = norm(x)
  void norm(WeightRole role, BrickId brick, std::int32_t layer);
  /// q, k, v = projections of y, each with its bias where the file has one
  void qkv(std::int32_t layer, bool bias_required);
  /// Norms over each head of q and of k.
  void qk_norm(std::int32_t layer);
  /// Turns q and k, stores k and v, attends.
  void attention(std::int32_t layer);
  /// In the last layer, drops the rows whose logits nobody wants.
  void select_rows(std::int32_t layer);
  /// y = output projection of the attention
  void attention_out(std::int32_t layer);
  /// y = norm(y), after a block (Gemma)
  void post_norm(WeightRole role, BrickId brick, std::int32_t layer);
  /// x = x + y
  void residual(BrickId brick, std::int32_t layer);
  /// y = down(activation(gate(y)) * up(y))
  void ffn(OpKind activation, std::int32_t layer);
  /// Final norm and logits; the embedding serves as output matrix where the file has none.
  void output();

  [[nodiscard]] Plan finish() && { return std::move(plan_); }

 private:
  Op& add(OpKind kind, BrickId brick, std::int32_t layer);
  void norm_op(WeightRole role, BrickId brick, std::int32_t layer, std::int32_t in, std::int32_t out);
  void head_norm(WeightRole role, BrickId brick, std::int32_t layer, std::int32_t value, std::uint32_t n_heads);
  void mat_mul(WeightRole role, BrickId brick, std::int32_t layer, std::int32_t in, std::int32_t out,
               std::int32_t bias = kNone);
  std::int32_t bias(WeightRole role, std::int32_t layer, std::int32_t value, bool required);
  std::int32_t value(const char* text, std::int64_t width);
  std::int32_t weight(Weight&& weight);
  [[nodiscard]] std::int64_t width(std::int32_t value) const {
    return plan_.values[static_cast<std::size_t>(value)].width;
  }

  const HParams& h_;
  const WeightSource& source_;
  float norm_plus_;
  bool rows_selected_ = false;
  Plan plan_;
  std::int32_t x_, y_, q_, k_, v_, attended_, gate_, up_;
  std::int32_t embedding_ = kNone;
};

/// Angles per position of the rotation of one kind of layer; `factors` divide the frequencies (rope_freqs.weight).
[[nodiscard]] Rope make_rope(const RopeParams& params, double base, bool scaled, const std::vector<float>& factors);

}  // namespace apr::model
