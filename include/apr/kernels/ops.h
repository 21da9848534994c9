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

/// Tokens that a kernel multiplies together: the largest power of two up to `remaining` and to OpKernels::block_cols.
constexpr int block_width(int64_t remaining, int block_cols) {
  int width = block_cols;
  while (width > remaining) width /= 2;
  return width;
}

/// The activations of a batch, cut into blocks of tokens (block_width). A block of w tokens that begins at token t begins
/// at element t * n_cols (of d and s t * n_cols / 32, of sums t * n_cols / 16); inside it stand the groups, in a group its
/// w tokens, so that a kernel reads one stream.
struct Activation {
  const float* x;          // block: [n_cols][w]; used by the float panels
  const int8_t* q;         // block: [n_cols / 32][w][32], round(x / d), in [-127, 127]
  const float* d;          // block: [n_cols / 32][w], max |x| / 127
  const float* s;          // block: [n_cols / 32][w], d * sum of the 32 q
  const int16_t* sums;     // block: [n_cols / 32][w][2], sum of 16 q
  int64_t n_cols;
};

/// Fills q, d, s and sums of n_groups groups of one token in a block of `width`; the pointers are to the token's first
/// group. A NaN or an infinity makes d and s of its group NaN.
using QuantizeActivationFn = void (*)(const float* x, int64_t n_groups, int width, int8_t* q, float* d, float* s,
                                      int16_t* sums);

/// `n_rows` (1 .. lanes) rows as the file has them, `row_stride` bytes apart -> one panel. Missing rows become zeros.
using RepackFn = void (*)(const uint8_t* rows, int64_t row_stride, int n_rows, int64_t n_cols, uint8_t* panel);

/// out[i * out_stride + r] = dot(row r of the panel, token t + i), r < n_rows, i < width: one block of tokens.
using MultiplyFn = void (*)(const uint8_t* panel, const Activation* a, int64_t t, int width, int n_rows, float* out,
                            int64_t out_stride);

struct PanelKernels {
  int32_t unit_cols;   // a row is a whole number of units; 0: no panel for this type
  int32_t unit_bytes;  // of one unit of all lanes
  bool integer;        // needs the quantised form of the activations
  RepackFn repack;
  MultiplyFn multiply;
};

/// Positions that attention takes at a time, aligned to a multiple of it; a cache holds a whole number of such chunks.
inline constexpr int attention_chunk = 64;
inline constexpr int key_block = 16;  // positions whose keys are interleaved
/// Query rows of one call, and elements of a head.
inline constexpr int max_attention_rows = 32, max_head_dim = 512;

/// Keys and values of one head in the cache, f16. Keys: [position / 16][stride][position % 16], so that a lane is a
/// position and no horizontal sum is needed. Values: [position][stride], zeros from head_dim on. `stride` is head_dim
/// rounded up to a multiple of 16.
struct KvHead {
  const uint16_t* keys;
  const uint16_t* values;
  int64_t stride;
};

/// One query: head_dim elements in and out, and the positions [first, last) that it sees (at least one).
struct AttentionRow {
  const float* q;
  float* out;
  int64_t first, last;
};

struct OpKernels {
  int32_t lanes;       // rows of a panel
  int32_t block_cols;  // tokens that run together at most, a power of two
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
  /// Rounds to f16, nearest even; `stride` elements apart.
  void (*store_f16)(const float* x, int64_t n, uint16_t* out, int64_t stride);
  /// out = softmax(scale * q.k) v of up to max_attention_rows queries of one head, by online softmax over the chunks.
  /// What a row computes does not depend on the other rows.
  void (*attention)(const AttentionRow* rows, int n_rows, const KvHead* kv, int64_t head_dim, float scale);
  /// Reads n bytes (a multiple of 64) once and returns their XOR in 64-bit words: the bandwidth roof.
  uint64_t (*read_all)(const uint8_t* bytes, int64_t n);
  /// Integer multiply-adds on registers as the matrix kernels do them; returns their operations: the compute roof.
  int64_t (*peak_int8)(int64_t rounds);
};

}  // namespace apr::kernels
