// What the gates feed to a model: texts, prompts, and the answers that a capable model gives.
#pragma once
#include <array>
#include <string_view>

namespace apr::qa {

/// Texts that break tokenizers: scripts, normal forms, joiners, directions, white space, numbers, code, limits of
/// UTF-8.
inline constexpr std::string_view kTexts[] = {
    "The quick brown fox jumps over the lazy dog.",
    "It's 12:30; don't we'll they've I'm he'd \"quoted\" (and) [so] {on}...",
    "1234567890 3.14159 1,000,000 0x7fff 50% $9.99 2026-11-28",
    "  two leading,   three inside, trailing  ",
    "line\nline\n\n\nline\r\ntab\ttab\t\tend\n",
    "def f(x):\n    return {\"a\": [x ** 2, -1]}  # done\n",
    "na\xC3\xAFve caf\xC3\xA9 \xC3\x86r\xC3\xB8sk\xC3\xB8"
    "bing Stra\xC3\x9F"
    "e \xC4\xB0stanbul",
    "e\xCC\x81 a\xCC\x8A o\xCC\x88 n\xCC\x83",                                                      // combining marks
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, \xCE\xBA\xCF\x8C\xCF\x83\xCE\xBC\xCE\xB5!",  // Cyrillic, Greek
    "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C\xE3\x80\x82",                     // Chinese
    "\xE3\x81\x93\xE3\x82\x93\xE3\x81\xAB\xE3\x81\xA1\xE3\x81\xAF \xE3\x82\xAB\xE3\x82\xBF\xE3\x82\xAB\xE3\x83\x8A",
    "\xEC\x95\x88\xEB\x85\x95\xED\x95\x98\xEC\x84\xB8\xEC\x9A\x94",                       // Korean
    "\xD8\xA7\xD9\x84\xD8\xB3\xD9\x84\xD8\xA7\xD9\x85 \xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D",  // Arabic, Hebrew
    "\xE0\xA4\xA8\xE0\xA4\xAE\xE0\xA4\xB8\xE0\xA5\x8D\xE0\xA4\xA4\xE0\xA5\x87 "
    "\xE0\xB8\xAA\xE0\xB8\xA7\xE0\xB8\xB1\xE0\xB8\xAA",
    "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 \xF0\x9F\x87\xA9\xF0\x9F\x87\xAA "
    "\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD",
    "zero\xE2\x80\x8Bwidth soft\xC2\xADhyphen no\xC2\xA0"
    "break \xEF\xBB\xBF mark",
    "\xEF\xBF\xBD \xEF\xBF\xBF \xF4\x8F\xBF\xBF \xF0\x90\x80\x80",  // U+FFFD, U+FFFF, U+10FFFF, U+10000
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\xE2\x88\x91\xE2\x88\xAB\xE2\x88\x9A\xE2\x89\xA0\xE2\x86\x92 x\xC2\xB2 H\xE2\x82\x82O \xC2\xBD \xE2\x82\xAC",
    "http://example.org/a?b=c&d=%20#e user@example.org C:\\path\\file",
};

/// A prompt, and words of which a capable model's answer contains at least one, between word boundaries and without
/// regard to case.
struct GoldenPrompt {
  std::string_view text;
  std::array<std::string_view, 2> words;
};
inline constexpr GoldenPrompt kPrompts[] = {
    {"Where is the Eiffel Tower?", {"Paris", ""}},
    {"What is the opposite of hot?", {"cold", ""}},
    {"How many days are in a week?", {"7", "seven"}},
};

/// Plain English, of no source but this file.
inline constexpr std::string_view kPlainText =
    "The children walked down to the river early in the morning. The water was cold and clear, and small fish moved "
    "between the stones. One of the boys had brought some bread, and they sat on the grass and ate it together. After "
    "a "
    "while it began to rain, so they ran back to the house, where their mother had made a fire in the kitchen and put "
    "hot tea on the table.";

}  // namespace apr::qa
