#include "src/engine/batch_rows.h"

namespace apr::engine {

void BatchRows::assign(std::span<const BatchPart> parts) {
  rows.clear();
  logit_rows.clear();
  std::int64_t positions = 0;
  for (const BatchPart& part : parts) {
    positions += part.position;
    for (std::size_t i = 0; i < part.tokens.size(); ++i) {
      if (part.n_logits() + i >= part.tokens.size()) logit_rows.push_back(rows.size());
      rows.push_back({part.tokens[i], part.sequence, part.position + static_cast<std::uint32_t>(i)});
    }
  }
  shape.n_tokens = static_cast<std::int64_t>(rows.size());
  shape.n_sequences = static_cast<std::int64_t>(parts.size());
  shape.position = positions / shape.n_sequences;
  shape.n_logits = static_cast<std::int64_t>(logit_rows.size());
}

}  // namespace apr::engine
