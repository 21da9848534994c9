#include "filters.h"
#include "methods.h"
#include "text_methods.h"

namespace apr::model::jinja {

namespace {

const Value& subject(const Args& args, std::string_view name) { return Bound(name, args, {"value"}, 1).at(0); }

template <Kind kind>
bool is_kind(Runtime&, const Args& args) {
  return subject(args, "test").is(kind);
}

template <Op op>
bool compares(Runtime& rt, const Args& args) {
  const Bound b("test", args, {"a", "b"}, 2);
  return compare(rt, op, b.at(0), b.at(1));
}

bool defined(Runtime&, const Args& args) { return !subject(args, "defined").is_undefined(); }

bool remainder_is(Runtime& rt, const Value& value, const Value& divisor, std::int64_t wanted) {
  return equals(rt, binary(rt, Op::Mod, value, divisor), Value::integer(wanted));
}
bool odd(Runtime& rt, const Args& args) { return remainder_is(rt, subject(args, "odd"), Value::integer(2), 1); }
bool even(Runtime& rt, const Args& args) { return remainder_is(rt, subject(args, "even"), Value::integer(2), 0); }
bool divisible_by(Runtime& rt, const Args& args) {
  const Bound b("divisibleby", args, {"value", "num"}, 2);
  return remainder_is(rt, b.at(0), b.at(1), 0);
}

bool is_true(Runtime&, const Args& args) {
  const Value& value = subject(args, "true");
  return value.is(Kind::Bool) && value.as_bool();
}
bool is_false(Runtime&, const Args& args) {
  const Value& value = subject(args, "false");
  return value.is(Kind::Bool) && !value.as_bool();
}
bool number(Runtime&, const Args& args) { return subject(args, "number").is_number(); }
bool lower(Runtime& rt, const Args& args) { return is_lower_text(to_str(rt, subject(args, "lower")).view()); }
bool upper(Runtime& rt, const Args& args) { return is_upper_text(to_str(rt, subject(args, "upper")).view()); }

bool sequence(Runtime&, const Args& args) {
  const Value& value = subject(args, "sequence");
  if (!value.is(Kind::Sequence)) {
    return value.is_undefined() || value.is_string() || value.is(Kind::Dict) || value.is(Kind::Range);
  }
  const Flavour flavour = value.as<SequenceObject>().flavour;
  return flavour == Flavour::List || flavour == Flavour::Tuple || flavour == Flavour::GroupTuple;
}

bool iterable(Runtime&, const Args& args) {
  const Value& value = subject(args, "iterable");
  return is_iterable(value) || value.is(Kind::Loop);
}

bool is_callable(Runtime&, const Args& args) {
  switch (subject(args, "callable").kind()) {
    case Kind::Undefined:
    case Kind::Loop:
    case Kind::Macro:
    case Kind::Function:
    case Kind::Method:
    case Kind::Joiner: return true;
    default: return false;
  }
}

bool same_as(Runtime& rt, const Args& args) {
  const Bound b("sameas", args, {"value", "other"}, 2);
  if (b.at(0).kind() != b.at(1).kind()) return false;
  if (b.at(0).identity() != nullptr && !b.at(0).is_number() && !b.at(0).is_string()) {
    return b.at(0).identity() == b.at(1).identity();
  }
  return equals(rt, b.at(0), b.at(1));
}

bool is_escaped(Runtime&, const Args& args) { return subject(args, "escaped").is_markup(); }

bool in(Runtime& rt, const Args& args) {
  const Bound b("in", args, {"value", "seq"}, 2);
  return contains(rt, b.at(0), b.at(1));
}

bool is_filter(Runtime&, const Args& args) {
  const Value& value = subject(args, "filter");
  return value.is_string() && find_filter(value.view()) != nullptr;
}
bool is_test(Runtime&, const Args& args) {
  const Value& value = subject(args, "test");
  return value.is_string() && find_test(value.view()) != nullptr;
}

constexpr TestRow kTests[] = {
    {"boolean", is_kind<Kind::Bool>},
    {"callable", is_callable},
    {"defined", defined},
    {"divisibleby", divisible_by},
    {"eq", compares<Op::Eq>},
    {"equalto", compares<Op::Eq>},
    {"==", compares<Op::Eq>},
    {"escaped", is_escaped},
    {"even", even},
    {"false", is_false},
    {"filter", is_filter},
    {"float", is_kind<Kind::Float>},
    {"ge", compares<Op::Ge>},
    {">=", compares<Op::Ge>},
    {"greaterthan", compares<Op::Gt>},
    {"gt", compares<Op::Gt>},
    {">", compares<Op::Gt>},
    {"in", in},
    {"integer", is_kind<Kind::Int>},
    {"iterable", iterable},
    {"le", compares<Op::Le>},
    {"<=", compares<Op::Le>},
    {"lessthan", compares<Op::Lt>},
    {"lower", lower},
    {"lt", compares<Op::Lt>},
    {"<", compares<Op::Lt>},
    {"mapping", is_kind<Kind::Dict>},
    {"ne", compares<Op::Ne>},
    {"!=", compares<Op::Ne>},
    {"none", is_kind<Kind::None>},
    {"number", number},
    {"odd", odd},
    {"sameas", same_as},
    {"sequence", sequence},
    {"string", is_kind<Kind::String>},
    {"test", is_test},
    {"true", is_true},
    {"undefined", is_kind<Kind::Undefined>},
    {"upper", upper},
};

}  // namespace

const TestRow* find_test(std::string_view name) {
  for (const TestRow& row : kTests) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace apr::model::jinja
