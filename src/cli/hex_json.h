// The reports of `apr hex` as members of a JSON document: the same numbers as the text, and every element of lists that
// the text cuts.
#pragma once
#include <cstdint>
#include <span>

#include "apr/inspect/hex.h"
#include "src/cli/json_document.h"

namespace apr::cli {

void put_summary(Json& document, const format::ModelFile& model, const inspect::Summary& summary);
/// `limit`: how many elements of each metadata array are listed.
void put_header(Json& document, const format::ModelFile& model, const inspect::HeaderReport& report,
                std::uint64_t limit);
void put_list(Json& document, const format::ModelFile& model);
[[nodiscard]] Json tensor_json(const inspect::TensorReport& report);
void put_raw(Json& document, std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t width);

}  // namespace apr::cli
