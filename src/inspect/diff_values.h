// The data of one pair of tensors, compared.
#pragma once
#include "apr/core/thread_pool.h"
#include "apr/inspect/diff.h"

namespace apr::inspect {

/// Order and offset of one side's values, so that both sides mean the same by element i.
struct ValueView {
  const format::ModelFile* model = nullptr;
  const format::TensorInfo* tensor = nullptr;
  std::uint64_t permuted_heads =
      0;                   // > 0: rows are stored as GGUF stores query and key of llama; read in the other order
  bool as_column = false;  // a vector read as rows of one element, so that they can change places
  double plus = 0;
};

[[nodiscard]] ByteDiff compare_bytes(std::span<const std::byte> a, std::span<const std::byte> b,
                                     std::uint64_t block_bytes, ThreadPool& pool);
[[nodiscard]] ValueDiff compare_values(const ValueView& a, const ValueView& b, ThreadPool& pool);

}  // namespace apr::inspect
