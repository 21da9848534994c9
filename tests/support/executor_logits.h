// The logits of every token of a text, for tests of executors.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "apr/engine/executor.h"

namespace apr::test {

/// Runs the tokens from position 0 in pieces of at most `chunk`; n_vocab logits for each token, NaN where none were
/// written.
inline std::vector<float> all_logits(engine::Executor& executor, std::span<const std::int32_t> tokens,
                                     std::size_t chunk) {
  const std::size_t n_vocab = executor.plan().hparams.n_vocab;
  std::vector<float> logits(tokens.size() * n_vocab, NAN);
  for (std::size_t at = 0; at < tokens.size(); at += chunk) {
    const std::size_t n = std::min(chunk, tokens.size() - at);
    executor.forward(tokens.subspan(at, n), static_cast<std::uint32_t>(at), engine::LogitsRequest::All,
                     std::span(logits).subspan(at * n_vocab, n * n_vocab));
  }
  return logits;
}

}  // namespace apr::test
