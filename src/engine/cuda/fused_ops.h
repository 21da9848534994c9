// A plan's ops grouped as the CUDA kernels run them: the pattern behind every launch list.
//
//   Embed
//   each layer:  Qkv     RmsNorm, MatMul x 3                                   norm, quantise, one product for all
//   three
//                Attend  [RmsNorm of q, of k], Rope x 2, StoreKv, Attention
//                Project [SelectRows ...], MatMul, [RmsNorm after the block], Add
//                GateUp  RmsNorm, MatMul x 2, SiluMul or GeluMul
//                Project MatMul, [RmsNorm after the block], Add
//   Head  RmsNorm, MatMul -> logits
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "apr/model/plan.h"

namespace apr::engine::cuda {

enum class FusedKind : std::uint8_t { Embed, Qkv, Attend, Project, GateUp, Head };

/// Consecutive ops of a plan. Members are null where the group has no such op.
struct FusedOp {
  FusedKind kind = FusedKind::Embed;
  std::size_t first = 0, count = 0;  // ops of the plan
  const model::Op* norm = nullptr;   // in front of the matrices
  std::array<const model::Op*, 3> matrices{};
  std::int32_t n_matrices = 0;
  const model::Op *q_norm = nullptr, *k_norm = nullptr, *rope = nullptr, *attention = nullptr;
  std::size_t n_store_ops = 0;            // Attend: ops in front of the attention
  const model::Op* post_norm = nullptr;   // Project: behind the matrix
  std::size_t n_product_ops = 0;          // Project: ops up to the matrix
  bool after_attention = false;           // Project: reads what the attention made, else what GateUp made
  const model::Op* activation = nullptr;  // GateUp
  bool logit_rows = false;                // runs on the rows whose logits are wanted
};

/// Throws Unsupported, naming the op, where a plan has another order or other connections. `plan` must outlive the
/// result.
[[nodiscard]] std::vector<FusedOp> fuse(const model::Plan& plan);

}  // namespace apr::engine::cuda
