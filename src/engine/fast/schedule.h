// A plan cut into steps: what runs between two barriers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "apr/model/plan.h"
#include "src/engine/fast/fast_weights.h"

namespace apr::engine {

/// Ops [first, first + count) of the plan run without a barrier between them. Several ops stand in one step only when
/// no thread reads what another one writes in it: matrices that multiply the same value.
struct Step {
  std::size_t first = 0, count = 0;
  std::int32_t quantize = model::kNone;   // this value is quantised before the ops run
  bool remainder = false;                 // what quantising leaves of it is quantised, too, for ops that take two terms
  std::int32_t transpose = model::kNone;  // this value is put into blocks of tokens as f32 before the ops run
};

/// Whether an op multiplies its input in two terms of 8 bits: the rounded input and, rounded again, what that left. The
/// two matrices that cost little beside the others and whose rounding weighs most in the logits take them
/// (docs/testing.md): the value projection and the head, a head of a type with scales per 16 excepted, whose decoding
/// would wait for the products.
[[nodiscard]] bool takes_two_terms(const model::Op& op, const FastWeights& weights);

/// Steps in plan order; every op is in exactly one.
[[nodiscard]] std::vector<Step> make_schedule(const model::Plan& plan, const FastWeights& weights, bool two_terms);

}  // namespace apr::engine
