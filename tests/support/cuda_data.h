// Weights of every tile type as a file has them, for the tests of the CUDA kernels.
#pragma once
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "apr/core/tensor_type.h"
#include "apr/kernels/dispatch.h"

namespace apr::test {

inline constexpr TensorType kTileTypes[] = {TensorType::Q4_K, TensorType::Q5_K, TensorType::Q6_K, TensorType::Q8_0,
                                            TensorType::Q4_0, TensorType::Q5_0, TensorType::Q4_1, TensorType::Q5_1,
                                            TensorType::F16,  TensorType::BF16, TensorType::F32};

/// Rows and columns with and without tails in both directions.
inline std::vector<std::pair<std::int64_t, std::int64_t>> tile_shapes(TensorType type) {
  const std::uint32_t block = find_type(type)->block_elements;
  if (block == 256) return {{16, 256}, {37, 512}};
  if (block == 32) return {{16, 256}, {37, 352}, {5, 32}};
  return {{16, 256}, {19, 300}, {3, 7}};
}

struct WeightRows {
  std::vector<float> values;        // as the type holds them
  std::vector<std::uint8_t> bytes;  // in the layout of the file
  std::int64_t row_stride;

  WeightRows(TensorType type, std::int64_t n_rows, std::int64_t n_cols, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.02F, 1.0F);
    values.resize(static_cast<std::size_t>(n_rows * n_cols));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = normal(random) * (1.0F + static_cast<float>(i / 16 % 5));
    const TypeInfo& info = *find_type(type);
    const std::int64_t n_blocks = n_rows * n_cols / info.block_elements;
    row_stride = n_cols / info.block_elements * info.block_bytes;
    bytes.resize(static_cast<std::size_t>(n_rows * row_stride));
    kernels::quantizer(type)(values.data(), bytes.data(), n_blocks);
    kernels::dequantizer(type)(bytes.data(), values.data(), n_blocks);
  }
};

}  // namespace apr::test
