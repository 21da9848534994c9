// Raw bytes as text.
#include <fmt/format.h>

#include <algorithm>

#include "src/cli/hex_text.h"

namespace apr::cli {

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

}  // namespace apr::cli
