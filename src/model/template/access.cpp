#include <fmt/format.h>

#include "ast.h"
#include "methods.h"
#include "runtime.h"
#include "unicode.h"

namespace apr::model::jinja {

std::optional<std::int64_t> length(const Value& value) {
  switch (value.kind()) {
    case Kind::Undefined: return 0;
    case Kind::String: return static_cast<std::int64_t>(value.text().n_chars);
    case Kind::Dict: return static_cast<std::int64_t>(value.as<DictObject>().entries.size());
    case Kind::Range: return value.as<RangeObject>().length;
    case Kind::Sequence: {
      const auto& sequence = value.as<SequenceObject>();
      if (sequence.flavour == Flavour::Generator) return std::nullopt;
      return static_cast<std::int64_t>(sequence.items.size());
    }
    default: return std::nullopt;
  }
}

std::int64_t require_length(const Value& value) {
  const auto n = length(value);
  if (!n) fail(fmt::format("object of type '{}' has no len()", type_name(value)));
  return *n;
}

const Value* find_key(Runtime& rt, const DictObject& dict, const Value& key) {
  if (key.is_string()) return find_key(rt, dict, key.view());
  rt.budget.step(dict.entries.size());
  for (const auto& [candidate, value] : dict.entries) {
    if (equals(rt, candidate, key)) return &value;
  }
  return nullptr;
}

const Value* find_key(Runtime& rt, const DictObject& dict, std::string_view key) {
  rt.budget.step(1 + dict.entries.size() * (1 + key.size() / 64) / 8);
  for (const auto& [candidate, value] : dict.entries) {
    if (candidate.is_string() && candidate.view() == key) return &value;
  }
  return nullptr;
}

void set_key(Runtime& rt, std::vector<std::pair<Value, Value>>& entries, Value key, Value value) {
  require_hashable(key);
  for (auto& [candidate, old] : entries) {
    if (equals(rt, candidate, key)) {
      old = std::move(value);
      return;
    }
  }
  entries.emplace_back(std::move(key), std::move(value));
}

std::optional<Value> own_attribute(Runtime& rt, const Value& value, std::string_view name) {
  switch (value.kind()) {
    case Kind::Namespace:
      for (const auto& [attribute, stored] : value.as<NamespaceObject>().attributes) {
        rt.budget.step(1 + name.size() / 64);
        if (attribute == name) return stored;
      }
      return std::nullopt;
    case Kind::Loop:
      if (auto found = value.as<LoopObject>().attribute(rt, name)) return found;
      break;
    case Kind::Sequence: {
      const auto& sequence = value.as<SequenceObject>();
      if (sequence.flavour != Flavour::GroupTuple) break;
      if (name == "grouper") return sequence.items[0];
      if (name == "list") return sequence.items[1];
      break;
    }
    case Kind::Macro: {
      const Macro& macro = *value.as<MacroObject>().macro;
      if (name == "name") return macro.name.empty() ? Value::none() : rt.text(macro.name);
      if (name != "arguments") break;
      std::vector<Value> parameters;
      for (const std::string& parameter : macro.parameters) parameters.push_back(rt.text(parameter));
      return rt.list(std::move(parameters));
    }
    case Kind::Cycler:
      if (name == "current") return value.as<CyclerObject>().items[value.as<CyclerObject>().position];
      break;
    default: break;
  }
  const MethodRow* row = find_method(value, name);
  // Every Python object has attributes with two underscores; the sandbox hides them.
  if ((row != nullptr && row->call == nullptr) || (name.size() > 4 && name.starts_with("__") && name.ends_with("__"))) {
    return rt.undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(value)));
  }
  if (row == nullptr) return std::nullopt;
  auto* method = rt.make<MethodObject>();
  method->self = value;
  method->row = row;
  return Value::object(Kind::Method, method);
}

namespace {

Value no_attribute(Runtime& rt, const Value& value, std::string_view name) {
  return rt.undefined(fmt::format("'{}' has no attribute '{}'", described_type(value), name));
}

std::optional<Value> item_at(Runtime& rt, const Value& value, std::int64_t index) {
  const auto n = length(value);
  if (!n) return std::nullopt;
  if (index < 0) index += *n;
  if (index < 0 || index >= *n) return std::nullopt;
  if (value.is(Kind::Range)) return Value::integer(value.as<RangeObject>().at(index));
  if (value.is_string()) {
    const Text& text = value.text();
    const auto i = static_cast<std::size_t>(index);
    if (text.ascii()) return rt.text(text.bytes.substr(i, 1), value.is_markup());
    rt.budget.step(text.bytes.size() / 64);
    const std::size_t begin = byte_offset(text.bytes, i);
    std::size_t end = begin;
    (void)decode(text.bytes, end);
    return rt.text(text.bytes.substr(begin, end - begin), value.is_markup());
  }
  const auto& sequence = value.as<SequenceObject>();
  const bool view = sequence.flavour == Flavour::DictKeys || sequence.flavour == Flavour::DictValues ||
                    sequence.flavour == Flavour::DictItems;
  if (view) return std::nullopt;
  return sequence.items[static_cast<std::size_t>(index)];
}

struct SliceRange {
  std::int64_t start, step, count;
};

/// Python's slice.indices.
SliceRange resolve(const Value& start, const Value& stop, const Value& step, std::int64_t n) {
  const auto number = [](const Value& v, std::int64_t absent) {
    if (v.is_none()) return absent;
    if (v.is_integral()) return v.as_int();
    require_defined(v);
    fail("slice indices must be integers or None or have an __index__ method");
  };
  const std::int64_t by = number(step, 1);
  if (by == 0) fail("slice step cannot be zero");
  const std::int64_t low = by < 0 ? -1 : 0;
  const std::int64_t high = by < 0 ? n - 1 : n;
  const auto clamped = [&](std::int64_t i) {
    if (i < 0) return i < -n ? low : std::max(i + n, low);
    return std::min(i, high);
  };
  const std::int64_t first = start.is_none() ? (by < 0 ? high : low) : clamped(number(start, 0));
  const std::int64_t last = stop.is_none() ? (by < 0 ? low : high) : clamped(number(stop, 0));
  std::int64_t count = 0;
  if (by > 0 && first < last) count = (last - first - 1) / by + 1;
  // -(by + 1) cannot overflow where -by could.
  if (by < 0 && last < first)
    count = static_cast<std::int64_t>(static_cast<std::uint64_t>(first - last - 1) /
                                      (static_cast<std::uint64_t>(-(by + 1)) + 1)) +
            1;
  return {first, by, count};
}

Value slice_text(Runtime& rt, const Value& value, const SliceRange& range) {
  const Text& text = value.text();
  Builder out(rt);
  if (text.ascii()) {
    for (std::int64_t i = 0; i < range.count; ++i)
      out.add(text.bytes[static_cast<std::size_t>(range.start + i * range.step)]);
    return out.finish(value.is_markup());
  }
  std::vector<std::uint32_t> starts;  // byte offset of each code point
  rt.budget.step(text.bytes.size() / 16);
  starts.reserve(text.n_chars + 1);
  for (std::size_t pos = 0; pos < text.bytes.size(); (void)decode(text.bytes, pos)) {
    starts.push_back(static_cast<std::uint32_t>(pos));
  }
  starts.push_back(static_cast<std::uint32_t>(text.bytes.size()));
  for (std::int64_t i = 0; i < range.count; ++i) {
    const auto at = static_cast<std::size_t>(range.start + i * range.step);
    out.add(std::string_view(text.bytes).substr(starts[at], starts[at + 1] - starts[at]));
  }
  return out.finish(value.is_markup());
}

}  // namespace

Value get_attribute(Runtime& rt, const Value& value, std::string_view name) {
  require_defined(value);
  if (auto found = own_attribute(rt, value, name)) return *std::move(found);
  if (value.is(Kind::Dict)) {
    if (const Value* found = find_key(rt, value.as<DictObject>(), name)) return *found;
  }
  return no_attribute(rt, value, name);
}

Value get_item(Runtime& rt, const Value& value, const Value& key) {
  require_defined(value);
  if (value.is(Kind::Dict)) {
    const bool hashable =
        !key.is(Kind::Dict) && !(key.is(Kind::Sequence) && key.as<SequenceObject>().flavour == Flavour::List);
    const Value* found = hashable ? find_key(rt, value.as<DictObject>(), key) : nullptr;
    if (found != nullptr) return *found;
  } else if (key.is_integral()) {
    if (auto found = item_at(rt, value, key.as_int())) return *std::move(found);
  }
  if (key.is_string()) {
    if (auto found = own_attribute(rt, value, key.view())) return *std::move(found);
    return no_attribute(rt, value, key.view());
  }
  return rt.undefined(fmt::format("{} has no element {}", described_type(value), repr(rt, key)));
}

Value get_slice(Runtime& rt, const Value& value, const Value& start, const Value& stop, const Value& step) {
  require_defined(value);
  const auto n = length(value);
  const bool view = value.is(Kind::Sequence) && value.as<SequenceObject>().flavour >= Flavour::Generator &&
                    value.as<SequenceObject>().flavour != Flavour::GroupTuple;
  if (!n || value.is(Kind::Dict) || view) fail(fmt::format("'{}' object cannot be sliced", type_name(value)));
  const SliceRange range = resolve(start, stop, step, *n);
  if (value.is_string()) return slice_text(rt, value, range);
  if (value.is(Kind::Range)) {
    const auto& old = value.as<RangeObject>();
    auto* made = rt.make<RangeObject>();
    made->start = old.at(range.start);
    made->length = range.count;
    if (__builtin_mul_overflow(old.step, range.step, &made->step)) fail("the step of a range is too large");
    made->stop = made->at(range.count);
    return Value::object(Kind::Range, made);
  }
  const auto& sequence = value.as<SequenceObject>();
  std::vector<Value> items;
  for (std::int64_t i = 0; i < range.count; ++i) {
    items.push_back(sequence.items[static_cast<std::size_t>(range.start + i * range.step)]);
  }
  return rt.sequence(sequence.flavour == Flavour::List ? Flavour::List : Flavour::Tuple, std::move(items));
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is(Kind::Sequence) || value.is(Kind::Dict) ||
         value.is(Kind::Range);
}

Cursor::Cursor(Runtime& rt, Value iterable) : rt_(rt), iterable_(std::move(iterable)) {
  if (!is_iterable(iterable_)) fail(fmt::format("'{}' object is not iterable", type_name(iterable_)));
}

bool Cursor::next(Value& out) {
  rt_.budget.step();
  switch (iterable_.kind()) {
    case Kind::String: {
      const std::string& bytes = iterable_.text().bytes;
      if (position_ >= bytes.size()) return false;
      const std::size_t begin = position_;
      (void)decode(bytes, position_);
      out = rt_.text(bytes.substr(begin, position_ - begin));  // plain, even out of Markup
      return true;
    }
    case Kind::Sequence: {
      auto& sequence = iterable_.as<SequenceObject>();
      std::size_t& position = sequence.flavour == Flavour::Generator ? sequence.consumed : position_;
      if (position >= sequence.items.size()) return false;
      out = sequence.items[position++];
      return true;
    }
    case Kind::Dict: {
      const auto& entries = iterable_.as<DictObject>().entries;
      if (position_ >= entries.size()) return false;
      out = entries[position_++].first;
      return true;
    }
    case Kind::Range: {
      const auto& range = iterable_.as<RangeObject>();
      if (static_cast<std::int64_t>(position_) >= range.length) return false;
      out = Value::integer(range.at(static_cast<std::int64_t>(position_++)));
      return true;
    }
    default: return false;
  }
}

std::vector<Value> to_items(Runtime& rt, const Value& iterable) {
  std::vector<Value> items;
  Cursor cursor(rt, iterable);
  for (Value item; cursor.next(item);) items.push_back(item);
  return items;
}

}  // namespace apr::model::jinja
