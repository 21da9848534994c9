#include "apr/model/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>

namespace apr::model {
namespace {

constexpr OpKind kOpKinds[] = {
#define APR_OP(kind, text, weight_bytes, value_elements, kv_elements, flops) OpKind::kind,
#include "apr/model/ops.def"
#undef APR_OP
};
constexpr std::string_view kOpNames[] = {
#define APR_OP(kind, text, weight_bytes, value_elements, kv_elements, flops) text,
#include "apr/model/ops.def"
#undef APR_OP
};
constexpr BrickId kBricks[] = {
#define APR_BRICK(symbol, text, group) BrickId::symbol,
#include "apr/model/bricks.def"
#undef APR_BRICK
};
constexpr std::string_view kBrickNames[] = {
#define APR_BRICK(symbol, text, group) text,
#include "apr/model/bricks.def"
#undef APR_BRICK
};
constexpr std::string_view kBrickGroups[] = {
#define APR_BRICK(symbol, text, group) group,
#include "apr/model/bricks.def"
#undef APR_BRICK
};

/// The names that the formulas of ops.def use.
struct CostTerms {
  std::uint64_t r, in, out, w, w_row, heads, head_dim, kv_width, seen, keys;
};

OpCost cost_of(OpKind kind, const CostTerms& t) {
  const auto& [r, in, out, w, w_row, heads, head_dim, kv_width, seen, keys] = t;
  switch (kind) {
#define APR_OP(kind, text, weight_bytes, value_elements, kv_elements, flops) \
  case OpKind::kind:                                                         \
    return {weight_bytes, 4 * (value_elements), kv_elements, flops};
#include "apr/model/ops.def"
#undef APR_OP
  }
  return {};
}

std::uint64_t unsigned_of(std::int64_t n) { return n > 0 ? static_cast<std::uint64_t>(n) : 0; }

/// Positions that `n` queries at position, position + 1, ... attend to in sum, each to at most `window` (0: all).
std::uint64_t positions_seen(std::uint64_t position, std::uint64_t n, std::uint64_t window) {
  const auto all_up_to = [](std::uint64_t count) { return count * (count + 1) / 2; };
  if (window == 0) return all_up_to(position + n) - all_up_to(position);
  const std::uint64_t growing_end = std::clamp(window, position, position + n);  // queries that still see everything
  return all_up_to(growing_end) - all_up_to(position) + (position + n - growing_end) * window;
}

std::uint64_t distinct_keys(std::uint64_t position, std::uint64_t n, std::uint64_t window) {
  const std::uint64_t first = window == 0 || position + 1 < window ? 0 : position + 1 - window;
  return position + n - first;
}

}  // namespace

std::span<const OpKind> op_kinds() noexcept { return kOpKinds; }
std::string_view name(OpKind kind) noexcept { return kOpNames[static_cast<std::size_t>(kind)]; }
std::span<const BrickId> bricks() noexcept { return kBricks; }
std::string_view name(BrickId brick) noexcept { return kBrickNames[static_cast<std::size_t>(brick)]; }
std::string_view group(BrickId brick) noexcept { return kBrickGroups[static_cast<std::size_t>(brick)]; }

std::string Plan::op_name(const Op& op) const {
  return op.layer == kNone ? std::string(name(op.brick)) : fmt::format("blk.{}.{}", op.layer, name(op.brick));
}

OpCost Plan::cost(const Op& op, const Batch& batch) const {
  const auto weight_of = [&](std::int32_t i) { return i == kNone ? nullptr : &weights[static_cast<std::size_t>(i)]; };
  const Weight* weight = weight_of(op.weight);
  const Weight* bias = weight_of(op.bias);
  const std::uint64_t tokens = unsigned_of(batch.n_tokens), position = unsigned_of(batch.position);
  CostTerms t{};
  t.r = op.rows == RowSet::Tokens ? tokens : unsigned_of(batch.n_logits);
  t.in = unsigned_of(op.n_in);
  t.out = unsigned_of(op.n_out);
  t.w = (weight == nullptr ? 0 : weight->bytes.size()) + (bias == nullptr ? 0 : bias->bytes.size());
  t.w_row = weight == nullptr ? 0 : weight->row_bytes();
  t.heads = unsigned_of(op.n_heads);
  t.head_dim = unsigned_of(op.head_dim);
  t.kv_width = unsigned_of(op.n_kv_heads) * t.head_dim;
  if (op.kind == OpKind::Attention) {
    const std::uint64_t n = std::max<std::uint64_t>(1, unsigned_of(batch.n_sequences)), each = tokens / n;
    t.seen = n * positions_seen(position, each, op.window);
    t.keys = n * distinct_keys(position, each, op.window);
  }
  OpCost cost = cost_of(op.kind, t);
  cost.kv_bytes = static_cast<std::uint64_t>(static_cast<double>(cost.kv_bytes) * batch.kv_element_bytes);
  return cost;
}

std::uint64_t Plan::weight_bytes() const noexcept {
  return std::accumulate(weights.begin(), weights.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Weight& weight) { return sum + weight.bytes.size(); });
}

std::int64_t Plan::row_elements() const noexcept {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0},
                         [](std::int64_t sum, const Value& value) { return sum + value.width; });
}

}  // namespace apr::model
