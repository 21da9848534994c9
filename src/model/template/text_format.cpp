// `'%s' % x` and '{}'.format(x).
#include <fmt/format.h>

#include <cmath>

#include "number_format.h"
#include "runtime.h"
#include "unicode.h"

namespace apr::model::jinja {

namespace {

/// Hands out the arguments of a % operation.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& value) : value_(value) {
    const bool tuple = value.is(Kind::Sequence) && (value.as<SequenceObject>().flavour == Flavour::Tuple ||
                                                    value.as<SequenceObject>().flavour == Flavour::GroupTuple);
    if (tuple) items_ = &value.as<SequenceObject>().items;
    // What has items counts as a mapping to Python: such an argument may stay unused.
    may_stay_ =
        !tuple && (value.is(Kind::Dict) || value.is(Kind::Sequence) || value.is(Kind::Range) || value.is_undefined());
  }

  const Value& next() {
    if (items_ != nullptr ? used_ >= items_->size() : used_ >= 1) fail("not enough arguments for format string");
    return items_ != nullptr ? (*items_)[used_++] : (++used_, value_);
  }

  const Value& named(Runtime& rt, std::string_view key) {
    if (!value_.is(Kind::Dict)) fail("format requires a mapping");
    const Value* found = find_key(rt, value_.as<DictObject>(), key);
    if (found == nullptr) fail(fmt::format("the mapping of a format has no key '{}'", key));
    used_ = 1;
    return *found;
  }

  void finish() const {
    if (items_ != nullptr ? used_ < items_->size() : used_ < 1 && !may_stay_) {
      fail("not all arguments converted during string formatting");
    }
  }

 private:
  const Value& value_;
  const std::vector<Value>* items_ = nullptr;
  std::size_t used_ = 0;
  bool may_stay_ = false;
};

class PercentFormat {
 public:
  PercentFormat(Runtime& rt, const Value& format, const Value& arguments)
      : rt_(rt), format_(format.view()), markup_(format.is_markup()), arguments_(arguments), out_(rt) {}

  Value run() {
    while (pos_ < format_.size()) {
      const std::size_t percent = std::min(format_.find('%', pos_), format_.size());
      out_.add(format_.substr(pos_, percent - pos_));
      pos_ = percent + 1;
      if (percent < format_.size()) placeholder();
    }
    arguments_.finish();
    return out_.finish(markup_);
  }

 private:
  char peek() const {
    if (pos_ >= format_.size()) fail("incomplete format");
    return format_[pos_];
  }

  std::int64_t number() {
    if (peek() == '*') {
      ++pos_;
      const Value& value = arguments_.next();
      if (!value.is_integral()) fail("* wants int");
      return value.as_int();
    }
    std::int64_t n = 0;
    while (peek() >= '0' && peek() <= '9') {
      n = n * 10 + (format_[pos_++] - '0');
      if (n > 0x7FFFFFFF) fail("width too big");
    }
    return n;
  }

  void placeholder() {
    const Value* value = nullptr;
    FormatSpec spec;
    if (peek() == '(') {
      const std::size_t close = format_.find(')', pos_);
      if (close == format_.npos) fail("incomplete format key");
      value = &arguments_.named(rt_, format_.substr(pos_ + 1, close - pos_ - 1));
      pos_ = close + 1;
    }
    bool left = false;
    for (;; ++pos_) {
      const char c = peek();
      if (c == '-')
        left = true;
      else if (c == '+')
        spec.sign = '+';
      else if (c == ' ')
        spec.sign = spec.sign == '+' ? '+' : ' ';
      else if (c == '#')
        spec.alternate = true;
      else if (c == '0')
        spec.zero = true;
      else
        break;
    }
    const std::int64_t width = number();
    if (width < 0) left = true;
    spec.width = magnitude_of(width);
    if (peek() == '.') {
      ++pos_;
      const std::int64_t precision = number();
      if (precision > kMaxPrecision) fail(fmt::format("a precision of more than {} is not supported", kMaxPrecision));
      spec.precision = static_cast<int>(std::max<std::int64_t>(precision, 0));
    }
    if (peek() == 'h' || peek() == 'l' || peek() == 'L') ++pos_;
    spec.type = peek();
    ++pos_;
    if (left) spec.align = '<';
    if (spec.type == '%') return out_.add('%');
    convert(value != nullptr ? *value : arguments_.next(), spec);
  }

  void convert(const Value& value, FormatSpec& spec) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': return text(value, spec);
      case 'c': return character(value, spec);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': return integer(value, spec);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': return real(value, spec);
      default: fail(fmt::format("unsupported format character '{}'", spec.type));
    }
  }

  void put_text(Value text, FormatSpec& spec) {
    if (markup_) text = escaped(rt_, text);
    std::string_view view = text.view();
    std::uint64_t n = text.text().n_chars;
    if (spec.precision >= 0 && n > static_cast<std::uint64_t>(spec.precision)) {
      n = static_cast<std::uint64_t>(spec.precision);
      view = view.substr(0, byte_offset(view, n));
    }
    spec.zero = false;
    append_padded(out_, "", view, n, spec, '>');
  }

  void text(const Value& value, FormatSpec& spec) {
    if (spec.type == 's') return put_text(to_str(rt_, value), spec);
    put_text(rt_.text(repr(rt_, value)), spec);
  }

  void character(const Value& value, FormatSpec& spec) {
    if (value.is_string() && value.text().n_chars == 1) return put_text(value, spec);
    if (!value.is_integral() || value.as_int() < 0 || value.as_int() > 0x10FFFF) fail("%c requires int or char");
    std::string one;
    encode(one, static_cast<char32_t>(value.as_int()));
    put_text(rt_.text(std::move(one)), spec);
  }

  static std::string_view sign_of(bool negative, const FormatSpec& spec) {
    return negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
  }

  void integer(const Value& value, FormatSpec& spec) {
    std::int64_t n = value.as_int();
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (value.is(Kind::Float) && decimal) {
      if (!(std::fabs(value.as_double()) < 9.2e18)) fail("a float is too large for %d");
      n = static_cast<std::int64_t>(value.as_double());
    } else if (!value.is_integral()) {
      require_defined(value);
      fail(fmt::format("%{} format: a real number is required, not {}", spec.type, type_name(value)));
    }
    std::string digits = integer_digits(magnitude_of(n), decimal ? 'd' : spec.type, false);
    if (spec.precision > static_cast<int>(digits.size())) {
      digits.insert(0, static_cast<std::size_t>(spec.precision) - digits.size(), '0');
    }
    if (spec.alternate && !decimal) digits = std::string("0") + spec.type + digits;
    append_padded(out_, sign_of(n < 0, spec), digits, digits.size(), spec, '>');
  }

  void real(const Value& value, FormatSpec& spec) {
    if (!value.is_number()) {
      require_defined(value);
      fail(fmt::format("must be real number, not {}", type_name(value)));
    }
    const double x = value.as_double();
    const std::string digits = float_digits(std::fabs(x), spec.type, spec.precision, spec.alternate);
    append_padded(out_, sign_of(std::signbit(x) && !std::isnan(x), spec), digits, digits.size(), spec, '>');
  }

  Runtime& rt_;
  std::string_view format_;
  bool markup_;
  PercentArguments arguments_;
  Builder out_;
  std::size_t pos_ = 0;
};

class BraceFormat {
 public:
  BraceFormat(Runtime& rt, const Value& format, const Args& args)
      : rt_(rt), markup_(format.is_markup()), args_(args), out_(rt) {
    expand(format.view(), out_, 2);
  }
  Value finish() { return out_.finish(markup_); }

 private:
  void expand(std::string_view format, Builder& out, int levels) {
    if (levels == 0) fail("Max string recursion exceeded");
    for (std::size_t pos = 0; pos < format.size();) {
      const std::size_t brace = std::min(format.find_first_of("{}", pos), format.size());
      out.add(format.substr(pos, brace - pos));
      if (brace == format.size()) return;
      pos = brace + 1;
      if (pos < format.size() && format[pos] == format[brace]) {
        out.add(format[pos++]);
        continue;
      }
      if (format[brace] == '}') fail("Single '}' encountered in format string");
      field(format, pos, out, levels);
    }
  }

  void field(std::string_view format, std::size_t& pos, Builder& out, int levels) {
    const std::size_t begin = pos;
    for (int open = 1; open > 0; ++pos) {
      if (pos >= format.size()) fail("expected '}' before end of string");
      if (format[pos] == '{') ++open;
      if (format[pos] == '}') --open;
    }
    const std::string_view body = format.substr(begin, pos - 1 - begin);
    std::size_t name_end = 0;
    for (bool bracket = false; name_end < body.size(); ++name_end) {
      const char c = body[name_end];
      if (c == '[') bracket = true;
      if (c == ']') bracket = false;
      if (!bracket && (c == '!' || c == ':')) break;
    }
    Value value = resolve(body.substr(0, name_end));
    std::string_view rest = body.substr(name_end);
    if (rest.starts_with('!')) {
      if (rest.size() < 2) fail("end of string while looking for conversion specifier");
      const char conversion = rest[1];
      if (conversion == 'r' || conversion == 'a')
        value = rt_.text(repr(rt_, value));
      else if (conversion == 's')
        value = to_str(rt_, value);
      else
        fail(fmt::format("Unknown conversion specifier '{}'", conversion));
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') fail("expected ':' after conversion specifier");
    }
    Builder spec(rt_);
    if (!rest.empty()) expand(rest.substr(1), spec, levels - 1);
    Builder piece(rt_);
    append_formatted(rt_, piece, value, spec.take());
    const Value text = piece.finish();
    out.add((markup_ && !value.is_markup() ? escaped(rt_, text) : text).view());
  }

  Value resolve(std::string_view name) {
    const std::size_t first_end = std::min(name.find_first_of(".["), name.size());
    Value value = argument(name.substr(0, first_end));
    for (std::size_t pos = first_end; pos < name.size();) {
      rt_.budget.step();
      if (name[pos] == '.') {
        const std::size_t end = std::min(name.find_first_of(".[", pos + 1), name.size());
        if (end == pos + 1) fail("Empty attribute in format string");
        value = get_attribute(rt_, value, name.substr(pos + 1, end - pos - 1));
        pos = end;
        continue;
      }
      const std::size_t close = name[pos] == '[' ? name.find(']', pos) : name.npos;
      if (close == name.npos) fail("Missing ']' in format string");
      const std::string_view key = name.substr(pos + 1, close - pos - 1);
      const auto index = whole_number(key);
      value = get_item(rt_, value, index ? Value::integer(*index) : rt_.text(key));
      pos = close + 1;
    }
    return value;
  }

  static std::optional<std::int64_t> whole_number(std::string_view text) {
    if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
    std::int64_t n = 0;
    for (const char c : text) n = n * 10 + (c - '0');
    return n;
  }

  Value argument(std::string_view name) {
    std::optional<std::int64_t> index = whole_number(name);
    if (name.empty() || index) {
      const int mode = name.empty() ? 1 : 2;
      if (numbering_ != 0 && numbering_ != mode)
        fail("cannot mix automatic field numbering and manual field specification");
      numbering_ = mode;
      if (name.empty()) index = next_++;
      if (static_cast<std::size_t>(*index) >= args_.positional.size()) {
        fail(fmt::format("Replacement index {} out of range for positional args tuple", *index));
      }
      return args_.positional[static_cast<std::size_t>(*index)];
    }
    rt_.budget.step(1 + args_.named.size() / 16);
    for (const auto& [key, value] : args_.named) {
      if (key == name) return value;
    }
    fail(fmt::format("a format has no argument named '{}'", name));
  }

  Runtime& rt_;
  bool markup_;
  const Args& args_;
  Builder out_;
  int numbering_ = 0;  // 1: automatic, 2: by number
  std::int64_t next_ = 0;
};

}  // namespace

Value percent_format(Runtime& rt, const Value& format, const Value& arguments) {
  return PercentFormat(rt, format, arguments).run();
}

Value brace_format(Runtime& rt, const Value& format, const Args& args) {
  return BraceFormat(rt, format, args).finish();
}

}  // namespace apr::model::jinja
