// Llama 1 to 3, and what shares its layout: Mistral, SmolLM, TinyLlama, ...
// Source: transformers, modeling_llama.py.
#include "archs.h"
#include "builder.h"

namespace apr::model {

Plan build_llama(const HParams& h, const WeightSource& weights) {
  PlanBuilder b(h, weights, /*gemma_norms=*/false);
  b.embed(1);
  for (std::int32_t layer = 0; layer < static_cast<std::int32_t>(h.n_layers); ++layer) {
    b.norm(WeightRole::AttnNorm, BrickId::AttnNorm, layer);
    b.qkv(layer, /*bias_required=*/false);
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
