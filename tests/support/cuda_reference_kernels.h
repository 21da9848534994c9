// What each CUDA kernel computes, in plain loops and double sums, from the same parameters: an oracle for launch lists
// that shares no code with the kernels, and fast enough for whole models.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <string_view>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/sampler.h"
#include "apr/kernels/cuda_kernels.h"
#include "apr/kernels/dispatch.h"
#include "src/engine/cuda/emulated_driver.h"
#include "tests/support/cuda_kernel_handle.h"

namespace apr::test {

namespace kc = kernels::cuda;

template <class T>
T* pointer(kc::Address address) {
  return reinterpret_cast<T*>(address);
}

inline float half_to_float(std::uint16_t h) {
  float out = 0;
  kernels::dequantizer(TensorType::F16)(&h, &out, 1);
  return out;
}
inline std::uint16_t float_to_half(float f) {
  std::uint16_t out = 0;
  kernels::quantizer(TensorType::F16)(&f, &out, 1);
  return out;
}

class ReferenceKernels final : public engine::cuda::KernelRunner {
 public:
  [[nodiscard]] const void* find(std::string_view name) const override { return find_cuda_kernel(name); }
  [[nodiscard]] std::size_t parameter_bytes(const void* kernel) const override {
    return static_cast<const CudaKernelHandle*>(kernel)->parameter_bytes();
  }
  void run(const void* kernel, const engine::cuda::LaunchConfig&, const std::byte* bytes) override {
    const auto& handle = *static_cast<const CudaKernelHandle*>(kernel);
    kc::Address stamps = 0;
    if (handle.stamped) std::memcpy(&stamps, bytes + handle.info->params_bytes, sizeof stamps);
    const std::uint64_t entered = ++ticks_;
    run(handle.info->id, bytes);
    if (stamps != 0) *pointer<kc::Stamps>(stamps) = {entered, entered, ~++ticks_};
  }

 private:
  void run(kc::KernelId id, const std::byte* bytes) {
    switch (id) {
#define APR_CUDA_KERNEL(symbol, name, module, threads, registers) \
  case kc::KernelId::symbol: {                                    \
    kc::symbol##Params p;                                         \
    std::memcpy(&p, bytes, sizeof p);                             \
    return run(p);                                                \
  }
#include "apr/kernels/cuda_kernels.def"
#undef APR_CUDA_KERNEL
    }
  }
  static std::size_t z(std::int64_t n) { return static_cast<std::size_t>(n); }

  void run(const kc::RepackParams& p) {
    const auto type = static_cast<TensorType>(p.type);
    const std::uint64_t n = kc::tiles_bytes(type, p.n_rows, p.n_cols), row = kc::tiles_bytes(type, 16, p.n_cols);
    kc::repack_tiles(type, pointer<const std::uint8_t>(p.rows), p.row_stride, p.n_rows, p.n_cols,
                     std::span(pointer<std::uint8_t>(p.tiles) + z(p.first_tile) * row, n));
    matrices_.clear();
  }
  void run(const kc::ExpandParams&) { throw Error(ErrorCode::Internal, "no launch list expands"); }

  /// A matrix in f32, kept from the first use on.
  const std::vector<float>& matrix(kc::Address tiles, std::int32_t type, std::int64_t n_rows, std::int64_t n_cols) {
    std::vector<float>& m = matrices_[tiles];
    if (!m.empty()) return m;
    const auto t = static_cast<TensorType>(type);
    const std::span bytes(pointer<const std::uint8_t>(tiles), kc::tiles_bytes(t, n_rows, n_cols));
    for (std::int64_t r = 0; r < n_rows; ++r)
      for (std::int64_t c = 0; c < n_cols; ++c) m.push_back(kc::tile_value(t, bytes, n_cols, r, c));
    return m;
  }

  void run(const kc::EmbedParams& p) {
    const auto& table = matrix(p.tiles, p.type, p.n_rows, p.n_cols);
    for (std::int32_t c = 0; c < p.n_columns; ++c) {
      const auto token = z(pointer<const kc::Column>(p.columns)[c].token);
      for (std::int32_t i = 0; i < p.n_cols; ++i)
        pointer<float>(p.out)[z(c) * z(p.n_cols) + z(i)] = p.scale * table[token * z(p.n_cols) + z(i)];
    }
  }

  static std::vector<float> normed(const float* x, const float* weight, std::int32_t n, float eps) {
    std::vector<float> out(x, x + n);
    if (weight == nullptr) return out;
    double sum = 0;
    for (const float v : out) sum += double{v} * double{v};
    const double scale = 1 / std::sqrt(sum / n + double{eps});
    for (std::int32_t i = 0; i < n; ++i) out[z(i)] = static_cast<float>(double{out[z(i)]} * scale * double{weight[i]});
    return out;
  }

  struct Quantised {
    std::vector<std::int8_t> q;
    std::vector<float> d, s, x;
  };
  static Quantised quantised(std::vector<float> x) {
    const std::size_t stride = (x.size() + 255) / 256 * 256;
    x.resize(stride);
    Quantised out{
        std::vector<std::int8_t>(stride), std::vector<float>(stride / 32), std::vector<float>(stride / 32), {}};
    for (std::size_t group = 0; group < stride; group += 32) {
      float largest = 0;
      bool finite = true;
      for (std::size_t i = group; i < group + 32; ++i) {
        largest = std::max(largest, std::abs(x[i]));
        finite = finite && std::isfinite(x[i]);
      }
      const float d = finite ? largest / 127.0F : NAN;
      int sum = 0;
      for (std::size_t i = group; finite && d > 0 && i < group + 32; ++i) {
        out.q[i] = static_cast<std::int8_t>(std::clamp(std::nearbyint(x[i] * (1 / d)), -127.0F, 127.0F));
        sum += out.q[i];
      }
      out.d[group / 32] = d;
      out.s[group / 32] = d * static_cast<float>(sum);
    }
    out.x = std::move(x);
    return out;
  }
  static void store(const Quantised& a, const kc::Activations& to, std::int32_t column) {
    const std::size_t at = z(column) * z(to.stride);
    std::ranges::copy(a.q, pointer<std::int8_t>(to.q) + at);
    std::ranges::copy(a.d, pointer<float>(to.d) + at / 32);
    std::ranges::copy(a.s, pointer<float>(to.s) + at / 32);
    if (to.x != 0) std::ranges::copy(a.x, pointer<float>(to.x) + at);
  }

  void run(const kc::PrepareParams& p) {
    for (std::int32_t c = 0; c < p.n_columns; ++c) {
      const float* x = pointer<const float>(p.x) + z(c) * z(p.x_stride);
      store(quantised(normed(x, pointer<const float>(p.norm_weight), p.n_cols, p.eps)), p.out, c);
    }
  }
  void run(const kc::NormAddParams& p) {
    for (std::int32_t c = 0; c < p.n_columns; ++c) {
      const std::size_t at = z(c) * z(p.stride);
      const auto y = normed(pointer<const float>(p.y) + at, pointer<const float>(p.weight), p.n_cols, p.eps);
      for (std::int32_t i = 0; i < p.n_cols; ++i) pointer<float>(p.x)[at + z(i)] += y[z(i)];
    }
  }

  static bool is_float(std::int32_t type) {
    const auto t = static_cast<TensorType>(type);
    return t == TensorType::F32 || t == TensorType::F16 || t == TensorType::BF16;
  }
  Quantised input(const kc::LinearParams& p, std::int32_t column) {
    if (p.input != kc::LinearInput::Ready) {
      const float* x = pointer<const float>(p.x) + z(column) * z(p.x_stride);
      return quantised(
          normed(x, p.input == kc::LinearInput::Norm ? pointer<const float>(p.norm_weight) : nullptr, p.n_cols, p.eps));
    }
    const std::size_t n = z(p.ready.stride), at = z(column) * n;
    const auto* q = pointer<const std::int8_t>(p.ready.q) + at;
    const auto* d = pointer<const float>(p.ready.d) + at / 32;
    Quantised a{{q, q + n}, {d, d + n / 32}, {}, std::vector<float>(n)};
    if (p.keep_float != 0) std::copy_n(pointer<const float>(p.ready.x) + at, p.n_cols, a.x.begin());
    return a;
  }
  void run(const kc::LinearParams& p) {
    for (std::int32_t c = 0; c < p.n_columns; ++c) {
      const Quantised a = input(p, c);
      std::vector<std::vector<float>> results;
      for (std::int32_t m = 0; m < p.n_matrices; ++m) {
        const kc::Matrix& matrix_of = p.matrix[m];
        const auto& w = matrix(matrix_of.tiles, matrix_of.type, matrix_of.n_rows, p.n_cols);
        auto& out = results.emplace_back();
        for (std::int32_t r = 0; r < matrix_of.n_rows; ++r) {
          double sum = matrix_of.bias == 0 ? 0 : double{pointer<const float>(matrix_of.bias)[r]};
          for (std::int32_t i = 0; i < p.n_cols; ++i) {
            const double x = is_float(matrix_of.type) ? double{a.x[z(i)]} : double{a.d[z(i / 32)]} * a.q[z(i)];
            sum += double{w[z(r) * z(p.n_cols) + z(i)]} * x;
          }
          out.push_back(static_cast<float>(sum));
        }
      }
      finish(p, c, results);
    }
  }
  static void finish(const kc::LinearParams& p, std::int32_t c, const std::vector<std::vector<float>>& results) {
    if (p.output == kc::LinearOutput::Store || p.output == kc::LinearOutput::Residual) {
      for (std::int32_t m = 0; m < p.n_matrices; ++m)
        for (std::size_t r = 0; r < results[z(m)].size(); ++r) {
          const std::size_t at = z(c) * z(p.out_stride) + z(p.matrix[m].out_offset) + r;
          const float add = p.output == kc::LinearOutput::Residual ? pointer<const float>(p.residual)[at] : 0;
          pointer<float>(p.out)[at] = results[z(m)][r] + add;
        }
      return;
    }
    std::vector<float> gated;
    for (std::size_t r = 0; r < results[0].size(); ++r) {
      const double g = results[0][r], u = results[1][r];
      const double act = p.output == kc::LinearOutput::SiluMul
                             ? g / (1 + std::exp(-g))
                             : 0.5 * g * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g)));
      gated.push_back(static_cast<float>(act * u));
    }
    store(quantised(gated), p.ready_out, c);
  }

  /// Norm and rotation of one head in place.
  static void turn(const kc::HeadParams& p, float* head, kc::Address norm, std::int32_t position) {
    if (norm != 0) std::ranges::copy(normed(head, pointer<const float>(norm), p.head_dim, p.eps), head);
    for (std::int32_t i = 0; i < p.n_rot / 2; ++i) {
      const float* coarse = pointer<const float>(p.rope_coarse) + (z(position / 256) * z(p.n_rot / 2) + z(i)) * 2;
      const float* fine = pointer<const float>(p.rope_fine) + (z(position % 256) * z(p.n_rot / 2) + z(i)) * 2;
      const double cosine = double{coarse[0]} * double{fine[0]} - double{coarse[1]} * double{fine[1]};
      const double sine = double{coarse[1]} * double{fine[0]} + double{coarse[0]} * double{fine[1]};
      const std::size_t a = z(p.adjacent != 0 ? 2 * i : i), b = z(p.adjacent != 0 ? 2 * i + 1 : i + p.n_rot / 2);
      const double x = head[a], y = head[b];
      head[a] = static_cast<float>(x * cosine - y * sine);
      head[b] = static_cast<float>(x * sine + y * cosine);
    }
  }
  static std::size_t cache_row(const kc::HeadParams& p, std::int32_t slot, std::int32_t kv_head,
                               std::int32_t position) {
    return (z(slot) * z(p.n_kv_heads) + z(kv_head)) * z(p.n_ctx) + z(position);
  }
  static bool is_q8(const kc::HeadParams& p) { return p.kv_type == static_cast<std::int32_t>(TensorType::Q8_0); }
  /// What a row of the cache holds, in f32.
  static std::vector<float> cached(const kc::HeadParams& p, kc::Address cache, kc::Address scales, std::size_t row) {
    std::vector<float> out;
    for (std::size_t i = 0; i < z(p.head_dim); ++i) {
      const std::size_t at = row * z(p.head_dim) + i;
      out.push_back(
          is_q8(p) ? half_to_float(pointer<const std::uint16_t>(scales)[row * z((p.head_dim + 31) / 32) + i / 32]) *
                         static_cast<float>(pointer<const std::int8_t>(cache)[at])
                   : half_to_float(pointer<const std::uint16_t>(cache)[at]));
    }
    return out;
  }
  static void store_row(const kc::HeadParams& p, std::span<const float> x, kc::Address cache, kc::Address scales,
                        std::size_t row) {
    if (!is_q8(p)) {
      for (std::size_t i = 0; i < x.size(); ++i)
        pointer<std::uint16_t>(cache)[row * x.size() + i] = float_to_half(x[i]);
      return;
    }
    const Quantised a = quantised({x.begin(), x.end()});  // what lies behind the row is zeros: groups as they are
    std::copy_n(a.q.begin(), x.size(), pointer<std::int8_t>(cache) + row * x.size());
    for (std::size_t g = 0; 32 * g < x.size(); ++g)
      pointer<std::uint16_t>(scales)[row * ((x.size() + 31) / 32) + g] = float_to_half(a.d[g]);
  }
  static void store_heads(const kc::HeadParams& p) {
    for (std::int32_t c = 0; c < p.n_columns; ++c) {
      const kc::Column column = pointer<const kc::Column>(p.columns)[c];
      float* row = pointer<float>(p.qkv) + z(c) * z(p.qkv_stride);
      for (std::int32_t h = 0; h < p.n_heads; ++h) turn(p, row + z(h) * z(p.head_dim), p.q_norm, column.position);
      for (std::int32_t h = 0; h < p.n_kv_heads; ++h) {
        std::vector<float> key(row + z(p.n_heads + h) * z(p.head_dim), row + z(p.n_heads + h + 1) * z(p.head_dim));
        turn(p, key.data(), p.k_norm, column.position);
        const float* value = row + z(p.n_heads + p.n_kv_heads + h) * z(p.head_dim);
        const std::size_t to = cache_row(p, column.slot, h, column.position);
        store_row(p, key, p.k_cache, p.k_scales, to);
        store_row(p, {value, z(p.head_dim)}, p.v_cache, p.v_scales, to);
      }
    }
  }
  void run(const kc::StoreKvParams& p) { store_heads(p.head); }

  void run(const kc::AttentionParams& p) {
    const kc::HeadParams& h = p.head;
    if (p.fused != 0) store_heads(h);  // leaves the turned query in qkv, which nothing reads again
    for (std::int32_t c = 0; c < h.n_columns; ++c) {
      std::vector<float> out;
      for (std::int32_t q_head = 0; q_head < h.n_heads; ++q_head) attend(p, c, q_head, out);
      const Quantised a = quantised(out);
      kc::Activations to = p.out;
      if (kc::attention_quantises(h)) {
        store(a, to, c);
      } else {
        std::ranges::copy(a.x, pointer<float>(to.x) + z(c) * z(to.stride));
      }
    }
  }
  void run(const kc::PrefillAttentionParams& p) {
    kc::AttentionParams a{};
    a.head = p.head;
    a.window = p.window;
    a.scale = p.scale;
    for (std::int32_t c = 0; c < p.head.n_columns; ++c) {
      std::vector<float> out;
      for (std::int32_t q_head = 0; q_head < p.head.n_heads; ++q_head) attend(a, c, q_head, out);
      std::ranges::copy(out, pointer<float>(p.out.x) + z(c) * z(p.out.stride));
    }
  }
  static void attend(const kc::AttentionParams& p, std::int32_t c, std::int32_t q_head, std::vector<float>& out) {
    const kc::HeadParams& h = p.head;
    const kc::Column column = pointer<const kc::Column>(h.columns)[c];
    const std::int32_t kv_head = q_head / (h.n_heads / h.n_kv_heads), last = column.position;
    const std::int32_t first = p.window == 0 ? 0 : std::max(0, last + 1 - p.window);
    const float* query = pointer<const float>(h.qkv) + z(c) * z(h.qkv_stride) + z(q_head) * z(h.head_dim);
    std::vector<double> scores;
    for (std::int32_t t = first; t <= last; ++t) {
      double dot = 0;
      const auto key = cached(h, h.k_cache, h.k_scales, cache_row(h, column.slot, kv_head, t));
      for (std::int32_t i = 0; i < h.head_dim; ++i) dot += double{query[i]} * double{key[z(i)]};
      scores.push_back(dot * double{p.scale});
    }
    const double highest = *std::ranges::max_element(scores);
    double sum = 0;
    for (double& s : scores) sum += s = std::exp(s - highest);
    std::vector<double> mixed(z(h.head_dim));
    for (std::int32_t t = first; t <= last; ++t) {
      const auto value = cached(h, h.v_cache, h.v_scales, cache_row(h, column.slot, kv_head, t));
      for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] += scores[z(t - first)] * double{value[i]};
    }
    for (const double value : mixed) out.push_back(static_cast<float>(value / sum));
  }

  void run(const kc::SampleParams& p) {
    for (std::int32_t c = 0; c < p.n_columns; ++c) {
      kc::Column& column = pointer<kc::Column>(p.columns)[c];
      if (column.stopped != 0) continue;
      kc::Sequence& sequence = pointer<kc::Sequence>(p.sequences)[column.slot];
      auto* recent = pointer<std::int32_t>(p.recent) + z(column.slot) * z(p.recent_stride);
      engine::SamplerOptions o{p.temperature,
                               static_cast<std::uint32_t>(p.top_k),
                               p.top_p,
                               p.min_p,
                               p.repeat_penalty,
                               p.presence_penalty,
                               p.frequency_penalty,
                               static_cast<std::uint32_t>(p.penalty_window),
                               sequence.rng};
      engine::Sampler sampler(o);
      const std::uint32_t window = o.penalty_window, n = std::min(sequence.n_accepted, window);
      for (std::uint32_t i = sequence.n_accepted - n; i < sequence.n_accepted; ++i) sampler.accept(recent[i % window]);
      std::int32_t token = 0;
      try {
        token = sampler.sample({pointer<const float>(p.logits) + z(c) * z(p.logits_stride), z(p.n_vocab)});
      } catch (const Error&) {
        sequence.error = 1;
        column.stopped = 1;
        continue;
      }
      sequence.rng = sampler.state().rng;
      pointer<std::int32_t>(
          p.ring)[z(column.slot) * z(p.ring_size) + sequence.n_produced++ % static_cast<std::uint32_t>(p.ring_size)] =
          token;
      const auto* ends = pointer<const std::int32_t>(p.end_tokens);
      if (std::find(ends, ends + p.n_end_tokens, token) != ends + p.n_end_tokens) column.stopped = 1;
      if (window != 0) {
        std::int32_t& slot = recent[sequence.n_accepted % window];
        auto* counts = pointer<std::int32_t>(p.counts) + z(column.slot) * z(p.n_vocab);
        if (sequence.n_accepted >= window) --counts[slot];
        ++counts[token];
        slot = token;
      }
      ++sequence.n_accepted;
      if (sequence.n_left > 0 && --sequence.n_left == 0) column.stopped = 1;
      if (column.position + 1 >= p.n_ctx) {
        column.stopped = 1;
        continue;
      }
      column.token = token;
      ++column.position;
    }
  }

  std::map<kc::Address, std::vector<float>> matrices_;
  std::uint64_t ticks_ = 0;
};

}  // namespace apr::test
