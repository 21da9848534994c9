// APR v2 files, built byte by byte and independently of the writer, so that single fields can be made wrong.
#pragma once
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/safetensors_text.h"

namespace apr::test {

inline std::uint32_t zlib_crc(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      ::crc32(0, reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())));
}

struct AprEntry {
  std::string name;
  std::uint8_t dtype = 0;
  std::vector<std::uint64_t> dims;
  std::uint64_t offset = 0, size = 0;

  [[nodiscard]] std::string bytes() const {
    std::string out = le(static_cast<std::uint16_t>(name.size())) + name;
    out += le(dtype) + le(static_cast<std::uint8_t>(dims.size()));
    for (const std::uint64_t dim : dims) out += le(dim);
    return out + le(offset) + le(size);
  }
};

/// A file from its parts; fields left at their defaults are filled in correctly.
struct AprParts {
  std::uint8_t major = 2, minor = 0;
  std::uint16_t flags = 0x0400;
  std::string metadata = "{}";
  std::vector<AprEntry> entries;
  std::string data;         // padded to 64
  std::string index_extra;  // behind the last entry, before the padding
  std::int64_t count = -1;  // -1: as many as there are entries
  std::int64_t metadata_offset = -1, metadata_size = -1, index_offset = -1, data_offset = -1;
  std::string reserved = std::string(20, '\0');

  static std::string pad(std::string bytes, std::size_t alignment = 64) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
    return bytes;
  }
  [[nodiscard]] std::string header(std::uint64_t index_at, std::uint64_t data_at) const {
    const auto pick = [](std::int64_t given, std::uint64_t right) {
      return given == -1 ? right : static_cast<std::uint64_t>(given);
    };
    std::string first = std::string("APR\0", 4) + le(major) + le(minor) + le(flags);
    first += le(static_cast<std::uint32_t>(pick(count, entries.size())));
    first += le(pick(metadata_offset, 64)) + le(static_cast<std::uint32_t>(pick(metadata_size, metadata.size())));
    first += le(pick(index_offset, index_at)) + le(pick(data_offset, data_at));
    return first + le(zlib_crc(first + reserved)) + reserved;
  }
  [[nodiscard]] std::string body() const {
    const std::string json = pad(metadata);
    std::string index;
    for (const AprEntry& entry : entries) index += entry.bytes();
    index = pad(index + index_extra);
    return header(64 + json.size(), 64 + json.size() + index.size()) + json + index + pad(data);
  }
  [[nodiscard]] std::string file() const {
    const std::string bytes = body();
    return bytes + le(zlib_crc(bytes));
  }
};

}  // namespace apr::test
