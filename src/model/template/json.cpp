// json.dumps.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime.h"
#include "unicode.h"

namespace apr::model::jinja {

namespace {

/// The escape of a character, or "" when it stands for itself.
std::string json_escape(std::uint32_t c, bool ensure_ascii) {
  switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\f': return "\\f";
    case '\b': return "\\b";
    default: break;
  }
  if (c >= 0x20 && (c < 0x80 || !ensure_ascii)) return "";
  if (c < 0x10000) return fmt::format("\\u{:04x}", c);
  return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + ((c - 0x10000) & 0x3FF));
}

void append_json_text(Builder& out, std::string_view text, bool ensure_ascii) {
  out.add('"');
  out.scan(text);
  std::size_t plain = 0;  // start of the run that is written as it is
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const auto c = static_cast<std::uint32_t>(decode(text, pos));
    if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') continue;
    const std::string escape = json_escape(c, ensure_ascii);
    if (escape.empty()) continue;
    out.add(text.substr(plain, begin - plain));
    out.add(escape);
    plain = pos;
  }
  out.add(text.substr(plain));
  out.add('"');
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

class Writer {
 public:
  Writer(Runtime& rt, Builder& out, const JsonStyle& style) : rt_(rt), out_(out), style_(style) {}

  void value(const Value& v, std::uint64_t level) {
    const Depth depth(rt_.budget);
    switch (v.kind()) {
      case Kind::None: return out_.add("null");
      case Kind::Bool: return out_.add(v.as_bool() ? "true" : "false");
      case Kind::Int: return out_.add(std::to_string(v.as_int()));
      case Kind::Float: return out_.add(json_float(v.as_double()));
      case Kind::String: return append_json_text(out_, v.view(), style_.ensure_ascii);
      case Kind::Dict: return object(v.as<DictObject>(), level);
      case Kind::Sequence: {
        const auto& sequence = v.as<SequenceObject>();
        const bool array = sequence.flavour == Flavour::List || sequence.flavour == Flavour::Tuple ||
                           sequence.flavour == Flavour::GroupTuple;
        if (array) return items(sequence.items, level);
        break;
      }
      default: break;
    }
    fail(fmt::format("Object of type {} is not JSON serializable", type_name(v)));
  }

 private:
  void line(std::uint64_t level) {
    if (!style_.indent) return;
    out_.add('\n');
    out_.repeat(*style_.indent, level);
  }

  void items(const std::vector<Value>& values, std::uint64_t level) {
    if (values.empty()) return out_.add("[]");
    out_.add('[');
    bool first = true;
    for (const Value& v : values) {
      if (!first) out_.add(style_.item_separator);
      first = false;
      line(level + 1);
      value(v, level + 1);
    }
    line(level);
    out_.add(']');
  }

  void key(const Value& v) {
    switch (v.kind()) {
      case Kind::String: return append_json_text(out_, v.view(), style_.ensure_ascii);
      case Kind::None: return out_.add("\"null\"");
      case Kind::Bool: return out_.add(v.as_bool() ? "\"true\"" : "\"false\"");
      case Kind::Int: return out_.add(fmt::format("\"{}\"", v.as_int()));
      case Kind::Float: return out_.add(fmt::format("\"{}\"", json_float(v.as_double())));
      default: fail(fmt::format("keys must be str, int, float, bool or None, not {}", type_name(v)));
    }
  }

  void object(const DictObject& dict, std::uint64_t level) {
    if (dict.entries.empty()) return out_.add("{}");
    std::vector<std::size_t> order(dict.entries.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (style_.sort_keys) {
      std::vector<Value> keys;
      for (const auto& entry : dict.entries) keys.push_back(entry.first);
      order = sort_order(rt_, keys, false);
    }
    out_.add('{');
    bool first = true;
    for (const std::size_t i : order) {
      if (!first) out_.add(style_.item_separator);
      first = false;
      line(level + 1);
      key(dict.entries[i].first);
      out_.add(style_.key_separator);
      value(dict.entries[i].second, level + 1);
    }
    line(level);
    out_.add('}');
  }

  Runtime& rt_;
  Builder& out_;
  const JsonStyle& style_;
};

}  // namespace

void append_json(Runtime& rt, Builder& out, const Value& value, const JsonStyle& style) {
  Writer(rt, out, style).value(value, 0);
}

}  // namespace apr::model::jinja
