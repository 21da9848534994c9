// The tiny models of tests/golden/model: their expected logits, and the same weights written as GGUF and as APR.
// The conversion follows llama.cpp's convert_hf_to_gguf.py; it shares no table with the code under test.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numbers>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apr/format/model_file.h"
#include "apr/format/writer.h"
#include "tests/support/paths.h"

namespace apr::test {

/// Heads of 16 or 32 elements, so that every executor can run them.
inline constexpr std::string_view kGoldenModels[] = {"llama", "mistral", "qwen2", "qwen3", "gemma3"};
/// "llama_linear" has heads of 12, which only the exact executor takes.
inline constexpr std::string_view kAllGoldenModels[] = {"llama", "llama_linear", "mistral", "qwen2", "qwen3", "gemma3"};

inline std::string golden_folder(std::string_view name) {
  return source_dir() + "/tests/golden/model/" + std::string(name);
}

inline nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

struct GoldenLogits {
  std::vector<std::int32_t> tokens;
  std::vector<double> logits;  // tokens.size() rows of the vocabulary
};
inline GoldenLogits golden_logits(std::string_view name) {
  const nlohmann::json json = read_json(golden_folder(name) + "/logits.json");
  GoldenLogits out{json["tokens"].get<std::vector<std::int32_t>>(), {}};
  for (const auto& row : json["logits"]) {
    for (const auto& value : row) out.logits.push_back(value.get<double>());
  }
  return out;
}

/// Sum of squared differences over the sum of squares; NaN when anything is NaN.
inline double nmse(std::span<const float> got, std::span<const double> expected) {
  double error = got.size() == expected.size() ? 0 : NAN, power = 0;
  for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    const double d = static_cast<double>(got[i]) - expected[i];
    error += d * d;
    power += expected[i] * expected[i];
  }
  return error / power;
}

/// A tensor with its values in f32 (BF16, F16 and F32 widen exactly).
struct PlainTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

inline float widened(TensorType type, const std::byte* at) {
  if (type == TensorType::F32) {
    float v;
    std::memcpy(&v, at, 4);
    return v;
  }
  std::uint16_t bits;
  std::memcpy(&bits, at, 2);
  if (type == TensorType::BF16) {
    const std::uint32_t wide = std::uint32_t{bits} << 16;
    float v;
    std::memcpy(&v, &wide, 4);
    return v;
  }
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double v = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>((bits & 0x8000) != 0 ? -v : v);
}

inline std::vector<PlainTensor> plain_tensors(const format::ModelFile& file) {
  std::vector<PlainTensor> out;
  for (const format::TensorInfo& info : file.tensors) {
    PlainTensor tensor{std::string(info.name), info.shape, {}};
    const auto bytes = file.data(info);
    const std::size_t width = info.type == TensorType::F32 ? 4 : 2;
    for (std::size_t i = 0; i < info.n_elements; ++i) {
      tensor.values.push_back(widened(info.type, bytes.data() + i * width));
    }
    out.push_back(std::move(tensor));
  }
  return out;
}

inline void write_model(format::Format format, const std::string& path, const std::vector<format::WriteEntry>& metadata,
                        const std::vector<PlainTensor>& tensors) {
  const auto writer = format::make_writer(format, path);
  std::vector<format::TensorDecl> declared;
  for (const PlainTensor& tensor : tensors) declared.push_back({tensor.name, TensorType::F32, tensor.shape});
  writer->begin(metadata, declared);
  for (const PlainTensor& tensor : tensors) {
    writer->write(std::as_bytes(std::span(tensor.values)));
    writer->end_tensor();
  }
  writer->finish();
}

inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

inline std::string gguf_name_of(std::string name, bool gemma) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"model.embed_tokens.", "token_embd."},
      {"model.norm.", "output_norm."},
      {"lm_head.", "output."},
      {"model.layers.", "blk."},
      {"self_attn.q_proj.", "attn_q."},
      {"self_attn.k_proj.", "attn_k."},
      {"self_attn.v_proj.", "attn_v."},
      {"self_attn.o_proj.", "attn_output."},
      {"self_attn.q_norm.", "attn_q_norm."},
      {"self_attn.k_norm.", "attn_k_norm."},
      {"mlp.gate_proj.", "ffn_gate."},
      {"mlp.up_proj.", "ffn_up."},
      {"mlp.down_proj.", "ffn_down."},
      {"input_layernorm.", "attn_norm."},
      {"pre_feedforward_layernorm.", "ffn_norm."},
      {"post_feedforward_layernorm.", "post_ffw_norm."}};
  for (const auto& [hf, gguf] : kNames) name = replaced(std::move(name), hf, gguf);
  return replaced(std::move(name), "post_attention_layernorm.", gemma ? "post_attention_norm." : "ffn_norm.");
}

/// Rows of each head from halves (first half, second half) to adjacent pairs.
inline void pair_rows(PlainTensor& tensor, std::int64_t n_heads) {
  const std::int64_t cols = tensor.shape.size() > 1 ? tensor.shape[1] : 1;
  const std::int64_t dim = tensor.shape[0] / n_heads;
  const std::vector<float> before = tensor.values;
  for (std::int64_t row = 0; row < tensor.shape[0]; ++row) {
    const std::int64_t head = row / dim, in_head = row % dim;
    const std::int64_t source = head * dim + (in_head % 2) * (dim / 2) + in_head / 2;
    std::copy_n(before.begin() + source * cols, cols, tensor.values.begin() + row * cols);
  }
}

/// The factors that rope_freqs.weight holds for "llama3" scaling.
inline PlainTensor llama3_factors(const nlohmann::json& rope, std::int64_t head_dim) {
  PlainTensor out{"rope_freqs.weight", {head_dim / 2}, {}};
  const double context = rope["original_max_position_embeddings"], low = rope["low_freq_factor"],
               high = rope["high_freq_factor"], factor = rope["factor"];
  for (std::int64_t i = 0; i < head_dim; i += 2) {
    const double frequency =
        std::pow(rope["rope_theta"].get<double>(), -static_cast<double>(i) / static_cast<double>(head_dim));
    const double wavelength = 2 * std::numbers::pi / frequency;
    const double smooth = (context / wavelength - low) / (high - low);
    const double divisor = wavelength < context / high  ? 1
                           : wavelength > context / low ? factor
                                                        : 1 / ((1 - smooth) / factor + smooth);
    out.values.push_back(static_cast<float>(divisor));
  }
  return out;
}

/// The golden model as a GGUF file. A model that GGUF cannot express (mistral's window) is refused by the caller.
inline void write_golden_gguf(std::string_view name, const std::string& path,
                              const std::function<void(std::vector<PlainTensor>&)>& change = {}) {
  using format::WriteValue;
  const nlohmann::json config = read_json(golden_folder(name) + "/config.json");
  const std::string type = config["model_type"];
  const std::string arch = type == "gemma3_text" ? "gemma3" : type;
  const bool gemma = arch == "gemma3";
  const auto u32 = [&](const char* key) { return WriteValue::u32(config[key].get<std::uint32_t>()); };
  const std::int64_t heads = config["num_attention_heads"], kv_heads = config["num_key_value_heads"];
  const std::int64_t head_dim = config.contains("head_dim") && !config["head_dim"].is_null()
                                    ? config["head_dim"].get<std::int64_t>()
                                    : config["hidden_size"].get<std::int64_t>() / heads;
  const nlohmann::json& rope = gemma ? config["rope_parameters"]["full_attention"] : config["rope_parameters"];
  const auto f32 = [](const nlohmann::json& v) { return WriteValue::f32(v.get<float>()); };
  std::vector<format::WriteEntry> metadata = {
      {"general.architecture", WriteValue::string(arch)},
      {arch + ".block_count", u32("num_hidden_layers")},
      {arch + ".context_length", u32("max_position_embeddings")},
      {arch + ".embedding_length", u32("hidden_size")},
      {arch + ".feed_forward_length", u32("intermediate_size")},
      {arch + ".attention.head_count", u32("num_attention_heads")},
      {arch + ".attention.head_count_kv", u32("num_key_value_heads")},
      {arch + ".attention.key_length", WriteValue::u32(static_cast<std::uint32_t>(head_dim))},
      {arch + ".attention.layer_norm_rms_epsilon", f32(config["rms_norm_eps"])},
      {arch + ".rope.freq_base", f32(rope["rope_theta"])},
  };
  if (rope["rope_type"] == "linear") {
    metadata.push_back({arch + ".rope.scaling.type", WriteValue::string("linear")});
    metadata.push_back({arch + ".rope.scaling.factor", f32(rope["factor"])});
  }
  if (gemma) metadata.push_back({arch + ".attention.sliding_window", u32("sliding_window")});
  std::vector<PlainTensor> tensors = plain_tensors(format::open_model(golden_folder(name)));
  for (PlainTensor& tensor : tensors) {
    tensor.name = gguf_name_of(tensor.name, gemma);
    const bool query = tensor.name.find("attn_q.") != std::string::npos;
    const bool key = tensor.name.find("attn_k.") != std::string::npos;
    if (arch == "llama" && (query || key)) pair_rows(tensor, query ? heads : kv_heads);
    if (gemma && tensor.name.find("norm") != std::string::npos) {
      for (float& v : tensor.values) v += 1;
    }
    if (gemma && tensor.name.find("attn_q_norm") != std::string::npos) {
      // GGUF has no key for query_pre_attn_scalar: its difference to the head size goes into the norm of the queries.
      const double factor = std::sqrt(static_cast<double>(head_dim) / config["query_pre_attn_scalar"].get<double>());
      for (float& v : tensor.values) v = static_cast<float>(static_cast<double>(v) * factor);
    }
  }
  if (rope["rope_type"] == "llama3") tensors.push_back(llama3_factors(rope, head_dim));
  if (change) change(tensors);
  write_model(format::Format::Gguf, path, metadata, tensors);
}

/// The golden model as an APR file: canonical keys and Hugging Face names.
inline void write_golden_apr(std::string_view name, const std::string& path, const std::vector<PlainTensor>& tensors) {
  using format::WriteValue;
  const nlohmann::json config = read_json(golden_folder(name) + "/config.json");
  const auto u32 = [&](const char* key) { return WriteValue::u32(config[key].get<std::uint32_t>()); };
  std::vector<format::WriteEntry> metadata = {
      {"architecture", WriteValue::string(config["model_type"])},
      {"hidden_size", u32("hidden_size")},
      {"num_layers", u32("num_hidden_layers")},
      {"num_heads", u32("num_attention_heads")},
      {"num_kv_heads", u32("num_key_value_heads")},
      {"vocab_size", u32("vocab_size")},
      {"intermediate_size", u32("intermediate_size")},
      {"max_position_embeddings", u32("max_position_embeddings")},
      {"rms_norm_eps", WriteValue::f32(config["rms_norm_eps"].get<float>())},
      {"rope_type", WriteValue::u32(2)},
      {"rope_parameters", WriteValue::json(config["rope_parameters"].dump())},
  };
  for (const char* key : {"head_dim", "sliding_window", "query_pre_attn_scalar"}) {
    if (config.contains(key) && !config[key].is_null()) metadata.push_back({key, u32(key)});
  }
  write_model(format::Format::Apr, path, metadata, tensors);
}
inline void write_golden_apr(std::string_view name, const std::string& path) {
  write_golden_apr(name, path, plain_tensors(format::open_model(golden_folder(name))));
}

}  // namespace apr::test
