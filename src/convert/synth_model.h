// What a preset consists of: its tensors under both names, its types by llama.cpp's rule, its metadata.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/convert/synth.h"
#include "apr/format/writer.h"
#include "src/convert/synth_random.h"
#include "src/convert/synth_vocab.h"

namespace apr::convert {

/// What a tensor does in the model; decides the spread of its weights and its type in a mix.
enum class Role : std::uint8_t {
  TokenEmbd,
  Output,
  OutputNorm,
  RopeFreqs,
  AttnNorm,
  AttnQ,
  AttnK,
  AttnV,
  AttnOutput,
  AttnQBias,
  AttnKBias,
  AttnVBias,
  AttnQNorm,
  AttnKNorm,
  AttnPostNorm,
  FfnNorm,
  FfnGate,
  FfnUp,
  FfnDown,
  FfnPostNorm,
};

struct SynthTensor {
  Role role = Role::TokenEmbd;
  int layer = -1;
  std::string gguf_name;  // as llama.cpp's converter writes it; also the name of the random stream, whatever the format
  std::string hf_name;    // as the published SafeTensors file has it; empty: not in that file (rope_freqs)
  std::vector<std::int64_t> shape;  // outermost first

  [[nodiscard]] bool is_matrix() const noexcept { return shape.size() == 2; }
  [[nodiscard]] std::int64_t n_rows() const noexcept { return is_matrix() ? shape[0] : 1; }
  [[nodiscard]] std::int64_t n_columns() const noexcept { return shape.back(); }
};

/// Every tensor of a preset, in the order of llama.cpp's converter: rope_freqs first, then by published name.
[[nodiscard]] std::vector<SynthTensor> synth_tensors(const SynthPreset& preset);

/// The order in which llama-quantize writes: what belongs to no layer first, then by layer, then by name.
void sort_as_quantized(std::vector<SynthTensor>& tensors);

/// The type llama-quantize gives a tensor (src/llama-quant.cpp: use_more_bits, the tied-output rule and the fallbacks
/// for rows that are no whole number of blocks). Plain types: matrices in that type, vectors in F32.
[[nodiscard]] TensorType type_in_mix(const SynthQuant& quant, const SynthPreset& preset, const SynthTensor& tensor);

/// The modelled spread of a tensor's weights; the figures and their reasons stand in docs/synth.md.
[[nodiscard]] Spread spread_of(const SynthPreset& preset, const SynthTensor& tensor);

/// rope_freqs.weight of the "llama3" rule: head_dim / 2 divisors of the rotation frequencies.
[[nodiscard]] std::vector<float> llama3_rope_factors(const SynthPreset& preset);

/// The row of the GGUF tensor that stands in row `row` of the published tensor: llama's Q and K rows are interleaved by
/// llama.cpp's converter (its rotation takes adjacent pairs, the published one halves).
[[nodiscard]] std::int64_t gguf_row_of(const SynthPreset& preset, const SynthTensor& tensor, std::int64_t row) noexcept;

/// Metadata of the GGUF, in the converter's order (for a mix: as llama-quantize leaves it).
[[nodiscard]] std::vector<format::WriteEntry> gguf_metadata(const SynthPreset& preset, const SynthQuant& quant,
                                                            std::uint64_t seed, const Vocab& vocab);
/// Metadata of the APR file: the canonical keys, each once.
[[nodiscard]] std::vector<format::WriteEntry> apr_metadata(const SynthPreset& preset, const SynthQuant& quant,
                                                           std::uint64_t seed, const Vocab& vocab,
                                                           std::uint64_t n_parameters);

/// The files that stand beside a published SafeTensors file, as JSON text.
[[nodiscard]] std::string config_json(const SynthPreset& preset, const SynthQuant& quant, std::uint64_t seed);
[[nodiscard]] std::string tokenizer_json(const Vocab& vocab);
[[nodiscard]] std::string tokenizer_config_json(const Vocab& vocab);

}  // namespace apr::convert
