#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "ast.h"
#include "runtime.h"
#include "unicode.h"

namespace apr::model::jinja {

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::Undefined: return "Undefined";
    case Kind::None: return "NoneType";
    case Kind::Bool: return "bool";
    case Kind::Int: return "int";
    case Kind::Float: return "float";
    case Kind::String: return value.is_markup() ? "Markup" : "str";
    case Kind::Dict: return "dict";
    case Kind::Range: return "range";
    case Kind::Namespace: return "Namespace";
    case Kind::Loop: return "LoopContext";
    case Kind::Macro: return "Macro";
    case Kind::Function: return "function";
    case Kind::Method: return "builtin_function_or_method";
    case Kind::Cycler: return "Cycler";
    case Kind::Joiner: return "Joiner";
    case Kind::Sequence: break;
  }
  switch (value.as<SequenceObject>().flavour) {
    case Flavour::List: return "list";
    case Flavour::Tuple: return "tuple";
    case Flavour::Generator: return "generator";
    case Flavour::DictKeys: return "dict_keys";
    case Flavour::DictValues: return "dict_values";
    case Flavour::DictItems: return "dict_items";
    case Flavour::GroupTuple: return "_GroupTuple";
  }
  return "object";
}

std::string described_type(const Value& value) {
  switch (value.kind()) {
    case Kind::None: return "None";
    case Kind::Namespace:
    case Kind::Cycler:
    case Kind::Joiner: return fmt::format("jinja2.utils.{} object", type_name(value));
    case Kind::Loop:
    case Kind::Macro: return fmt::format("jinja2.runtime.{} object", type_name(value));
    default: break;
  }
  if (value.is_markup()) return "markupsafe.Markup object";
  return fmt::format("{} object", type_name(value));
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  std::string sign;
  if (text.front() == '-') {
    sign = "-";
    text.remove_prefix(1);
  }
  const std::size_t e = text.find('e');
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  int exponent = 0;
  const std::string_view exponent_text = text.substr(e + (text[e + 1] == '+' ? 2 : 1));
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  if (exponent < -4 || exponent >= 16) {
    const std::string fraction = digits.size() > 1 ? "." + digits.substr(1) : "";
    return fmt::format("{}{}{}e{}{:02}", sign, digits[0], fraction, exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

void append_quoted(Builder& out, std::string_view text) {
  const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = double_quotes ? '"' : '\'';
  out.add(quote);
  out.scan(text);
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = decode(text, pos);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out.add('\\');
      out.add_char(c);
    } else if (c == '\n') {
      out.add("\\n");
    } else if (c == '\r') {
      out.add("\\r");
    } else if (c == '\t') {
      out.add("\\t");
    } else if (is_printable(c)) {
      out.add_char(c);
    } else {
      const auto code = static_cast<std::uint32_t>(c);
      out.add(code < 0x100     ? fmt::format("\\x{:02x}", code)
              : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                               : fmt::format("\\U{:08x}", code));
    }
  }
  out.add(quote);
}

void append_escaped(Builder& out, std::string_view text) {
  out.scan(text);
  while (!text.empty()) {
    const std::size_t plain = std::min(text.find_first_of("&<>\"'"), text.size());
    out.add(text.substr(0, plain));
    if (plain == text.size()) return;
    switch (text[plain]) {
      case '&': out.add("&amp;"); break;
      case '<': out.add("&lt;"); break;
      case '>': out.add("&gt;"); break;
      case '"': out.add("&#34;"); break;
      default: out.add("&#39;");
    }
    text.remove_prefix(plain + 1);
  }
}

Value escaped(Runtime& rt, const Value& value) {
  if (value.is_markup()) return value;
  Builder out(rt);
  append_escaped(out, to_str(rt, value).view());
  return out.finish(true);
}

namespace {

void append_items(Runtime& rt, Builder& out, const std::vector<Value>& items) {
  bool first = true;
  for (const Value& item : items) {
    if (!first) out.add(", ");
    first = false;
    append_repr(rt, out, item);
  }
}

void append_sequence(Runtime& rt, Builder& out, const SequenceObject& sequence) {
  const auto wrapped = [&](std::string_view before, std::string_view after) {
    out.add(before);
    append_items(rt, out, sequence.items);
    out.add(after);
  };
  switch (sequence.flavour) {
    case Flavour::List: return wrapped("[", "]");
    case Flavour::Tuple:
    case Flavour::GroupTuple: return wrapped("(", sequence.items.size() == 1 ? ",)" : ")");
    case Flavour::DictKeys: return wrapped("dict_keys([", "])");
    case Flavour::DictValues: return wrapped("dict_values([", "])");
    case Flavour::DictItems: return wrapped("dict_items([", "])");
    case Flavour::Generator: fail("a generator cannot be printed; turn it into a list first");
  }
}

template <class Key>
void append_entries(Runtime& rt, Builder& out, const std::vector<std::pair<Key, Value>>& entries) {
  out.add('{');
  bool first = true;
  for (const auto& [key, value] : entries) {
    if (!first) out.add(", ");
    first = false;
    if constexpr (std::is_same_v<Key, std::string>) {
      append_quoted(out, key);
    } else {
      append_repr(rt, out, key);
    }
    out.add(": ");
    append_repr(rt, out, value);
  }
  out.add('}');
}

void append_object(Runtime& rt, Builder& out, const Value& value) {
  switch (value.kind()) {
    case Kind::Sequence: return append_sequence(rt, out, value.as<SequenceObject>());
    case Kind::Dict: return append_entries(rt, out, value.as<DictObject>().entries);
    case Kind::Range: {
      const auto& range = value.as<RangeObject>();
      return out.add(range.step == 1 ? fmt::format("range({}, {})", range.start, range.stop)
                                     : fmt::format("range({}, {}, {})", range.start, range.stop, range.step));
    }
    case Kind::Namespace:
      out.add("<Namespace ");
      append_entries(rt, out, value.as<NamespaceObject>().attributes);
      return out.add('>');
    case Kind::Macro:
      out.add("<Macro ");
      if (const std::string& name = value.as<MacroObject>().macro->name; name.empty()) {
        out.add("anonymous");
      } else {
        append_quoted(out, name);
      }
      return out.add('>');
    case Kind::Loop: {
      auto& loop = value.as<LoopObject>();
      return out.add(fmt::format("<LoopContext {}/{}>", loop.attribute(rt, "index")->as_int(), loop.count(rt)));
    }
    default: fail(fmt::format("a {} cannot be printed", type_name(value)));
  }
}

}  // namespace

void append_str(Runtime& rt, Builder& out, const Value& value) {
  if (value.is_undefined()) return;
  if (value.is_string()) return out.add(value.view());
  append_repr(rt, out, value);
}

void append_repr(Runtime& rt, Builder& out, const Value& value) {
  const Depth depth(rt.budget);
  switch (value.kind()) {
    case Kind::Undefined: return out.add("Undefined");
    case Kind::None: return out.add("None");
    case Kind::Bool: return out.add(value.as_bool() ? "True" : "False");
    case Kind::Int: return out.add(std::to_string(value.as_int()));
    case Kind::Float: return out.add(float_repr(value.as_double()));
    case Kind::String:
      if (value.is_markup()) out.add("Markup(");
      append_quoted(out, value.view());
      if (value.is_markup()) out.add(')');
      return;
    default: return append_object(rt, out, value);
  }
}

Value to_str(Runtime& rt, const Value& value) {
  if (value.is_string()) return value;
  Builder out(rt);
  append_str(rt, out, value);
  return out.finish();
}

std::string repr(Runtime& rt, const Value& value) {
  Builder out(rt);
  append_repr(rt, out, value);
  return out.take();
}

}  // namespace apr::model::jinja
