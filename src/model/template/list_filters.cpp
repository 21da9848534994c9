#include <fmt/format.h>

#include <algorithm>

#include "filters.h"
#include "methods.h"
#include "unicode.h"

namespace apr::model::jinja {

namespace {

/// int(part) if the part is all digits, as of "items.0.name".
std::optional<std::int64_t> as_index(std::string_view part) {
  if (part.empty() || part.size() > 18) return std::nullopt;
  std::int64_t value = 0;
  for (const char c : part) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

Value generator(Runtime& rt, std::vector<Value> items) { return rt.sequence(Flavour::Generator, std::move(items)); }

std::vector<Value> in_order(const std::vector<Value>& items, const std::vector<std::size_t>& order) {
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const std::size_t i : order) sorted.push_back(items[i]);
  return sorted;
}

/// The key of sort: a list of the values of one path or several ("age,name"), or of the item itself.
Value sort_key(Runtime& rt, const Value& item, const Value& paths, bool case_sensitive) {
  const auto key = [&](const Value& path) {
    const Value value = walk_path(rt, item, path);
    return case_sensitive ? value : lower_case_key(rt, value);
  };
  std::vector<Value> keys;
  if (!paths.is_string()) {
    keys.push_back(key(paths));
    return rt.list(std::move(keys));
  }
  std::string_view rest = paths.view();
  for (;;) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    keys.push_back(key(rt.text(rest.substr(0, comma))));
    if (comma == rest.size()) return rt.list(std::move(keys));
    rest.remove_prefix(comma + 1);
  }
}

Value smallest_or_largest(Runtime& rt, const Args& args, Op better, std::string_view name) {
  const Bound b(name, args, {"value", "case_sensitive", "attribute"}, 1);
  const bool case_sensitive = b.truth(1, false);
  Cursor cursor(rt, b.at(0));
  Value best, best_key;
  bool any = false;
  for (Value item; cursor.next(item); any = true) {
    const Value path_value = walk_path(rt, item, b.get(2, Value::none()));
    const Value key = case_sensitive ? path_value : lower_case_key(rt, path_value);
    if (any && !compare(rt, better, key, best_key)) continue;
    best = item;
    best_key = key;
  }
  return any ? best : rt.undefined("No aggregated item, sequence was empty.");
}

/// select, reject and their attr kinds.
Value selected(Runtime& rt, const Args& args, bool keep, bool by_attribute) {
  const std::size_t off = by_attribute ? 2 : 1;
  if (args.positional.size() < off) fail("Missing parameter for attribute name");
  const Value& input = args.positional[0];
  std::vector<Value> items;
  if (!truthy(input)) return generator(rt, {});
  const bool with_test = args.positional.size() > off;
  if (with_test && !args.positional[off].is_string()) fail("a test is named by a text");
  Cursor cursor(rt, input);
  for (Value item; cursor.next(item);) {
    Value subject = by_attribute ? walk_path(rt, item, args.positional[1]) : item;
    bool passed = truthy(subject);
    if (with_test) {
      Args test_args;
      test_args.positional.push_back(std::move(subject));
      test_args.positional.insert(test_args.positional.end(),
                                  args.positional.begin() + static_cast<std::ptrdiff_t>(off) + 1,
                                  args.positional.end());
      test_args.named = args.named;
      passed = apply_test(rt, args.positional[off].view(), test_args);
    }
    if (passed == keep) items.push_back(item);
  }
  return generator(rt, std::move(items));
}

}  // namespace

Value lower_case_key(Runtime& rt, const Value& value) {
  return value.is_string() ? rt.text(to_lower(value.view())) : value;
}

Value walk_path(Runtime& rt, Value item, const Value& path, const Value* absent) {
  const auto walk = [&](const Value& key) {
    item = get_item(rt, item, key);
    if (absent != nullptr && !absent->is_none() && item.is_undefined()) item = *absent;
  };
  if (path.is_none()) return item;
  if (!path.is_string()) {
    walk(path);
    return item;
  }
  std::string_view rest = path.view();
  for (;;) {
    rt.budget.step();
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    const auto index = as_index(rest.substr(0, dot));
    walk(index ? Value::integer(*index) : rt.text(rest.substr(0, dot)));
    if (dot == rest.size()) return item;
    rest.remove_prefix(dot + 1);
  }
}

Value filter_default(Runtime& rt, const Args& args) {
  const Bound b("default", args, {"value", "default_value", "boolean"}, 1);
  const bool absent = b.at(0).is_undefined() || (b.truth(2, false) && !truthy(b.at(0)));
  if (!absent) return b.at(0);
  return b.has(1) ? b.at(1) : rt.text("");
}

Value filter_attr(Runtime& rt, const Args& args) {
  const Bound b("attr", args, {"obj", "name"}, 2);
  const std::string_view name = b.text(1);
  require_defined(b.at(0));
  if (auto found = own_attribute(rt, b.at(0), name)) return *std::move(found);
  return rt.undefined(fmt::format("'{}' has no attribute '{}'", described_type(b.at(0)), name));
}

Value filter_length(Runtime&, const Args& args) {
  const Bound b("length", args, {"obj"}, 1);
  return Value::integer(require_length(b.at(0)));
}

Value filter_list(Runtime& rt, const Args& args) {
  const Bound b("list", args, {"value"}, 1);
  return rt.list(to_items(rt, b.at(0)));
}

Value filter_items(Runtime& rt, const Args& args) {
  const Bound b("items", args, {"value"}, 1);
  if (b.at(0).is_undefined()) return generator(rt, {});
  if (!b.at(0).is(Kind::Dict)) fail("Can only get item pairs from a mapping.");
  std::vector<Value> pairs;
  for (const auto& [key, value] : b.at(0).as<DictObject>().entries) pairs.push_back(rt.pair(key, value));
  return generator(rt, std::move(pairs));
}

Value filter_first(Runtime& rt, const Args& args) {
  const Bound b("first", args, {"seq"}, 1);
  Value first;
  return Cursor(rt, b.at(0)).next(first) ? first : rt.undefined("No first item, sequence was empty.");
}

Value filter_last(Runtime& rt, const Args& args) {
  const Bound b("last", args, {"seq"}, 1);
  const auto n = length(b.at(0));
  if (!n || !is_iterable(b.at(0))) fail(fmt::format("'{}' object is not reversible", type_name(b.at(0))));
  if (*n == 0) return rt.undefined("No last item, sequence was empty.");
  if (b.at(0).is(Kind::Dict)) return b.at(0).as<DictObject>().entries.back().first;
  if (b.at(0).is(Kind::Sequence)) return b.at(0).as<SequenceObject>().items.back();
  return get_item(rt, b.at(0), Value::integer(-1));
}

Value filter_reverse(Runtime& rt, const Args& args) {
  const Bound b("reverse", args, {"value"}, 1);
  if (b.at(0).is_string()) return get_slice(rt, b.at(0), Value::none(), Value::none(), Value::integer(-1));
  if (!is_iterable(b.at(0))) fail("argument must be iterable");
  const bool was_generator = !length(b.at(0)).has_value();
  std::vector<Value> items = to_items(rt, b.at(0));
  std::reverse(items.begin(), items.end());
  return was_generator ? rt.list(std::move(items)) : generator(rt, std::move(items));
}

Value filter_join(Runtime& rt, const Args& args) {
  const Bound b("join", args, {"value", "d", "attribute"}, 1);
  const Value separator = b.has(1) ? to_str(rt, b.at(1)) : rt.text("");
  Builder out(rt);
  Cursor cursor(rt, b.at(0));
  bool first = true;
  for (Value item; cursor.next(item); first = false) {
    if (!first) out.add(separator.view());
    append_str(rt, out, walk_path(rt, item, b.get(2, Value::none())));
  }
  return out.finish();
}

Value filter_sort(Runtime& rt, const Args& args) {
  const Bound b("sort", args, {"value", "reverse", "case_sensitive", "attribute"}, 1);
  const std::vector<Value> items = to_items(rt, b.at(0));
  std::vector<Value> keys;
  for (const Value& item : items) keys.push_back(sort_key(rt, item, b.get(3, Value::none()), b.truth(2, false)));
  return rt.list(in_order(items, sort_order(rt, keys, b.truth(1, false))));
}

Value filter_dictsort(Runtime& rt, const Args& args) {
  const Bound b("dictsort", args, {"value", "case_sensitive", "by", "reverse"}, 1);
  const std::string_view by = b.has(2) ? b.text(2) : "key";
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  require_defined(b.at(0));
  if (!b.at(0).is(Kind::Dict)) fail(fmt::format("'{}' has no attribute 'items'", described_type(b.at(0))));
  std::vector<Value> pairs, keys;
  for (const auto& [key, value] : b.at(0).as<DictObject>().entries) {
    const Value& sorted_by = by == "key" ? key : value;
    keys.push_back(b.truth(1, false) ? sorted_by : lower_case_key(rt, sorted_by));
    pairs.push_back(rt.pair(key, value));
  }
  return rt.list(in_order(pairs, sort_order(rt, keys, b.truth(3, false))));
}

Value filter_groupby(Runtime& rt, const Args& args) {
  const Bound b("groupby", args, {"value", "attribute", "default", "case_sensitive"}, 2);
  const Value absent = b.get(2, Value::none());
  const auto value_of = [&](const Value& item) { return walk_path(rt, item, b.at(1), &absent); };
  const std::vector<Value> items = to_items(rt, b.at(0));
  std::vector<Value> keys;
  for (const Value& item : items)
    keys.push_back(b.truth(3, false) ? value_of(item) : lower_case_key(rt, value_of(item)));
  const std::vector<std::size_t> order = sort_order(rt, keys, false);
  std::vector<Value> groups;
  for (std::size_t i = 0; i < order.size();) {
    const Value key = keys[order[i]];
    const Value grouper = value_of(items[order[i]]);
    std::vector<Value> members;
    for (; i < order.size() && equals(rt, keys[order[i]], key); ++i) members.push_back(items[order[i]]);
    if (members.empty()) members.push_back(items[order[i++]]);  // NaN, which is not equal to itself
    std::vector<Value> group;
    group.push_back(grouper);
    group.push_back(rt.list(std::move(members)));
    groups.push_back(rt.sequence(Flavour::GroupTuple, std::move(group)));
  }
  return rt.list(std::move(groups));
}

Value filter_unique(Runtime& rt, const Args& args) {
  const Bound b("unique", args, {"value", "case_sensitive", "attribute"}, 1);
  std::vector<Value> items, seen;
  Cursor cursor(rt, b.at(0));
  for (Value item; cursor.next(item);) {
    const Value value = walk_path(rt, item, b.get(2, Value::none()));
    const Value key = b.truth(1, false) ? value : lower_case_key(rt, value);
    require_hashable(key);
    const bool known = std::any_of(seen.begin(), seen.end(), [&](const Value& s) { return equals(rt, s, key); });
    if (known) continue;
    seen.push_back(key);
    items.push_back(item);
  }
  return generator(rt, std::move(items));
}

Value filter_min(Runtime& rt, const Args& args) { return smallest_or_largest(rt, args, Op::Lt, "min"); }
Value filter_max(Runtime& rt, const Args& args) { return smallest_or_largest(rt, args, Op::Gt, "max"); }

Value filter_sum(Runtime& rt, const Args& args) {
  const Bound b("sum", args, {"iterable", "attribute", "start"}, 1);
  Value total = b.get(2, Value::integer(0));
  if (total.is_string()) fail("sum() can't sum strings [use ''.join(seq) instead]");
  Cursor cursor(rt, b.at(0));
  for (Value item; cursor.next(item);) {
    total = binary(rt, Op::Add, total, walk_path(rt, item, b.get(1, Value::none())));
  }
  return total;
}

Value filter_map(Runtime& rt, const Args& args) {
  const Value& input = args.positional[0];
  std::vector<Value> items;
  if (!truthy(input)) return generator(rt, {});
  Value path, absent = Value::none();
  bool by_attribute = false;
  if (args.positional.size() == 1) {
    for (const auto& [name, value] : args.named) {
      if (name == "attribute") {
        path = value;
        by_attribute = true;
      } else if (name == "default") {
        absent = value;
      } else {
        fail(fmt::format("Unexpected keyword argument '{}'", name));
      }
    }
    if (!by_attribute) fail("map requires a filter argument");
  } else if (!args.positional[1].is_string()) {
    fail("a filter is named by a text");
  }
  Cursor cursor(rt, input);
  for (Value item; cursor.next(item);) {
    if (by_attribute) {
      items.push_back(walk_path(rt, item, path, &absent));
      continue;
    }
    Args filter_args;
    filter_args.positional.push_back(item);
    filter_args.positional.insert(filter_args.positional.end(), args.positional.begin() + 2, args.positional.end());
    filter_args.named = args.named;
    items.push_back(apply_filter(rt, args.positional[1].view(), filter_args));
  }
  return generator(rt, std::move(items));
}

Value filter_select(Runtime& rt, const Args& args) { return selected(rt, args, true, false); }
Value filter_reject(Runtime& rt, const Args& args) { return selected(rt, args, false, false); }
Value filter_selectattr(Runtime& rt, const Args& args) { return selected(rt, args, true, true); }
Value filter_rejectattr(Runtime& rt, const Args& args) { return selected(rt, args, false, true); }

Value filter_batch(Runtime& rt, const Args& args) {
  const Bound b("batch", args, {"value", "linecount", "fill_with"}, 2);
  const std::int64_t size = b.integer(1, 1);
  const Value fill = b.get(2, Value::none());
  std::vector<Value> batches, batch;
  Cursor cursor(rt, b.at(0));
  for (Value item; cursor.next(item);) {
    if (static_cast<std::int64_t>(batch.size()) == size) batches.push_back(rt.list(std::exchange(batch, {})));
    batch.push_back(item);
  }
  if (batch.empty()) return generator(rt, std::move(batches));
  if (!fill.is_none()) {
    for (; static_cast<std::int64_t>(batch.size()) < size; batch.push_back(fill)) rt.budget.take(sizeof(Value));
  }
  batches.push_back(rt.list(std::move(batch)));
  return generator(rt, std::move(batches));
}

Value filter_slice(Runtime& rt, const Args& args) {
  const Bound b("slice", args, {"value", "slices", "fill_with"}, 2);
  const std::vector<Value> items = to_items(rt, b.at(0));
  const std::int64_t slices = b.integer(1, 1);
  const Value fill = b.get(2, Value::none());
  if (slices == 0) fail("integer division or modulo by zero");
  const auto n = static_cast<std::int64_t>(items.size());
  std::vector<Value> out;
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < slices; ++i) {
    const bool extra = i < n % slices;
    const std::int64_t end = begin + n / slices + (extra ? 1 : 0);
    std::vector<Value> part(items.begin() + begin, items.begin() + end);
    if (!fill.is_none() && !extra) part.push_back(fill);
    out.push_back(rt.list(std::move(part)));
    begin = end;
  }
  return generator(rt, std::move(out));
}

}  // namespace apr::model::jinja
