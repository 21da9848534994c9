// Gemma 3 (text): norms before and after each block, norms over query and key heads, tanh-GELU, a scaled embedding, and
// five sliding layers to each one that sees everything. Source: transformers, modeling_gemma3.py.
#include <cmath>

#include "archs.h"
#include "builder.h"

namespace apr::model {

Plan build_gemma3(const HParams& h, const WeightSource& weights) {
  PlanBuilder b(h, weights, /*gemma_norms=*/true);
  // transformers rounds this factor to the type of the weights (34.0 for 33.94 in bf16); llama.cpp and the float
  // checkpoints use the unrounded one, and so does apr.
  b.embed(std::sqrt(static_cast<float>(h.n_embd)));
  for (std::int32_t layer = 0; layer < static_cast<std::int32_t>(h.n_layers); ++layer) {
    b.norm(WeightRole::AttnNorm, BrickId::AttnNorm, layer);
    b.qkv(layer, /*bias_required=*/false);
    b.qk_norm(layer);
    b.attention(layer);
    b.select_rows(layer);
    b.attention_out(layer);
    b.post_norm(WeightRole::AttnPostNorm, BrickId::AttnPostNorm, layer);
    b.residual(BrickId::AttnResidual, layer);
    b.norm(WeightRole::FfnNorm, BrickId::FfnNorm, layer);
    b.ffn(OpKind::GeluMul, layer);
    b.post_norm(WeightRole::FfnPostNorm, BrickId::FfnPostNorm, layer);
    b.residual(BrickId::FfnResidual, layer);
  }
  b.output();
  return std::move(b).finish();
}

}  // namespace apr::model
