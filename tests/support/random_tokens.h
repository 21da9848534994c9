// Activations for tests of kernels.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

namespace apr::test {

/// Standard normals: n_tokens rows of n_cols.
inline std::vector<float> random_tokens(std::int64_t n_tokens, std::int64_t n_cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(n_tokens * n_cols));
  for (float& v : x) v = normal(random);
  return x;
}

}  // namespace apr::test
