#include "apr/format/apr_header.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "apr/core/bytes.h"
#include "apr/core/checked.h"
#include "apr/core/hash.h"

namespace apr::format {
namespace {

constexpr AprHeaderField kFields[] = {
    {"magic", 0, 4},        {"version_major", 4, 1},    {"version_minor", 5, 1},  {"flags", 6, 2},
    {"tensor_count", 8, 4}, {"metadata_offset", 12, 8}, {"metadata_size", 20, 4}, {"tensor_index_offset", 24, 8},
    {"data_offset", 32, 8}, {"header_crc", 40, 4},      {"reserved", 44, 20},
};
constexpr std::size_t kCrcAt = 40, kBehindCrc = 44;

constexpr AprFlagName kFlags[] = {
    {kAprLz4, "LZ4_COMPRESSED"},
    {kAprZstd, "ZSTD_COMPRESSED"},
    {kAprEncrypted, "ENCRYPTED"},
    {kAprSigned, "SIGNED"},
    {kAprSharded, "SHARDED"},
    {kAprQuantized, "QUANTIZED"},
    {kAprHasFilterbank, "HAS_FILTERBANK"},
    {kAprHasModelCard, "HAS_MODEL_CARD"},
    {kAprStreaming, "STREAMING"},
    {kAprHasVocab, "HAS_VOCAB"},
    {kAprRowMajor, "LAYOUT_ROW_MAJOR"},
    {kAprColumnMajor, "LAYOUT_COLUMN_MAJOR"},
};

// The left meaning is aprender's (v2/mod.rs), the right one realizar's (apr/mod.rs), which looks most ids up as ggml's.
constexpr AprDtype kDtypes[] = {
    {0, TensorType::F32, "f32", ""},
    {1, TensorType::F16, "f16", ""},
    {2, TensorType::Unknown, "unknown", "Q4_0"},
    {3, TensorType::F64, "f64", "Q4_1"},
    {4, TensorType::I32, "i32", "F32"},
    {5, TensorType::I64, "i64", "F32"},
    {6, TensorType::I8, "i8", "Q5_0"},
    {7, TensorType::U8, "u8", "Q5_1"},
    {8, TensorType::AprQ4, "q4", "q4; older readers Q4_K"},
    {9, TensorType::AprQ8, "q8", "q8; older readers Q6_K"},
    {10, TensorType::Unknown, "unknown", "Q2_K; older readers Q8_0"},
    {11, TensorType::Unknown, "unknown", "Q3_K"},
    {12, TensorType::Q4_K, "q4_k", ""},
    {13, TensorType::Unknown, "unknown", "Q5_K"},
    {14, TensorType::Q6_K, "q6_k", ""},
    {16, TensorType::Unknown, "unknown", "IQ2_XXS"},
    {17, TensorType::Unknown, "unknown", "IQ2_XS"},
    {30, TensorType::BF16, "bf16", ""},
    {128, TensorType::AprQ4, "q4", ""},
    {129, TensorType::AprQ8, "q8", ""},
};

constexpr AprAlias kAliases[] = {
    {"hidden_dim", "hidden_size"},
    {"d_model", "hidden_size"},
    {"n_embd", "hidden_size"},
    {"num_hidden_layers", "num_layers"},
    {"n_layers", "num_layers"},
    {"n_layer", "num_layers"},
    {"num_attention_heads", "num_heads"},
    {"n_heads", "num_heads"},
    {"n_head", "num_heads"},
    {"num_key_value_heads", "num_kv_heads"},
    {"n_kv_heads", "num_kv_heads"},
    {"n_vocab", "vocab_size"},
    {"ffn_dim", "intermediate_size"},
    {"intermediate_dim", "intermediate_size"},
    {"n_inner", "intermediate_size"},
    {"max_seq_len", "max_position_embeddings"},
    {"context_length", "max_position_embeddings"},
    {"n_ctx", "max_position_embeddings"},
    {"layer_norm_eps", "rms_norm_eps"},
    {"norm_eps", "rms_norm_eps"},
};

template <class T>
void store(std::span<std::byte> bytes, std::size_t at, T value) {
  if constexpr (std::endian::native == std::endian::big) value = byte_swapped(value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace

std::span<const AprHeaderField> apr_header_fields() noexcept { return kFields; }
std::span<const AprFlagName> apr_flag_table() noexcept { return kFlags; }
std::span<const AprDtype> apr_dtypes() noexcept { return kDtypes; }
std::span<const AprAlias> apr_metadata_aliases() noexcept { return kAliases; }

std::uint32_t apr_header_crc(std::span<const std::byte, kAprHeaderBytes> bytes) noexcept {
  return crc32(bytes.subspan(kBehindCrc), crc32(bytes.first(kCrcAt)));
}

AprHeader decode_apr_header(std::span<const std::byte, kAprHeaderBytes> bytes) noexcept {
  const std::byte* at = bytes.data();
  AprHeader header;
  header.major = load<std::uint8_t>(at + 4);
  header.minor = load<std::uint8_t>(at + 5);
  header.flags = load<std::uint16_t>(at + 6);
  header.tensor_count = load<std::uint32_t>(at + 8);
  header.metadata_offset = load<std::uint64_t>(at + 12);
  header.metadata_size = load<std::uint32_t>(at + 20);
  header.index_offset = load<std::uint64_t>(at + 24);
  header.data_offset = load<std::uint64_t>(at + 32);
  header.crc = load<std::uint32_t>(at + kCrcAt);
  return header;
}

std::array<std::byte, kAprHeaderBytes> encode_apr_header(const AprHeader& header) noexcept {
  std::array<std::byte, kAprHeaderBytes> bytes{};
  std::memcpy(bytes.data(), "APR", 4);  // the terminating NUL is the fourth byte of the magic
  store(bytes, 4, header.major);
  store(bytes, 5, header.minor);
  store(bytes, 6, header.flags);
  store(bytes, 8, header.tensor_count);
  store(bytes, 12, header.metadata_offset);
  store(bytes, 20, header.metadata_size);
  store(bytes, 24, header.index_offset);
  store(bytes, 32, header.data_offset);
  store(bytes, kCrcAt, apr_header_crc(bytes));
  return bytes;
}

std::vector<std::string_view> apr_flag_names(std::uint16_t flags) {
  std::vector<std::string_view> names;
  for (const AprFlagName& row : kFlags)
    if ((flags & row.bit) != 0) names.push_back(row.name);
  return names;
}

const AprDtype* find_apr_dtype(std::uint8_t id) noexcept {
  for (const AprDtype& row : kDtypes)
    if (row.id == id) return &row;
  return nullptr;
}

std::optional<std::uint64_t> apr_stored_bytes(TensorType type, std::span<const std::int64_t> shape) noexcept {
  const TypeInfo* info = find_type(type);
  if (info == nullptr || info->block_elements == 0) return std::nullopt;
  std::uint64_t rows = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i)
    if (mul_overflows(rows, static_cast<std::uint64_t>(shape[i]), rows)) return std::nullopt;
  const std::uint64_t columns = shape.empty() ? 1 : static_cast<std::uint64_t>(shape.back());
  const auto elements = checked_mul(rows, columns);
  if (!elements) return std::nullopt;
  if (type == TensorType::AprQ4 || type == TensorType::AprQ8) return stored_bytes(*info, *elements, columns);
  const std::uint64_t blocks_of_row = columns / info->block_elements + (columns % info->block_elements != 0 ? 1 : 0);
  const auto blocks = checked_mul(rows, blocks_of_row);
  return blocks ? checked_mul<std::uint64_t>(*blocks, info->block_bytes) : std::nullopt;
}

std::string_view apr_canonical_key(std::string_view key) noexcept {
  for (const AprAlias& row : kAliases)
    if (row.alias == key) return row.canonical;
  return key;
}

}  // namespace apr::format
