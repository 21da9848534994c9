// How a model rotates its queries and keys, from the three ways in which files say it.
#include <fmt/format.h>

#include "apr/model/architecture.h"
#include "hparams_reader.h"

namespace apr::model {
namespace {

constexpr double kMaxBase = 1e12;  // the largest published is 1e9 (long-context fine-tunes)

void read_bases(HParamsReader& r, HParams& h) {
  const bool gemma = h.arch == "gemma3";
  // transformers leaves a default out of config.json: 1e6 for Gemma 3, 10000 for the others; GGUF: 10000 for all.
  h.rope.base = gemma && !r.source().is_gguf() ? 1e6 : 1e4;
  if (!r.f64(h.rope.base, "rope.base", "rope.freq_base",
             "rope_parameters.full_attention.rope_theta|rope_parameters.rope_theta|rope_theta|model.rope_theta", 0,
             kMaxBase, false)) {
    r.note("rope.base", "default", fmt::format("{}", h.rope.base));
  }
  if (!gemma) return;
  h.rope.local_base = 1e4;
  if (!r.f64(h.rope.local_base, "rope.local_base", "rope.freq_base_swa",
             "rope_parameters.sliding_attention.rope_theta|rope_local_base_freq", 0, kMaxBase, false)) {
    r.note("rope.local_base", "default", fmt::format("{}", h.rope.local_base));
  }
}

void read_rotated(HParamsReader& r, HParams& h) {
  h.rope.n_rot = h.head_dim;
  r.u32(h.rope.n_rot, "rope.n_rot", "rope.dimension_count", "", 2, 1u << 14, false);
  if (h.rope.n_rot > h.head_dim || h.rope.n_rot % 2 != 0) {
    r.report_field("rope.n_rot", "model.hparams.rope", "the rotated elements must be even and at most the head size",
                   fmt::format("even, at most {}", h.head_dim), fmt::format("{}", h.rope.n_rot));
  }
}

void read_llama3(HParamsReader& r, HParams& h, const std::string& at) {
  RopeParams& rope = h.rope;
  r.f64(rope.low_freq_factor, "rope.low_freq_factor", "", at + ".low_freq_factor", 0, 1e6, true);
  r.f64(rope.high_freq_factor, "rope.high_freq_factor", "", at + ".high_freq_factor", 0, 1e6, true);
  r.u32(rope.original_context, "rope.original_context", "", at + ".original_max_position_embeddings", 1, 1u << 30,
        true);
  if (!(rope.low_freq_factor < rope.high_freq_factor)) {
    r.report_field("rope.high_freq_factor", "model.hparams.rope", "must be above low_freq_factor",
                   fmt::format("above {}", rope.low_freq_factor), fmt::format("{}", rope.high_freq_factor));
  }
}

void read_scaling(HParamsReader& r, HParams& h) {
  // The object that holds the scaling in JSON; GGUF spells the keys out and keeps llama3's factors in a tensor.
  std::string at = "rope_scaling";
  for (const char* other : {"rope_parameters.full_attention", "rope_parameters"}) {
    if (r.source().find({std::string(other) + ".rope_type"})) at = other;
    if (at != "rope_scaling") break;
  }
  const auto type = r.source().find(r.keys("rope.scaling.type", at + ".rope_type|" + at + ".type"));
  if (!type && r.source().is_gguf()) {  // a factor without a type is linear, as llama.cpp reads it
    if (r.f64(h.rope.factor, "rope.factor", "rope.scaling.factor", "", 0, 1e6, false) ||
        r.f64(h.rope.factor, "rope.factor", "rope.scale_linear", "", 0, 1e6, false)) {
      h.rope.scaling = RopeScaling::Linear;
    }
    return;
  }
  if (!type || type->text == "none" || type->text == "default") return;
  if (type->text == "linear") {
    h.rope.scaling = RopeScaling::Linear;
  } else if (type->text == "llama3" && !r.source().is_gguf()) {
    h.rope.scaling = RopeScaling::Llama3;
    read_llama3(r, h, at);
  } else {
    r.broken(
        *type, "unknown or unsupported scaling of the rotation",
        r.source().is_gguf() ? "none or linear (llama3 is the tensor rope_freqs.weight)" : "default, linear or llama3");
    return;
  }
  r.note("rope.scaling", type->key, type->shown);
  r.f64(h.rope.factor, "rope.factor", "rope.scaling.factor", at + ".factor", 0, 1e6, true);
}

/// APR says it outright; elsewhere it follows from who wrote the rows: the GGUF converter reorders those of llama.
void read_layout(HParamsReader& r, HParams& h, const format::ModelFile& file, const WeightSource& weights) {
  if (const auto type =
          file.format == format::Format::Apr ? r.source().find({"rope_type", "model.rope_type"}) : std::nullopt) {
    if (type->u64 == 0) {
      h.rope.layout = RopeLayout::Adjacent;
    } else if (type->u64 == 2) {
      h.rope.layout = RopeLayout::Halves;
    } else {
      r.broken(*type, "unknown pairing of the rotation", "0 (adjacent) or 2 (halves)");
    }
    r.note("rope.layout", type->key, type->shown);
    return;
  }
  const format::TensorInfo* query = weights.find(WeightRole::AttnQ);
  const bool gguf_rows = query != nullptr && weights.style(*query) == NameStyle::Gguf;
  h.rope.layout = gguf_rows ? find_architecture(h.arch)->gguf_rope : RopeLayout::Halves;
  r.note("rope.layout", "default: architecture and tensor names",
         h.rope.layout == RopeLayout::Adjacent ? "adjacent" : "halves");
}

}  // namespace

void read_rope(HParamsReader& r, HParams& h, const format::ModelFile& file, const WeightSource& weights) {
  read_bases(r, h);
  read_rotated(r, h);
  read_scaling(r, h);
  read_layout(r, h, file, weights);
}

}  // namespace apr::model
