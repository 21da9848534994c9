// The plan builders of all architectures, one from each row of architectures.def.
#pragma once
#include "apr/model/plan.h"

namespace apr::model {

#define APR_ARCH(symbol, model_types, gguf_rope, gemma_names) \
  [[nodiscard]] Plan build_##symbol(const HParams& hparams, const WeightSource& weights);
#include "architectures.def"
#undef APR_ARCH

}  // namespace apr::model
