#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "runtime.h"

namespace apr::model::jinja {

namespace {

bool same_sequence_class(Flavour a, Flavour b) {
  const auto is_tuple = [](Flavour f) { return f == Flavour::Tuple || f == Flavour::GroupTuple; };
  return (a == Flavour::List && b == Flavour::List) || (is_tuple(a) && is_tuple(b));
}

/// long double holds every 64-bit integer, so that integers and floats compare exactly.
long double exact(const Value& v) {
  return v.is(Kind::Float) ? static_cast<long double>(v.as_double()) : static_cast<long double>(v.as_int());
}

bool equal_sequences(Runtime& rt, const SequenceObject& a, const SequenceObject& b) {
  if (&a == &b) return true;
  if (!same_sequence_class(a.flavour, b.flavour) || a.items.size() != b.items.size()) return false;
  for (std::size_t i = 0; i < a.items.size(); ++i) {
    if (!equals(rt, a.items[i], b.items[i])) return false;
  }
  return true;
}

bool equal_dicts(Runtime& rt, const DictObject& a, const DictObject& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = find_key(rt, b, key);
    if (other == nullptr || !equals(rt, value, *other)) return false;
  }
  return true;
}

bool equal_ranges(const RangeObject& a, const RangeObject& b) {
  if (a.length != b.length) return false;
  return a.length == 0 || (a.start == b.start && (a.length == 1 || a.step == b.step));
}

std::string_view symbol(Op op) {
  switch (op) {
    case Op::Lt: return "<";
    case Op::Le: return "<=";
    case Op::Gt: return ">";
    default: return ">=";
  }
}

bool by_order(Op op, int order) {
  switch (op) {
    case Op::Lt: return order < 0;
    case Op::Le: return order <= 0;
    case Op::Gt: return order > 0;
    default: return order >= 0;
  }
}

bool compare_numbers(Op op, long double a, long double b) {
  switch (op) {
    case Op::Lt: return a < b;
    case Op::Le: return a <= b;
    case Op::Gt: return a > b;
    default: return a >= b;
  }
}

bool compare_order(Runtime& rt, Op op, const Value& a, const Value& b) {
  const Depth depth(rt.budget);
  if (a.is_number() && b.is_number()) return compare_numbers(op, exact(a), exact(b));
  if (a.is_string() && b.is_string()) {
    rt.budget.step(std::min(a.view().size(), b.view().size()) / 64);
    return by_order(op, a.view().compare(b.view()));  // UTF-8 sorts like code points
  }
  if (a.is(Kind::Sequence) && b.is(Kind::Sequence)) {
    const auto& x = a.as<SequenceObject>();
    const auto& y = b.as<SequenceObject>();
    if (same_sequence_class(x.flavour, y.flavour)) {
      const std::size_t n = std::min(x.items.size(), y.items.size());
      for (std::size_t i = 0; i < n; ++i) {
        if (!equals(rt, x.items[i], y.items[i])) return compare_order(rt, op, x.items[i], y.items[i]);
      }
      return by_order(op, x.items.size() < y.items.size() ? -1 : x.items.size() > y.items.size() ? 1 : 0);
    }
  }
  require_defined(a);
  require_defined(b);
  fail(fmt::format("'{}' not supported between instances of '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

/// Merge sort: bounded whatever the order function answers (NaN breaks every ordering).
void merge_sort(Runtime& rt, const std::vector<Value>& keys, bool reverse, std::vector<std::size_t>& order,
                std::vector<std::size_t>& scratch, std::size_t begin, std::size_t end) {
  if (end - begin < 2) return;
  const std::size_t middle = begin + (end - begin) / 2;
  merge_sort(rt, keys, reverse, order, scratch, begin, middle);
  merge_sort(rt, keys, reverse, order, scratch, middle, end);
  std::size_t left = begin, right = middle;
  for (std::size_t out = begin; out < end; ++out) {
    bool take_right = left == middle;
    if (left < middle && right < end) {
      const Value& l = keys[order[left]];
      const Value& r = keys[order[right]];
      take_right = reverse ? compare(rt, Op::Lt, l, r) : compare(rt, Op::Lt, r, l);
    }
    scratch[out] = take_right ? order[right++] : order[left++];
  }
  std::copy(scratch.begin() + static_cast<std::ptrdiff_t>(begin), scratch.begin() + static_cast<std::ptrdiff_t>(end),
            order.begin() + static_cast<std::ptrdiff_t>(begin));
}

bool contains_text(const Value& item, const Value& container) {
  if (!item.is_string()) {
    require_defined(item);
    fail(fmt::format("'in <string>' requires string as left operand, not {}", type_name(item)));
  }
  const std::string_view haystack = container.view();
  const std::string_view needle = item.view();
  return needle.empty() || memmem(haystack.data(), haystack.size(), needle.data(), needle.size()) != nullptr;
}

}  // namespace

bool equals(Runtime& rt, const Value& a, const Value& b) {
  const Depth depth(rt.budget);
  if (a.is_number() && b.is_number()) return exact(a) == exact(b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::Undefined:
    case Kind::None: return true;
    case Kind::String: rt.budget.step(a.view().size() / 64); return a.view() == b.view();
    case Kind::Sequence:
      return equal_sequences(rt, a.as<SequenceObject>(), b.as<SequenceObject>()) || a.identity() == b.identity();
    case Kind::Dict: return equal_dicts(rt, a.as<DictObject>(), b.as<DictObject>());
    case Kind::Range: return equal_ranges(a.as<RangeObject>(), b.as<RangeObject>());
    default: return a.identity() == b.identity();
  }
}

bool compare(Runtime& rt, Op op, const Value& a, const Value& b) {
  switch (op) {
    case Op::Eq: return equals(rt, a, b);
    case Op::Ne: return !equals(rt, a, b);
    case Op::In: return contains(rt, a, b);
    case Op::NotIn: return !contains(rt, a, b);
    default: return compare_order(rt, op, a, b);
  }
}

bool contains(Runtime& rt, const Value& item, const Value& container) {
  if (container.is_string()) {
    rt.budget.step(container.view().size() / 64);
    return contains_text(item, container);
  }
  if (container.is(Kind::Dict)) {
    require_hashable(item);
    return find_key(rt, container.as<DictObject>(), item) != nullptr;
  }
  if (!is_iterable(container)) fail(fmt::format("argument of type '{}' is not iterable", type_name(container)));
  Cursor cursor(rt, container);
  for (Value candidate; cursor.next(candidate);) {
    if (equals(rt, item, candidate)) return true;
  }
  return false;
}

void require_hashable(const Value& value) {
  if (value.is(Kind::Dict)) fail("unhashable type: 'dict'");
  if (!value.is(Kind::Sequence)) return;
  const auto& sequence = value.as<SequenceObject>();
  if (sequence.flavour == Flavour::Generator) return;
  if (sequence.flavour != Flavour::Tuple && sequence.flavour != Flavour::GroupTuple) {
    fail(fmt::format("unhashable type: '{}'", type_name(value)));
  }
  for (const Value& item : sequence.items) {
    if (item.is(Kind::Dict) || item.is(Kind::Sequence)) require_hashable(item);
  }
}

std::vector<std::size_t> sort_order(Runtime& rt, const std::vector<Value>& keys, bool reverse) {
  std::vector<std::size_t> order(keys.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> scratch(keys.size());
  merge_sort(rt, keys, reverse, order, scratch, 0, keys.size());
  return order;
}

}  // namespace apr::model::jinja
