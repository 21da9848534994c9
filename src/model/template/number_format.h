// One number or text under a format specification, as Python's % and format() write it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime.h"

namespace apr::model::jinja {

struct FormatSpec {
  std::string fill = " ";
  char align = 0;  // '<', '>', '^', '=' or 0
  char sign = '-';
  bool alternate = false;
  bool zero = false;
  char grouping = 0;  // ',' or '_'
  std::uint64_t width = 0;
  int precision = -1;
  char type = 0;
};

constexpr int kMaxPrecision = 1000;

/// Digits of a float without its sign: type e, E, f, F, g, G, or 0 for repr.
[[nodiscard]] std::string float_digits(double magnitude, char type, int precision, bool alternate);
/// Digits of an integer without its sign, with a prefix when alternate: type d, x, X, o, b.
[[nodiscard]] std::string integer_digits(std::uint64_t magnitude, char type, bool alternate);
[[nodiscard]] std::uint64_t magnitude_of(std::int64_t value) noexcept;
/// Puts sign and digits, or a text, into the width.
void append_padded(Builder& out, std::string_view sign, std::string_view body, std::uint64_t body_chars,
                   const FormatSpec& spec, char default_align);

/// format(value, spec).
[[nodiscard]] FormatSpec parse_spec(std::string_view spec);
void append_formatted(Runtime& rt, Builder& out, const Value& value, std::string_view spec);

}  // namespace apr::model::jinja
