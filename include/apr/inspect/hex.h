// What `apr hex` reports, as plain structs: nothing here prints. Text and JSON are two printers of these.
// Views point into the ModelFile (or MappedFile) that a report was made from and are valid as long as it lives.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/core/tensor_type.h"
#include "apr/format/model_file.h"

namespace apr::inspect {

/// A value of a tensor, exact: integers as they are, quantised and narrow floats as the float they decode to.
using Number = std::variant<std::int64_t, std::uint64_t, float, double>;

// ---- raw bytes ------------------------------------------------------------------------------------------------------

struct RawRange {
  std::uint64_t offset = 0;
  std::uint64_t size_bytes = 0;  // after clamping to the end of the file
};
/// [offset, offset + limit) clamped to a file of `file_size` bytes. Throws Usage when `offset` is past its end.
[[nodiscard]] RawRange raw_range(const std::string& path, std::uint64_t file_size, std::uint64_t offset,
                                 std::uint64_t limit);

// ---- header ---------------------------------------------------------------------------------------------------------

/// One field of a header: where it stands, its bytes, and what they say.
struct HeaderField {
  std::uint64_t offset = 0;
  std::span<const std::byte> bytes;                      // all bytes of the field; long ones are cut by the printer
  std::string name;                                      // "tensor_count"
  std::string value;                                     // "272"; text from the file is not escaped yet
  std::string meaning;                                   // "tensors in this file"; may be empty
  bool cut = false;                                      // `value` holds only the beginning of the text
  std::optional<std::uint64_t> number = std::nullopt;    // the value, where it is a number
  std::optional<std::uint64_t> computed = std::nullopt;  // checksums: what the bytes give
};

struct HeaderSection {
  std::string title;  // "header", "first tensor entry", "footer"
  std::uint32_t file_index = 0;
  std::vector<HeaderField> fields;
};

struct HeaderReport {
  std::vector<HeaderSection> sections;
  const std::vector<format::MetadataEntry>* metadata = nullptr;  // of the model
  std::uint64_t n_tensor_entries = 0;                            // in the files; `sections` holds the first of them
};
/// Reads the fields again from the bytes, so that what is shown is what stands in the file. Of the entries of the
/// tensor table the first `n_tensor_entries`.
[[nodiscard]] HeaderReport header_report(const format::ModelFile& model, std::uint64_t n_tensor_entries = 1);

// ---- tensors --------------------------------------------------------------------------------------------------------

/// A field of a quantised block with its values decoded; packed fields have bytes only.
struct BlockFieldValues {
  std::string_view name;
  FieldEncoding encoding = FieldEncoding::Packed;
  std::uint64_t offset = 0;  // absolute, in the tensor's file
  std::span<const std::byte> bytes;
  std::vector<Number> values;  // empty for packed fields
};

struct BlockView {
  std::uint64_t index = 0;
  std::uint64_t offset = 0;  // absolute
  std::span<const std::byte> bytes;
  std::vector<BlockFieldValues> fields;
};

struct TensorReport {
  std::size_t index = 0;  // in ModelFile::tensors
  const format::TensorInfo* info = nullptr;
  std::span<const std::byte> first_bytes;  // as stored
  std::optional<BlockView> first_block;    // block-quantised types with at least one block
  std::vector<Number> values;              // the first of the tensor, in storage order
  std::string no_values_reason;            // why `values` is empty; empty when it is not
};
/// The first `limit` values of one tensor with the bytes they come from.
[[nodiscard]] TensorReport tensor_report(const format::ModelFile& model, std::size_t index, std::uint64_t limit);

/// Indices of the tensors that an exact name or a glob selects, in file order. An exact name wins over its reading as a
/// glob. Throws ValidationFailed with the nearest names when nothing matches.
[[nodiscard]] std::vector<std::size_t> select_tensors(const format::ModelFile& model, std::string_view pattern);

// ---- summary --------------------------------------------------------------------------------------------------------

/// The tensors of one type, summed up.
struct TypeShare {
  std::string name;  // the type's, or "unknown (42)"
  std::uint64_t n_tensors = 0;
  std::uint64_t n_elements = 0;
  std::uint64_t size_bytes = 0;
  double share = 0;  // of the stored tensor bytes; 0 when there are none
};

enum class DataChecksum : std::uint8_t { NoneInFormat, NotVerified, Good, Bad };

struct Summary {
  std::uint64_t total_bytes = 0;
  std::uint64_t tensor_bytes = 0;
  std::uint64_t n_parameters = 0;
  std::uint64_t n_tensors = 0;
  std::uint64_t n_unreadable = 0;
  std::vector<TypeShare> types;                            // largest share first
  std::vector<const format::MetadataEntry*> key_metadata;  // what a reader wants to know first, in a fixed order
  DataChecksum data_checksum = DataChecksum::NoneInFormat;
};
[[nodiscard]] Summary summarize(const format::ModelFile& model);

}  // namespace apr::inspect
