#include "apr/kernels/codebook.h"

#include <stdint.h>

#include "kernels/cpu/quant/iq_grids.inl"

namespace apr::kernels {
namespace {

template <int entries, int elements, typename T>
std::span<const std::int8_t> row_of(const Grid<entries, elements, T>& grid, std::uint32_t index) noexcept {
  if (index >= static_cast<std::uint32_t>(entries)) return {};
  // Every value is below 64, so that signed and unsigned bytes are the same.
  return {reinterpret_cast<const std::int8_t*>(grid.value[index]), static_cast<std::size_t>(elements)};
}

}  // namespace

std::span<const std::int8_t> grid_values(TensorType type, std::uint32_t index) noexcept {
  switch (type) {
    case TensorType::IQ1_S:
    case TensorType::IQ1_M: return row_of(kIq1Grid, index);
    case TensorType::IQ2_XXS: return row_of(kIq2XxsGrid, index);
    case TensorType::IQ2_XS: return row_of(kIq2XsGrid, index);
    case TensorType::IQ2_S: return row_of(kIq2SGrid, index);
    case TensorType::IQ3_XXS: return row_of(kIq3XxsGrid, index);
    case TensorType::IQ3_S: return row_of(kIq3SGrid, index);
    default: return {};
  }
}

std::uint32_t grid_size(TensorType type) noexcept {
  switch (type) {
    case TensorType::IQ1_S:
    case TensorType::IQ1_M: return 2048;
    case TensorType::IQ2_XXS:
    case TensorType::IQ3_XXS: return 256;
    case TensorType::IQ2_XS:
    case TensorType::IQ3_S: return 512;
    case TensorType::IQ2_S: return 1024;
    default: return 0;
  }
}

std::span<const std::int8_t> code_values(TensorType type) noexcept {
  switch (type) {
    case TensorType::IQ4_NL:
    case TensorType::IQ4_XS: return kIq4Values;
    case TensorType::MXFP4:
    case TensorType::NVFP4: return kFp4Values;
    default: return {};
  }
}

}  // namespace apr::kernels
