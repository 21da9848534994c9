#include "lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "apr/core/error.h"
#include "unicode.h"

namespace apr::model::jinja {

std::string Program::place(std::size_t offset) const {
  offset = std::min(offset, source.size());
  const std::string_view before = std::string_view(source).substr(0, offset);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("{}: line {}, column {}", name, line, count_chars(before.substr(line_start)) + 1);
}

void syntax_error(const Program& program, std::size_t offset, std::string message) {
  throw Error(ErrorCode::InvalidFormat, std::move(message)).in(program.place(offset));
}

std::string normalised(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

namespace {

constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                           "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_digit_char(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(const Program& program) : program_(program), source_(program.source) {}

  std::vector<Token> run() {
    while (pos_ < source_.size()) text();
    emit(TokenType::End, source_.size(), source_.size());
    return std::move(tokens_);
  }

 private:
  void emit(TokenType type, std::size_t begin, std::size_t end) {
    tokens_.push_back({type, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
  }
  [[noreturn]] void fail_at(std::size_t offset, std::string message) const {
    syntax_error(program_, offset, std::move(message));
  }
  bool at(std::string_view text) const { return source_.substr(pos_).starts_with(text); }

  std::size_t skip_space(std::size_t pos) const {
    while (pos < source_.size()) {
      std::size_t next = pos;
      if (!is_space(decode(source_, next))) break;
      pos = next;
    }
    return pos;
  }

  /// Text up to the next tag, then that tag.
  void text() {
    const std::size_t begin = pos_;
    std::size_t tag = begin;
    for (; (tag = source_.find('{', tag)) != source_.npos; ++tag) {
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') break;
    }
    if (tag == source_.npos) {
      emit(TokenType::Data, begin, source_.size());
      pos_ = source_.size();
      return;
    }
    const char kind = source_[tag + 1];
    pos_ = tag + 2;
    const char sign = pos_ < source_.size() && (source_[pos_] == '-' || source_[pos_] == '+') ? source_[pos_] : '\0';
    if (sign != '\0') ++pos_;
    const std::size_t end = begin + trimmed_size(source_.substr(begin, tag - begin), sign, kind == '{');
    if (end > begin) emit(TokenType::Data, begin, end);
    at_line_start_ = false;
    if (kind == '#') {
      comment(tag);
    } else if (kind == '{') {
      emit(TokenType::VariableBegin, tag, pos_);
      inside(tag, true);
    } else if (!raw(tag)) {
      emit(TokenType::BlockBegin, tag, pos_);
      inside(tag, false);
    }
  }

  /// How much of the text before a tag stays.
  std::size_t trimmed_size(std::string_view text, char sign, bool variable) const {
    if (sign == '-') {
      while (!text.empty()) {
        const std::size_t start = previous_start(text, text.size());
        std::size_t pos = start;
        if (!is_space(decode(text, pos))) break;
        text = text.substr(0, start);
      }
      return text.size();
    }
    if (sign == '+' || variable) return text.size();
    const std::size_t line = text.rfind('\n') == text.npos ? 0 : text.rfind('\n') + 1;
    if (line == 0 && !at_line_start_) return text.size();
    for (std::size_t pos = line; pos < text.size();) {
      if (!is_space(decode(text, pos))) return text.size();
    }
    return line;
  }

  /// After "-%}" all white space goes, after "%}" one line end.
  void after_close(bool strip, bool trim_newline) {
    if (strip) {
      pos_ = skip_space(pos_);
    } else if (trim_newline && pos_ < source_.size() && source_[pos_] == '\n') {
      ++pos_;
    }
    at_line_start_ = pos_ > 0 && source_[pos_ - 1] == '\n';
  }

  void comment(std::size_t tag) {
    if (pos_ == source_.size()) return;  // jinja2 lets a tag at the very end stay open
    const std::size_t close = source_.find("#}", pos_);
    if (close == source_.npos) fail_at(tag, "Missing end of comment tag");
    const char sign = close > pos_ ? source_[close - 1] : '\0';
    pos_ = close + 2;
    after_close(sign == '-', sign != '+');
  }

  /// {% raw %} ... {% endraw %}, if that is what the tag is.
  bool raw(std::size_t tag) {
    std::size_t pos = skip_space(pos_);
    if (!source_.substr(pos).starts_with("raw")) return false;
    pos = skip_space(pos + 3);
    const bool strip = source_.substr(pos).starts_with("-%}");
    if (!strip && !source_.substr(pos).starts_with("%}")) return false;
    pos_ = pos + (strip ? 3 : 2);
    if (strip) pos_ = skip_space(pos_);
    at_line_start_ = source_[pos_ - 1] == '\n';
    const std::size_t begin = pos_;
    if (begin == source_.size()) return true;
    for (std::size_t open = begin; (open = source_.find("{%", open)) != source_.npos; ++open) {
      std::size_t p = open + 2;
      const char sign = p < source_.size() && (source_[p] == '-' || source_[p] == '+') ? source_[p] : '\0';
      p = skip_space(p + (sign != '\0' ? 1 : 0));
      if (!source_.substr(p).starts_with("endraw")) continue;
      p = skip_space(p + 6);
      const char mark = p < source_.size() && (source_[p] == '-' || source_[p] == '+') ? source_[p] : '\0';
      if (mark != '\0') ++p;
      if (!source_.substr(p).starts_with("%}")) continue;
      const std::size_t size = trimmed_size(source_.substr(begin, open - begin), sign, false);
      if (size > 0) emit(TokenType::Data, begin, begin + size);
      pos_ = p + 2;
      after_close(mark == '-', mark != '+');
      return true;
    }
    fail_at(tag, "Missing end of raw directive");
  }

  /// The tokens of a tag up to its end.
  void inside(std::size_t tag, bool variable) {
    std::string open;  // brackets that wait for their end
    const std::string_view close = variable ? "}}" : "%}";
    while (pos_ < source_.size()) {
      if (open.empty()) {
        const bool plus = !variable && at("+") && source_.substr(pos_ + 1).starts_with(close);
        const bool minus = at("-") && source_.substr(pos_ + 1).starts_with(close);
        if (plus || minus || at(close)) {
          const std::size_t begin = pos_;
          pos_ += close.size() + (plus || minus ? 1 : 0);
          emit(variable ? TokenType::VariableEnd : TokenType::BlockEnd, begin, pos_);
          return after_close(minus, !variable && !plus);
        }
      }
      const std::size_t after_space = skip_space(pos_);
      if (after_space != pos_) {
        pos_ = after_space;
        continue;
      }
      token(open);
    }
    fail_at(tag, variable ? "unexpected end of template, expected 'end of print statement'."
                          : "unexpected end of template, expected 'end of statement block'.");
  }

  void token(std::string& open) {
    const std::size_t begin = pos_;
    const char c = source_[pos_];
    if (is_digit_char(c)) return number();
    if (is_name_char(c)) {
      while (pos_ < source_.size() && is_name_char(source_[pos_])) ++pos_;
      return emit(TokenType::Name, begin, pos_);
    }
    if (c == '\'' || c == '"') {
      for (++pos_; pos_ < source_.size() && source_[pos_] != c; ++pos_) {
        if (source_[pos_] == '\\') ++pos_;
      }
      if (pos_ >= source_.size()) fail_at(begin, fmt::format("unexpected char {} (a text without its end)", c));
      emit(TokenType::String, begin + 1, pos_);
      ++pos_;
      return;
    }
    const auto* op = std::find_if(std::begin(kOperators), std::end(kOperators), [&](auto o) { return at(o); });
    if (op == std::end(kOperators)) {
      std::size_t end = begin;
      (void)decode(source_, end);
      fail_at(begin, fmt::format("unexpected char '{}'", source_.substr(begin, end - begin)));
    }
    balance(open, *op);
    pos_ += op->size();
    emit(TokenType::Operator, begin, pos_);
  }

  void balance(std::string& open, std::string_view op) const {
    if (op == "{") open += '}';
    if (op == "(") open += ')';
    if (op == "[") open += ']';
    if (op != "}" && op != ")" && op != "]") return;
    if (open.empty()) fail_at(pos_, fmt::format("unexpected '{}'", op));
    if (open.back() != op[0]) fail_at(pos_, fmt::format("unexpected '{}', expected '{}'", op, open.back()));
    open.pop_back();
  }

  /// The longest run of digits with single underscores between them that starts at `pos`, or `pos`.
  template <class IsDigit>
  std::size_t digits(std::size_t pos, IsDigit is_digit) const {
    const std::size_t begin = pos;
    while (pos < source_.size()) {
      if (is_digit(source_[pos])) {
        ++pos;
      } else if (pos > begin && source_[pos] == '_' && pos + 1 < source_.size() && is_digit(source_[pos + 1])) {
        pos += 2;
      } else {
        break;
      }
    }
    return pos;
  }

  void number() {
    const std::size_t begin = pos_;
    const auto decimal = [](char c) { return is_digit_char(c); };
    std::size_t end = digits(begin, decimal);
    const std::size_t whole = end;
    const bool after_dot = begin > 0 && source_[begin - 1] == '.';  // "x.0.1" is two subscripts
    if (!after_dot) {
      if (end < source_.size() && source_[end] == '.') {
        const std::size_t fraction = digits(end + 1, decimal);
        if (fraction > end + 1) end = fraction;
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        std::size_t exponent = end + 1;
        if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
        const std::size_t last = digits(exponent, decimal);
        if (last > exponent) end = last;
      }
    }
    if (end > whole) {
      pos_ = end;
      return emit(TokenType::Float, begin, end);
    }
    integer(begin);
  }

  void integer(std::size_t begin) {
    const std::string_view rest = source_.substr(begin);
    const auto with_prefix = [&](char lower, auto is_digit) -> std::size_t {
      if (rest.size() < 3 || rest[0] != '0' || (rest[1] | 0x20) != lower) return 0;
      std::size_t first = begin + 2;
      if (source_[first] == '_') ++first;
      const std::size_t end = digits(first, is_digit);
      return end > first ? end : 0;
    };
    std::size_t end = with_prefix(
        'x', [](char c) { return std::string_view("0123456789abcdefABCDEF").find(c) != std::string_view::npos; });
    if (end == 0) end = with_prefix('o', [](char c) { return c >= '0' && c <= '7'; });
    if (end == 0) end = with_prefix('b', [](char c) { return c == '0' || c == '1'; });
    if (end == 0) {
      end = rest[0] == '0' ? digits(begin, [](char c) { return c == '0'; })
                           : digits(begin, [](char c) { return is_digit_char(c); });
    }
    pos_ = end;
    emit(TokenType::Integer, begin, end);
  }

  const Program& program_;
  std::string_view source_;
  std::vector<Token> tokens_;
  std::size_t pos_ = 0;
  bool at_line_start_ = true;
};

class Unescaper {
 public:
  Unescaper(const Program& program, const Token& token)
      : program_(program),
        token_(token),
        text_(std::string_view(program.source).substr(token.begin, token.end - token.begin)) {}

  std::string run() {
    std::string out;
    out.reserve(text_.size());
    while (pos_ < text_.size()) {
      if (text_[pos_] != '\\' || pos_ + 1 >= text_.size()) {
        out += text_[pos_++];
      } else {
        ++pos_;
        escape(out);
      }
    }
    return out;
  }

 private:
  [[noreturn]] void bad(std::string_view what) const {
    syntax_error(program_, token_.begin + pos_, fmt::format("a text has a bad escape: {}", what));
  }

  char32_t hex(std::size_t n) {
    char32_t value = 0;
    for (std::size_t i = 0; i < n; ++i, ++pos_) {
      const char c = pos_ < text_.size() ? text_[pos_] : '\0';
      const std::size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
      const bool is_hex = is_digit_char(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
      if (!is_hex) bad(fmt::format("{} hexadecimal digits expected", n));
      value = value * 16 + static_cast<char32_t>(is_digit_char(c) ? c - '0' : static_cast<int>(digit));
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) bad("not a character");
    return value;
  }

  void escape(std::string& out) {
    constexpr std::string_view kPlain = "\\'\"abfnrtv";
    constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
    const char c = text_[pos_++];
    if (const std::size_t i = kPlain.find(c); i != kPlain.npos) {
      out += kMeaning[i];
    } else if (c == '\n') {
      return;  // a line continued
    } else if (c == 'x' || c == 'u' || c == 'U') {
      encode(out, hex(c == 'x' ? 2 : c == 'u' ? 4 : 8));
    } else if (c == 'N') {
      bad("named characters are not supported");
    } else if (c >= '0' && c <= '7') {
      char32_t value = static_cast<char32_t>(c - '0');
      for (int n = 1; n < 3 && pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '7'; ++n) {
        value = value * 8 + static_cast<char32_t>(text_[pos_++] - '0');
      }
      encode(out, value);
    } else {
      out += '\\';
      out += c;
    }
  }

  const Program& program_;
  const Token& token_;
  std::string_view text_;
  std::size_t pos_ = 0;
};

}  // namespace

std::vector<Token> tokenize(const Program& program) { return Lexer(program).run(); }

std::string unescaped(const Program& program, const Token& token) { return Unescaper(program, token).run(); }

}  // namespace apr::model::jinja
