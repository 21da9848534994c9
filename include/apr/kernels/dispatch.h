// Which instruction set runs: the best this CPU has, or the one that was forced.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "apr/core/tensor_type.h"
#include "apr/kernels/quant.h"

namespace apr::kernels {

struct IsaVariant {
  std::string_view name;
  const KernelTable* table;
  bool runs_here;  // CPU and operating system support it
};

/// The variants in this binary, from the plainest to the most capable.
[[nodiscard]] std::span<const IsaVariant> isa_variants();
/// Forces a variant by name. Throws Usage (unknown name, with the nearest) or Unsupported (not on this machine).
void force_isa(std::string_view name);
/// The table in use: the forced one, or the most capable that runs here.
[[nodiscard]] const KernelTable& active();

/// The functions of a type: of the active table for ggml's types, scalar ones for those that only SafeTensors and APR
/// have. Null where there is none: a removed type, C64 (no f32 form), AprQ8 (one scale for the whole tensor: use
/// decode).
[[nodiscard]] DequantizeFn dequantizer(TensorType type);
[[nodiscard]] QuantizeFn quantizer(TensorType type);

/// Elements [first_element, first_element + out.size()) of a tensor as f32; the range need not be block-aligned.
/// `tensor_bytes` are all bytes of the tensor. Elements are counted in storage order (padding of a last block
/// included). False, with `out` untouched, when the range does not lie in the tensor or the type has no f32 form.
[[nodiscard]] bool decode(TensorType type, std::span<const std::byte> tensor_bytes, std::uint64_t first_element,
                          std::span<float> out);

}  // namespace apr::kernels
