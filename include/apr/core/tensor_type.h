// Every element type that a tensor of any supported format can have: one row each in tensor_types.def.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace apr {

/// Values below 256 are the ids of ggml (and so of GGUF); from 256 up the types that only SafeTensors or APR have.
enum class TensorType : std::uint16_t {
#define APR_TENSOR_TYPE(symbol, text, id, block_elements, block_bytes, status) symbol = id,
#include "apr/core/tensor_types.def"
#undef APR_TENSOR_TYPE
  Unknown = 0xFFFF,  // a number in a file that no table knows; TensorInfo::raw_type keeps it
};

enum class TypeStatus : std::uint8_t { Live, Removed };

/// How the bytes of a block field are to be read.
enum class FieldEncoding : std::uint8_t { U8, I8, U16, I16, I32, I64, F16, BF16, F32, F64, E8M0, E4M3, Packed };

/// One field of a block: `count` values of `encoding`, starting `offset` bytes into the block.
struct BlockField {
  std::string_view name;
  std::uint16_t offset;
  std::uint16_t bytes;
  FieldEncoding encoding;
};

/// Bytes of one value; 1 for Packed, too: nothing of it has a byte order.
[[nodiscard]] std::uint32_t encoding_width(FieldEncoding encoding) noexcept;

struct TypeInfo {
  TensorType type;
  std::string_view name;         // as ggml or the format spells it, e.g. "Q4_K", "F8_E4M3"
  std::uint32_t block_elements;  // elements of one block (1 for plain types); 0 when removed
  std::uint32_t block_bytes;     // bytes of one block; 0 when removed
  TypeStatus status;
  std::span<const BlockField> fields;  // cover the block without gap; empty for plain types
};

/// Every row, in the order of the table.
[[nodiscard]] std::span<const TypeInfo> tensor_types() noexcept;
/// The row of a type, or null for Unknown.
[[nodiscard]] const TypeInfo* find_type(TensorType type) noexcept;
/// The row by its name, without regard to case.
[[nodiscard]] const TypeInfo* find_type(std::string_view name) noexcept;
/// The row of a ggml id, removed ones included, or null.
[[nodiscard]] const TypeInfo* find_ggml_type(std::uint32_t id) noexcept;
/// Name for print: the row's, or "unknown".
[[nodiscard]] std::string_view name(TensorType type) noexcept;

/// Bytes of `n_elements` stored in rows of `row_elements`: nothing when a row is no whole number of blocks or it
/// overflows.
[[nodiscard]] std::optional<std::uint64_t> stored_bytes(const TypeInfo& type, std::uint64_t n_elements,
                                                        std::uint64_t row_elements) noexcept;

/// Reverses the byte order of every multi-byte value in the blocks, in place (files of the other endianness).
void swap_block_bytes(const TypeInfo& type, std::span<std::byte> blocks) noexcept;

}  // namespace apr
