#include <fmt/format.h>

#include "filters.h"
#include "methods.h"
#include "text_methods.h"
#include "unicode.h"

namespace apr::model::jinja {

namespace {

/// The value of a text filter as a text: Markup stays one, anything else becomes its str().
Value subject(Runtime& rt, const Bound& b) { return to_str(rt, b.at(0)); }

bool is_word(char32_t c) { return c == '_' || is_alpha(c) || is_numeric(c) || is_decimal(c) || is_digit(c); }

}  // namespace

Value filter_upper(Runtime& rt, const Args& args) {
  const Bound b("upper", args, {"s"}, 1);
  const Value text = subject(rt, b);
  return rt.text(to_upper(text.view()), text.is_markup());
}

Value filter_lower(Runtime& rt, const Args& args) {
  const Bound b("lower", args, {"s"}, 1);
  const Value text = subject(rt, b);
  return rt.text(to_lower(text.view()), text.is_markup());
}

Value filter_capitalize(Runtime& rt, const Args& args) {
  const Bound b("capitalize", args, {"s"}, 1);
  const Value text = subject(rt, b);
  return rt.text(capitalized(text.view()), text.is_markup());
}

/// Unlike str.title: words start after white space, hyphens and opening brackets only.
Value filter_title(Runtime& rt, const Args& args) {
  const Bound b("title", args, {"s"}, 1);
  const Value text = subject(rt, b);
  const std::string_view view = text.view();
  std::string out, word;
  const auto flush = [&] {
    if (word.empty()) return;
    std::size_t pos = 0;
    append_upper(out, decode(word, pos));
    out += to_lower(std::string_view(word).substr(pos));
    word.clear();
  };
  for (std::size_t pos = 0; pos < view.size();) {
    const std::size_t begin = pos;
    const char32_t c = decode(view, pos);
    if (is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<') {
      flush();
      out += view.substr(begin, pos - begin);
    } else {
      word += view.substr(begin, pos - begin);
    }
  }
  flush();
  return rt.text(std::move(out));
}

Value filter_trim(Runtime& rt, const Args& args) {
  const Bound b("trim", args, {"value", "chars"}, 1);
  const Value text = subject(rt, b);
  std::optional<std::string_view> chars;
  if (b.has(1) && !b.at(1).is_none()) chars = b.text(1);
  charge_strip(rt, text.view(), chars);
  return rt.text(stripped(text.view(), chars, true, true), text.is_markup());
}

Value filter_string(Runtime& rt, const Args& args) {
  const Bound b("string", args, {"s"}, 1);
  return subject(rt, b);
}

Value filter_safe(Runtime& rt, const Args& args) {
  const Bound b("safe", args, {"value"}, 1);
  const Value text = subject(rt, b);
  return text.is_markup() ? text : rt.text(text.view(), true);
}

Value filter_escape(Runtime& rt, const Args& args) {
  const Bound b("escape", args, {"value"}, 1);
  return escaped(rt, b.at(0));
}

Value filter_forceescape(Runtime& rt, const Args& args) {
  const Bound b("forceescape", args, {"value"}, 1);
  Builder out(rt);
  append_escaped(out, subject(rt, b).view());
  return out.finish(true);
}

Value filter_replace(Runtime& rt, const Args& args) {
  const Bound b("replace", args, {"s", "old", "new", "count"}, 3);
  const Value from = to_str(rt, b.at(1));
  const Value to = to_str(rt, b.at(2));
  return replaced(rt, subject(rt, b).view(), from.view(), to.view(), b.optional_integer(3).value_or(-1));
}

Value filter_center(Runtime& rt, const Args& args) {
  const Bound b("center", args, {"value", "width"}, 1);
  return pad_text(rt, subject(rt, b), b.integer(1, 80), " ", 0);
}

Value filter_format(Runtime& rt, const Args& args) {
  if (args.positional.size() > 1 && !args.named.empty()) {
    fail("can't handle positional and keyword arguments at the same time");
  }
  const Value text = to_str(rt, args.positional[0]);
  if (args.named.empty()) {
    return percent_format(rt, text, rt.tuple({args.positional.begin() + 1, args.positional.end()}));
  }
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, value] : args.named) entries.emplace_back(rt.text(name), value);
  return percent_format(rt, text, rt.dict(std::move(entries)));
}

Value filter_indent(Runtime& rt, const Args& args) {
  const Bound b("indent", args, {"s", "width", "first", "blank"}, 1);
  if (!b.at(0).is_string()) {
    require_defined(b.at(0));
    fail(fmt::format("indent() takes a str, not {}", type_name(b.at(0))));
  }
  const bool markup = b.at(0).is_markup();
  Value indentation;
  if (b.has(1) && b.at(1).is_string()) {
    indentation = markup ? escaped(rt, b.at(1)) : b.at(1);
  } else {
    Builder spaces(rt);
    spaces.repeat(" ", static_cast<std::uint64_t>(std::max<std::int64_t>(b.integer(1, 4), 0)));
    indentation = spaces.finish();
  }
  const bool blank = b.truth(3, false);
  const std::string with_end = std::string(b.at(0).view()) + "\n";  // so that a last empty line counts
  Builder out(rt);
  if (b.truth(2, false)) out.add(indentation.view());
  bool first = true;
  for (const std::string_view line : split_lines(rt, with_end, false)) {
    if (!first) out.add('\n');
    if (!first && (blank || !line.empty())) out.add(indentation.view());
    out.add(line);
    first = false;
  }
  return out.finish(markup);
}

Value filter_truncate(Runtime& rt, const Args& args) {
  const Bound b("truncate", args, {"s", "length", "killwords", "end", "leeway"}, 1);
  const Value& text = b.at(0);
  const std::int64_t limit = b.integer(1, 255);
  const std::string_view end = b.has(3) ? b.text(3) : "...";
  const std::int64_t leeway = b.optional_integer(4).value_or(5);
  const auto n_end = static_cast<std::int64_t>(count_chars(end));
  if (limit < n_end) fail(fmt::format("expected length >= {}, got {}", n_end, limit));
  if (leeway < 0) fail(fmt::format("expected leeway >= 0, got {}", leeway));
  const std::int64_t n = require_length(text);
  if (n <= limit || n - limit <= leeway) return text;
  if (!text.is_string()) fail(fmt::format("truncate() takes a str, not {}", type_name(text)));
  std::string_view kept = text.view().substr(0, byte_offset(text.view(), static_cast<std::size_t>(limit - n_end)));
  if (!b.truth(2, false)) {
    const std::size_t space = kept.rfind(' ');
    if (space != kept.npos) kept = kept.substr(0, space);
  }
  return rt.text(std::string(kept).append(end), text.is_markup());
}

Value filter_wordcount(Runtime& rt, const Args& args) {
  const Bound b("wordcount", args, {"s"}, 1);
  const Value text = subject(rt, b);
  std::int64_t n = 0;
  bool inside = false;
  for (std::size_t pos = 0; pos < text.view().size();) {
    const bool word = is_word(decode(text.view(), pos));
    n += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value::integer(n);
}

namespace {

void append_quoted_url(Builder& out, std::string_view text, bool query) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                       c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    if (plain) {
      out.add(c);
    } else if (c == ' ' && query) {
      out.add('+');
    } else {
      out.add(fmt::format("%{:02X}", byte));
    }
  }
}

}  // namespace

Value filter_urlencode(Runtime& rt, const Args& args) {
  const Bound b("urlencode", args, {"value"}, 1);
  const Value& value = b.at(0);
  Builder out(rt);
  if (value.is_string() || !is_iterable(value)) {
    append_quoted_url(out, to_str(rt, value).view(), false);
    return out.finish();
  }
  const Value pairs = value.is(Kind::Dict) ? filter_items(rt, args) : value;
  Cursor cursor(rt, pairs);
  bool first = true;
  for (Value item; cursor.next(item); first = false) {
    const std::vector<Value> pair = to_items(rt, item);
    if (pair.size() != 2) fail("urlencode() takes pairs of a key and a value");
    if (!first) out.add('&');
    append_quoted_url(out, to_str(rt, pair[0]).view(), true);
    out.add('=');
    append_quoted_url(out, to_str(rt, pair[1]).view(), true);
  }
  return out.finish();
}

/// json.dumps with ensure_ascii off by default: what transformers puts in the place of Jinja's own filter.
Value filter_tojson(Runtime& rt, const Args& args) {
  const Bound b("tojson", args, {"x", "ensure_ascii", "indent", "separators", "sort_keys"}, 1);
  JsonStyle style;
  style.ensure_ascii = b.truth(1, false);
  style.sort_keys = b.truth(4, false);
  if (b.has(2) && b.at(2).is_string()) {
    style.indent = std::string(b.at(2).view());
  } else if (const auto width = b.optional_integer(2)) {
    Builder spaces(rt);
    spaces.repeat(" ", static_cast<std::uint64_t>(std::max<std::int64_t>(*width, 0)));
    style.indent = spaces.take();
  }
  if (style.indent) style.item_separator = ",";
  if (b.has(3) && !b.at(3).is_none()) {
    const std::vector<Value> separators = to_items(rt, b.at(3));
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
      fail("tojson() takes two texts as separators");
    }
    style.item_separator = separators[0].view();
    style.key_separator = separators[1].view();
  }
  Builder out(rt);
  append_json(rt, out, b.at(0), style);
  return out.finish();
}

}  // namespace apr::model::jinja
