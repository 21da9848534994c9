// Which instruction set runs: the best this CPU has, or the one that was forced.
#pragma once
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

/// The functions of a type in the active table (AprQ4 and the plain SafeTensors types included); null where there is none.
[[nodiscard]] DequantizeFn dequantizer(TensorType type);
[[nodiscard]] QuantizeFn quantizer(TensorType type);

}  // namespace apr::kernels
