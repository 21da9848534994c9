#include "src/engine/fast/schedule.h"

namespace apr::engine {

std::vector<Step> make_schedule(const model::Plan& plan, const FastWeights& weights) {
  std::vector<Step> steps;
  std::int32_t quantized = model::kNone, transposed = model::kNone;  // the values whose other forms are current
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
    }
    if (multiplies && !weights.matrix(op.weight).kernel->integer && transposed != op.in) {
      steps.back().transpose = op.in;
      transposed = op.in;
    }
    if (op.out == quantized) quantized = model::kNone;
    if (op.out == transposed) transposed = model::kNone;
  }
  return steps;
}

}  // namespace apr::engine
