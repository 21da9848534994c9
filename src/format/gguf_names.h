// Rules on the texts of a GGUF file (keys, tensor names) and on the values of the keys that every reader knows.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/format/gguf.h"

namespace apr::format::gguf {

struct TextFault {
  std::uint64_t at;  // byte in the text
  std::string what;  // "a NUL byte", "control character 0x1b", "invalid UTF-8"
};
/// The first byte of a key or name that no plain text has.
[[nodiscard]] std::optional<TextFault> text_fault(std::string_view text);

/// lower_snake_case in dotted parts. The hyphen is taken as well: architecture names have it ("command-r.block_count").
[[nodiscard]] constexpr bool is_key_character(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}
[[nodiscard]] constexpr bool is_upper(char c) noexcept { return c >= 'A' && c <= 'Z'; }

/// Whether the name would leave its folder if somebody used it as a path.
[[nodiscard]] bool looks_like_escaping_path(std::string_view name) noexcept;

/// Types and values of the well-known keys; sets parse.alignment, or 0 when the file gives none that can be used.
void check_known_keys(Parse& parse);

}  // namespace apr::format::gguf
