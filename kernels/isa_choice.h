// The rule by which an instruction set is chosen, apart from the machine so that it can be tested on any.
#pragma once
#include <span>
#include <string_view>

#include "apr/kernels/dispatch.h"

namespace apr::kernels {

/// The most capable variant that runs here; `variants` go from plain to capable and the first always runs.
[[nodiscard]] const KernelTable* best_variant(std::span<const IsaVariant> variants);
/// The variant of that name. Throws as force_isa does.
[[nodiscard]] const KernelTable* named_variant(std::span<const IsaVariant> variants, std::string_view name);

}  // namespace apr::kernels
