#include <algorithm>

#include <fmt/format.h>

#include "apr/inspect/hex.h"

namespace apr::inspect {

RawRange raw_range(const std::string& path, std::uint64_t file_size, std::uint64_t offset, std::uint64_t limit) {
  if (offset > file_size)
    throw Error(ErrorCode::Usage, "offset is past the end of the file")
        .at(path)
        .in("--offset")
        .want(fmt::format("at most {} (0x{:x})", file_size, file_size))
        .got(fmt::format("{} (0x{:x})", offset, offset));
  return {offset, std::min(limit, file_size - offset)};
}

}  // namespace apr::inspect
