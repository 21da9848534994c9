// A batch as the executors walk it: one row for each token, the parts one behind the other.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "apr/engine/executor.h"

namespace apr::engine {

struct BatchRow {
  std::int32_t token;
  std::uint32_t sequence, position;
};

struct BatchRows {
  std::vector<BatchRow> rows;
  std::vector<std::size_t> logit_rows;  // whose logits are wanted, rising
  model::Batch shape;                   // what it costs; its kv_element_bytes is the executor's business

  void assign(std::span<const BatchPart> parts);
};

}  // namespace apr::engine
