// Whether an answer makes sense, as far as rules can tell.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace apr::qa {

/// Whether `word` stands in `text` between word boundaries, without regard to case ("4" is not in "14").
[[nodiscard]] bool contains_word(std::string_view text, std::string_view word);

/// Why the tokens are no sensible answer: none at all, one token many times in a row, or an end that repeats itself.
/// Empty when nothing is wrong.
[[nodiscard]] std::string degenerate(std::span<const std::int32_t> tokens);

/// Why the text is no sensible answer: nothing but white space, ill-formed UTF-8 before the last character, a U+FFFD or
/// a NUL, a marker of a template. Empty when nothing is wrong.
[[nodiscard]] std::string ill_formed(std::string_view text);

}  // namespace apr::qa
