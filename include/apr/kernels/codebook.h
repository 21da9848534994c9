// The fixed tables of the quant types, for readers that look at a block field by field.
#pragma once
#include <cstdint>
#include <span>

#include "apr/core/tensor_type.h"

namespace apr::kernels {

/// The grid that an index of an IQ type selects: 8 values (IQ1, IQ2) or 4 (IQ3), unsigned by themselves except for
/// IQ1's. Empty for types without a grid and for an index past its end.
[[nodiscard]] std::span<const std::int8_t> grid_values(TensorType type, std::uint32_t index) noexcept;
/// How many entries the type's grid has; 0 for types without one.
[[nodiscard]] std::uint32_t grid_size(TensorType type) noexcept;
/// What the 4-bit codes of IQ4_NL and IQ4_XS, MXFP4 and NVFP4 (those two doubled, to be integers) stand for. Empty for
/// other types.
[[nodiscard]] std::span<const std::int8_t> code_values(TensorType type) noexcept;

}  // namespace apr::kernels
