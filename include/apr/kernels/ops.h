// Kernels of the fast CPU executor. Pure functions on memory; the caller splits the work over threads.
// This header is included by the ISA objects and therefore includes nothing but compiler headers.
//
// Weights are repacked at load into panels: `lanes` rows interleaved so that one 32-bit lane of a vector is one row and
// no horizontal sum is needed (drawn in kernels/cpu/ops/panel.inl). Activations are quantised to int8 with one f32 scale
// per 32 elements. Integer sums are exact; what is rounded, and in which order, does not depend on the instruction set,
// on the number of lanes, on threads or on how many tokens run together: every variant gives the same bits.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace apr::kernels {

inline constexpr int n_panel_types = 64;  // indexed by ggml id
inline constexpr int act_group = 32;       // activations that share a scale

/// The activations of a batch, row after row. For MultiplyFn; pointers are to token 0.
struct Activation {
  const float* x;          // [n_tokens][n_cols], used by the float panels
  const int8_t* q;         // [n_tokens][n_cols], round(x / d), in [-127, 127]
  const float* d;          // [n_tokens][n_cols / 32], max |x| / 127
  const float* s;          // [n_tokens][n_cols / 32], d * sum of the 32 q
  const int16_t* sums;     // [n_tokens][n_cols / 16], sum of 16 q
  int64_t n_cols;
};

/// Fills q, d, s and sums of one token from n_cols (a multiple of 32) floats. A NaN or an infinity makes d and s of its group NaN.
using QuantizeActivationFn = void (*)(const float* x, int64_t n_cols, int8_t* q, float* d, float* s, int16_t* sums);

/// `n_rows` (1 .. lanes) rows as the file has them, `row_stride` bytes apart -> one panel. Missing rows become zeros.
using RepackFn = void (*)(const uint8_t* rows, int64_t row_stride, int n_rows, int64_t n_cols, uint8_t* panel);

/// out[t * out_stride + r] = dot(row r of the panel, token t), r < n_rows, t < n_tokens.
using MultiplyFn = void (*)(const uint8_t* panel, const Activation* a, int64_t n_tokens, int n_rows, float* out,
                            int64_t out_stride);

struct PanelKernels {
  int32_t unit_cols;   // a row is a whole number of units; 0: no panel for this type
  int32_t unit_bytes;  // of one unit of all lanes
  bool integer;        // needs the quantised form of the activations
  RepackFn repack;
  MultiplyFn multiply;
};

/// Keys and values of one head in the cache: f16, one row per position, `stride` elements apart. A row is head_dim
/// elements and zeros up to the next multiple of 16.
struct KvHead {
  const uint16_t* keys;
  const uint16_t* values;
  int64_t stride;
};

struct OpKernels {
  int32_t lanes;  // rows of a panel
  PanelKernels panel[n_panel_types];
  QuantizeActivationFn quantize_activation;
  /// out[i] = x[i] / sqrt(mean(x^2) + eps) * (weight[i] + plus)
  void (*rms_norm)(const float* x, const float* weight, float plus, float eps, int64_t n, float* out);
  /// out[i] = a[i] + b[i]
  void (*add)(const float* a, const float* b, int64_t n, float* out);
  /// out[i] = a[i] / (1 + exp(-a[i])) * b[i]
  void (*silu_mul)(const float* a, const float* b, int64_t n, float* out);
  /// out[i] = gelu_tanh(a[i]) * b[i]
  void (*gelu_mul)(const float* a, const float* b, int64_t n, float* out);
  /// Rounds to f16, nearest even.
  void (*store_f16)(const float* x, int64_t n, uint16_t* out);
  /// softmax(scale * q.k) v over positions [first, last) of one head by online softmax. `head_dim` is
  /// at most 512. q is f32.
  void (*attention)(const float* q, const KvHead* kv, int64_t first, int64_t last, int64_t head_dim, float scale,
                    float* out);
  /// Reads n bytes (a multiple of 64) once and returns their XOR in 64-bit words: the bandwidth roof.
  uint64_t (*read_all)(const uint8_t* bytes, int64_t n);
  /// Integer multiply-adds on registers as the matrix kernels do them; returns their operations: the compute roof.
  int64_t (*peak_int8)(int64_t rounds);
};

}  // namespace apr::kernels
