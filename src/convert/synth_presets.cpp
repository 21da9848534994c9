#include <array>

#include "apr/convert/synth.h"

namespace apr::convert {
namespace {

constexpr SynthPreset kPresets[] = {
#define APR_PRESET(name, arch, title, size_label, vocab_kind, layers, hidden, heads, kv_heads, head_dim, ffn, vocab, \
                   context, rope_base, rms_eps, tied, rope_scaling, rope_orig_context, sliding_window)               \
  {name,                                                                                                             \
   arch,                                                                                                             \
   title,                                                                                                            \
   size_label,                                                                                                       \
   VocabKind::vocab_kind,                                                                                            \
   layers,                                                                                                           \
   hidden,                                                                                                           \
   heads,                                                                                                            \
   kv_heads,                                                                                                         \
   head_dim,                                                                                                         \
   ffn,                                                                                                              \
   vocab,                                                                                                            \
   context,                                                                                                          \
   rope_base,                                                                                                        \
   rms_eps,                                                                                                          \
   tied,                                                                                                             \
   rope_scaling,                                                                                                     \
   rope_orig_context,                                                                                                \
   sliding_window},
#include "src/convert/synth_presets.def"
#undef APR_PRESET
};

// file_type: enum llama_ftype of llama.h.
constexpr SynthQuant kQuants[] = {
    {"f32", TensorType::F32, 0},      {"f16", TensorType::F16, 1},      {"bf16", TensorType::BF16, 32},
    {"q4_0", TensorType::Q4_0, 2},    {"q4_1", TensorType::Q4_1, 3},    {"q5_0", TensorType::Q5_0, 8},
    {"q5_1", TensorType::Q5_1, 9},    {"q8_0", TensorType::Q8_0, 7},    {"q4_k_s", TensorType::Q4_K, 14},
    {"q4_k_m", TensorType::Q4_K, 15}, {"q5_k_s", TensorType::Q5_K, 16}, {"q5_k_m", TensorType::Q5_K, 17},
    {"q6_k", TensorType::Q6_K, 18},
};

}  // namespace

std::span<const SynthPreset> synth_presets() noexcept { return kPresets; }
std::span<const SynthQuant> synth_quants() noexcept { return kQuants; }

}  // namespace apr::convert
