#include "src/format/json_write.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "apr/core/error.h"
#include "apr/core/text.h"
#include "src/format/json.h"

namespace apr::format {
namespace {

template <class T>
void append_number(std::string& out, T value) {
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

void append_float(std::string& out, double value, ValueType type, std::string_view key) {
  if (!std::isfinite(value))
    throw Error(ErrorCode::Usage, "JSON has no number for NaN or infinity").in(escaped(key, 200));
  const std::size_t begin = out.size();
  if (type == ValueType::F32)
    append_number(out, static_cast<float>(value));
  else
    append_number(out, value);
  if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";  // stays a float for the reader
}

template <class Range, class Append>
void append_array(std::string& out, const Range& values, const Append& append) {
  out.push_back('[');
  bool first = true;
  for (const auto& value : values) {
    if (!first) out.push_back(',');
    first = false;
    append(value);
  }
  out.push_back(']');
}

void check_json(std::string_view text, std::string_view key) {
  JsonCursor cursor(text);
  JsonToken token = cursor.next();
  while (token != JsonToken::End && token != JsonToken::Fault) token = cursor.next();
  if (token == JsonToken::Fault)
    throw Error(ErrorCode::Usage, "a metadata value that should be JSON is none")
        .in(escaped(key, 200))
        .want(cursor.fault().expected)
        .got(cursor.fault().found);
}

struct Appender {
  std::string& out;
  const WriteValue& value;
  std::string_view key;

  void operator()(std::uint64_t v) const { append_number(out, v); }
  void operator()(std::int64_t v) const { append_number(out, v); }
  void operator()(double v) const { append_float(out, v, value.type, key); }
  void operator()(bool v) const { out += v ? "true" : "false"; }
  void operator()(const std::string& v) const {
    if (!value.is_json) return append_json_string(out, v);
    check_json(v, key);
    out += v;
  }
  void operator()(const std::vector<std::string>& v) const {
    append_array(out, v, [this](const std::string& s) { append_json_string(out, s); });
  }
  void operator()(const std::vector<std::int64_t>& v) const {
    const bool is_bool = value.element == ValueType::Bool;
    append_array(out, v, [this, is_bool](std::int64_t n) {
      if (is_bool)
        out += n != 0 ? "true" : "false";
      else
        append_number(out, n);
    });
  }
  void operator()(const std::vector<double>& v) const {
    append_array(out, v, [this](double x) { append_float(out, x, value.element, key); });
  }
};

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  if (const auto bad = invalid_utf8_at(text))
    throw Error(ErrorCode::Usage, "a text that is no UTF-8 cannot be held by JSON exactly")
        .want("well-formed UTF-8")
        .got(escaped(text, 120));
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out.push_back(c);
    } else {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += code;
    }
  }
  out.push_back('"');
}

void append_json(std::string& out, const WriteValue& value, std::string_view key) {
  std::visit(Appender{out, value, key}, value.data);
}

std::string json_plain_text(const WriteValue& value, std::string_view key) {
  if (const auto* text = std::get_if<std::string>(&value.data)) return *text;
  std::string out;
  append_json(out, value, key);
  return out;
}

}  // namespace apr::format
