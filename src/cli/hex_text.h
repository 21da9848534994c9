// The reports of `apr hex` as text for people.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "apr/inspect/hex.h"
#include "src/cli/style.h"

namespace apr::cli {

void append_summary(std::string& out, const Style& style, const format::ModelFile& model,
                    const inspect::Summary& summary);
/// `limit`: how many elements of each array are shown; nothing: a few, as many as fit on a line.
void append_header(std::string& out, const Style& style, const format::ModelFile& model,
                   const inspect::HeaderReport& report, std::optional<std::uint64_t> limit);
void append_list(std::string& out, const Style& style, const format::ModelFile& model);
void append_tensor(std::string& out, const Style& style, const format::ModelFile& model,
                   const inspect::TensorReport& report);
/// Rows of "offset  bytes  |characters|". `offset` is that of the first byte.
void append_raw(std::string& out, const Style& style, std::span<const std::byte> bytes, std::uint64_t offset,
                std::uint64_t width, std::size_t offset_digits);

}  // namespace apr::cli
