// The fixed parts of an APR v2 file: header, flags, dtype bytes. Drawn in docs/formats/apr.md.
// Source of the layout: crates/apr-format/src/v2 of the aprender project.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "apr/core/tensor_type.h"

namespace apr::format {

inline constexpr std::uint64_t kAprHeaderBytes = 64;
inline constexpr std::uint64_t kAprAlignment = 64;  // of the sections and of each tensor
inline constexpr std::uint64_t kAprFooterBytes = 4;
inline constexpr std::uint64_t kAprMaxNameBytes = 256;
inline constexpr std::uint32_t kAprMaxDims = 8;
/// name_len + dtype + ndim + offset + size of an entry of the tensor index, with neither name nor dimensions.
inline constexpr std::uint64_t kAprMinEntryBytes = 20;

/// The header as numbers. All integers are little-endian; `metadata_offset` is not aligned in the file.
struct AprHeader {
  std::uint8_t major = 2, minor = 0;
  std::uint16_t flags = 0;
  std::uint32_t tensor_count = 0;
  std::uint64_t metadata_offset = 0;
  std::uint32_t metadata_size = 0;  // of the JSON text, without its padding
  std::uint64_t index_offset = 0;
  std::uint64_t data_offset = 0;
  std::uint32_t crc = 0;  // CRC-32 of bytes [0, 40) and [44, 64)
};

/// One field of the header: what `apr hex --header` and the drawing show.
struct AprHeaderField {
  std::string_view name;
  std::uint32_t offset;
  std::uint32_t size;
};
[[nodiscard]] std::span<const AprHeaderField> apr_header_fields() noexcept;

[[nodiscard]] AprHeader decode_apr_header(std::span<const std::byte, kAprHeaderBytes> bytes) noexcept;
/// The 64 bytes, their checksum computed; `header.crc` is not used.
[[nodiscard]] std::array<std::byte, kAprHeaderBytes> encode_apr_header(const AprHeader& header) noexcept;
/// The checksum that the bytes of a header should carry.
[[nodiscard]] std::uint32_t apr_header_crc(std::span<const std::byte, kAprHeaderBytes> bytes) noexcept;

enum AprFlag : std::uint16_t {
  kAprLz4 = 0x0001,
  kAprZstd = 0x0002,
  kAprEncrypted = 0x0004,
  kAprSigned = 0x0008,
  kAprSharded = 0x0010,
  kAprQuantized = 0x0020,
  kAprHasFilterbank = 0x0040,
  kAprHasModelCard = 0x0080,
  kAprStreaming = 0x0100,
  kAprHasVocab = 0x0200,
  kAprRowMajor = 0x0400,
  kAprColumnMajor = 0x0800,
};
struct AprFlagName {
  std::uint16_t bit;
  std::string_view name;
};
[[nodiscard]] std::span<const AprFlagName> apr_flag_table() noexcept;
/// Names of the bits that are set, lowest first; bits without a meaning are not among them.
[[nodiscard]] std::vector<std::string_view> apr_flag_names(std::uint16_t flags);

/// A dtype byte. The readers of aprender and realizar disagree on some: `other` is what realizar takes the byte for
/// where that differs, and empty where both agree.
struct AprDtype {
  std::uint8_t id;
  TensorType type;  // aprender's meaning; Unknown where it refuses the byte
  std::string_view name;
  std::string_view other;
};
/// Every byte that any of them knows, ascending.
[[nodiscard]] std::span<const AprDtype> apr_dtypes() noexcept;
[[nodiscard]] const AprDtype* find_apr_dtype(std::uint8_t id) noexcept;

/// Bytes that APR stores for a shape (outermost first): K-quants pad each row to whole blocks, AprQ4 pads the last
/// block of the flat data, AprQ8 has one scale. Nothing when it does not fit in 64 bits, or for a type that APR lacks.
[[nodiscard]] std::optional<std::uint64_t> apr_stored_bytes(TensorType type,
                                                            std::span<const std::int64_t> shape) noexcept;

/// One metadata field under all the names that files in the wild have for it.
struct AprAlias {
  std::string_view alias;
  std::string_view canonical;
};
[[nodiscard]] std::span<const AprAlias> apr_metadata_aliases() noexcept;
/// The canonical name of a metadata key; the key itself when it is none's alias.
[[nodiscard]] std::string_view apr_canonical_key(std::string_view key) noexcept;

}  // namespace apr::format
