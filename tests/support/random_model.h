// Small GGUF models of any shape and mix of types, with drawn weights: for sizes that no preset has.
#pragma once
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "apr/format/writer.h"
#include "apr/kernels/dispatch.h"

namespace apr::test {

struct RandomModel {
  std::string arch = "llama";
  std::uint32_t n_layers = 2, n_embd = 256, n_heads = 4, n_kv_heads = 2, head_dim = 64, n_ffn = 512, n_vocab = 300,
                n_ctx = 128, window = 0;
  std::vector<TensorType> types = {TensorType::Q4_K};  // of the matrices in turn
  TensorType embedding = TensorType::Q8_0;
  bool bias = false, head_norms = false, post_norms = false, tied = true;
  std::uint32_t seed = 1;
};

class RandomModelWriter {
 public:
  RandomModelWriter(const RandomModel& model, const std::string& path) : m_(model), random_(model.seed) {
    declare();
    const auto writer = format::make_writer(format::Format::Gguf, path);
    writer->begin(metadata(), decls_);
    for (const format::TensorDecl& decl : decls_) {
      writer->write(bytes(decl));
      writer->end_tensor();
    }
    writer->finish();
  }

 private:
  void matrix(const std::string& name, std::int64_t rows, std::int64_t cols) {
    decls_.push_back({name + ".weight", m_.types[n_matrices_++ % m_.types.size()], {rows, cols}});
  }
  void vector(const std::string& name, std::int64_t n) { decls_.push_back({name, TensorType::F32, {n}}); }
  void declare() {
    const std::int64_t embd = m_.n_embd, q = std::int64_t{m_.n_heads} * m_.head_dim,
                       kv = std::int64_t{m_.n_kv_heads} * m_.head_dim;
    decls_.push_back({"token_embd.weight", m_.embedding, {m_.n_vocab, embd}});
    for (std::uint32_t l = 0; l < m_.n_layers; ++l) {
      const std::string blk = "blk." + std::to_string(l) + ".";
      vector(blk + "attn_norm.weight", embd);
      matrix(blk + "attn_q", q, embd);
      matrix(blk + "attn_k", kv, embd);
      matrix(blk + "attn_v", kv, embd);
      if (m_.bias)
        for (const auto& [name, n] : {std::pair{"attn_q.bias", q}, {"attn_k.bias", kv}, {"attn_v.bias", kv}})
          vector(blk + name, n);
      if (m_.head_norms)
        for (const char* name : {"attn_q_norm.weight", "attn_k_norm.weight"}) vector(blk + name, m_.head_dim);
      matrix(blk + "attn_output", embd, q);
      if (m_.post_norms) vector(blk + "post_attention_norm.weight", embd);
      vector(blk + "ffn_norm.weight", embd);
      matrix(blk + "ffn_gate", m_.n_ffn, embd);
      matrix(blk + "ffn_up", m_.n_ffn, embd);
      matrix(blk + "ffn_down", embd, m_.n_ffn);
      if (m_.post_norms) vector(blk + "post_ffw_norm.weight", embd);
    }
    vector("output_norm.weight", embd);
    if (!m_.tied) matrix("output", m_.n_vocab, embd);
  }
  [[nodiscard]] std::vector<format::WriteEntry> metadata() const {
    using format::WriteValue;
    const std::string a = m_.arch + ".";
    std::vector<format::WriteEntry> out = {{"general.architecture", WriteValue::string(m_.arch)},
                                           {a + "block_count", WriteValue::u32(m_.n_layers)},
                                           {a + "context_length", WriteValue::u32(m_.n_ctx)},
                                           {a + "embedding_length", WriteValue::u32(m_.n_embd)},
                                           {a + "feed_forward_length", WriteValue::u32(m_.n_ffn)},
                                           {a + "attention.head_count", WriteValue::u32(m_.n_heads)},
                                           {a + "attention.head_count_kv", WriteValue::u32(m_.n_kv_heads)},
                                           {a + "attention.key_length", WriteValue::u32(m_.head_dim)},
                                           {a + "attention.value_length", WriteValue::u32(m_.head_dim)},
                                           {a + "attention.layer_norm_rms_epsilon", WriteValue::f32(1e-5F)},
                                           {a + "rope.freq_base", WriteValue::f32(10000.F)}};
    if (m_.window != 0) out.push_back({a + "attention.sliding_window", WriteValue::u32(m_.window)});
    return out;
  }
  /// Rows of variance 1 / columns, so that values stay near 1; norms near 1.
  [[nodiscard]] std::vector<std::byte> bytes(const format::TensorDecl& decl) {
    std::int64_t n = 1;
    for (const std::int64_t size : decl.shape) n *= size;
    const bool is_matrix = decl.shape.size() > 1, is_norm = decl.name.find("norm") != std::string::npos;
    std::normal_distribution<float> draw(is_norm ? 1.F : 0.F,
                                         is_matrix ? 1.F / std::sqrt(static_cast<float>(decl.shape[1])) : 0.1F);
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& v : values) v = draw(random_);
    const TypeInfo& type = *find_type(decl.type);
    const auto n_blocks = n / static_cast<std::int64_t>(type.block_elements);
    std::vector<std::byte> out(static_cast<std::size_t>(n_blocks) * type.block_bytes);
    kernels::quantizer(decl.type)(values.data(), out.data(), n_blocks);
    return out;
  }

  const RandomModel& m_;
  std::mt19937 random_;
  std::vector<format::TensorDecl> decls_;
  std::size_t n_matrices_ = 0;
};

inline void write_random_model(const RandomModel& model, const std::string& path) { RandomModelWriter(model, path); }

}  // namespace apr::test
