// GGUF, byte by byte: what the reader's parts and the writer share. The layout is drawn in docs/formats/gguf.md.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/bytes.h"
#include "apr/format/model_file.h"
#include "apr/format/value.h"
#include "src/format/readers.h"

namespace apr::format::gguf {

inline constexpr std::uint64_t kHeaderBytes = 24;    // magic, version, tensor count, metadata count
inline constexpr std::uint64_t kMinEntryBytes = 13;  // key length 8, value type 4, the smallest value 1
inline constexpr std::uint64_t kMinInfoBytes = 24;   // name length 8, n_dims 4, type 4, offset 8
inline constexpr std::uint64_t kDefaultAlignment = 32;
inline constexpr std::uint64_t kMaxAlignment = 1ull
                                               << 24;  // apr's own cap; the format has none, files use 32 to 65,536
inline constexpr std::uint64_t kMaxKeyBytes = 65'535;  // GGUF specification
inline constexpr std::uint64_t kMaxNameBytes = 64;     // GGUF specification; ggml itself takes 63
inline constexpr std::uint32_t kMaxDims = 4;           // GGML_MAX_DIMS
inline constexpr unsigned kMaxArrayDepth = 8;          // apr's own cap; 1 is an array of scalars

/// Stored bytes of one element, or 0 for strings, arrays and numbers that are no value type.
[[nodiscard]] std::uint64_t scalar_bytes(ValueType type) noexcept;
/// Fewest bytes that one array element of this type can take: the bound of an element count.
[[nodiscard]] std::uint64_t min_element_bytes(ValueType type) noexcept;
[[nodiscard]] constexpr bool is_value_type(std::uint32_t number) noexcept { return number <= 12; }

/// Decodes one value at the reader's place and moves behind it. False when it does not fit; nothing is reported.
[[nodiscard]] bool read_value(ByteReader& reader, ValueType type, Value& value);

/// One file on its way into the tables. The parts below fill it in the order of the bytes.
struct Parse {
  Parse(const MappedFile& mapped, std::uint32_t index) : file(mapped), file_index(index), findings(mapped.path()) {}

  const MappedFile& file;
  std::uint32_t file_index;
  Findings findings;
  bool verify_data = false;
  std::endian order = std::endian::little;
  std::uint32_t version = 0;
  std::uint64_t n_tensors = 0;  // as the header says
  std::uint64_t n_entries = 0;
  std::uint64_t alignment = kDefaultAlignment;
  std::vector<MetadataEntry> metadata;
  std::vector<TensorInfo> tensors;  // `offset` is relative to the data section until layout() has run
  std::vector<Region> regions;
  std::uint64_t infos_offset = 0;
  std::uint64_t infos_end = 0;
  std::uint64_t data_offset = 0;
  std::uint64_t stopped_at = 0;  // where reading broke off, if it did
  bool metadata_whole = false, infos_whole = false;

  [[nodiscard]] ByteReader reader(std::uint64_t offset) const;
};

/// Magic, version and counts. Throws InvalidFormat when these cannot be known.
void read_header(Parse& parse);
/// The key-value pairs, and the rules on well-known keys.
void read_metadata(Parse& parse);
/// The tensor infos: names, shapes, types, sizes.
void read_tensor_infos(Parse& parse);
/// Where the data lies: bounds, order, gaps, overlap, padding, trailing bytes; absolute offsets; the regions.
void lay_out(Parse& parse);

/// A file name of the form NAME-00001-of-00003.gguf.
struct ShardName {
  std::string prefix;        // path up to the dash before the number
  std::uint32_t number = 0;  // 1-based
  std::uint32_t count = 0;
  [[nodiscard]] std::string path_of(std::uint32_t shard) const;
};
[[nodiscard]] std::optional<ShardName> parse_shard_name(const std::string& path);

/// A name from the file for the `field` of a finding: quoted, cut when it is long.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace apr::format::gguf
