#include "apr/core/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace apr {
namespace {

struct Decoded {
  char32_t code_point = 0;
  std::size_t length = 0;  // 0: ill-formed
};

/// One UTF-8 sequence by RFC 3629 (Table 3-7 of Unicode: the second byte's range excludes overlongs and surrogates).
Decoded decode_at(std::string_view text, std::size_t i) noexcept {
  const auto byte = [&](std::size_t k) -> unsigned {
    return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U;
  };
  const auto tail = [&](std::size_t k) { return (byte(k) & 0xC0U) == 0x80U; };
  const unsigned b0 = byte(0), b1 = byte(1);
  if (b0 < 0x80) return {b0, 1};
  if (b0 >= 0xC2 && b0 <= 0xDF && tail(1)) return {((b0 & 0x1FU) << 6) | (b1 & 0x3FU), 2};
  if (b0 >= 0xE0 && b0 <= 0xEF && tail(1) && tail(2)) {
    if ((b0 == 0xE0 && b1 < 0xA0) || (b0 == 0xED && b1 > 0x9F)) return {};
    return {((b0 & 0x0FU) << 12) | ((b1 & 0x3FU) << 6) | (byte(2) & 0x3FU), 3};
  }
  if (b0 >= 0xF0 && b0 <= 0xF4 && tail(1) && tail(2) && tail(3)) {
    if ((b0 == 0xF0 && b1 < 0x90) || (b0 == 0xF4 && b1 > 0x8F)) return {};
    return {((b0 & 0x07U) << 18) | ((b1 & 0x3FU) << 12) | ((byte(2) & 0x3FU) << 6) | (byte(3) & 0x3FU), 4};
  }
  return {};
}

/// Invisible characters that reorder or hide text on a terminal.
bool is_deceptive(char32_t c) {
  return (c >= 0x80 && c <= 0x9F) || c == 0xAD || c == 0x061C || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
         (c >= 0xE0000 && c <= 0xE007F);
}

void append_control(std::string& out, char32_t c) {
  switch (c) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    case 0x1B: out += "\\e"; return;
    case 0: out += "\\0"; return;
    default: out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
  }
}

}  // namespace

std::string escaped(std::string_view text, std::size_t max_chars) {
  std::string out;
  std::size_t shown = 0;
  for (std::size_t i = 0; i < text.size(); ++shown) {
    if (shown == max_chars) return out + "…";
    const Decoded d = decode_at(text, i);
    if (d.length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i++]));
      continue;
    }
    if (d.code_point < 0x20 || d.code_point == 0x7F)
      append_control(out, d.code_point);
    else if (is_deceptive(d.code_point))
      out += fmt::format("\\u{{{:x}}}", static_cast<unsigned>(d.code_point));
    else
      out += text.substr(i, d.length);
    i += d.length;
  }
  return out;
}

std::optional<std::size_t> invalid_utf8_at(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    const Decoded d = decode_at(text, i);
    if (d.length == 0) return i;
    i += d.length;
  }
  return std::nullopt;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Decoded d = decode_at(text, i);
    if (d.length == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
    } else {
      out += text.substr(i, d.length);
      i += d.length;
    }
  }
  return out;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Names are short; longer texts are cut so that a hostile name cannot make this slow.
  constexpr std::size_t kLongest = 256;
  a = a.substr(0, kLongest);
  b = b.substr(0, kLongest);
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::vector<std::string> nearest(std::string_view word, std::span<const std::string_view> candidates,
                                 std::size_t limit) {
  const std::size_t allowed = std::max<std::size_t>(2, word.size() / 2);
  std::vector<std::pair<std::size_t, std::string_view>> ranked;
  for (const std::string_view candidate : candidates) {
    const bool extends = !word.empty() && candidate.starts_with(word);
    const std::size_t distance = extends ? 1 : edit_distance(word, candidate);
    if (distance <= allowed) ranked.emplace_back(distance, candidate);
  }
  const std::size_t kept = std::min(limit, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(kept), ranked.end());
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kept; ++i) names.emplace_back(ranked[i].second);
  return names;
}

std::string grouped(std::uint64_t value) {
  std::string digits = std::to_string(value);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

namespace {
/// Three significant digits of value / base^k with the k-th unit.
std::string scaled(std::uint64_t value, double base, std::span<const std::string_view> units) {
  double scaled_value = static_cast<double>(value);
  std::size_t unit = 0;
  // 999.5 would print as "1000": it belongs to the next unit.
  for (; unit + 1 < units.size() && scaled_value >= std::min(base, 999.5); ++unit) scaled_value /= base;
  if (unit == 0) return fmt::format("{}{}", value, units[0]);
  const int decimals = scaled_value < 9.995 ? 2 : scaled_value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", scaled_value, decimals, units[unit]);
}
}  // namespace

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::string_view kUnits[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
  return scaled(bytes, 1024.0, kUnits);
}

std::string human_count(std::uint64_t count) {
  static constexpr std::string_view kUnits[] = {"", " K", " M", " B", " T", " Q"};
  return scaled(count, 1000.0, kUnits);
}

namespace {

/// Matches `c` against the set after '[' at pattern[p]; `next` is the index behind ']'. A set without ']' is a plain
/// '['.
bool match_set(std::string_view pattern, std::size_t p, char c, std::size_t& next) noexcept {
  std::size_t i = p + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool hit = false;
  for (std::size_t first = i; i < pattern.size() && (pattern[i] != ']' || i == first); ++i) {
    const auto low = static_cast<unsigned char>(pattern[i]);
    auto high = low;
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      high = static_cast<unsigned char>(pattern[i + 2]);
      i += 2;
    }
    const auto value = static_cast<unsigned char>(c);
    hit = hit || (value >= low && value <= high);
  }
  if (i >= pattern.size()) {
    next = p + 1;
    return c == '[';
  }
  next = i + 1;
  return hit != negated;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) noexcept {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    std::size_t next = p + 1;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || (pattern[p] == '[' ? match_set(pattern, p, text[t], next)
                                                                              : pattern[p] == text[t]))) {
      p = next;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool has_glob(std::string_view pattern) noexcept { return pattern.find_first_of("*?[") != std::string_view::npos; }

std::optional<std::uint64_t> parse_u64(std::string_view text) noexcept {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace apr
