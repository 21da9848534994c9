// The numbers of a model's architecture, read once from its metadata and checked before anything is computed with them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/format/model_file.h"

namespace apr::model {

/// How the elements of a head pair up for rotation. Source: the rope types of ggml.h.
enum class RopeLayout : std::uint8_t {
  Adjacent,  // (0,1), (2,3), ...: llama in GGUF, whose query and key rows are stored in that order ("norm")
  Halves,    // (0,d/2), (1,d/2+1), ...: everything with Hugging Face names, qwen and gemma in GGUF ("neox")
};

enum class RopeScaling : std::uint8_t {
  None,
  Linear,  // every frequency divided by `factor`
  Llama3,  // low frequencies divided by `factor`, high ones kept, blended between (transformers: rope_type "llama3")
};

struct RopeParams {
  double base = 10000;      // of all layers, or of the global ones where some slide
  double local_base = 0;    // of sliding layers; 0: they share `base` and its scaling
  std::uint32_t n_rot = 0;  // rotated elements of a head (even, at most head_dim)
  RopeLayout layout = RopeLayout::Halves;
  RopeScaling scaling = RopeScaling::None;
  double factor = 1;                                 // > 0
  double low_freq_factor = 1, high_freq_factor = 4;  // Llama3 only: 0 < low < high
  std::uint32_t original_context = 8192;             // Llama3 only
};

/// Where a value came from, for reports: the key in the file, or "default", or the tensor whose shape says it.
struct HParamSource {
  std::string field;  // "n_kv_heads"
  std::string key;    // "llama.attention.head_count_kv"
  std::string value;  // "3"
};

struct HParams {
  std::string arch;           // a row of architectures.def: "llama", "qwen2", "qwen3", "gemma3"
  std::string declared_arch;  // as the file spells it: "mistral", "LlamaForCausalLM", ...
  std::uint32_t n_layers = 0;
  std::uint32_t n_embd = 0;
  std::uint32_t n_heads = 0;
  std::uint32_t n_kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t n_ffn = 0;
  std::uint32_t n_vocab = 0;    // rows of the embedding: every token id is below it
  std::uint32_t n_context = 0;  // trained context; 0 when the file does not say
  double rms_eps = 0;
  double attn_scale = 0;  // factor of query x key
  RopeParams rope;
  std::uint32_t sliding_window = 0;        // positions a sliding layer sees, its own included; 0: no layer slides
  std::vector<std::uint8_t> layer_slides;  // n_layers flags; empty: no layer slides
  std::vector<HParamSource> sources;       // one per value above, in this order

  [[nodiscard]] std::uint32_t q_width() const noexcept { return n_heads * head_dim; }
  [[nodiscard]] std::uint32_t kv_width() const noexcept { return n_kv_heads * head_dim; }
  [[nodiscard]] bool slides(std::uint32_t layer) const noexcept {
    return layer < layer_slides.size() && layer_slides[layer] != 0;
  }
};

/// Reads the metadata of GGUF (`<arch>.*`) and APR (canonical keys and their aliases), or the config.json beside a
/// SafeTensors file. Every broken rule becomes a finding {rule, field = key, expected, found}; the result is usable
/// only when none has severity Error. Throws nothing for bad contents.
[[nodiscard]] HParams parse_hparams(const format::ModelFile& file, std::vector<Finding>& findings);

/// The same; throws ModelLoad for the first broken rule, naming file, key, rule, expected and found.
[[nodiscard]] HParams read_hparams(const format::ModelFile& file);

}  // namespace apr::model
