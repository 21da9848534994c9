// Numbers as they are stored, exact.
#pragma once
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "apr/inspect/hex.h"

namespace apr::inspect {

/// The values of a block field; none for packed ones.
[[nodiscard]] std::vector<Number> field_values(FieldEncoding encoding, std::span<const std::byte> bytes,
                                               std::endian order);
/// The first `count` values of a type whose values a float cannot hold exactly, read as what they are. Nothing for the
/// others.
[[nodiscard]] std::optional<std::vector<Number>> exact_numbers(TensorType type, std::span<const std::byte> data,
                                                               std::endian order, std::uint64_t count);

}  // namespace apr::inspect
