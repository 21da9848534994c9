// Qwen 3 (dense): as Llama, with a norm over each head of query and key before they turn.
// Source: transformers, modeling_qwen3.py.
#include "archs.h"
#include "builder.h"

namespace apr::model {

Plan build_qwen3(const HParams& h, const WeightSource& weights) {
  PlanBuilder b(h, weights, /*gemma_norms=*/false);
  b.embed(1);
  for (std::int32_t layer = 0; layer < static_cast<std::int32_t>(h.n_layers); ++layer) {
    b.norm(WeightRole::AttnNorm, BrickId::AttnNorm, layer);
    b.qkv(layer, /*bias_required=*/false);
    b.qk_norm(layer);
    b.attention(layer);
    b.select_rows(layer);
    b.attention_out(layer);
    b.residual(BrickId::AttnResidual, layer);
    b.norm(WeightRole::FfnNorm, BrickId::FfnNorm, layer);
    b.ffn(OpKind::SiluMul, layer);
    b.residual(BrickId::FfnResidual, layer);
  }
  b.output();
  return std::move(b).finish();
}

}  // namespace apr::model
