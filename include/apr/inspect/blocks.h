// The block view: every field of a block with its numbers decoded, and the first values beside their codes.
// Views point into the ModelFile.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/inspect/address.h"

namespace apr::inspect {

/// The numbers of one kind whose bits begin in a field; `upper`: the field holds only the upper bits of numbers that
/// begin in another one.
struct FieldNumbers {
  PartKind kind = PartKind::Code;
  bool upper = false;
  std::vector<std::uint64_t> stored;
  std::vector<double> values;  // what each means; empty for grid indices and trits, which mean a value per element
};

struct BlockFieldReport {
  std::string_view name;
  FieldEncoding encoding = FieldEncoding::Packed;
  std::uint64_t offset = 0;  // absolute
  std::span<const std::byte> bytes;
  std::vector<Number> values;         // of fields that are no bit fields
  std::vector<FieldNumbers> numbers;  // of bit fields
};

struct SubBlock {
  std::uint32_t first_element = 0, n_elements = 0;  // of the block
  PartPlace scale;
  std::optional<PartPlace> minimum;
  float step = 0;  // what a code is multiplied with
  float base = 0;  // what is taken away behind it; 0 without minima
};

/// One element of a block beside its code.
struct BlockElement {
  std::uint32_t in_block = 0;
  std::optional<std::uint64_t> element;  // of the tensor; nothing: padding of a row
  std::uint64_t offset = 0;              // of the first byte of its code
  std::uint64_t stored = 0;              // its code, or the index of its grid entry
  double code = 0;                       // the number that the code or the grid stands for, its sign included
  Number value;
};

struct BlockReport {
  std::size_t tensor = 0;  // in ModelFile::tensors
  const format::TensorInfo* info = nullptr;
  const TypeInfo* type = nullptr;
  std::uint64_t block = 0, n_blocks = 0;
  std::uint64_t row = 0, block_in_row = 0;
  std::uint64_t blocks_per_row = 0;  // 0: blocks run over the ends of rows
  std::uint64_t offset = 0;          // absolute
  std::span<const std::byte> bytes;
  std::vector<BlockFieldReport> fields;  // empty for plain types
  std::vector<SubBlock> sub_blocks;      // empty where the block has one scale
  std::vector<BlockElement> elements;    // the first; of plain types also those of the blocks behind
  std::uint64_t n_elements = 0;          // that could be listed
  std::string absent_reason;             // not empty: the tensor has no blocks to show, and nothing above is filled
};

/// Which block: of the tensor, or of a row when `row` is set.
struct BlockChoice {
  std::optional<std::uint64_t> row;
  std::uint64_t block = 0;
};
/// `most_elements`: how many elements are listed. Throws Usage for a row or block that the tensor does not have.
[[nodiscard]] BlockReport block_report(const AddressMap& map, std::size_t tensor, const BlockChoice& choice,
                                       std::uint64_t most_elements);

/// The first tensor of each element type, in file order.
[[nodiscard]] std::vector<std::size_t> one_of_each_type(const format::ModelFile& model);
/// How a value comes out of the numbers of its block: "(d * scale) * code - dmin * minimum".
[[nodiscard]] std::string_view formula(TensorType type) noexcept;

}  // namespace apr::inspect
