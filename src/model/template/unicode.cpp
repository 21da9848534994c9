#include "unicode.h"

#include <algorithm>
#include <iterator>

namespace apr::model::jinja {

namespace {

struct CharRun {
  std::uint32_t first, last;
  std::uint8_t stride;
};
struct CaseRun {
  std::uint32_t first, last;
  std::uint8_t stride;
  std::int32_t delta;
};
struct CaseSpecial {
  std::uint32_t from;
  std::uint32_t to[3];
};
#include "unicode_tables.inc"

template <class Run, std::size_t n>
const Run* find_run(const Run (&table)[n], char32_t c) noexcept {
  const auto* run = std::lower_bound(std::begin(table), std::end(table), c,
                                     [](const Run& r, char32_t value) { return r.last < value; });
  if (run == std::end(table) || c < run->first || (c - run->first) % run->stride != 0) return nullptr;
  return run;
}

template <std::size_t n>
const CaseSpecial* find_special(const CaseSpecial (&table)[n], char32_t c) noexcept {
  for (const CaseSpecial& row : table) {
    if (row.from == c) return &row;
  }
  return nullptr;
}

void append_special(std::string& out, const CaseSpecial& row) {
  for (const std::uint32_t c : row.to) {
    if (c != 0) encode(out, c);
  }
}

char32_t shifted(char32_t c, std::int32_t delta) noexcept {
  return static_cast<char32_t>(static_cast<std::int64_t>(c) + delta);
}

bool is_ascii_lower(char32_t c) noexcept { return c >= 'a' && c <= 'z'; }
bool is_ascii_upper(char32_t c) noexcept { return c >= 'A' && c <= 'Z'; }
bool is_ascii_digit(char32_t c) noexcept { return c >= '0' && c <= '9'; }

}  // namespace

char32_t decode(std::string_view text, std::size_t& pos) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(pos);
  if (lead < 0x80) {
    ++pos;
    return lead;
  }
  const std::size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  char32_t c = lead & (0x7Fu >> n);
  bool good = lead >= 0xC2 && lead <= 0xF4 && text.size() - pos >= n;
  for (std::size_t i = 1; good && i < n; ++i) {
    good = (byte(pos + i) & 0xC0u) == 0x80;
    c = c << 6 | (byte(pos + i) & 0x3Fu);
  }
  if (!good || c < kSmallest[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
    ++pos;
    return 0xDC00 + lead;
  }
  pos += n;
  return c;
}

void encode(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c >= 0xDC80 && c <= 0xDCFF) {
    put(c - 0xDC00);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::size_t count_chars(std::string_view text) noexcept {
  std::size_t n = 0;
  for (std::size_t pos = 0; pos < text.size(); ++n) (void)decode(text, pos);
  return n;
}

std::size_t byte_offset(std::string_view text, std::size_t index) noexcept {
  std::size_t pos = 0;
  for (; index > 0 && pos < text.size(); --index) (void)decode(text, pos);
  return pos;
}

std::size_t previous_start(std::string_view text, std::size_t end) noexcept {
  // A well-formed sequence of at most four bytes that ends exactly here, or else the single byte.
  for (std::size_t n = 2; n <= 4 && n <= end; ++n) {
    if ((static_cast<unsigned char>(text[end - n]) & 0xC0u) != 0xC0) continue;
    std::size_t pos = end - n;
    (void)decode(text.substr(0, end), pos);
    return pos == end ? end - n : end - 1;
  }
  return end - 1;
}

bool is_space(char32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_break(char32_t c) noexcept {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_printable(char32_t c) noexcept {
  return c < 0x80 ? c >= 0x20 && c != 0x7F : find_run(kPrintable, c) != nullptr;
}
bool is_alpha(char32_t c) noexcept {
  return c < 0x80 ? is_ascii_lower(c) || is_ascii_upper(c) : find_run(kAlpha, c) != nullptr;
}
bool is_lower(char32_t c) noexcept { return c < 0x80 ? is_ascii_lower(c) : find_run(kLowerCase, c) != nullptr; }
bool is_upper(char32_t c) noexcept { return c < 0x80 ? is_ascii_upper(c) : find_run(kUpperCase, c) != nullptr; }
bool is_cased(char32_t c) noexcept {
  if (is_lower(c) || is_upper(c)) return true;
  const CaseRun* run = c < 0x80 ? nullptr : find_run(kToTitle, c);
  return run != nullptr && run->delta == 0;  // title case letters are their own title case
}
bool is_decimal(char32_t c) noexcept { return c < 0x80 ? is_ascii_digit(c) : find_run(kDecimal, c) != nullptr; }
bool is_digit(char32_t c) noexcept { return c < 0x80 ? is_ascii_digit(c) : find_run(kDigit, c) != nullptr; }
bool is_numeric(char32_t c) noexcept { return c < 0x80 ? is_ascii_digit(c) : find_run(kNumeric, c) != nullptr; }

void append_upper(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(is_ascii_lower(c) ? c - 32 : c));
  } else if (const CaseSpecial* row = find_special(kToUpperSpecial, c)) {
    append_special(out, *row);
  } else {
    const CaseRun* run = find_run(kToUpper, c);
    encode(out, run ? shifted(c, run->delta) : c);
  }
}

void append_title(std::string& out, char32_t c) {
  if (const CaseRun* run = c < 0x80 ? nullptr : find_run(kToTitle, c)) {
    encode(out, shifted(c, run->delta));
  } else if (const CaseSpecial* row = c < 0x80 ? nullptr : find_special(kToTitleSpecial, c)) {
    append_special(out, *row);
  } else {
    append_upper(out, c);
  }
}

void append_lower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(is_ascii_upper(c) ? c + 32 : c));
  } else if (c == 0x130) {  // capital I with dot above: the only one whose lower case is two characters
    out += "i\xCC\x87";
  } else {
    const CaseRun* run = find_run(kToLower, c);
    encode(out, run ? shifted(c, run->delta) : c);
  }
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) append_upper(out, decode(text, pos));
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool after_cased = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = decode(text, pos);
    if (c == 0x3A3 && after_cased) {
      std::size_t next = pos;
      const bool final_sigma = pos == text.size() || !is_cased(decode(text, next));
      encode(out, final_sigma ? 0x3C2 : 0x3C3);
    } else {
      append_lower(out, c);
    }
    after_cased = is_cased(c);
  }
  return out;
}

}  // namespace apr::model::jinja
