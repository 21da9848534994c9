// Pieces that the printers of the whole-file scans share.
#pragma once
#include <string>

#include "apr/inspect/scan.h"
#include "src/cli/json_document.h"

namespace apr::cli {

/// "blk.3.ffn_down.weight blocks 12 to 40 rows 1 to 2"
[[nodiscard]] std::string place_text(const inspect::TensorPlace& place, const format::ModelFile& model);
/// tensor, tensor_index, first_block, last_block, first_row, last_row.
void put_place(Json& object, const inspect::TensorPlace& place, const format::ModelFile& model);
/// "  … 12 more anomalies; --all shows them", when the list was cut.
void append_cut(std::string& out, std::size_t n, std::uint64_t limit, std::string_view what);

}  // namespace apr::cli
