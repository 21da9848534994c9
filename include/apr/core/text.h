// Text that people and terminals see.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace apr {

/// Text from a file, safe on a terminal: control characters, DEL, C1, bidirectional overrides and invalid UTF-8 become
/// \n, \t, \e, \0, \xHH or \u{HEX}; a backslash itself stays. Cut to `max_chars` with "…".
[[nodiscard]] std::string escaped(std::string_view text, std::size_t max_chars = 4096);

/// Offset of the first byte that is not well-formed UTF-8 (RFC 3629: no overlong, no surrogate), or nothing.
[[nodiscard]] std::optional<std::size_t> invalid_utf8_at(std::string_view text) noexcept;
/// `text` with every ill-formed sequence replaced by U+FFFD, so that it can stand in JSON.
[[nodiscard]] std::string to_valid_utf8(std::string_view text);

/// Edit distance with transpositions (optimal string alignment).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);
/// The candidates nearest to `word`, best first, at most `limit`, none farther than half its length (at least 2).
[[nodiscard]] std::vector<std::string> nearest(std::string_view word, std::span<const std::string_view> candidates,
                                               std::size_t limit = 3);

/// "98,362,432"
[[nodiscard]] std::string grouped(std::uint64_t value);
/// "93.8 MiB": three significant digits, binary units.
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);
/// "134.5 M": decimal multiples for counts of parameters.
[[nodiscard]] std::string human_count(std::uint64_t count);

/// Shell glob with *, ? and [set]; the whole name must match. Linear time in pattern x name, no recursion.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text) noexcept;
[[nodiscard]] bool has_glob(std::string_view pattern) noexcept;

/// Unsigned integer in decimal or 0x hexadecimal, the whole text; nothing on any other character or on overflow.
[[nodiscard]] std::optional<std::uint64_t> parse_u64(std::string_view text) noexcept;

}  // namespace apr
