// The models that the CUDA executor is tried on: every architecture, groups of 1, 2, 4 and 7 query heads, mixed types,
// sizes that fill no tile.
#pragma once
#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apr/engine/executor.h"
#include "apr/model/architecture.h"
#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"
#include "tests/support/random_model.h"

namespace apr::test {

/// Of logits against the fast CPU executor's. Both quantise activations alike; what differs is the order of sums, and
/// that a rounding of an activation may fall to the other side.
inline constexpr double kLogitTolerance = 1e-4;

class CudaModel {
 public:
  CudaModel(std::string name, const std::string& path)
      : name_(std::move(name)), model_(std::make_unique<model::Model>(model::load_model(path))) {
    std::uint32_t state = 12345;
    for (int i = 0; i < 11; ++i) {
      state = state * 1664525 + 1013904223;
      prompt_.push_back(static_cast<std::int32_t>((state >> 8) % model_->plan.hparams.n_vocab));
    }
  }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const model::Plan& plan() const { return model_->plan; }
  [[nodiscard]] std::span<const std::int32_t> prompt() const { return prompt_; }
  /// Positions: what 64 tokens behind the prompt need, or the trained context.
  [[nodiscard]] std::uint32_t n_ctx() const { return std::min(96U, model_->plan.hparams.n_context); }
  [[nodiscard]] std::uint32_t n_predict() const {
    return std::min(64U, n_ctx() - static_cast<std::uint32_t>(prompt_.size()));
  }

 private:
  std::string name_;
  std::unique_ptr<model::Model> model_;
  std::vector<std::int32_t> prompt_;
};

inline const std::vector<CudaModel>& cuda_models() {
  static const std::vector<CudaModel> models = [] {
    std::vector<CudaModel> out;
    for (const std::string_view name : kGoldenModels)
      out.emplace_back("golden_" + std::string(name), golden_folder(name));
    static TempFolder folder;
    const auto random = [&](const std::string& name, const RandomModel& m) {
      const std::string path = folder.path(name + ".gguf");
      write_random_model(m, path);
      out.emplace_back(name, path);
    };
    using T = TensorType;
    random("llama_gqa1_q4_k",
           {.n_heads = 4, .n_kv_heads = 4, .types = {T::Q4_K, T::Q4_K, T::Q6_K, T::Q5_K}, .embedding = T::Q6_K});
    random("qwen2_gqa7_odd", {.arch = "qwen2",
                              .n_embd = 224,
                              .n_heads = 7,
                              .n_kv_heads = 1,
                              .head_dim = 32,
                              .n_ffn = 352,
                              .n_vocab = 301,
                              .types = {T::Q5_0, T::Q8_0, T::Q4_0, T::Q4_1, T::Q5_1},
                              .bias = true});
    random("qwen3_gqa4_mixed", {.arch = "qwen3",
                                .n_embd = 256,
                                .n_heads = 8,
                                .n_kv_heads = 2,
                                .head_dim = 40,
                                .n_ffn = 288,
                                .types = {T::Q8_0, T::F16, T::BF16, T::F32},
                                .embedding = T::BF16,
                                .head_norms = true,
                                .tied = false});
    random("gemma3_window", {.arch = "gemma3",
                             .n_layers = 6,
                             .n_embd = 320,
                             .n_heads = 4,
                             .n_kv_heads = 1,
                             .head_dim = 64,
                             .n_ffn = 416,
                             .window = 8,
                             .types = {T::Q5_0, T::Q8_0},
                             .head_norms = true,
                             .post_norms = true});
    // Wider than the attention for prompts takes.
    random("llama_wide_heads",
           {.n_layers = 1, .n_heads = 2, .n_kv_heads = 1, .head_dim = 272, .n_ffn = 256, .types = {T::Q8_0}});
    return out;
  }();
  return models;
}

inline std::vector<float> all_logits(engine::Executor& executor, std::span<const std::int32_t> tokens,
                                     std::size_t chunk) {
  const std::size_t n_vocab = executor.plan().hparams.n_vocab;
  std::vector<float> logits(tokens.size() * n_vocab, NAN);
  for (std::size_t at = 0; at < tokens.size(); at += chunk) {
    const std::size_t n = std::min(chunk, tokens.size() - at);
    executor.forward(tokens.subspan(at, n), static_cast<std::uint32_t>(at), engine::LogitsRequest::All,
                     std::span(logits).subspan(at * n_vocab, n * n_vocab));
  }
  return logits;
}

inline double nmse_of(std::span<const float> got, std::span<const float> expected) {
  return nmse(got, std::vector<double>(expected.begin(), expected.end()));
}

}  // namespace apr::test
