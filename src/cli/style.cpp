#include "src/cli/style.h"

#include <cstdint>

namespace apr::cli {
namespace {

/// The 16-colour codes only: they follow the palette that the user chose for the terminal.
std::string_view code(Role role) {
  switch (role) {
    case Role::Plain: return "";
    case Role::Title: return "\033[1m";
    case Role::Heading: return "\033[1;36m";
    case Role::Dim: return "\033[2m";
    case Role::Offset: return "\033[2m";
    case Role::Bytes: return "\033[33m";
    case Role::Name: return "\033[36m";
    case Role::Type: return "\033[35m";
    case Role::Number: return "\033[1m";
    case Role::Text: return "\033[32m";
    case Role::Good: return "\033[32m";
    case Role::Warning: return "\033[1;33m";
    case Role::Bad: return "\033[1;31m";
  }
  return "";
}

/// Length and code point of the UTF-8 sequence at `at` (well-formed text assumed; anything else counts as one column).
std::uint32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0xC0) return lead;
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  std::uint32_t cp = lead & (0x3FU >> more);
  for (int i = 0; i < more && at < text.size(); ++i, ++at)
    cp = (cp << 6) | (static_cast<unsigned char>(text[at]) & 0x3FU);
  return cp;
}

bool is_combining(std::uint32_t cp) {
  return (cp >= 0x300 && cp < 0x370) || (cp >= 0x1AB0 && cp < 0x1B00) || (cp >= 0x20D0 && cp < 0x2100) ||
         (cp >= 0xFE00 && cp < 0xFE10) || (cp >= 0xFE20 && cp < 0xFE30) || cp == 0x200B || cp == 0x200D;
}

bool is_wide(std::uint32_t cp) {
  return (cp >= 0x1100 && cp < 0x1160) || (cp >= 0x2E80 && cp < 0xA4D0) || (cp >= 0xAC00 && cp < 0xD7A4) ||
         (cp >= 0xF900 && cp < 0xFB00) || (cp >= 0xFE30 && cp < 0xFE70) || (cp >= 0xFF00 && cp < 0xFF61) ||
         (cp >= 0xFFE0 && cp < 0xFFE7) || (cp >= 0x1F300 && cp < 0x1F650) || (cp >= 0x1F900 && cp < 0x1FA00) ||
         (cp >= 0x20000 && cp < 0x3FFFE);
}

}  // namespace

void Style::append(std::string& out, Role role, std::string_view text) const {
  const std::string_view start = on_ && !text.empty() ? code(role) : std::string_view{};
  out += start;
  out += text;
  if (!start.empty()) out += "\033[0m";
}

std::string Style::operator()(Role role, std::string_view text) const {
  std::string out;
  append(out, role, text);
  return out;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t cp = next_code_point(text, at);
    width += is_combining(cp) ? 0 : is_wide(cp) ? 2 : 1;
  }
  return width;
}

}  // namespace apr::cli
