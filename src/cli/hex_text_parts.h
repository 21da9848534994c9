// Pieces of text that the printers of `apr hex` share.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/model_file.h"
#include "apr/inspect/address.h"
#include "apr/inspect/hex.h"
#include "src/cli/style.h"

namespace apr::cli {

/// A blank line, then the title and a dim note.
void append_heading(std::string& out, const Style& style, std::string_view title, std::string_view note = {});
/// "GGUF version 3, little-endian"
[[nodiscard]] std::string format_title(const format::ModelFile& model);
/// The line above a report: file, format, size.
void append_title(std::string& out, const Style& style, const format::ModelFile& model);
/// The shards of a model; nothing when it is one file.
void append_files(std::string& out, const Style& style, const format::ModelFile& model);
/// Which byte range holds what.
void append_regions(std::string& out, const Style& style, const format::ModelFile& model);
/// "0x001b3f40"
[[nodiscard]] std::string offset_text(std::uint64_t offset);
/// "47 47 55 46", at most `most` bytes, then "…"
[[nodiscard]] std::string bytes_text(std::span<const std::byte> bytes, std::size_t most);
/// "98,362,432 bytes (93.8 MiB)"
[[nodiscard]] std::string size_text(std::uint64_t bytes);
/// "[576, 1536]", the outermost dimension first
[[nodiscard]] std::string shape_text(const std::vector<std::int64_t>& shape);
/// The type's name, or "? 42" for one that no table knows.
[[nodiscard]] std::string type_text(const format::TensorInfo& tensor);
/// "1 entry", "1,024 entries"
[[nodiscard]] std::string plural(std::uint64_t n, std::string_view one, std::string_view many);
[[nodiscard]] std::string number_text(const inspect::Number& number);
/// A metadata value as one line, escaped: at most `limit` elements of an array, and what fits into `columns`.
[[nodiscard]] std::string value_text(const format::Value& value, std::uint64_t limit, std::size_t columns);
/// "u32", "string[49152]"
[[nodiscard]] std::string value_type_text(const format::Value& value);
[[nodiscard]] Role value_role(const format::Value& value);
/// "f16", "packed"
[[nodiscard]] std::string_view encoding_text(FieldEncoding encoding);
/// What the values or bits of a block field are for. The names are those of ggml-common.h.
[[nodiscard]] std::string_view field_meaning(std::string_view field);
/// "[12, 400]"
[[nodiscard]] std::string index_text(std::span<const std::int64_t> index);
/// "0x0203d944:0-3, 0x0203d950:6-7": bytes of a file, and the bits of each unless it is the whole byte
[[nodiscard]] std::string bits_text(std::span<const inspect::FileBits> bits);

}  // namespace apr::cli
