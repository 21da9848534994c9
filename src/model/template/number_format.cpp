#include "number_format.h"

#include <fmt/format.h>

#include <cmath>

#include "unicode.h"

namespace apr::model::jinja {

namespace {

std::string upper_ascii(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  }
  return text;
}

std::string grouped_digits(std::string_view digits, char separator, std::size_t group) {
  const std::size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i != 0 && (whole - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out.append(digits.substr(whole));
}

bool is_align(char32_t c) { return c == '<' || c == '>' || c == '^' || c == '='; }

std::string_view sign_text(bool negative, char sign) {
  return negative ? "-" : sign == '+' ? "+" : sign == ' ' ? " " : "";
}

std::uint64_t parse_number(std::string_view spec, std::size_t& pos) {
  std::uint64_t value = 0;
  while (pos < spec.size() && spec[pos] >= '0' && spec[pos] <= '9') {
    value = value * 10 + static_cast<std::uint64_t>(spec[pos++] - '0');
    if (value > 0x7FFFFFFF) fail("Too many decimal digits in format string");
  }
  return value;
}

void append_float(Builder& out, double value, FormatSpec spec) {
  const bool percent = spec.type == '%';
  if (percent) {
    value *= 100;
    spec.type = 'f';
  }
  const bool negative = std::signbit(value) && !std::isnan(value);
  std::string digits;
  if (spec.type == 0 && spec.precision >= 0) {
    // Like g, but with a digit after the point where g would write none.
    digits = float_digits(std::fabs(value), 'g', spec.precision, false);
    if (digits.find_first_not_of("0123456789") == std::string::npos) digits += ".0";
  } else {
    digits = float_digits(std::fabs(value), spec.type == 'n' ? 'g' : spec.type, spec.precision, spec.alternate);
  }
  if (spec.grouping != 0) digits = grouped_digits(digits, spec.grouping, 3);
  if (percent) digits += '%';
  append_padded(out, sign_text(negative, spec.sign), digits, digits.size(), spec, '>');
}

void append_integer(Builder& out, std::int64_t value, const FormatSpec& spec) {
  if (spec.precision >= 0) fail("Precision not allowed in integer format specifier");
  if (spec.type == 'c') {
    if (value < 0 || value > 0x10FFFF) fail("%c arg not in range(0x110000)");
    std::string one;
    encode(one, static_cast<char32_t>(value));
    return append_padded(out, "", one, 1, spec, '<');
  }
  const char type = spec.type == 0 || spec.type == 'n' ? 'd' : spec.type;
  std::string digits = integer_digits(magnitude_of(value), type, spec.alternate && type != 'd');
  if (spec.grouping != 0) digits = grouped_digits(digits, spec.grouping, type == 'd' ? 3 : 4);
  append_padded(out, sign_text(value < 0, spec.sign), digits, digits.size(), spec, '>');
}

void append_text(Builder& out, const Value& value, const FormatSpec& spec) {
  if (spec.type != 0 && spec.type != 's') {
    fail(fmt::format("Unknown format code '{}' for object of type 'str'", spec.type));
  }
  if (spec.align == '=' || spec.zero) fail("'=' alignment not allowed in string format specifier");
  std::string_view text = value.view();
  std::uint64_t n_chars = value.text().n_chars;
  if (spec.precision >= 0 && n_chars > static_cast<std::uint64_t>(spec.precision)) {
    n_chars = static_cast<std::uint64_t>(spec.precision);
    text = text.substr(0, byte_offset(text, n_chars));
  }
  append_padded(out, "", text, n_chars, spec, '<');
}

}  // namespace

std::uint64_t magnitude_of(std::int64_t value) noexcept {
  return value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
}

std::string float_digits(double magnitude, char type, int precision, bool alternate) {
  const bool upper = type >= 'A' && type <= 'Z';
  if (!std::isfinite(magnitude)) {
    const std::string word = std::isnan(magnitude) ? "nan" : "inf";
    return upper ? upper_ascii(word) : word;
  }
  if (type == 0) return float_repr(magnitude);
  if (precision < 0) precision = 6;
  std::string digits;
  switch (type) {
    case 'e':
    case 'E':
      digits = alternate ? fmt::format("{:#.{}e}", magnitude, precision) : fmt::format("{:.{}e}", magnitude, precision);
      break;
    case 'f':
    case 'F':
      digits = alternate ? fmt::format("{:#.{}f}", magnitude, precision) : fmt::format("{:.{}f}", magnitude, precision);
      break;
    default:
      if (precision == 0) precision = 1;
      digits = alternate ? fmt::format("{:#.{}g}", magnitude, precision) : fmt::format("{:.{}g}", magnitude, precision);
  }
  return upper ? upper_ascii(digits) : digits;
}

std::string integer_digits(std::uint64_t magnitude, char type, bool alternate) {
  switch (type) {
    case 'd': return fmt::format("{}", magnitude);
    case 'x': return fmt::format("{}{:x}", alternate ? "0x" : "", magnitude);
    case 'X': return fmt::format("{}{:X}", alternate ? "0X" : "", magnitude);
    case 'o': return fmt::format("{}{:o}", alternate ? "0o" : "", magnitude);
    case 'b': return fmt::format("{}{:b}", alternate ? "0b" : "", magnitude);
    default: fail(fmt::format("Unknown format code '{}' for object of type 'int'", type));
  }
}

void append_padded(Builder& out, std::string_view sign, std::string_view body, std::uint64_t body_chars,
                   const FormatSpec& spec, char default_align) {
  const std::uint64_t used = body_chars + sign.size();
  const std::uint64_t missing = spec.width > used ? spec.width - used : 0;
  const char align = spec.align != 0 ? spec.align : spec.zero ? '=' : default_align;
  const std::string_view fill = spec.zero && spec.align == 0 ? "0" : std::string_view(spec.fill);
  const std::uint64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  const std::uint64_t inside = align == '=' ? missing : 0;
  out.repeat(fill, left);
  out.add(sign);
  out.repeat(fill, inside);
  out.add(body);
  out.repeat(fill, missing - left - inside);
}

FormatSpec parse_spec(std::string_view text) {
  FormatSpec spec;
  std::size_t pos = 0;
  if (!text.empty()) {
    std::size_t second = 0;
    (void)decode(text, second);
    if (second < text.size() && is_align(static_cast<unsigned char>(text[second]))) {
      spec.fill = text.substr(0, second);
      spec.align = text[second];
      pos = second + 1;
    } else if (is_align(static_cast<unsigned char>(text[0]))) {
      spec.align = text[0];
      pos = 1;
    }
  }
  const auto at = [&](std::string_view set) { return pos < text.size() && set.find(text[pos]) != set.npos; };
  if (at("+- ")) spec.sign = text[pos++];
  if (at("#")) spec.alternate = (++pos, true);
  if (at("0")) {
    spec.zero = (++pos, true);
    if (spec.align != 0 && spec.fill == " ") spec.fill = "0";
  }
  spec.width = parse_number(text, pos);
  if (at(",_")) spec.grouping = text[pos++];
  if (at(".")) {
    ++pos;
    if (!at("0123456789")) fail("Format specifier missing precision");
    const std::uint64_t precision = parse_number(text, pos);
    if (precision > kMaxPrecision) fail(fmt::format("a precision of more than {} is not supported", kMaxPrecision));
    spec.precision = static_cast<int>(precision);
  }
  if (pos < text.size()) spec.type = text[pos++];
  if (pos != text.size()) fail("Invalid format specifier");
  return spec;
}

void append_formatted(Runtime& rt, Builder& out, const Value& value, std::string_view text) {
  if (text.empty()) return append_str(rt, out, value);
  const FormatSpec spec = parse_spec(text);
  constexpr std::string_view kFloatTypes = "eEfFgG%";
  const bool float_type = spec.type != 0 && kFloatTypes.find(spec.type) != kFloatTypes.npos;
  if (value.is_string()) return append_text(out, value, spec);
  if (value.is(Kind::Float) || (value.is_integral() && float_type)) {
    if (value.is(Kind::Float) && spec.type != 0 && spec.type != 'n' && !float_type) {
      fail(fmt::format("Unknown format code '{}' for object of type 'float'", spec.type));
    }
    return append_float(out, value.as_double(), spec);
  }
  if (value.is_integral()) return append_integer(out, value.as_int(), spec);
  require_defined(value);
  fail(fmt::format("unsupported format string passed to {}.__format__", type_name(value)));
}

}  // namespace apr::model::jinja
