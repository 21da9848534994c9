// Conversion of the element types that only SafeTensors and APR have: rare and not on any fast path, so scalar only.
#pragma once
#include <cstdint>

#include "apr/core/tensor_type.h"
#include "apr/kernels/quant.h"

namespace apr::kernels {

/// The functions of such a type; null where it has no f32 form (C64) or no fixed block (AprQ8), and for ggml types.
[[nodiscard]] QuantKernels container_kernels(TensorType type) noexcept;

/// One value of the APR whole-tensor type: f32 scale at `tensor`, then one int8 per element.
void decode_apr_q8(const std::byte* tensor, std::uint64_t first_element, float* dst, std::uint64_t n) noexcept;

}  // namespace apr::kernels
