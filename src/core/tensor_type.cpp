#include "apr/core/tensor_type.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <vector>

#include "apr/core/checked.h"

namespace apr {
namespace {

struct OwnedField {
  TensorType type;
  BlockField field;
};
constexpr OwnedField kFields[] = {
#define APR_BLOCK_FIELD(symbol, text, at, size, encoding_name) \
  {TensorType::symbol, {text, at, size, FieldEncoding::encoding_name}},
#include "apr/core/block_fields.def"
#undef APR_BLOCK_FIELD
};

constexpr TypeInfo kRows[] = {
#define APR_TENSOR_TYPE(symbol, text, id, elements, bytes, status_name) \
  {TensorType::symbol, text, elements, bytes, TypeStatus::status_name, {}},
#include "apr/core/tensor_types.def"
#undef APR_TENSOR_TYPE
};

/// Joins each row with its run of fields.
std::vector<TypeInfo> make_table(std::vector<BlockField>& fields) {
  std::vector<TypeInfo> table(std::begin(kRows), std::end(kRows));
  fields.reserve(std::size(kFields));
  for (TypeInfo& row : table) {
    const std::size_t first = fields.size();
    for (const OwnedField& owned : kFields)
      if (owned.type == row.type) fields.push_back(owned.field);
    row.fields = {fields.data() + first, fields.size() - first};
  }
  return table;
}

const std::vector<TypeInfo>& table() {
  static std::vector<BlockField> fields;
  static const std::vector<TypeInfo> rows = make_table(fields);
  return rows;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

void swap_values(std::byte* at, std::size_t bytes, std::size_t width) {
  for (std::size_t i = 0; i + width <= bytes; i += width) std::reverse(at + i, at + i + width);
}

}  // namespace

std::span<const TypeInfo> tensor_types() noexcept { return table(); }

const TypeInfo* find_type(TensorType type) noexcept {
  for (const TypeInfo& row : table())
    if (row.type == type) return &row;
  return nullptr;
}

const TypeInfo* find_type(std::string_view type_name) noexcept {
  for (const TypeInfo& row : table())
    if (same_ignoring_case(row.name, type_name)) return &row;
  return nullptr;
}

const TypeInfo* find_ggml_type(std::uint32_t id) noexcept {
  return id < 256 ? find_type(static_cast<TensorType>(id)) : nullptr;
}

std::string_view name(TensorType type) noexcept {
  const TypeInfo* row = find_type(type);
  return row ? row->name : "unknown";
}

std::optional<std::uint64_t> stored_bytes(const TypeInfo& type, std::uint64_t n_elements,
                                          std::uint64_t row_elements) noexcept {
  if (type.type == TensorType::AprQ4)  // blocks run over the flat data and the last one is padded
    return checked_mul<std::uint64_t>(n_elements / 32 + (n_elements % 32 != 0 ? 1 : 0), type.block_bytes);
  if (type.block_elements == 0 || row_elements % type.block_elements != 0) return std::nullopt;
  if (n_elements % type.block_elements != 0) return std::nullopt;
  const auto bytes = checked_mul<std::uint64_t>(n_elements / type.block_elements, type.block_bytes);
  if (!bytes) return std::nullopt;
  return type.type == TensorType::AprQ8 ? checked_add<std::uint64_t>(*bytes, 4) : bytes;
}

std::uint32_t encoding_width(FieldEncoding encoding) noexcept {
  switch (encoding) {
    case FieldEncoding::U16:
    case FieldEncoding::I16:
    case FieldEncoding::F16:
    case FieldEncoding::BF16: return 2;
    case FieldEncoding::I32:
    case FieldEncoding::F32: return 4;
    case FieldEncoding::I64:
    case FieldEncoding::F64: return 8;
    default: return 1;
  }
}

void swap_block_bytes(const TypeInfo& type, std::span<std::byte> blocks) noexcept {
  if (type.fields.empty()) {  // plain type: the block is one value
    if (type.type == TensorType::C64) return swap_values(blocks.data(), blocks.size(), 4);
    if (type.block_elements == 1) swap_values(blocks.data(), blocks.size(), type.block_bytes);
    return;
  }
  for (std::size_t at = 0; at + type.block_bytes <= blocks.size(); at += type.block_bytes)
    for (const BlockField& field : type.fields) {
      const std::size_t width = encoding_width(field.encoding);
      if (width > 1) swap_values(blocks.data() + at + field.offset, field.bytes, width);
    }
}

}  // namespace apr
