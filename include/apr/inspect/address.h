// The semantic address: what any byte of a model file means, and where a weight stands. The two are inverse to each
// other. Views point into the ModelFile.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/model_file.h"
#include "apr/inspect/block_layout.h"
#include "apr/inspect/hex.h"

namespace apr::inspect {

/// Bits of one byte of a file.
struct FileBits {
  std::uint64_t offset = 0;    // of the byte
  std::uint8_t first_bit = 0;  // counted from the least
  std::uint8_t width = 0;
};

/// A number that a weight is computed from, with its place in the file.
struct PartPlace {
  PartKind kind = PartKind::Code;
  std::string_view field;      // of block_fields.def; empty for plain types
  std::vector<FileBits> bits;  // ascending by the number's bits
  std::uint64_t stored = 0;    // the bits put together
  double value = 0;            // what they mean
};

/// One element of a tensor.
struct WeightPlace {
  std::size_t tensor = 0;           // in ModelFile::tensors
  std::vector<std::int64_t> index;  // outermost first, as the shape; empty for a scalar
  std::uint64_t element = 0;        // the same as one number, row-major
  std::uint64_t row = 0;            // of rows as long as the last dimension
  std::uint64_t block = 0;          // of the tensor
  std::uint32_t in_block = 0;       // which element of the block
  std::uint64_t block_offset = 0;   // absolute
  std::uint32_t block_bytes = 0;
  std::vector<PartPlace> parts;
  std::optional<Number> value;  // nothing where the type has no numeric form
};

/// The part that is the element's own: its code, or the index of its grid entry.
[[nodiscard]] const PartPlace& code_of(const WeightPlace& weight);

/// What bits of a byte are for: one part, and the elements of the block that it is a part of.
struct BitUse {
  PartKind kind = PartKind::Code;
  std::uint8_t first_bit = 0, width = 0;  // in the byte
  std::uint64_t stored = 0;               // of the whole part
  std::optional<double> value;            // nothing when it means another value to each element (grids, trits)
  std::vector<std::uint32_t> elements;    // of the block, ascending
};

struct TensorByte {
  std::size_t tensor = 0;
  std::uint64_t byte = 0;  // in the tensor's data
  std::uint64_t block = 0, row = 0;
  std::uint64_t block_offset = 0;
  std::uint32_t block_bytes = 0, byte_in_block = 0;
  const BlockField* field = nullptr;  // null for plain types
  std::string_view field_name;        // also for what no table has (APR_Q8's scale)
  std::uint32_t byte_in_field = 0;
  std::vector<BitUse> uses;          // empty: the bits are in no element's value (Q8_1's s, padding of a row)
  std::uint64_t n_weights = 0;       // elements of the tensor that change with this byte
  std::vector<WeightPlace> weights;  // the first of them
};

/// The field of a header, metadata entry or tensor entry that a byte belongs to.
struct HeaderByte {
  std::string section;  // "header", "metadata entry", "tensor entry", "footer"
  std::string entry;    // the key or the tensor's name; empty for the header
  HeaderField field;
};

struct Address {
  std::uint64_t offset = 0;
  std::uint32_t file_index = 0;
  std::uint8_t byte = 0;
  const format::Region* region = nullptr;  // null: in none
  std::optional<HeaderByte> header;
  std::optional<TensorByte> tensor;
};

/// A stretch of a file that holds one thing, named for people: "header", "KV general.name", "tensor info
/// blk.0.attn_q.weight", "padding", "tensor blk.0.attn_q.weight", ...
struct Label {
  std::string text;       // empty: in no region
  std::uint64_t end = 0;  // first offset behind it
};

/// Answers both questions. Making it costs a sort of the tables; a question is a binary search and touches the pages
/// that it asks for, not more.
class AddressMap {
 public:
  explicit AddressMap(const format::ModelFile& model);
  [[nodiscard]] const format::ModelFile& model() const noexcept { return model_; }

  /// `most_weights`: how many of the weights that a byte changes are listed. Throws Usage past the end of the file.
  [[nodiscard]] Address at(std::uint64_t offset, std::uint32_t file_index = 0, std::uint64_t most_weights = 16) const;
  /// What holds the byte, and where that ends. Cheap: for walking over a file.
  [[nodiscard]] Label label(std::uint64_t offset, std::uint32_t file_index = 0) const;
  /// An element by its row-major number. Throws Usage past the end, InvalidFormat for a tensor that cannot be read.
  [[nodiscard]] WeightPlace weight(std::size_t tensor, std::uint64_t element) const;
  /// "blk.3.ffn_up.weight[12,400]": as many indices as dimensions, outermost first. Throws Usage (no such form, an
  /// index out of range) or ValidationFailed (no such tensor, with the nearest names).
  [[nodiscard]] WeightPlace weight(std::string_view address) const;

 private:
  struct Span {
    std::uint32_t file_index;
    std::uint64_t begin, end;
    std::size_t index;
  };
  [[nodiscard]] static const Span* find(const std::vector<Span>& spans, std::uint32_t file, std::uint64_t offset);
  [[nodiscard]] static std::uint64_t next_begin(const std::vector<Span>& spans, std::uint32_t file,
                                                std::uint64_t offset);
  [[nodiscard]] std::optional<HeaderByte> header_byte(std::uint64_t offset, std::uint32_t file) const;
  [[nodiscard]] TensorByte tensor_byte(std::size_t tensor, std::uint64_t offset, std::uint64_t most_weights) const;

  const format::ModelFile& model_;
  std::vector<Span> data_, infos_, metadata_, regions_;  // each by file, then offset
};

/// How a tensor's elements lie in its blocks. APR pads each row of a block type to whole blocks; nothing else pads.
struct BlockGrid {
  const TypeInfo* type = nullptr;
  std::uint64_t row_elements = 1;         // the last dimension; 1 for a scalar
  std::uint64_t stored_row_elements = 1;  // with the padding
  std::uint64_t first_byte = 0;           // of the first block in the data: 4 for APR_Q8
  std::uint64_t n_blocks = 0;

  /// The element's number in storage order, padding counted.
  [[nodiscard]] std::uint64_t stored(std::uint64_t element) const noexcept {
    return element / row_elements * stored_row_elements + element % row_elements;
  }
  /// The reverse; nothing for padding.
  [[nodiscard]] std::optional<std::uint64_t> element(std::uint64_t stored, std::uint64_t n_elements) const noexcept;
};
/// Row-major number of an element -> its indices, outermost first.
[[nodiscard]] std::vector<std::int64_t> element_index(const format::TensorInfo& tensor, std::uint64_t element);
/// Nothing for a tensor that is not readable or has no elements.
[[nodiscard]] std::optional<BlockGrid> block_grid(const format::TensorInfo& tensor);
/// A copy of one block, turned to little-endian where the file is not.
[[nodiscard]] std::vector<std::byte> little_endian_block(const format::ModelFile& model,
                                                         const format::TensorInfo& tensor, const BlockGrid& grid,
                                                         std::uint64_t block);

}  // namespace apr::inspect
