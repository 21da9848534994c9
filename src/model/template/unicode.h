// Text as Python's str sees it: a sequence of code points, with the case mappings and classes of its methods.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace apr::model::jinja {

/// The code point at `pos`, which moves past it. A byte that is not well-formed UTF-8 counts as one code point of value
/// 0xDC00 + byte, so that any bytes can be walked and written back unchanged.
[[nodiscard]] char32_t decode(std::string_view text, std::size_t& pos) noexcept;
/// Appends UTF-8; the inverse of decode().
void encode(std::string& out, char32_t c);
[[nodiscard]] std::size_t count_chars(std::string_view text) noexcept;
/// Byte offset of the code point with this index; the text's size when there are fewer.
[[nodiscard]] std::size_t byte_offset(std::string_view text, std::size_t index) noexcept;
/// Start of the code point that ends at `end` (> 0).
[[nodiscard]] std::size_t previous_start(std::string_view text, std::size_t end) noexcept;

[[nodiscard]] bool is_space(char32_t c) noexcept;
[[nodiscard]] bool is_line_break(char32_t c) noexcept;  // for splitlines; "\r\n" is the caller's business
[[nodiscard]] bool is_printable(char32_t c) noexcept;
[[nodiscard]] bool is_alpha(char32_t c) noexcept;
[[nodiscard]] bool is_lower(char32_t c) noexcept;
[[nodiscard]] bool is_upper(char32_t c) noexcept;
[[nodiscard]] bool is_cased(char32_t c) noexcept;
[[nodiscard]] bool is_decimal(char32_t c) noexcept;
[[nodiscard]] bool is_digit(char32_t c) noexcept;
[[nodiscard]] bool is_numeric(char32_t c) noexcept;

void append_upper(std::string& out, char32_t c);
void append_title(std::string& out, char32_t c);
void append_lower(std::string& out, char32_t c);
[[nodiscard]] std::string to_upper(std::string_view text);
/// With the Greek final sigma where a cased letter stands directly before and none directly after it.
[[nodiscard]] std::string to_lower(std::string_view text);

}  // namespace apr::model::jinja
