// Magic, version and the two counts; and small helpers that all parts of the reader use.
#include <fmt/format.h>

#include "src/format/gguf.h"

namespace apr::format::gguf {
namespace {

constexpr std::size_t kQuotedBytes = 80;

bool is_known(std::uint32_t version) { return version == 2 || version == 3; }

[[noreturn]] void refuse_version(const Parse& parse, std::uint32_t as_little) {
  // A version is a small number: when its low half is empty the file was written the other way round.
  const bool big = as_little != 0 && (as_little & 0xFFFF) == 0;
  const std::uint32_t version = big ? byte_swapped(as_little) : as_little;
  throw Error(ErrorCode::InvalidFormat, "this version of GGUF is not supported")
      .at(parse.file.path(), 4)
      .in("header.version")
      .want("2 or 3")
      .got(fmt::format("{}{}", version, big ? " (big endian)" : ""))
      .help(
          version == 1
              ? "version 1 has 32-bit lengths and was in use for a week in August 2023: convert the source model again"
              : "the file is damaged, or newer than this program");
}

}  // namespace

ByteReader Parse::reader(std::uint64_t offset) const {
  return ByteReader(file.bytes().subspan(static_cast<std::size_t>(offset)), order, offset);
}

std::string quoted(std::string_view text) {
  if (text.size() <= kQuotedBytes) return fmt::format("\"{}\"", text);
  return fmt::format("\"{}...\" ({} bytes)", text.substr(0, kQuotedBytes), text.size());
}

void read_header(Parse& parse) {
  const std::uint64_t size = parse.file.size();
  if (size < kHeaderBytes)
    throw Error(ErrorCode::InvalidFormat, "the file ends inside the GGUF header")
        .at(parse.file.path(), size)
        .in("header")
        .want(fmt::format("{} bytes", kHeaderBytes))
        .got(fmt::format("{} bytes, need {}", size, kHeaderBytes))
        .help("the file was cut off: copy or download it again");
  const auto as_little = load<std::uint32_t>(parse.file.bytes().data() + 4);
  if (!is_known(as_little) && !is_known(byte_swapped(as_little))) refuse_version(parse, as_little);
  parse.order = is_known(as_little) ? std::endian::little : std::endian::big;
  parse.version = is_known(as_little) ? as_little : byte_swapped(as_little);
  const std::byte* start = parse.file.bytes().data();
  parse.n_tensors = load<std::uint64_t>(start + 8, parse.order);
  parse.n_entries = load<std::uint64_t>(start + 16, parse.order);
  parse.regions.push_back({"header", parse.file_index, 0, kHeaderBytes});

  const std::uint64_t remaining = size - kHeaderBytes;
  const auto check_count = [&](std::uint64_t count, std::uint64_t min_bytes, std::uint64_t offset, const char* rule,
                               const char* field) {
    if (count <= remaining / min_bytes) return;
    parse.findings.error(rule, "the file is too small to hold so many")
        .at(offset)
        .in(field)
        .want(fmt::format("at most {} ({} bytes follow, each takes at least {})", remaining / min_bytes, remaining,
                          min_bytes))
        .got(fmt::format("{}", count));
  };
  check_count(parse.n_tensors, kMinInfoBytes, 8, "gguf.header.n_tensors", "header.tensor_count");
  check_count(parse.n_entries, kMinEntryBytes, 16, "gguf.header.n_kv", "header.metadata_kv_count");
}

}  // namespace apr::format::gguf
