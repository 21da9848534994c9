#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "filters.h"
#include "methods.h"
#include "text_methods.h"

namespace apr::model::jinja {

namespace {

bool is_digit_char(char c) { return c >= '0' && c <= '9'; }

/// Digits with single underscores between them, the underscores removed; nothing when they are misplaced.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const auto alnum = [&](std::size_t at) { return at < text.size() && text[at] != '_'; };
    if (i == 0 || !alnum(i - 1) || !alnum(i + 1)) return std::nullopt;
  }
  return out;
}

/// int(text, base).
std::optional<std::int64_t> parse_integer(std::string_view text, std::int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) fail("int() base must be >= 2 and <= 36, or 0");
  text = stripped(text, std::nullopt, true, true);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const char mark = text.size() > 2 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  if (marked != 0 && (base == 0 || base == marked)) {
    text.remove_prefix(text[2] == '_' ? 3 : 2);
    base = marked;
  }
  const bool only_zeros = text.find_first_not_of("0_") == text.npos;
  if (base == 0 && text.size() > 1 && text[0] == '0' && !only_zeros) return std::nullopt;
  if (base == 0) base = 10;
  const auto digits = without_underscores(text);
  if (!digits || digits->empty() || (*digits)[0] == '-') return std::nullopt;
  const std::string signed_digits = (negative ? "-" : "") + *digits;
  std::int64_t value = 0;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto status = std::from_chars(signed_digits.data(), end, value, static_cast<int>(base));
  if (status.ptr != end) return std::nullopt;
  if (status.ec == std::errc::result_out_of_range) fail("the result does not fit a 64-bit integer");
  return value;
}

/// float(text).
std::optional<double> parse_real(std::string_view text) {
  text = stripped(text, std::nullopt, true, true);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::string lower;
  for (const char c : text.substr(0, 9)) lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  const double sign = negative ? -1.0 : 1.0;
  if (text.size() <= 8 && (lower == "inf" || lower == "infinity"))
    return sign * std::numeric_limits<double>::infinity();
  if (lower == "nan") return std::nan("");
  if (text.empty() || !(is_digit_char(text[0]) || text[0] == '.')) return std::nullopt;
  const auto digits = without_underscores(text);
  if (!digits) return std::nullopt;
  double value = 0;
  const char* end = digits->data() + digits->size();
  const auto status = std::from_chars(digits->data(), end, value);
  if (status.ptr != end || status.ec == std::errc::invalid_argument) return std::nullopt;
  // from_chars leaves the value alone when it is out of range; strtod tells infinity from zero.
  if (status.ec == std::errc::result_out_of_range) value = std::strtod(digits->c_str(), nullptr);
  return sign * value;
}

std::int64_t truncated(double value) {
  if (!(std::fabs(value) < 9.2233720368547e18)) fail("cannot convert a float of this size to an integer");
  return static_cast<std::int64_t>(value);
}

double round_places(double value, std::int64_t places) {
  if (!std::isfinite(value) || places > 308) return value;
  if (places < -308) return std::copysign(0.0, value);
  if (places >= 0) return std::strtod(fmt::format("{:.{}f}", value, places).c_str(), nullptr);
  const double unit = std::pow(10.0, static_cast<double>(-places));
  return std::nearbyint(value / unit) * unit;
}

std::int64_t round_tens(std::int64_t value, std::int64_t places) {
  if (places < -18) return 0;
  std::int64_t unit = 1;
  for (; places < 0; ++places) unit *= 10;
  const std::int64_t rest = value % unit;
  const std::int64_t down = value - rest;
  const std::int64_t distance = rest < 0 ? -rest : rest;
  const bool up = distance * 2 > unit || (distance * 2 == unit && (down / unit) % 2 != 0);
  if (!up) return down;
  std::int64_t result = 0;
  if (__builtin_add_overflow(down, value < 0 ? -unit : unit, &result)) fail("the result does not fit a 64-bit integer");
  return result;
}

}  // namespace

Value to_integer(Runtime&, const Value& value, const Value& absent, std::int64_t base) {
  require_defined(value);
  if (value.is_integral()) return Value::integer(value.as_int());
  if (value.is(Kind::Float))
    return std::isnan(value.as_double()) ? absent : Value::integer(truncated(value.as_double()));
  if (!value.is_string()) return absent;
  if (const auto parsed = parse_integer(value.view(), base)) return Value::integer(*parsed);
  const auto real = parse_real(value.view());  // "42.23" gives 42
  return real && std::isfinite(*real) ? Value::integer(truncated(*real)) : absent;
}

Value to_real(const Value& value, const Value& absent) {
  require_defined(value);
  if (value.is_number()) return Value::real(value.as_double());
  const auto parsed = value.is_string() ? parse_real(value.view()) : std::nullopt;
  return parsed ? Value::real(*parsed) : absent;
}

Value rounded(const Value& value, std::int64_t precision, std::string_view method) {
  if (method != "common" && method != "ceil" && method != "floor") fail("method must be common, ceil or floor");
  if (!value.is_number()) {
    require_defined(value);
    fail(fmt::format("type {} doesn't define __round__ method", type_name(value)));
  }
  if (method == "common") {
    if (value.is(Kind::Float)) return Value::real(round_places(value.as_double(), precision));
    return Value::integer(precision >= 0 ? value.as_int() : round_tens(value.as_int(), precision));
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.as_double() * unit;
  if (!std::isfinite(scaled)) fail("cannot convert float infinity to integer");
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value filter_int(Runtime& rt, const Args& args) {
  const Bound b("int", args, {"value", "default", "base"}, 1);
  return to_integer(rt, b.at(0), b.get(1, Value::integer(0)), b.integer(2, 10));
}

Value filter_float(Runtime&, const Args& args) {
  const Bound b("float", args, {"value", "default"}, 1);
  return to_real(b.at(0), b.get(1, Value::real(0)));
}

Value filter_abs(Runtime& rt, const Args& args) {
  const Bound b("abs", args, {"x"}, 1);
  const Value& value = b.at(0);
  if (value.is(Kind::Float)) return Value::real(std::fabs(value.as_double()));
  if (value.is_integral()) return value.as_int() < 0 ? negate(Op::Neg, value) : Value::integer(value.as_int());
  require_defined(value);
  (void)rt;
  fail(fmt::format("bad operand type for abs(): '{}'", type_name(value)));
}

Value filter_round(Runtime&, const Args& args) {
  const Bound b("round", args, {"value", "precision", "method"}, 1);
  return rounded(b.at(0), b.integer(1, 0), b.has(2) ? b.text(2) : "common");
}

}  // namespace apr::model::jinja
