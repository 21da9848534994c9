#include "answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "apr/core/text.h"

namespace apr::qa {
namespace {

constexpr std::size_t kLongestRun = 8;      // of one token
constexpr std::size_t kLongestPeriod = 16;  // of a loop at the end
constexpr std::size_t kLoopTokens = 32;     // such a loop is at least so long ...
constexpr std::size_t kLoopRounds = 3;      // ... and runs so often

bool is_word_byte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || (static_cast<unsigned char>(c) & 0x80) != 0;
}

}  // namespace

bool contains_word(std::string_view text, std::string_view word) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  for (auto at = text.begin(); !word.empty();) {
    at = std::search(at, text.end(), word.begin(), word.end(), same);
    if (at == text.end()) return false;
    const auto end = at + static_cast<std::ptrdiff_t>(word.size());
    const bool begins = at == text.begin() || !is_word_byte(at[-1]), ends = end == text.end() || !is_word_byte(*end);
    if (begins && ends) return true;
    ++at;
  }
  return false;
}

std::string degenerate(std::span<const std::int32_t> tokens) {
  if (tokens.empty()) return "no token";
  std::size_t run = 1;
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    run = tokens[i] == tokens[i - 1] ? run + 1 : 1;
    if (run > kLongestRun) return fmt::format("token {} more than {} times in a row", tokens[i], kLongestRun);
  }
  for (std::size_t period = 1; period <= kLongestPeriod; ++period) {
    const std::size_t needed = std::max(kLoopTokens, kLoopRounds * period);
    if (tokens.size() < needed) continue;
    const auto tail = tokens.last(needed);
    if (std::equal(tail.begin() + static_cast<std::ptrdiff_t>(period), tail.end(), tail.begin()))
      return fmt::format("its last {} tokens repeat every {}", needed, period);
  }
  return {};
}

std::string ill_formed(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return "nothing but white space";
  if (const auto at = invalid_utf8_at(text); at && *at + 3 < text.size())
    return fmt::format("no UTF-8 at byte {}", *at);
  if (text.find("\xEF\xBF\xBD") != std::string_view::npos) return "a replacement character";
  if (text.find('\0') != std::string_view::npos) return "a NUL";
  if (const std::size_t at = text.find("<|");
      at != std::string_view::npos && text.find("|>", at) != std::string_view::npos)
    return "a marker of a template";
  return {};
}

}  // namespace apr::qa
