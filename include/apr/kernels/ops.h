// Kernels of the fast CPU executor. Pure functions on memory; the caller splits the work over threads.
// This header is included by the ISA objects and therefore includes nothing but compiler headers.
//
// Weights are repacked at load into panels: `lanes` rows interleaved so that one 32-bit lane of a vector is one row and
// no horizontal sum is needed (drawn in kernels/cpu/ops/panel.inl). Activations are quantised to int8 with one f32
// scale per 32 elements. Integer sums are exact; what is rounded, and in which order, does not depend on the
// instruction set, on the number of lanes, on threads or on how many tokens run together: every variant gives the same
// bits.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace apr::kernels {

inline constexpr int n_panel_types = 64;                   // indexed by ggml id
inline constexpr int act_group = 32;                       // activations that share a scale
inline constexpr int max_lanes = 16, max_block_cols = 16;  // of any OpKernels

/// Tokens that a kernel multiplies together: a power of two up to OpKernels::block_cols of which `remaining` tokens
/// fill at least three quarters. The last block of a batch may hold fewer tokens than its width: what stands in the
/// free places is multiplied, too, and not stored, which costs less than to unpack the weights once more.
constexpr int block_width(int64_t remaining, int block_cols) {
  int width = block_cols;
  while (3 * width > 4 * remaining) width /= 2;
  return width;
}
/// Tokens for which a batch of `n_tokens` needs room in an Activation.
constexpr int64_t block_room(int64_t n_tokens, int block_cols) {
  return (n_tokens + block_cols - 1) / block_cols * block_cols;
}

/// The activations of a batch, cut into blocks of tokens (block_width). A block of w tokens that begins at token t
/// begins at element t * n_cols (of d and s t * n_cols / 32, of sums t * n_cols / 16); inside it stand the groups, in a
/// group its w tokens, so that a kernel reads one stream.
struct Activation {
  const float* x;       // block: [n_cols][w]; used by the float panels
  const int8_t* q;      // block: [n_cols / 32][w][32], round(x / d), in [-127, 127]
  const float* d;       // block: [n_cols / 32][w], max |x| / 127
  const float* s;       // block: [n_cols / 32][w], d * sum of the 32 q
  const int16_t* sums;  // block: [n_cols / 32][w][2], sum of 16 q
  int64_t n_cols;
  int64_t ahead = 4096;  // bytes of the panel between what is multiplied and what is asked for from memory
};

/// Fills q, d, s and sums of n_groups groups of one token in a block of `width`; the pointers are to the token's first
/// group. A NaN or an infinity makes d and s of its group NaN.
using QuantizeActivationFn = void (*)(const float* x, int64_t n_groups, int width, int8_t* q, float* d, float* s,
                                      int16_t* sums);

/// `n_rows` (1 .. lanes) rows as the file has them, `row_stride` bytes apart -> one panel. Missing rows become zeros.
using RepackFn = void (*)(const uint8_t* rows, int64_t row_stride, int n_rows, int64_t n_cols, uint8_t* panel);

/// out[i * out_stride + r] = dot(row r of the panel, token t + i), r < n_rows, i < n_tokens <= width: one block of
/// tokens.
using MultiplyFn = void (*)(const uint8_t* panel, const Activation* a, int64_t t, int width, int n_tokens, int n_rows,
                            float* out, int64_t out_stride);

struct PanelKernels {
  int32_t unit_cols;   // a row is a whole number of units; 0: no panel for this type
  int32_t unit_bytes;  // of one unit of all lanes
  bool integer;        // needs the quantised form of the activations
  RepackFn repack;
  MultiplyFn multiply;
};

/// Positions that attention takes at a time, aligned to a multiple of it; a cache holds a whole number of such chunks.
inline constexpr int attention_chunk = 64;
/// Positions, aligned to a multiple of it, whose softmax runs in one go. What a row sees of each such segment is
/// computed from nothing and the segments are then merged in rising order, so threads may share out the segments of a
/// row.
inline constexpr int attention_segment = 512;
inline constexpr int key_block = 16;  // positions whose keys are interleaved
/// Query rows of one call, and elements of a head.
inline constexpr int max_attention_rows = 32, max_head_dim = 512;

/// Element types of a cache. q8_0: int8 with an f16 scale per kv_group elements of a head (the last group may be half).
enum KvType { kv_f16, kv_q8_0 };
inline constexpr int n_kv_types = 2;
inline constexpr int kv_group = 32;
constexpr int64_t kv_groups(int64_t stride) { return (stride + kv_group - 1) / kv_group; }

/// Keys and values of one head in the cache. Keys: [position / 16][stride][position % 16], so that a lane is a position
/// and no horizontal sum is needed. Values: [position][stride]; what stands from head_dim on is read and never used.
/// `stride` is head_dim rounded up to a multiple of 16. Scales of keys: [position / 16][kv_groups][position % 16]; of
/// values: [position][kv_groups].
struct KvHead {
  void* keys;
  void* values;
  uint16_t* key_scales;
  uint16_t* value_scales;
  int64_t stride;
};

/// One query: head_dim elements in and out, and the positions [first, last) that it sees (at least one). `out` must not
/// overlap a query.
struct AttentionRow {
  const float* q;
  float* out;
  int64_t first, last;
};

/// What a row computes does not depend on the other rows.
struct KvKernels {
  /// One position into the cache. f16: rounded to nearest even. q8_0: a NaN or an infinity makes the scale of its group
  /// NaN.
  void (*store)(const float* key, const float* value, int64_t head_dim, const KvHead* kv, int64_t position);
  /// out = softmax(scale * q.k) v of up to max_attention_rows queries of one head.
  void (*attention)(const AttentionRow* rows, int n_rows, const KvHead* kv, int64_t head_dim, float scale);
  /// The same of one segment: `out` of each row that sees it gets an attention part, for attention_merge.
  void (*attention_part)(const AttentionRow* rows, int n_rows, const KvHead* kv, int64_t head_dim, float scale,
                         int64_t segment);
};
/// Floats of an attention part: the sum of weight * value by element, the sum of the weights, the highest score.
constexpr int64_t attention_part_floats(int64_t head_dim) { return head_dim + 2; }

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
  KvKernels kv[n_kv_types];
  /// The row of which `parts` are, one behind the other, the parts of all segments that it sees. They are overwritten.
  void (*attention_merge)(float* parts, int64_t n_parts, int64_t head_dim, float* out);
  /// Reads n bytes (a multiple of 64) once, asking for those `ahead` of them as the matrix kernels do, and returns
  /// their XOR in 64-bit words: the bandwidth roof.
  uint64_t (*read_all)(const uint8_t* bytes, int64_t n, int64_t ahead);
  /// Integer multiply-adds on registers as the matrix kernels do them; returns their operations: the compute roof.
  int64_t (*peak_int8)(int64_t rounds);
};

}  // namespace apr::kernels
