// apr hex FILE --raw: bytes of any file, in hexadecimal and ASCII.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <memory>

#include "apr/core/text.h"
#include "apr/inspect/hex.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/table.h"
#include "src/cli/options.h"

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr std::uint64_t kBytes = 256;  // shown without --limit
constexpr std::uint64_t kMostJsonBytes = 64U << 20;
constexpr std::uint64_t kChunkRows = 4096;

struct RawOptions {
  std::uint64_t offset = 0, width = 16;
};

/// Rows of "offset  bytes  |characters|". `offset` is that of the first byte.
void append_raw(std::string& out, const Style& style, std::span<const std::byte> bytes, std::uint64_t offset,
                std::uint64_t width, std::size_t offset_digits) {
  std::string hex;
  std::string ascii;
  for (std::size_t at = 0; at < bytes.size(); at += width) {
    const auto row = bytes.subspan(at, std::min<std::size_t>(width, bytes.size() - at));
    hex.clear();
    ascii.clear();
    for (std::size_t i = 0; i < width; ++i) {
      if (i > 0) hex += (width >= 8 && i == width / 2) ? "  " : " ";  // a wider gap in the middle of a row
      if (i >= row.size()) {
        hex += "  ";
        continue;
      }
      const auto b = std::to_integer<unsigned char>(row[i]);
      constexpr char kDigits[] = "0123456789abcdef";
      hex += kDigits[b >> 4];
      hex += kDigits[b & 15];
      ascii += b >= 0x20 && b < 0x7F ? static_cast<char>(b) : '.';
    }
    style.append(out, Role::Offset, fmt::format("{:0{}x}", offset + at, offset_digits));
    out += "  ";
    style.append(out, Role::Bytes, hex);
    out += "  |";
    out += ascii;
    out += "|\n";
  }
}

void put_raw(Json& document, std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t width) {
  document["offset"] = offset;
  document["size_bytes"] = bytes.size();
  document["width"] = width;
  document["rows"] = Json::array();
  for (std::size_t at = 0; at < bytes.size(); at += width) {
    const auto row = bytes.subspan(at, std::min<std::size_t>(width, bytes.size() - at));
    std::string ascii;
    for (const std::byte b : row) {
      const auto v = std::to_integer<unsigned char>(b);
      ascii += v >= 0x20 && v < 0x7F ? static_cast<char>(v) : '.';
    }
    document["rows"].push_back({{"offset", offset + at}, {"hex", bytes_hex(row)}, {"ascii", ascii}});
  }
}

int run_raw(const RawOptions& o, HexRun& run) {
  Context& context = run.context;
  const MappedFile file(run.shared.path);
  context.file->size_bytes = file.size();
  const auto range = inspect::raw_range(run.shared.path, file.size(), o.offset, run.shared.limit.value_or(kBytes));
  const auto bytes = file.bytes().subspan(range.offset, range.size_bytes);
  if (context.globals.json) {
    if (bytes.size() > kMostJsonBytes)
      throw Error(ErrorCode::Usage, "too many bytes for one JSON document")
          .help(fmt::format("--limit at most {}", kMostJsonBytes));
    Json document = make_document(context, "apr.hex.raw/1");
    put_raw(document, bytes, range.offset, o.width);
    file.check_intact();
    context.out.write(to_text(document));
    return 0;
  }
  const std::size_t digits = std::max<std::size_t>(8, (static_cast<std::size_t>(std::bit_width(file.size())) + 3) / 4);
  const std::size_t chunk = o.width * kChunkRows;
  for (std::size_t at = 0; at < bytes.size(); at += chunk) {
    check_interrupted();
    std::string text;
    append_raw(text, context.style, bytes.subspan(at, std::min(chunk, bytes.size() - at)), range.offset + at, o.width,
               digits);
    file.check_intact();
    context.out.write(text);
  }
  return 0;
}

}  // namespace

HexModeRun setup_hex_raw(HexFlags& flags) {
  auto o = std::make_shared<RawOptions>();
  flags.own(add_number(
      flags.app, "--offset", [o](std::uint64_t n) { o->offset = n; }, 0, UINT64_MAX,
      "First byte, decimal or 0x hexadecimal (0)"));
  flags.own(add_number(
      flags.app, "--width", [o](std::uint64_t n) { o->width = n; }, 1, 64, "Bytes of a row, 1 to 64 (16)"));
  return [o](HexRun& run) { return run_raw(*o, run); };
}

}  // namespace apr::cli
