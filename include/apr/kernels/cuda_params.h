// The parameters of the CUDA kernels and the structs that live in device memory. Included by device code and by the
// host: plain data, nothing but stdint.h. An Address is a device address, or a host address under the emulator; 0 =
// none.
//
// A "column" is one token of a launch: of one prompt (consecutive positions) or of several sequences that decode
// together. Matrices of activations are row-major f32, one row per column. All counts are of elements.
#pragma once
#include <stdint.h>

namespace apr::kernels::cuda {

using Address = uint64_t;

/// Activations as the matrix kernels take them, per column `stride` elements (a multiple of 256; those past the width
/// are zeros): q = round(x / d) in [-127, 127], d and s one f32 for each 32 elements, s = d * sum of the 32 q, x the
/// f32 values themselves (0: not kept; needed by float matrices alone). A group with a NaN or infinity has NaN in d and
/// s.
struct Activations {
  Address q, d, s, x;
  int32_t stride;
  int32_t reserved;
};

/// What one column is about to compute. The sampler of a sequence writes token and position for the next step.
struct Column {
  int32_t token;
  int32_t position;  // of this token; the cache holds the positions below
  int32_t slot;      // which KV cache
  int32_t stopped;   // != 0: the sequence has ended, what is computed is discarded and nothing advances
};

/// Per sequence: sampling state. `ring` holds the tokens it produced, for the host to read behind.
struct Sequence {
  uint64_t rng;         // state of SplitMix64, as in engine/sampler.cpp
  uint32_t n_produced;  // tokens written to the ring since the start, never wraps; the host reads up to here
  uint32_t n_accepted;  // tokens ever accepted into the penalty window
  int32_t error;        // != 0: a logit was NaN or +infinity, or none was finite (first seen; the sequence is stopped)
  int32_t error_index;  // which logit
  int32_t n_left;       // tokens still wanted; < 0: no limit
  int32_t reserved;
};

struct RepackParams {
  Address rows, tiles;
  int64_t row_stride;  // bytes between rows of the file's layout
  int32_t type;        // TensorType id (core/tensor_types.def), of those that tiled() names
  int32_t n_rows, n_cols;
  int32_t first_tile;  // rows start here: the first row of `rows` is row 16 * first_tile of the matrix
};

/// Tiles -> a row-major matrix of f16 or bf16, rows first_row .. first_row + n_rows - 1.
struct ExpandParams {
  Address tiles, out;
  int32_t type, n_cols;
  int32_t first_row, n_rows;
  int32_t out_stride;
  int32_t bf16;  // 0: f16
};

/// out[column] = scale * row `token` of the embedding (in tiles)
struct EmbedParams {
  Address tiles, columns, out;
  int32_t type, n_rows, n_cols, n_columns;
  float scale;
  int32_t reserved;
};

/// Activations from f32 rows, normed before when norm_weight != 0: x / sqrt(mean(x^2) + eps) * weight.
struct PrepareParams {
  Address x, norm_weight;
  Activations out;
  int32_t n_cols, x_stride, n_columns;
  float eps;
};

/// x[column] += norm(y[column]) * weight  (norm after a block, Gemma)
struct NormAddParams {
  Address x, y, weight;
  int32_t n_cols, stride, n_columns;
  float eps;
};

struct Matrix {
  Address tiles, bias;  // bias f32, 0 = none
  int32_t type;         // TensorType id
  int32_t n_rows;       // outputs; need not be a multiple of 16
  int32_t out_offset;   // of its first output in a row of `out`
  int32_t reserved;
};

enum class LinearInput : int32_t {
  Ready,  // `ready`
  Norm,   // f32 rows `x`, normed with norm_weight and eps and quantised by every block (Linear1 alone)
  Plain,  // f32 rows `x`, quantised by every block (Linear1 alone)
};
enum class LinearOutput : int32_t {
  Store,     // out = result
  Residual,  // out = result + residual (may be the same memory)
  SiluMul,   // two matrices of equal height, gate and up: `ready_out` = silu(gate) * up, quantised
  GeluMul,
};

/// Up to three matrices that share their input (query, key, value; gate, up), of any mix of types.
struct LinearParams {
  Matrix matrix[3];
  Address x, norm_weight;
  Activations ready, ready_out;
  Address out, residual;
  int32_t n_matrices, n_cols, n_columns;
  LinearInput input;
  LinearOutput output;
  int32_t x_stride, out_stride;
  int32_t warps_k;     // warps that share a row of tiles; set by the launch function
  int32_t keep_float;  // a matrix is of a float type; set by the launch function
  float eps;
};
using Linear1Params = LinearParams;
using Linear8Params = LinearParams;
using Linear16Params = LinearParams;
using Linear32Params = LinearParams;
using Linear64Params = LinearParams;

/// Norm and rotation of query and key heads, and the KV cache. Keys and values of a layer:
/// [slot][kv head][n_ctx positions][head_dim] of f16; or, q8_0, of int8 with scales
/// [slot][kv head][n_ctx positions][groups of 32 elements, the last one may be shorter] of f16.
struct HeadParams {
  Address qkv;  // f32 [column][qkv_stride]: query heads, key heads, value heads
  Address columns;
  Address q_norm, k_norm;  // f32 [head_dim], 0 = none
  Address rope_coarse;     // f32 pairs (cos, sin) [n_ctx / 256 + 1][n_rot / 2]: of position 256 i (make_rope_tables)
  Address rope_fine;       // the same [256][n_rot / 2]: of position i
  Address k_cache, v_cache;
  Address k_scales, v_scales;  // q8_0 alone
  int32_t qkv_stride, n_columns;
  int32_t n_heads, n_kv_heads, head_dim, n_ctx;
  int32_t n_rot, adjacent;  // adjacent != 0: pairs (0,1), (2,3), ...; else (i, i + n_rot / 2)
  float eps;
  int32_t kv_type;  // TensorType id: F16 or Q8_0, which has kernels of its own
};

/// For launches of several columns of one sequence: turns the query heads in place and fills the cache.
struct StoreKvParams {
  HeadParams head;
};

/// Attention of every column over the positions that it sees. `fused`: the query is as the matrix kernel left it; norm,
/// rotation and the write of this position's key and value happen here (columns must be of different sequences).
/// Otherwise StoreKv ran before.
struct AttentionParams {
  HeadParams head;
  Activations out;   // n_heads * head_dim wide; q, d, s filled only when a kv head's group is a multiple of 32 wide
  Address partial;   // f32, attention_partial_elements(...)
  Address tickets;   // u32 per column and kv head, zeros before the first launch; every launch leaves zeros
  int32_t n_splits;  // blocks that share one kv head's positions
  int32_t window;    // positions seen, the own one included; 0 = all
  int32_t fused;
  float scale;
};

using StoreKvQ8Params = StoreKvParams;
using AttentionQ8Params = AttentionParams;

/// Attention of many columns of one sequence at consecutive positions, behind StoreKv, over a cache in f16: f32 rows
/// alone (out.x). Query and weights are rounded to f16 for the matrix unit; sums are f32.
struct PrefillAttentionParams {
  HeadParams head;
  Activations out;
  int32_t window;  // positions seen, the own one included; 0 = all
  float scale;
};
using PrefillAttention64Params = PrefillAttentionParams;
using PrefillAttention128Params = PrefillAttentionParams;
using PrefillAttention256Params = PrefillAttentionParams;

/// One token of each column from its logits; order and arithmetic as engine/sampler.cpp.
struct SampleParams {
  Address logits;      // f32 [column][logits_stride]
  Address columns;     // token and position advance
  Address sequences;   // Sequence per slot
  Address ring;        // i32 [slot][ring_size], ring_size a power of two
  Address recent;      // i32 [slot][recent_stride], of which penalty_window are in use, zeros at first
  Address counts;      // i32 [slot][n_vocab], how often a token is in `recent`; 0 when penalty_window is 0
  Address end_tokens;  // i32 [n_end_tokens]
  Address scratch;     // u64 [column][sample_scratch_elements(n_vocab)]
  int32_t n_vocab, logits_stride, n_columns, n_ctx;
  int32_t ring_size, n_end_tokens, penalty_window, top_k;
  int32_t recent_stride, reserved;
  double temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
};

/// When a launch ran, all its blocks together, on one clock (ns on a device): the first entry, the first end of a
/// dependency wait (the entry where a kernel has none), and the bits of the last exit turned. Every block lowers them:
/// all bits are set before the launch.
struct Stamps {
  uint64_t entered, waited, not_left;
};
/// What a kernel of the profiling variant takes. `stamps`: where its Stamps are, 0 = none are kept.
template <class Params>
struct Stamped {
  Params params;
  Address stamps;
};

}  // namespace apr::kernels::cuda
