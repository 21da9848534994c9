#include "src/format/json.h"

#include <charconv>
#include <cstdio>
#include <optional>

#include "apr/core/text.h"

namespace apr::format {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The power of ten of a number's first significant digit: tells overflow from underflow where from_chars refuses both.
std::int64_t decimal_exponent(std::string_view number) {
  std::int64_t exponent = 0;
  const std::size_t e = number.find_first_of("eE");
  if (e != std::string_view::npos) {
    std::string_view digits = number.substr(e + 1);
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+')) digits.remove_prefix(1);
    for (const char c : digits)
      if (exponent < 1'000'000'000'000) exponent = exponent * 10 + (c - '0');
    if (negative) exponent = -exponent;
    number = number.substr(0, e);
  }
  if (number.starts_with('-')) number.remove_prefix(1);
  const std::size_t point = number.find('.');
  const std::size_t whole = point == std::string_view::npos ? number.size() : point;
  const std::size_t first = number.find_first_of("123456789");
  if (first == std::string_view::npos) return -1;  // zero, however it is scaled
  const auto place = static_cast<std::int64_t>(whole) - static_cast<std::int64_t>(first) - (first > whole ? 0 : 1);
  return place + exponent;
}

/// A number as double, or nothing when it is larger than the largest one. Too small to represent reads as zero.
std::optional<double> to_double(std::string_view number) {
  double value = 0;
  const auto result = std::from_chars(number.data(), number.data() + number.size(), value);
  if (result.ec == std::errc()) return value;
  if (decimal_exponent(number) > 0) return std::nullopt;
  return number.starts_with('-') ? -0.0 : 0.0;
}

bool is_integer(std::string_view number) { return number.find_first_of(".eE") == std::string_view::npos; }

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | (code >> 6));
  } else {
    if (code < 0x10000) {
      put(0xE0 | (code >> 12));
    } else {
      put(0xF0 | (code >> 18));
      put(0x80 | ((code >> 12) & 0x3F));
    }
    put(0x80 | ((code >> 6) & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

std::uint32_t hex4(std::string_view digits) {
  std::uint32_t value = 0;
  std::from_chars(digits.data(), digits.data() + 4, value, 16);
  return value;
}

char plain_escape(char c) {
  switch (c) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return c;  // quote, backslash, slash
  }
}

}  // namespace

std::string json_unescaped(std::string_view raw) {
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\' || i + 1 >= raw.size()) {
      out.push_back(raw[i]);
      continue;
    }
    ++i;
    if (raw[i] != 'u') {
      out.push_back(plain_escape(raw[i]));
      continue;
    }
    if (raw.size() - i < 5) break;  // only when the file changed after it was checked
    std::uint32_t code = hex4(raw.substr(i + 1, 4));
    i += 4;
    if (code >= 0xD800 && code < 0xDC00 && raw.size() - i > 6) {
      code = 0x10000 + ((code - 0xD800) << 10) + ((hex4(raw.substr(i + 3, 4)) - 0xDC00) & 0x3FF);
      i += 6;
    }
    append_utf8(out, code);
  }
  return out;
}

std::string JsonCursor::describe(std::size_t at) const {
  if (at >= text_.size()) return "the end of the text";
  const auto byte = static_cast<unsigned char>(text_[at]);
  char out[16];
  if (byte > 0x20 && byte < 0x7F)
    std::snprintf(out, sizeof out, "'%c'", byte);
  else
    std::snprintf(out, sizeof out, "byte 0x%02X", byte);
  return out;
}

JsonToken JsonCursor::fail(std::size_t at, std::string_view expected, std::string_view found) {
  start_ = at;
  fault_ = {base_ + at, std::string(expected), found.empty() ? describe(at) : std::string(found)};
  return token_ = JsonToken::Fault;
}

void JsonCursor::skip_space() noexcept {
  while (pos_ < text_.size()) {
    const char c = text_[pos_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
    ++pos_;
  }
}

JsonToken JsonCursor::finish(JsonToken token) noexcept {
  expect_ = depth_ == 0 ? Expect::End : Expect::Separator;
  return token_ = token;
}

JsonToken JsonCursor::open(JsonToken token, bool is_object) {
  if (depth_ == kMaxDepth) return fail(pos_, "at most " + std::to_string(kMaxDepth) + " nested containers", "one more");
  in_object_[depth_++] = is_object;
  ++pos_;
  expect_ = is_object ? Expect::FirstKey : Expect::FirstElement;
  return token_ = token;
}

JsonToken JsonCursor::close(JsonToken token) noexcept {
  ++pos_;
  --depth_;
  return finish(token);
}

JsonToken JsonCursor::next() {
  if (token_ == JsonToken::Fault || token_ == JsonToken::End) return token_;
  skip_space();
  start_ = pos_;
  switch (expect_) {
    case Expect::End:
      return pos_ == text_.size() ? token_ = JsonToken::End : fail(pos_, "nothing but white space after the value");
    case Expect::Value: return read_value();
    case Expect::FirstElement: return peek() == ']' ? close(JsonToken::ArrayEnd) : read_value();
    case Expect::FirstKey: return peek() == '}' ? close(JsonToken::ObjectEnd) : read_key();
    case Expect::NextKey: return read_key();
    case Expect::Separator: break;
  }
  const bool is_object = in_object_[depth_ - 1];
  if (peek() == (is_object ? '}' : ']')) return close(is_object ? JsonToken::ObjectEnd : JsonToken::ArrayEnd);
  if (peek() != ',') return fail(pos_, is_object ? "',' or '}'" : "',' or ']'");
  ++pos_;
  skip_space();
  start_ = pos_;
  return is_object ? read_key() : read_value();
}

JsonToken JsonCursor::read_key() {
  if (peek() != '"') return fail(pos_, "'\"' of a key");
  if (!read_string()) return token_;
  const std::size_t behind = pos_;
  skip_space();
  if (peek() != ':') return fail(pos_, "':' after a key");
  ++pos_;
  expect_ = Expect::Value;
  raw_ = text_.substr(start_ + 1, behind - start_ - 2);
  return token_ = JsonToken::Key;
}

JsonToken JsonCursor::read_value() {
  switch (peek()) {
    case '{': return open(JsonToken::ObjectBegin, true);
    case '[': return open(JsonToken::ArrayBegin, false);
    case '"': return read_string() ? finish(JsonToken::String) : token_;
    case 't': return read_word("true", JsonToken::True);
    case 'f': return read_word("false", JsonToken::False);
    case 'n': return read_word("null", JsonToken::Null);
    default: break;
  }
  if (peek() == '-' || is_digit(peek())) return read_number();
  return fail(pos_, "a JSON value");
}

JsonToken JsonCursor::read_word(std::string_view word, JsonToken token) {
  for (std::size_t i = 0; i < word.size(); ++i, ++pos_)
    if (peek() != word[i]) return fail(pos_, "the word " + std::string(word));
  return finish(token);
}

bool JsonCursor::read_digits() {
  if (!is_digit(peek())) {
    fail(pos_, "a digit");
    return false;
  }
  while (is_digit(peek())) ++pos_;
  return true;
}

JsonToken JsonCursor::read_number() {
  if (peek() == '-') ++pos_;
  if (peek() == '0') {
    ++pos_;
    if (is_digit(peek())) return fail(pos_, "no digit after a leading 0");
  } else if (!read_digits()) {
    return token_;
  }
  if (peek() == '.') {
    ++pos_;
    if (!read_digits()) return token_;
  }
  if (peek() == 'e' || peek() == 'E') {
    ++pos_;
    if (peek() == '+' || peek() == '-') ++pos_;
    if (!read_digits()) return token_;
  }
  raw_ = text_.substr(start_, pos_ - start_);
  if (raw_.size() > 18 || !is_integer(raw_)) {  // 18 characters of integer cannot be too large
    if (!to_double(raw_)) return fail(start_, "a number of at most 1.8e308", "a larger one");
  }
  return finish(JsonToken::Number);
}

bool JsonCursor::read_hex4(std::uint32_t& unit) {
  unit = 0;
  for (int i = 0; i < 4; ++i, ++pos_) {
    const char c = peek();
    std::uint32_t digit = 0;
    if (is_digit(c)) {
      digit = static_cast<std::uint32_t>(c - '0');
    } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
      digit = static_cast<std::uint32_t>((c | 0x20) - 'a' + 10);
    } else {
      fail(pos_, "four hexadecimal digits after \\u");
      return false;
    }
    unit = unit * 16 + digit;
  }
  return true;
}

bool JsonCursor::read_escape() {
  const std::size_t at = pos_++;
  has_escapes_ = true;
  const char c = peek();
  if (pos_ < text_.size() && std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos) {
    ++pos_;
    return true;
  }
  if (c != 'u') {
    fail(pos_, "one of \" \\ / b f n r t u after a backslash");
    return false;
  }
  ++pos_;
  std::uint32_t unit = 0;
  if (!read_hex4(unit)) return false;
  if (unit < 0xD800 || unit > 0xDFFF) return true;
  const std::string_view rule = "a high surrogate escape followed by a low one";
  if (unit >= 0xDC00) {
    fail(at, rule, "a low surrogate alone");
    return false;
  }
  if (text_.substr(pos_, 2) != "\\u") {
    fail(at, rule, "a high surrogate alone");
    return false;
  }
  pos_ += 2;
  if (!read_hex4(unit)) return false;
  if (unit >= 0xDC00 && unit <= 0xDFFF) return true;
  fail(at, rule, "a high surrogate alone");
  return false;
}

bool JsonCursor::read_string() {
  has_escapes_ = false;
  bool ascii = true;
  ++pos_;
  while (true) {
    if (pos_ >= text_.size()) {
      fail(pos_, "'\"' at the end of a string");
      return false;
    }
    const auto c = static_cast<unsigned char>(text_[pos_]);
    if (c == '"') break;
    if (c < 0x20) {
      fail(pos_, "no control character inside a string");
      return false;
    }
    if (c == '\\') {
      if (!read_escape()) return false;
      continue;
    }
    ascii = ascii && c < 0x80;
    ++pos_;
  }
  raw_ = text_.substr(start_ + 1, pos_ - start_ - 1);
  if (!ascii)
    if (const auto bad = invalid_utf8_at(raw_)) {
      fail(start_ + 1 + *bad, "well-formed UTF-8");
      return false;
    }
  ++pos_;
  return true;
}

std::string JsonCursor::text() const { return has_escapes_ ? json_unescaped(raw_) : std::string(raw_); }

Value JsonCursor::number() const noexcept {
  if (is_integer(raw_)) {
    const char* end = raw_.data() + raw_.size();
    std::uint64_t u = 0;
    if (std::from_chars(raw_.data(), end, u).ec == std::errc()) return {ValueType::U64, u};
    std::int64_t i = 0;
    if (std::from_chars(raw_.data(), end, i).ec == std::errc()) return {ValueType::I64, i};
  }
  return {ValueType::F64, to_double(raw_).value_or(0.0)};
}

bool JsonCursor::skip_value() {
  if (token_ != JsonToken::ObjectBegin && token_ != JsonToken::ArrayBegin) return token_ != JsonToken::Fault;
  const std::size_t outside = depth_ - 1;
  while (depth_ > outside)
    if (next() == JsonToken::Fault) return false;
  return true;
}

namespace {

ValueType element_type(const JsonCursor& cursor) {
  switch (cursor.token()) {
    case JsonToken::ObjectBegin: return ValueType::Object;
    case JsonToken::ArrayBegin: return ValueType::Array;
    case JsonToken::String: return ValueType::String;
    case JsonToken::True:
    case JsonToken::False: return ValueType::Bool;
    case JsonToken::Number: return cursor.number().type();
    default: return ValueType::Null;
  }
}

Value container(JsonCursor& cursor, std::string_view text, std::uint64_t base) {
  const std::uint64_t begin = cursor.offset();
  ArrayRef array;
  array.encoding = ArrayRef::Encoding::Json;
  array.offset = begin;
  const bool is_array = cursor.token() == JsonToken::ArrayBegin;
  if (is_array) {
    array.element = ValueType::Null;
    while (cursor.next() != JsonToken::ArrayEnd) {
      if (cursor.token() == JsonToken::Fault) return {};
      if (array.count++ == 0) array.element = element_type(cursor);
      if (!cursor.skip_value()) return {};
    }
  } else if (!cursor.skip_value()) {
    return {};
  }
  const std::string_view whole = text.substr(begin - base, cursor.end_offset() - begin);
  if (!is_array) return Value(ObjectRef{whole, begin});
  array.bytes = std::as_bytes(std::span(whole.data(), whole.size()));
  return Value(array);
}

}  // namespace

Value json_value(JsonCursor& cursor, std::string_view text, std::uint64_t base_offset,
                 const std::function<std::string_view(std::string)>& keep) {
  switch (cursor.token()) {
    case JsonToken::ObjectBegin:
    case JsonToken::ArrayBegin: return container(cursor, text, base_offset);
    case JsonToken::String: return Value(cursor.has_escapes() ? keep(cursor.text()) : cursor.raw());
    case JsonToken::Number: return cursor.number();
    case JsonToken::True: return Value(true);
    case JsonToken::False: return Value(false);
    default: return {};
  }
}

std::size_t json_count_members(JsonCursor cursor) {
  const std::size_t depth = cursor.depth();
  std::size_t n = 0;
  while (cursor.depth() >= depth) {
    const JsonToken token = cursor.next();
    if (token == JsonToken::Fault || token == JsonToken::End) break;
    if (token == JsonToken::Key && cursor.depth() == depth) ++n;
  }
  return n;
}

void json_for_each(const ArrayRef& array, const std::function<bool(std::uint64_t, const Value&)>& visit) {
  const std::string_view text(reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size());
  JsonCursor cursor(text, array.offset);
  if (cursor.next() != JsonToken::ArrayBegin) return;
  std::string kept;
  const auto keep = [&kept](std::string decoded) -> std::string_view { return kept = std::move(decoded); };
  for (std::uint64_t i = 0; i < array.count; ++i) {
    const JsonToken token = cursor.next();
    if (token == JsonToken::ArrayEnd || token == JsonToken::Fault) return;  // the file changed under the mapping
    const Value value = json_value(cursor, text, array.offset, keep);
    if (cursor.token() == JsonToken::Fault || !visit(i, value)) return;
  }
}

}  // namespace apr::format
