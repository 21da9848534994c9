// Code points as the tokenizers see them: lenient UTF-8 decoding and one byte of class per code point.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace apr::model::tok {

inline constexpr std::uint32_t kReplacement = 0xFFFD;

/// Class of a code point from U+0080 up. ASCII code points stand for themselves (below 0x80).
/// The order of the values is known to the class patterns (regex.cpp).
enum CharClass : unsigned char {
  kOther = 0x80,
  kNumber = 0x81,
  kLetter = 0x82,
  kPunctuation = 0x83,
  kMark = 0x84,
  kSymbol = 0x85,
  kSpace = 0x86,      // White_Space: U+0085, U+00A0, U+1680, U+2000-200A, U+2028, U+2029, U+202F, U+205F, U+3000
  kControl = 0x87,    // Cc, Cf, Co, Cs
  kHanLetter = 0x88,  // a letter in one of the Han blocks
  kHanOther = 0x89,   // anything else in one of the Han blocks
};

/// Decodes one code point at text[at] and moves `at` behind it. A byte that starts no sequence is U+FFFD and one byte
/// long. Overlong forms and surrogates are decoded by their bits, as llama.cpp does; values above U+10FFFF are invalid.
std::uint32_t next_code_point(std::string_view text, std::size_t& at) noexcept;
void append_utf8(std::string& out, std::uint32_t code_point);
/// Bytes of the sequence that a first byte announces, without looking at what follows.
[[nodiscard]] std::size_t announced_length(char first) noexcept;

[[nodiscard]] bool is_space(std::uint32_t code_point) noexcept;
/// Unicode 15.1 general category, coarse.
[[nodiscard]] CharClass category(std::uint32_t code_point) noexcept;
/// General category Mn: a mark without a width of its own.
[[nodiscard]] bool is_nonspacing_mark(std::uint32_t code_point) noexcept;
/// The code point itself below 0x80, else its class with the Han blocks told apart.
[[nodiscard]] unsigned char class_byte(std::uint32_t code_point) noexcept;

[[nodiscard]] std::uint32_t to_lower(std::uint32_t code_point) noexcept;
/// First code point of the canonical decomposition.
[[nodiscard]] std::uint32_t base_of(std::uint32_t code_point) noexcept;

enum class NormalForm : std::uint8_t { Nfc, Nfd, Nfkc, Nfkd };
/// Ill-formed sequences become U+FFFD.
[[nodiscard]] std::string normalized(std::string_view text, NormalForm form);

}  // namespace apr::model::tok
