// The fields of a header, of one tensor entry, of one metadata entry: read again from the bytes where they stand.
#pragma once
#include <cstdint>
#include <vector>

#include "apr/inspect/hex.h"

namespace apr::inspect {

/// The headers of all files, and APR's footer.
[[nodiscard]] std::vector<HeaderSection> header_sections(const format::ModelFile& model);
/// The entry of a tensor in the table of its file.
[[nodiscard]] HeaderSection tensor_entry(const format::ModelFile& model, const format::TensorInfo& tensor);
/// A metadata entry. Of an array only the element that holds byte `at` is a field (strings are walked up to it).
[[nodiscard]] HeaderSection metadata_entry(const format::ModelFile& model, const format::MetadataEntry& entry,
                                           std::uint64_t at);

}  // namespace apr::inspect
