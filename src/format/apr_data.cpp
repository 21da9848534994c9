// The data section of APR v2 and the checksum behind it.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/bytes.h"
#include "apr/core/checked.h"
#include "apr/core/hash.h"
#include "apr/core/text.h"
#include "src/format/apr.h"

namespace apr::format {
namespace {

/// Checks neighbours in file order. Returns where the last tensor ends.
std::uint64_t check_neighbours(AprReading& r, bool verify) {
  const auto& tensors = r.model.tensors;
  std::sort(r.placed.begin(), r.placed.end(), [&tensors](std::uint32_t a, std::uint32_t b) {
    if (tensors[a].offset != tensors[b].offset) return tensors[a].offset < tensors[b].offset;
    return tensors[a].size_bytes != tensors[b].size_bytes ? tensors[a].size_bytes < tensors[b].size_bytes : a < b;
  });
  std::uint64_t end = r.header.data_offset;
  const TensorInfo* previous = nullptr;
  for (const std::uint32_t i : r.placed) {
    const TensorInfo& tensor = tensors[i];
    const auto padded_end = checked_align(end, kAprAlignment).value_or(end);
    if (tensor.offset < end && tensor.size_bytes > 0)
      r.findings.error("apr.data.no_overlap", "two tensors share bytes")
          .at(tensor.offset)
          .tensor(tensor.name)
          .in("offset")
          .want(fmt::format("at least {}", end))
          .got(fmt::format("{}, inside \"{}\"", tensor.offset, previous != nullptr ? escaped(previous->name, 80) : ""));
    else if (tensor.offset > padded_end)
      r.findings.warning("apr.data.gap", "bytes that belong to no tensor")
          .at(end)
          .tensor(tensor.name)
          .in("offset")
          .want(std::to_string(padded_end))
          .got(fmt::format("{}, a gap of {} bytes", tensor.offset, tensor.offset - padded_end));
    else if (verify)
      check_apr_padding(r, previous != nullptr ? previous->name : "the index", end, tensor.offset);
    if (tensor.offset + tensor.size_bytes < end) continue;
    end = tensor.offset + tensor.size_bytes;
    previous = &tensor;
  }
  return end;
}

bool footer_matches(const AprReading& r, std::uint64_t at) {
  constexpr std::size_t kChunk = 16 * 1024 * 1024;
  auto rest = r.file.bytes().first(static_cast<std::size_t>(at));
  std::uint32_t crc = 0;
  while (!rest.empty()) {
    check_interrupted();
    const auto chunk = rest.first(std::min(rest.size(), kChunk));
    crc = crc32(chunk, crc);
    rest = rest.subspan(chunk.size());
  }
  return crc == load<std::uint32_t>(r.file.bytes().data() + at);
}

/// Where the footer stands, by the rule that the data end at a multiple of 64. Nothing when it is not there.
std::optional<std::uint64_t> find_footer(AprReading& r, std::uint64_t data_end) {
  const std::uint64_t section = r.header.data_offset;
  const auto padded = checked_align(data_end - section, kAprAlignment);
  const std::uint64_t expected = padded ? checked_add(section, *padded).value_or(UINT64_MAX) : UINT64_MAX;
  if (!range_fits(expected, kAprFooterBytes, r.size())) {
    r.findings.error("apr.footer.missing", "the file ends before its checksum")
        .at(r.size())
        .in("footer")
        .want(expected == UINT64_MAX ? "a file" : fmt::format("a file of {} bytes", expected + kAprFooterBytes))
        .got(fmt::format("{} bytes", r.size()))
        .help("the file is cut short: fetch it again");
    return std::nullopt;
  }
  return expected;
}

}  // namespace

void check_apr_data(AprReading& r, bool verify) {
  if (r.header.data_offset < kAprHeaderBytes || r.header.data_offset > r.size()) return;  // said by check_apr_sections
  const std::uint64_t end = check_neighbours(r, verify);
  r.add_region("tensor data", r.header.data_offset, end - r.header.data_offset);
  const auto footer = find_footer(r, end);
  if (!footer) return;
  if (verify) check_apr_padding(r, "the last tensor", end, *footer);
  r.add_region("padding", end, *footer - end);
  r.add_region("footer", *footer, kAprFooterBytes);
  const std::uint64_t behind = *footer + kAprFooterBytes;
  r.add_region("trailing bytes", behind, r.size() - behind);
  if (behind != r.size())
    r.findings.warning("apr.data.trailing", "bytes behind the checksum, or data that no tensor claims before it")
        .at(behind)
        .in("footer")
        .want(fmt::format("a file of {} bytes", behind))
        .got(fmt::format("{} bytes more", r.size() - behind));
  if (!verify) return;
  r.model.data_checksum_ok =
      footer_matches(r, *footer) || (behind != r.size() && footer_matches(r, r.size() - kAprFooterBytes));
  if (!*r.model.data_checksum_ok)
    r.findings.error("apr.footer.crc", "the checksum of the file is wrong")
        .at(*footer)
        .in("footer")
        .want("the CRC-32 of every byte before it")
        .got(fmt::format("0x{:08X}", load<std::uint32_t>(r.file.bytes().data() + *footer)))
        .help("the data were damaged: fetch the file again");
}

}  // namespace apr::format
