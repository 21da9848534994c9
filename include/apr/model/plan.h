// A model as a flat list of ops. An architecture builds it once; executors walk it, the profiler names its steps.
//
// Values are matrices of f32 with one row per token of the running batch; every op reads and writes whole values. A
// plan does not depend on the number of tokens: an executor runs it for a batch of T tokens at positions p .. p+T-1,
// with the keys and values of positions 0 .. p-1 in its cache, or for several such sequences at once. Ops of
// RowSet::Logits come after the SelectRows ops of the last layer and run on the rows whose logits are wanted only.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/model/hparams.h"
#include "apr/model/weights.h"

namespace apr::model {

/// Rows: ops.def, with the meaning and cost of each.
enum class OpKind : std::uint8_t {
#define APR_OP(kind, text, weight_bytes, value_elements, kv_elements, flops) kind,
#include "apr/model/ops.def"
#undef APR_OP
};
[[nodiscard]] std::span<const OpKind> op_kinds() noexcept;
[[nodiscard]] std::string_view name(OpKind kind) noexcept;

/// Rows: bricks.def.
enum class BrickId : std::uint8_t {
#define APR_BRICK(symbol, text, group) symbol,
#include "apr/model/bricks.def"
#undef APR_BRICK
};
[[nodiscard]] std::span<const BrickId> bricks() noexcept;
[[nodiscard]] std::string_view name(BrickId brick) noexcept;
[[nodiscard]] std::string_view group(BrickId brick) noexcept;

enum class RowSet : std::uint8_t { Tokens, Logits };

inline constexpr std::int32_t kNone = -1;

/// A matrix of f32 between ops: rows of the batch x `width`. A few are shared by all layers.
struct Value {
  std::string name;  // "x", "q", ...
  std::int64_t width = 0;
};

/// Rotation of one kind of layer.
struct Rope {
  RopeLayout layout = RopeLayout::Halves;
  std::int32_t n_rot = 0;            // first n_rot elements of each head turn, the others stay
  std::vector<double> inverse_freq;  // n_rot / 2 angles per position, scaling applied
};

struct Op {
  OpKind kind = OpKind::Add;
  BrickId brick = BrickId::Embed;
  RowSet rows = RowSet::Tokens;
  std::int32_t layer = kNone;                         // also the layer of the KV cache
  std::int32_t in = kNone, in2 = kNone, out = kNone;  // indices of Plan::values; `out` may equal `in` (in place)
  std::int32_t weight = kNone, bias = kNone;          // indices of Plan::weights
  std::int64_t n_in = 0, n_out = 0;                   // elements of a row of `in` and `out`
  std::int32_t n_heads = 0;                           // of `in`: RmsNorm per head, Rope, Attention; 0: no heads
  std::int32_t n_kv_heads = 0;                        // Attention, StoreKv
  std::int32_t head_dim = 0;
  std::int32_t rope = kNone;  // Rope: index of Plan::ropes
  std::uint32_t window = 0;   // Attention: positions seen, the own one included; 0: all
  float scale = 1;            // Embed, Attention
  float eps = 0;              // RmsNorm
};

/// The shape of one run of the plan.
struct Batch {
  std::int64_t n_tokens = 1;     // of all sequences together
  std::int64_t position = 0;     // of the first token; the mean over the sequences
  std::int64_t n_logits = 1;     // rows whose logits are wanted
  double kv_element_bytes = 4;   // on average, scales included
  std::int64_t n_sequences = 1;  // that share the tokens evenly, each with keys and values of its own
};

/// What an op moves and computes at least; see ops.def. Values are counted as f32.
struct OpCost {
  std::uint64_t weight_bytes = 0, value_bytes = 0, kv_bytes = 0, flops = 0;
  [[nodiscard]] std::uint64_t bytes() const noexcept { return weight_bytes + value_bytes + kv_bytes; }
};

/// Views into the ModelFile that it was built from, which must outlive it.
struct Plan {
  HParams hparams;
  std::vector<Value> values;
  std::vector<Weight> weights;  // each tensor once, also where two ops use it (tied output)
  std::vector<Rope> ropes;
  std::vector<Op> ops;
  std::int32_t logits = kNone;  // the value that holds the result: n_logits rows of n_vocab

  /// "blk.3.ffn_down", "output_norm", "embed": layer and brick of an op.
  [[nodiscard]] std::string op_name(const Op& op) const;
  [[nodiscard]] OpCost cost(const Op& op, const Batch& batch) const;
  /// Bytes of all weights as stored.
  [[nodiscard]] std::uint64_t weight_bytes() const noexcept;
  /// f32 elements that all values together need for one row.
  [[nodiscard]] std::int64_t row_elements() const noexcept;
};

}  // namespace apr::model
