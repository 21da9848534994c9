// Which tensor gets which type: llama.cpp's rule for the mixes of this project's list (src/llama-quant.cpp there).
#include "src/convert/synth_model.h"

namespace apr::convert {
namespace {

std::int64_t block_of(TensorType type) { return find_type(type)->block_elements; }

bool ends_with_m(const SynthQuant& quant) { return quant.name.ends_with("_m"); }

// More bits for the first and last eighth of the layers and every third one between.
bool use_more_bits(int layer, int n_layers) {
  return layer < n_layers / 8 || layer >= 7 * n_layers / 8 || (layer - n_layers / 8) % 3 == 2;
}

TensorType wanted_type(const SynthQuant& quant, const SynthPreset& p, const SynthTensor& tensor) {
  const TensorType base = quant.base;
  const int n_layers = static_cast<int>(p.n_layers);
  const bool is_output = tensor.role == Role::Output || (p.tied && tensor.role == Role::TokenEmbd);
  if (is_output) {
    if (tensor.n_columns() % block_of(base) != 0) return TensorType::Q8_0;
    return base == TensorType::Q8_0 ? base : TensorType::Q6_K;
  }
  const bool medium_k = ends_with_m(quant);
  const bool small_q4 = quant.name == "q4_k_s";
  if (tensor.role == Role::AttnV) {
    if (medium_k && use_more_bits(tensor.layer, n_layers)) return TensorType::Q6_K;
    if (small_q4 && tensor.layer < 4) return TensorType::Q5_K;
  }
  if (tensor.role == Role::FfnDown) {
    if (medium_k && use_more_bits(tensor.layer, n_layers)) return TensorType::Q6_K;
    if (small_q4 && tensor.layer < n_layers / 8) return TensorType::Q5_K;
  }
  return base;
}

// A row that is no whole number of super-blocks takes a type with blocks of 32, and F16 where not even that fits.
TensorType fitting_type(TensorType wanted, std::int64_t n_columns) {
  if (n_columns % block_of(wanted) == 0) return wanted;
  TensorType fallback = wanted;
  if (wanted == TensorType::Q4_K) fallback = TensorType::Q5_0;
  if (wanted == TensorType::Q5_K) fallback = TensorType::Q5_1;
  if (wanted == TensorType::Q6_K) fallback = TensorType::Q8_0;
  return n_columns % block_of(fallback) == 0 ? fallback : TensorType::F16;
}

}  // namespace

TensorType type_in_mix(const SynthQuant& quant, const SynthPreset& preset, const SynthTensor& tensor) {
  if (!tensor.is_matrix()) return TensorType::F32;
  if (block_of(quant.base) == 1) return quant.base;
  return fitting_type(wanted_type(quant, preset, tensor), tensor.n_columns());
}

}  // namespace apr::convert
