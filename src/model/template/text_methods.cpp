// The methods of str. A Markup stays one; what is put into it is escaped, as in markupsafe.
#include "text_methods.h"

#include <fmt/format.h>

#include <cstring>

#include "methods.h"
#include "unicode.h"

namespace apr::model::jinja {

std::size_t find_text(std::string_view haystack, std::string_view needle, std::size_t from) {
  if (from > haystack.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  if (needle.size() == 1) return haystack.find(needle[0], from);
  const void* hit =
      memmem(haystack.data() + from, haystack.size() - from, needle.data(), needle.size());  // linear time
  if (hit == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(hit) - haystack.data());
}

std::string_view stripped(std::string_view text, std::optional<std::string_view> chars, bool left, bool right) {
  const auto drop = [&](std::string_view one) {
    if (chars) return find_text(*chars, one, 0) != std::string_view::npos;
    std::size_t pos = 0;
    return is_space(decode(one, pos));
  };
  while (left && !text.empty()) {
    std::size_t end = 0;
    (void)decode(text, end);
    if (!drop(text.substr(0, end))) break;
    text.remove_prefix(end);
  }
  while (right && !text.empty()) {
    const std::size_t start = previous_start(text, text.size());
    if (!drop(text.substr(start))) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

void charge_strip(Runtime& rt, std::string_view text, std::optional<std::string_view> chars) {
  rt.budget.step(text.size() * (1 + (chars ? chars->size() : 0)) / 256);
}

Value replaced(Runtime& rt, std::string_view text, std::string_view from, std::string_view to, std::int64_t count) {
  Builder out(rt);
  std::size_t pos = 0;
  for (; count != 0; --count) {
    if (from.empty()) {  // Python puts it before every character and at the end
      out.add(to);
      if (pos >= text.size()) return out.finish();
      const std::size_t begin = pos;
      (void)decode(text, pos);
      out.add(text.substr(begin, pos - begin));
      continue;
    }
    const std::size_t hit = find_text(text, from, pos);
    if (hit == text.npos) break;
    out.add(text.substr(pos, hit - pos));
    out.add(to);
    pos = hit + from.size();
  }
  out.add(text.substr(pos));
  return out.finish();
}

std::vector<std::string_view> split_lines(Runtime& rt, std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t at = pos;
    const char32_t c = decode(text, pos);
    if (!is_line_break(c)) continue;
    if (c == '\r' && pos < text.size() && text[pos] == '\n') ++pos;
    lines.push_back(text.substr(begin, (keep_ends ? pos : at) - begin));
    rt.budget.step();
    begin = pos;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string capitalized(std::string_view text) {
  std::string out;
  if (text.empty()) return out;
  std::size_t pos = 0;
  append_title(out, decode(text, pos));
  // Lowered as a whole for the sake of the final sigma, then without its first character.
  const std::string lower = to_lower(text);
  std::string first_lower;
  std::size_t first = 0;
  append_lower(first_lower, decode(text, first));
  return out + lower.substr(first_lower.size());
}

namespace {

Value keep(Runtime& rt, const Value& self, std::string content) {
  return rt.text(std::move(content), self.is_markup());
}
Value keep(Runtime& rt, const Value& self, std::string_view content) { return keep(rt, self, std::string(content)); }

/// An argument that goes into `self`: escaped when that is Markup.
Value inserted(Runtime& rt, const Value& self, const Value& argument) {
  return self.is_markup() ? escaped(rt, argument) : argument;
}

void no_arguments(const Args& args, std::string_view name) { const Bound b(name, args, {}); }

Value upper(Runtime& rt, const Value& self, const Args& args) {
  no_arguments(args, "upper");

  return keep(rt, self, to_upper(self.view()));
}
Value lower(Runtime& rt, const Value& self, const Args& args) {
  no_arguments(args, "lower");

  return keep(rt, self, to_lower(self.view()));
}
Value capitalize(Runtime& rt, const Value& self, const Args& args) {
  no_arguments(args, "capitalize");

  return keep(rt, self, capitalized(self.view()));
}

Value title(Runtime& rt, const Value& self, const Args& args) {
  no_arguments(args, "title");

  const std::string_view text = self.view();
  std::string out;
  bool in_word = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = decode(text, pos);
    in_word ? append_lower(out, c) : append_title(out, c);
    in_word = is_cased(c);
  }
  return keep(rt, self, std::move(out));
}

Value swapcase(Runtime& rt, const Value& self, const Args& args) {
  no_arguments(args, "swapcase");

  const std::string_view text = self.view();
  std::string out;
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = decode(text, pos);
    is_upper(c) ? append_lower(out, c) : append_upper(out, c);
  }
  return keep(rt, self, std::move(out));
}

Value strip_sides(Runtime& rt, const Value& self, const Args& args, bool left, bool right) {
  const Bound b("strip", args, {"chars"});
  std::optional<std::string_view> chars;
  if (b.has(0) && !b.at(0).is_none()) chars = b.text(0);
  charge_strip(rt, self.view(), chars);
  return keep(rt, self, stripped(self.view(), chars, left, right));
}
Value strip(Runtime& rt, const Value& self, const Args& args) { return strip_sides(rt, self, args, true, true); }
Value lstrip(Runtime& rt, const Value& self, const Args& args) { return strip_sides(rt, self, args, true, false); }
Value rstrip(Runtime& rt, const Value& self, const Args& args) { return strip_sides(rt, self, args, false, true); }

bool matches(std::string_view text, std::string_view part, bool at_end) {
  return at_end ? text.ends_with(part) : text.starts_with(part);
}

/// The bytes between two code point indices, as of str.find's start and end.
std::string_view window(const Value& self, const Bound& b, std::size_t first, std::size_t& byte_start) {
  const Text& text = self.text();
  const auto n = static_cast<std::int64_t>(text.n_chars);
  const auto clamped = [&](std::optional<std::int64_t> i, std::int64_t absent) {
    if (!i) return absent;
    return *i < 0 ? std::max<std::int64_t>(*i < -n ? 0 : *i + n, 0) : *i;
  };
  const std::int64_t start = clamped(b.optional_integer(first), 0);
  const std::int64_t stop = std::min(clamped(b.optional_integer(first + 1), n), n);
  byte_start = std::string_view::npos;  // an empty window that not even an empty text is found in
  if (start > stop) return {};
  byte_start = byte_offset(text.bytes, static_cast<std::size_t>(start));
  return std::string_view(text.bytes)
      .substr(byte_start, byte_offset(text.bytes, static_cast<std::size_t>(stop)) - byte_start);
}

Value edge_test(Runtime& rt, const Value& self, const Args& args, bool at_end) {
  const std::string_view name = at_end ? "endswith" : "startswith";
  const Bound b(name, args, {"prefix", "start", "end"}, 1);
  std::size_t byte_start = 0;
  const std::string_view text = window(self, b, 1, byte_start);
  if (!b.at(0).is(Kind::Sequence)) {
    return Value::boolean(matches(text, b.text(0), at_end) && byte_start != text.npos);
  }
  if (b.at(0).as<SequenceObject>().flavour != Flavour::Tuple) {
    fail(fmt::format("{} first arg must be str or a tuple of str, not {}", name, type_name(b.at(0))));
  }
  for (const Value& part : b.at(0).as<SequenceObject>().items) {
    rt.budget.step();
    if (!part.is_string()) fail(fmt::format("tuple for {} must only contain str, not {}", name, type_name(part)));
    if (matches(text, part.view(), at_end) && byte_start != text.npos) return Value::boolean(true);
  }
  return Value::boolean(false);
}
Value startswith(Runtime& rt, const Value& self, const Args& args) { return edge_test(rt, self, args, false); }
Value endswith(Runtime& rt, const Value& self, const Args& args) { return edge_test(rt, self, args, true); }

Value replace(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("replace", args, {"old", "new", "count"}, 2);
  const std::string_view from = b.text(0);
  (void)b.text(1);
  const Value to = inserted(rt, self, b.at(1));
  const Value result = replaced(rt, self.view(), from, to.view(), b.integer(2, -1));
  return self.is_markup() ? keep(rt, self, result.view()) : result;
}

enum class From { Left, Right };

/// Code point index of a part, or -1.
std::int64_t index_of(Runtime& rt, const Value& self, const Args& args, std::string_view name, From side) {
  const Bound b(name, args, {"sub", "start", "end"}, 1);
  std::size_t byte_start = 0;
  const std::string_view part = b.text(0);
  const std::string_view text = window(self, b, 1, byte_start);
  if (byte_start == text.npos) return -1;
  rt.budget.step(text.size() / 64);
  const std::size_t hit = side == From::Left ? find_text(text, part, 0) : rfind_text(rt, text, part);
  if (hit == text.npos) return -1;
  return static_cast<std::int64_t>(count_chars(std::string_view(self.view()).substr(0, byte_start + hit)));
}
Value find(Runtime& rt, const Value& self, const Args& args) {
  return Value::integer(index_of(rt, self, args, "find", From::Left));
}
Value rfind(Runtime& rt, const Value& self, const Args& args) {
  return Value::integer(index_of(rt, self, args, "rfind", From::Right));
}
Value found(std::int64_t index) {
  if (index < 0) fail("substring not found");
  return Value::integer(index);
}
Value index(Runtime& rt, const Value& self, const Args& args) {
  return found(index_of(rt, self, args, "index", From::Left));
}
Value rindex(Runtime& rt, const Value& self, const Args& args) {
  return found(index_of(rt, self, args, "rindex", From::Right));
}

Value count(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("count", args, {"sub", "start", "end"}, 1);
  std::size_t byte_start = 0;
  const std::string_view part = b.text(0);
  const std::string_view text = window(self, b, 1, byte_start);
  if (byte_start == text.npos) return Value::integer(0);
  rt.budget.step(text.size() / 64);
  if (part.empty()) return Value::integer(static_cast<std::int64_t>(count_chars(text)) + 1);
  std::int64_t n = 0;
  for (std::size_t pos = 0; (pos = find_text(text, part, pos)) != text.npos; pos += part.size()) ++n;
  return Value::integer(n);
}

Value join(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("join", args, {"iterable"}, 1);
  Builder out(rt);
  Cursor cursor(rt, b.at(0));
  bool first = true;
  for (Value item; cursor.next(item); first = false) {
    if (!self.is_markup() && !item.is_string()) {
      fail(fmt::format("sequence item: expected str instance, {} found", type_name(item)));
    }
    if (!first) out.add(self.view());
    out.add(inserted(rt, self, item).view());
  }
  return out.finish(self.is_markup());
}

template <bool (*test)(char32_t)>
Value every(Runtime& rt, const Value& self, const Args& args) {
  no_arguments(args, "is...");
  const std::string_view text = self.view();
  rt.budget.step(text.size() / 64);
  for (std::size_t pos = 0; pos < text.size();) {
    if (!test(decode(text, pos))) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}
bool is_alnum(char32_t c) { return is_alpha(c) || is_decimal(c) || is_digit(c) || is_numeric(c); }
bool space(char32_t c) { return is_space(c); }
bool alpha(char32_t c) { return is_alpha(c); }
bool decimal(char32_t c) { return is_decimal(c); }
bool digit(char32_t c) { return is_digit(c); }
bool numeric(char32_t c) { return is_numeric(c); }

Value islower(Runtime&, const Value& self, const Args& args) {
  no_arguments(args, "islower");

  return Value::boolean(is_lower_text(self.view()));
}
Value isupper(Runtime&, const Value& self, const Args& args) {
  no_arguments(args, "isupper");

  return Value::boolean(is_upper_text(self.view()));
}

Value padded(Runtime& rt, const Value& self, const Args& args, std::string_view name, int side) {
  const Bound b(name, args, {"width", "fillchar"}, 1);
  const std::string_view fill = b.has(1) ? b.text(1) : " ";
  if (count_chars(fill) != 1) fail("The fill character must be exactly one character long");
  return pad_text(rt, self, b.integer(0, 0), fill, side);
}
Value ljust(Runtime& rt, const Value& self, const Args& args) { return padded(rt, self, args, "ljust", -1); }
Value rjust(Runtime& rt, const Value& self, const Args& args) { return padded(rt, self, args, "rjust", 1); }
Value center(Runtime& rt, const Value& self, const Args& args) { return padded(rt, self, args, "center", 0); }

Value zfill(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("zfill", args, {"width"}, 1);
  const std::int64_t missing = b.integer(0, 0) - static_cast<std::int64_t>(self.text().n_chars);
  const std::string_view text = self.view();
  const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  Builder out(rt);
  out.add(text.substr(0, sign));
  if (missing > 0) out.repeat("0", static_cast<std::uint64_t>(missing));
  out.add(text.substr(sign));
  return out.finish(self.is_markup());
}

Value removeprefix(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("removeprefix", args, {"prefix"}, 1);
  const std::string_view part = b.text(0), text = self.view();
  return keep(rt, self, text.starts_with(part) ? text.substr(part.size()) : text);
}
Value removesuffix(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("removesuffix", args, {"suffix"}, 1);
  const std::string_view part = b.text(0), text = self.view();
  return keep(rt, self, text.ends_with(part) ? text.substr(0, text.size() - part.size()) : text);
}

Value format(Runtime& rt, const Value& self, const Args& args) { return brace_format(rt, self, args); }

Value splitlines(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("splitlines", args, {"keepends"});
  std::vector<Value> items;
  for (const std::string_view line : split_lines(rt, self.view(), b.truth(0, false))) {
    items.push_back(keep(rt, self, line));
  }
  return rt.list(std::move(items));
}

constexpr MethodRow kTextMethods[] = {
    {"capitalize", capitalize},
    {"center", center},
    {"count", count},
    {"endswith", endswith},
    {"find", find},
    {"format", format},
    {"index", index},
    {"isalnum", every<is_alnum>},
    {"isalpha", every<alpha>},
    {"isdecimal", every<decimal>},
    {"isdigit", every<digit>},
    {"islower", islower},
    {"isnumeric", every<numeric>},
    {"isspace", every<space>},
    {"isupper", isupper},
    {"join", join},
    {"ljust", ljust},
    {"lower", lower},
    {"lstrip", lstrip},
    {"partition", partition},
    {"removeprefix", removeprefix},
    {"removesuffix", removesuffix},
    {"replace", replace},
    {"rfind", rfind},
    {"rindex", rindex},
    {"rjust", rjust},
    {"rpartition", rpartition},
    {"rsplit", rsplit},
    {"rstrip", rstrip},
    {"split", split},
    {"splitlines", splitlines},
    {"startswith", startswith},
    {"strip", strip},
    {"swapcase", swapcase},
    {"title", title},
    {"upper", upper},
    {"zfill", zfill},
};

bool one_case(std::string_view text, bool (*wanted)(char32_t) noexcept, bool (*other)(char32_t) noexcept) {
  bool any = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = decode(text, pos);
    if (other(c)) return false;
    any = any || wanted(c);
  }
  return any;
}

}  // namespace

bool is_lower_text(std::string_view text) { return one_case(text, is_lower, is_upper); }
bool is_upper_text(std::string_view text) { return one_case(text, is_upper, is_lower); }

Value pad_text(Runtime& rt, const Value& self, std::int64_t width, std::string_view fill, int side) {
  const std::int64_t missing = width - static_cast<std::int64_t>(self.text().n_chars);
  if (missing <= 0) return self;
  // Python puts the odd one of a centred text on the left when the width is odd.
  const std::int64_t left = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & width & 1);
  Builder out(rt);
  out.repeat(fill, static_cast<std::uint64_t>(left));
  out.add(self.view());
  out.repeat(fill, static_cast<std::uint64_t>(missing - left));
  return out.finish(self.is_markup());
}

const MethodRow* find_text_method(std::string_view name) {
  for (const MethodRow& row : kTextMethods) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace apr::model::jinja
