// What the kernels keep in dynamic shared memory, for the launch functions and the kernels alike. Byte offsets.
#pragma once
#include <stdint.h>

#if defined(__CUDACC__)
#define APR_BOTH __host__ __device__
#else
#define APR_BOTH
#endif

namespace apr::kernels::cuda {

inline constexpr int linear_threads = 256, linear_warps = 8, max_columns = 8;

/// Linear1: the activations of one column, then sums of the warps (two sets, used in turn).
struct Linear1Shared {
  int q, d, s, sums, scratch, x, bytes;
  APR_BOTH constexpr Linear1Shared(int padded_cols, bool keep_float)
      : q(0),
        d(padded_cols),
        s(d + padded_cols / 32 * 4),
        sums(s + padded_cols / 32 * 4),
        scratch(sums + 2 * linear_warps * 16 * 4),
        x(scratch + 32 * 4),
        bytes(x + (keep_float ? padded_cols * 4 : 0)) {}
};
/// Linear8: sums of the warps alone, [set][warp][16 rows][8 columns].
inline constexpr int linear8_shared_bytes = 2 * linear_warps * 16 * max_columns * 4;
/// Linear16 to Linear64: of each warp that shares a row tile the activations of one tile: q [column], then d and s
/// [column]. When they are done, in the same place, sums of the warps [warp][16 rows][sum_stride]. The strides put what
/// a warp reads at once into different banks.
template <int Columns>
struct LinearPromptShared {
  static constexpr int q_stride = 256 + 32, scale_stride = 64 + 16;  // bytes
  static constexpr int scales = Columns * q_stride, tile_bytes = scales + Columns * scale_stride;
  static constexpr int sum_stride = Columns + 1;  // f32
  APR_BOTH static constexpr int bytes(int warps_k) {
    const int sums = linear_warps * 16 * sum_stride * 4, tiles = warps_k * tile_bytes;
    return sums > tiles ? sums : tiles;
  }
};

/// Attention: `heads` query heads of one kv head.
inline constexpr int attention_threads = 256;
struct AttentionShared {
  int query, score, state, turn, reduce, bytes;
  APR_BOTH constexpr AttentionShared(int heads, int head_dim)
      : query(0),                                      // f32 [heads][head_dim]
        score(heads * head_dim * 4),                   // f32 [heads][256]
        state(score + heads * attention_threads * 4),  // f32 [heads][4]: highest, sum, shrink
        turn(state + heads * 4 * 4),                   // f32 pairs [head_dim / 2], then 8 words
        reduce(turn + head_dim * 4 + 32),              // f32 [256][8]
        bytes(reduce + attention_threads * 8 * 4) {}
};

/// Prefill attention: a tile of keys and one of values, rows of head_dim elements with 16 bytes behind each, which puts
/// eight neighbouring rows into different banks.
inline constexpr int prefill_threads = 128, prefill_rows = 64;
template <int Dim>  // the widest head that a kernel takes
struct PrefillTile {
  static constexpr int positions = Dim > 128 ? 32 : 64, stride = Dim + 8;  // f16 elements
  static constexpr int keys = 0, values = positions * stride * 2, bytes = 2 * values;
};

inline constexpr int sample_threads = 1024, sample_candidates = 2048;
struct SampleShared {
  static constexpr int keys = 0;                                    // u64 [candidates]
  static constexpr int tokens = keys + 8 * sample_candidates;       // u32 [candidates]
  static constexpr int histogram = tokens + 4 * sample_candidates;  // u32 [2048]
  static constexpr int words = histogram + 4 * 2048;                // u32 [32]
  static constexpr int bytes = words + 4 * 32;
};

}  // namespace apr::kernels::cuda
