#include "methods.h"

#include <fmt/format.h>

#include <algorithm>

namespace apr::model::jinja {

Bound::Bound(std::string_view function, const Args& args, std::initializer_list<std::string_view> parameters,
             std::size_t required, std::size_t skip)
    : function_(function), values_(parameters.size(), nullptr) {
  const std::size_t given = args.positional.size() - std::min(skip, args.positional.size());
  if (given > parameters.size()) {
    fail(fmt::format("{}() takes at most {} arguments ({} given)", function, parameters.size(), given));
  }
  for (std::size_t i = 0; i < given; ++i) values_[i] = &args.positional[i + skip];
  for (const auto& [name, value] : args.named) {
    const auto* found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) fail(fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
    const Value*& slot = values_[static_cast<std::size_t>(found - parameters.begin())];
    if (slot != nullptr) fail(fmt::format("{}() got multiple values for argument '{}'", function, name));
    slot = &value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (values_[i] != nullptr) continue;
    fail(fmt::format("{}() is missing its argument '{}'", function, *(parameters.begin() + i)));
  }
}

std::int64_t Bound::integer(std::size_t i, std::int64_t absent) const {
  if (!has(i)) return absent;
  if (at(i).is_integral()) return at(i).as_int();
  require_defined(at(i));
  fail(fmt::format("{}(): '{}' object cannot be interpreted as an integer", function_, type_name(at(i))));
}

std::optional<std::int64_t> Bound::optional_integer(std::size_t i) const {
  if (!has(i) || at(i).is_none()) return std::nullopt;
  return integer(i, 0);
}

std::string_view Bound::text(std::size_t i) const {
  if (at(i).is_string()) return at(i).view();
  require_defined(at(i));
  fail(fmt::format("{}() takes a str, not {}", function_, type_name(at(i))));
}

namespace {

const SequenceObject& items_of(const Value& self) { return self.as<SequenceObject>(); }

Value sequence_count(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("count", args, {"value"}, 1);
  std::int64_t n = 0;
  for (const Value& item : items_of(self).items) n += equals(rt, item, b.at(0)) ? 1 : 0;
  return Value::integer(n);
}

Value sequence_index(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("index", args, {"value", "start", "stop"}, 1);
  const auto& items = items_of(self).items;
  const auto n = static_cast<std::int64_t>(items.size());
  const auto clamped = [&](std::int64_t i) { return std::clamp<std::int64_t>(i < -n ? 0 : i < 0 ? i + n : i, 0, n); };
  const std::int64_t stop = clamped(b.integer(2, n));
  for (std::int64_t i = clamped(b.integer(1, 0)); i < stop; ++i) {
    if (equals(rt, items[static_cast<std::size_t>(i)], b.at(0))) return Value::integer(i);
  }
  fail(fmt::format("{} is not in list", repr(rt, b.at(0))));
}

Value list_copy(Runtime&, const Value& self, const Args&) { return self; }

Value dict_get(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("get", args, {"key", "default"}, 1);
  require_hashable(b.at(0));
  const Value* found = find_key(rt, self.as<DictObject>(), b.at(0));
  return found != nullptr ? *found : b.get(1, Value::none());
}

Value dict_part(Runtime& rt, const Value& self, Flavour part) {
  std::vector<Value> items;
  const auto& entries = self.as<DictObject>().entries;
  items.reserve(entries.size());
  for (const auto& [key, value] : entries) {
    items.push_back(part == Flavour::DictKeys ? key : part == Flavour::DictValues ? value : rt.pair(key, value));
  }
  return rt.sequence(part, std::move(items));
}
Value dict_keys(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("keys", args, {});
  return dict_part(rt, self, Flavour::DictKeys);
}
Value dict_values(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("values", args, {});
  return dict_part(rt, self, Flavour::DictValues);
}
Value dict_items(Runtime& rt, const Value& self, const Args& args) {
  const Bound b("items", args, {});
  return dict_part(rt, self, Flavour::DictItems);
}

Value cycler_next(Runtime&, const Value& self, const Args& args) {
  const Bound b("next", args, {});
  auto& cycler = self.as<CyclerObject>();
  Value current = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return current;
}
Value cycler_reset(Runtime&, const Value& self, const Args& args) {
  const Bound b("reset", args, {});
  self.as<CyclerObject>().position = 0;
  return Value::none();
}

Value loop_cycle(Runtime& rt, const Value& self, const Args& args) {
  return self.as<LoopObject>().call(rt, "cycle", args);
}
Value loop_changed(Runtime& rt, const Value& self, const Args& args) {
  return self.as<LoopObject>().call(rt, "changed", args);
}

constexpr MethodRow kListMethods[] = {
    {"append", nullptr}, {"clear", nullptr},        {"copy", list_copy}, {"count", sequence_count},
    {"extend", nullptr}, {"index", sequence_index}, {"insert", nullptr}, {"pop", nullptr},
    {"remove", nullptr}, {"reverse", nullptr},      {"sort", nullptr},
};
constexpr MethodRow kTupleMethods[] = {{"count", sequence_count}, {"index", sequence_index}};
constexpr MethodRow kDictMethods[] = {
    {"clear", nullptr}, {"copy", list_copy},  {"get", dict_get},       {"items", dict_items}, {"keys", dict_keys},
    {"pop", nullptr},   {"popitem", nullptr}, {"setdefault", nullptr}, {"update", nullptr},   {"values", dict_values},
};
constexpr MethodRow kCyclerMethods[] = {{"next", cycler_next}, {"reset", cycler_reset}};
constexpr MethodRow kLoopMethods[] = {{"cycle", loop_cycle}, {"changed", loop_changed}};

template <std::size_t n>
const MethodRow* find_row(const MethodRow (&table)[n], std::string_view name) {
  for (const MethodRow& row : table) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace

Value call_method(Runtime& rt, const MethodRow& row, const Value& self, const Args& args) {
  rt.budget.step();
  if (self.is_string()) rt.scan(self.view());  // most methods look at all of the text
  return row.call(rt, self, args);
}

const MethodRow* find_method(const Value& self, std::string_view name) {
  switch (self.kind()) {
    case Kind::String: return find_text_method(name);
    case Kind::Dict: return find_row(kDictMethods, name);
    case Kind::Cycler: return find_row(kCyclerMethods, name);
    case Kind::Loop: return find_row(kLoopMethods, name);
    case Kind::Sequence: {
      const Flavour flavour = items_of(self).flavour;
      if (flavour == Flavour::List) return find_row(kListMethods, name);
      if (flavour == Flavour::Tuple || flavour == Flavour::GroupTuple) return find_row(kTupleMethods, name);
      return nullptr;
    }
    default: return nullptr;
  }
}

}  // namespace apr::model::jinja
