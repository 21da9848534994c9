#include "src/engine/fast/schedule.h"

namespace apr::engine {

bool takes_two_terms(const model::Op& op, const FastWeights& weights) {
  if (op.kind != model::OpKind::MatMul || !weights.matrix(op.weight).kernel->integer) return false;
  const TensorType type = weights.matrix(op.weight).weight->type;
  const bool scale_per_16 = type == TensorType::Q2_K || type == TensorType::Q3_K || type == TensorType::Q6_K;
  return op.brick == model::BrickId::AttnV || (op.brick == model::BrickId::LmHead && !scale_per_16);
}

std::vector<Step> make_schedule(const model::Plan& plan, const FastWeights& weights, bool two_terms) {
  std::vector<Step> steps;
  std::int32_t quantized = model::kNone, transposed = model::kNone;  // the values whose other forms are current
  std::size_t quantizing = 0;                                        // the step that quantised
  for (std::size_t i = 0; i < plan.ops.size(); ++i) {
    const model::Op& op = plan.ops[i];
    const bool multiplies = op.kind == model::OpKind::MatMul;
    const bool joins = multiplies && !steps.empty() && plan.ops[i - 1].kind == model::OpKind::MatMul &&
                       plan.ops[i - 1].in == op.in && plan.ops[i - 1].rows == op.rows && plan.ops[i - 1].out != op.in;
    if (!joins) steps.push_back({i, 0, model::kNone});
    ++steps.back().count;
    if (multiplies && weights.matrix(op.weight).kernel->integer && quantized != op.in) {
      steps.back().quantize = op.in;
      quantized = op.in;
      quantizing = steps.size() - 1;
    }
    if (multiplies && !weights.matrix(op.weight).kernel->integer && transposed != op.in) {
      steps.back().transpose = op.in;
      transposed = op.in;
    }
    if (two_terms && takes_two_terms(op, weights)) steps[quantizing].remainder = true;
    if (op.out == quantized) quantized = model::kNone;
    if (op.out == transposed) transposed = model::kNone;
  }
  return steps;
}

}  // namespace apr::engine
