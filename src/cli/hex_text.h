// The reports of `apr hex` as text for people.
#pragma once
#include <cstdint>
#include <string>

#include "apr/inspect/hex.h"
#include "src/cli/style.h"

namespace apr::cli {

void append_summary(std::string& out, const Style& style, const format::ModelFile& model,
                    const inspect::Summary& summary);
/// `limit`: how many elements of each array are shown.
void append_header(std::string& out, const Style& style, const format::ModelFile& model,
                   const inspect::HeaderReport& report, std::uint64_t limit);
void append_list(std::string& out, const Style& style, const format::ModelFile& model);
void append_tensor(std::string& out, const Style& style, const format::ModelFile& model,
                   const inspect::TensorReport& report);
/// Rows of "offset  bytes  |characters|". `offset` is that of the first byte.
void append_raw(std::string& out, const Style& style, std::span<const std::byte> bytes, std::uint64_t offset,
                std::uint64_t width, std::size_t offset_digits);
/// Nothing when there are none.
void append_findings(std::string& out, const Style& style, const std::vector<Finding>& findings);

/// A metadata value as one line, escaped, at most about 100 columns.
[[nodiscard]] std::string value_text(const format::Value& value, std::uint64_t limit);
[[nodiscard]] std::string number_text(const inspect::Number& number);

}  // namespace apr::cli
