// Models of true shape with drawn weights: something to open, measure and convert where no real model is at hand.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/thread_pool.h"
#include "apr/format/model_file.h"

namespace apr::convert {

/// Which tokenizer a preset carries; each is a working one of the same kind, ids and special tokens as the original.
enum class VocabKind : std::uint8_t { Qwen, Llama3, Gemma };

/// One architecture with its sizes. Rows: src/convert/synth_presets.def, each with its public source.
struct SynthPreset {
  std::string_view name;   // as on the command line
  std::string_view arch;   // general.architecture: "llama", "qwen2", "qwen3", "gemma3"
  std::string_view title;  // general.name, without the word that says it is synthetic
  std::string_view size_label;
  VocabKind vocab_kind;
  std::uint32_t n_layers, n_hidden, n_heads, n_kv_heads, head_dim, n_ffn, n_vocab, n_context;
  double rope_base, rms_eps;
  bool tied;                        // the token embedding is the output matrix, too
  double rope_scaling;              // factor of the "llama3" rule; 0: no rope_freqs tensor
  std::uint32_t rope_orig_context;  // of that rule
  std::uint32_t sliding_window;     // tokens; 0: every layer attends to everything
};
[[nodiscard]] std::span<const SynthPreset> synth_presets() noexcept;

/// A choice of types: a plain type, or a mix in which llama.cpp's rule gives each tensor its type.
struct SynthQuant {
  std::string_view name;    // "q4_k_m"
  TensorType base;          // the type of most matrices
  std::uint32_t file_type;  // general.file_type (llama_ftype in llama.h)
};
[[nodiscard]] std::span<const SynthQuant> synth_quants() noexcept;

struct SynthOptions {
  std::string preset;
  std::string quant = "q4_k_m";
  format::Format format = format::Format::Gguf;
  std::uint64_t seed = 1;
  std::string path;
  bool force = false;  // replace an existing file
  unsigned n_threads = available_cpus();
  /// Called from the calling thread with bytes of tensor data written and their total.
  std::function<void(std::uint64_t, std::uint64_t)> progress;
};

struct SynthReport {
  std::vector<std::string> files;  // the model first
  std::uint64_t n_tensors = 0, n_parameters = 0, model_bytes = 0;
  std::map<std::string, std::uint64_t> tensors_by_type;
};

/// Writes the model. Same options, same bytes: on any machine, with any number of threads and any instruction set.
/// For SafeTensors, `path` may be a directory (existing, or ending in '/'): it gets model.safetensors, config.json,
/// tokenizer.json and tokenizer_config.json. Otherwise exactly the file `path` is written.
/// Throws Usage (unknown preset or quant with the nearest names, a format that cannot hold the types, an existing file
/// without `force`), Io (no room: checked before the first byte; write errors) and Interrupted. Nothing half-written
/// stays.
SynthReport synth(const SynthOptions& options);

}  // namespace apr::convert
