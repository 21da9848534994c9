#include "apr/model/hparams.h"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <utility>

#include "apr/core/text.h"
#include "apr/model/architecture.h"
#include "hparams_reader.h"

namespace apr::model {
namespace {

void read_architecture(HParamsReader& r, HParams& h) {
  const std::vector<std::string> keys =
      r.source().is_gguf()
          ? std::vector<std::string>{"general.architecture"}
          : std::vector<std::string>{"architecture",       "model_type",      "hf_model_type",
                                     "model.architecture", "hf_architecture", "text_config.model_type"};
  const std::optional<ConfigValue> value = r.source().find(keys);
  if (value && !value->text) {
    r.broken(*value, "the architecture must be a string", "a string");
    return;
  }
  if (value) {
    h.declared_arch = *value->text;
  } else if (const auto classes = r.source().list("architectures"); classes && !classes->empty()) {
    h.declared_arch = classes->front();
  } else {
    r.missing(keys.front(), "the file does not say which architecture it holds");
    return;
  }
  const Architecture* arch = find_architecture(h.declared_arch);
  if (arch == nullptr) {
    std::string known;
    for (const Architecture& row : architectures()) known += (known.empty() ? "" : ", ") + std::string(row.name);
    const std::string key = value ? value->key : "architectures";
    r.report("model.architecture.known", key, "apr cannot run this architecture", known, escaped(h.declared_arch, 64));
    return;
  }
  h.arch = arch->name;
  r.note("arch", value ? value->key : "architectures", h.declared_arch);
}

/// Values that follow from others when the file leaves them out, and the rules between values.
void complete_heads(HParamsReader& r, HParams& h) {
  if (h.n_heads == 0 || h.n_embd == 0) return;  // reported already
  if (h.n_kv_heads == 0) {
    h.n_kv_heads = h.n_heads;
    r.note("n_kv_heads", "default: n_heads", fmt::format("{}", h.n_kv_heads));
  }
  if (h.n_kv_heads > h.n_heads) {
    r.report_field("n_kv_heads", "model.hparams.kv_heads", "there cannot be more key heads than query heads",
                   fmt::format("at most {}", h.n_heads), fmt::format("{}", h.n_kv_heads));
  } else if (h.n_heads % h.n_kv_heads != 0) {
    r.report_field("n_kv_heads", "model.hparams.kv_heads", "the key heads must divide the query heads",
                   fmt::format("a divisor of {}", h.n_heads), fmt::format("{}", h.n_kv_heads));
  }
  if (h.head_dim == 0) {
    if (h.n_embd % h.n_heads != 0) {
      r.report_field("n_heads", "model.hparams.heads", "the heads must divide the embedding when no head size is given",
                     fmt::format("a divisor of {}", h.n_embd), fmt::format("{}", h.n_heads));
      return;
    }
    h.head_dim = h.n_embd / h.n_heads;
    r.note("head_dim", "default: n_embd / n_heads", fmt::format("{}", h.head_dim));
  }
  if (h.head_dim % 2 != 0) {
    r.report_field("head_dim", "model.hparams.head_dim", "the head size must be even to be rotated in pairs", "even",
                   fmt::format("{}", h.head_dim));
  }
}

/// Models whose attention or feed-forward part differs from what the architectures here compute.
void refuse_variants(HParamsReader& r, const HParams& h) {
  if (const auto v = r.source().find(r.keys("expert_count", "num_experts|num_local_experts|n_experts"))) {
    if (!v->u64 || *v->u64 != 0) r.broken(*v, "mixtures of experts are not supported", "0 or absent");
  }
  if (const auto v = r.source().find(r.keys("attention.value_length", "v_head_dim"))) {
    if (v->u64 != h.head_dim) r.broken(*v, "value heads must be as wide as key heads", fmt::format("{}", h.head_dim));
  }
  for (const auto& keys : {r.keys("final_logit_softcapping", "final_logit_softcapping"),
                           r.keys("attn_logit_softcapping", "attn_logit_softcapping")}) {
    const auto v = r.source().find(keys);
    if (v && v->f64 != 0.0) r.broken(*v, "logit soft-capping is not supported", "0 or absent");
  }
  if (const auto v = r.source().find(r.keys("", "partial_rotary_factor"))) {
    if (v->f64 != 1.0) r.broken(*v, "partial rotation is supported by its size in elements only", "1 or absent");
  }
  if (const auto v = r.source().find(r.keys("", "use_sliding_window"))) {
    if (v->boolean != false) r.broken(*v, "sliding windows of this architecture are not supported", "false or absent");
  }
  if (const auto v = r.source().find(r.keys("", "use_bidirectional_attention"))) {
    if (v->boolean != false) r.broken(*v, "attention to later tokens is not supported", "false or absent");
  }
  const std::string_view activation = h.arch == "gemma3" ? "gelu_pytorch_tanh" : "silu";
  if (const auto v = r.source().find(r.keys("", "hidden_activation|hidden_act"))) {
    if (v->text != activation) r.broken(*v, "another activation than the architecture's", std::string(activation));
  }
}

/// Which layers see a window only. Gemma 3: every sixth layer sees everything (sliding_window_pattern 6).
void read_sliding_layers(HParamsReader& r, HParams& h) {
  const bool uses_window = h.arch == "gemma3" || (h.arch == "llama" && !r.source().is_gguf());
  if (!uses_window) h.sliding_window = 0;  // qwen names a window that `use_sliding_window` switches off
  if (h.sliding_window == 0 || h.n_layers == 0) return;
  h.layer_slides.assign(h.n_layers, 1);
  if (h.arch != "gemma3") return;  // mistral 7B v0.1: all layers slide
  const std::string key = r.source().is_gguf() ? r.keys("attention.sliding_window_pattern", "").front() : "layer_types";
  if (const auto types = r.source().list(key)) {
    if (types->size() != h.n_layers) {
      r.report("model.hparams.sliding_layers", key, "one entry for each layer", fmt::format("{} entries", h.n_layers),
               fmt::format("{}", types->size()));
      return;
    }
    for (std::size_t i = 0; i < types->size(); ++i) {
      const std::string& type = (*types)[i];
      const bool slides = type == "sliding_attention" || type == "true" || type == "1";
      if (!slides && type != "full_attention" && type != "false" && type != "0") {
        r.report("model.hparams.sliding_layers", fmt::format("{}[{}]", key, i), "unknown kind of attention",
                 "sliding_attention or full_attention", escaped(type, 64));
      }
      h.layer_slides[i] = slides ? 1 : 0;
    }
    r.note("layer_slides", key, fmt::format("{} flags", types->size()));
    return;
  }
  std::uint32_t pattern = 6;
  r.u32(pattern, "layer_slides", "attention.sliding_window_pattern", "sliding_window_pattern|_sliding_window_pattern",
        1, 1024, false);
  if (pattern == 0) return;
  for (std::uint32_t i = 0; i < h.n_layers; ++i) h.layer_slides[i] = (i + 1) % pattern != 0;
}

/// The factor of query x key. Gemma 3 names it in config.json; in GGUF it follows from the size, as llama.cpp has it:
/// the 27B model (62 layers) divides the embedding by the heads, all others take the head size.
void read_attention_scale(HParamsReader& r, HParams& h) {
  double scalar = h.head_dim;
  std::string key = "default: head_dim";
  if (h.arch == "gemma3") {
    if (r.source().is_gguf() && h.n_layers == 62 && h.n_heads != 0) {
      scalar = h.n_embd / h.n_heads;
      key = "default: n_embd / n_heads (27B)";
    } else if (const auto v = r.source().find({"query_pre_attn_scalar"})) {
      key = v->key;
      scalar = v->f64.value_or(0);
      if (!(scalar > 0) || !std::isfinite(scalar)) r.broken(*v, "must be a finite number above 0", "> 0");
    }
  }
  h.attn_scale = scalar > 0 ? 1 / std::sqrt(scalar) : 0;
  r.note("attn_scale", key, fmt::format("{}", h.attn_scale));
}

void read_vocabulary(HParamsReader& r, HParams& h, const WeightSource& weights) {
  const format::TensorInfo* embedding = weights.find(WeightRole::TokenEmbd);
  if (h.n_vocab != 0 || embedding == nullptr || embedding->shape.empty()) return;
  const std::int64_t rows = embedding->shape.front();
  if (rows < 1 || rows > (1 << 24)) {
    r.report("model.hparams.vocab", std::string(embedding->name), "the embedding's rows are the vocabulary",
             "1 to 16777216", fmt::format("{}", rows));
    return;
  }
  h.n_vocab = static_cast<std::uint32_t>(rows);
  r.note("n_vocab", "rows of " + std::string(embedding->name), fmt::format("{}", rows));
}

/// More rows than tokens is padding; fewer, and some texts cannot be run. Either may also be another model's
/// vocabulary.
void compare_vocabulary(const format::ModelFile& file, const WeightSource& weights, std::vector<Finding>& findings) {
  const format::TensorInfo* embedding = weights.find(WeightRole::TokenEmbd);
  const format::MetadataEntry* tokens = file.find_metadata("tokenizer.ggml.tokens");
  if (tokens == nullptr) tokens = file.find_metadata("tokenizer.vocabulary");
  const format::ArrayRef* list = tokens == nullptr ? nullptr : tokens->value.as_array();
  if (embedding == nullptr || embedding->shape.empty() || list == nullptr) return;
  const auto rows = static_cast<std::uint64_t>(embedding->shape.front());
  if (list->count == rows) return;
  Finding finding;
  finding.rule = "model.vocab.rows";
  finding.severity = Severity::Warning;
  finding.message = "the vocabulary has not as many tokens as the embedding has rows";
  finding.file = file.files[embedding->file_index]->path();
  finding.offset = embedding->info_offset;
  finding.field = embedding->name;
  finding.expected = fmt::format("{} tokens, one for each row", rows);
  finding.found = fmt::format("{} tokens", list->count);
  findings.push_back(std::move(finding));
}

/// A file with more layers than it declares would run and answer nonsense.
void check_layers_present(HParamsReader& r, const HParams& h, const WeightSource& weights) {
  if (h.n_layers == 0) return;
  if (const format::TensorInfo* extra = weights.find(WeightRole::AttnNorm, h.n_layers)) {
    r.report_field("n_layers", "model.hparams.layers", "the file holds more layers than it declares",
                   fmt::format("no tensor {}", escaped(extra->name, 80)), fmt::format("{}", h.n_layers));
  }
}

}  // namespace

HParams parse_hparams(const format::ModelFile& file, std::vector<Finding>& findings) {
  HParams h;
  const std::size_t before = findings.size();
  const ConfigSource source(file, findings);
  if (findings.size() != before) return h;  // no config.json: every key would be missing
  HParamsReader r(source, findings, h.sources);
  read_architecture(r, h);
  if (h.arch.empty()) return h;
  r.set_prefix(source.is_gguf() ? h.declared_arch : h.arch);

#define APR_HPARAM_U32(field, gguf, json, lowest, highest, required) \
  r.u32(h.field, #field, gguf, json, lowest, highest, required);
#include "hparams.def"
#undef APR_HPARAM_U32
  r.f64(h.rms_eps, "rms_eps", "attention.layer_norm_rms_epsilon",
        "rms_norm_eps|layer_norm_eps|norm_eps|model.rms_norm_eps", 0, 1e-2, true);
  const WeightSource weights(file, find_architecture(h.arch)->gemma_names);
  complete_heads(r, h);
  read_rope(r, h, file, weights);
  refuse_variants(r, h);
  read_sliding_layers(r, h);
  read_attention_scale(r, h);
  read_vocabulary(r, h, weights);
  compare_vocabulary(file, weights, findings);
  check_layers_present(r, h, weights);
  return h;
}

HParams read_hparams(const format::ModelFile& file) {
  std::vector<Finding> findings;
  HParams h = parse_hparams(file, findings);
  for (const Finding& finding : findings) {
    if (finding.severity != Severity::Error) continue;
    Error refusal = to_error(finding, ErrorCode::ModelLoad);
    if (refusal.hint.empty()) refusal.hint = "apr qa FILE --only architecture lists every rule that is broken";
    throw refusal;
  }
  return h;
}

}  // namespace apr::model
