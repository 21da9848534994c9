// Pieces of JSON that the modes of `apr hex` share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apr/inspect/address.h"
#include "apr/inspect/hex.h"
#include "src/cli/json_document.h"

namespace apr::cli {

/// "47475546"
[[nodiscard]] std::string bytes_hex(std::span<const std::byte> bytes);
/// values: numbers, null where not finite; non_finite: [{index, value}] for each null.
void put_numbers(Json& object, const std::vector<inspect::Number>& numbers);
/// One metadata entry; of an array the first `limit` elements.
[[nodiscard]] Json metadata_json(const format::MetadataEntry& entry, std::uint64_t limit);
/// format_version, byte_order, alignment, data_offset, files.
void put_model(Json& object, const format::ModelFile& model);
/// An entry of the tensor table.
[[nodiscard]] Json tensor_info_json(std::size_t index, const format::TensorInfo& tensor);
[[nodiscard]] Json regions_json(const format::ModelFile& model);
/// object[key] = number; one that is not finite becomes null and object[key + "_reason"] says why.
void put_number(Json& object, std::string_view key, const inspect::Number& number);
/// {kind, field, bits: [{offset, first_bit, width}], stored, value}
[[nodiscard]] Json part_json(const inspect::PartPlace& part);
/// {name, index, element, row, block, in_block, block_offset, block_bytes, parts, value}
[[nodiscard]] Json weight_json(const format::ModelFile& model, const inspect::WeightPlace& weight);

}  // namespace apr::cli
