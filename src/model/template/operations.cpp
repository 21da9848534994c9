#include <fmt/format.h>

#include <cmath>

#include "runtime.h"

namespace apr::model::jinja {

namespace {

std::string_view symbol(Op op) {
  switch (op) {
    case Op::Add: return "+";
    case Op::Sub: return "-";
    case Op::Mul: return "*";
    case Op::Div: return "/";
    case Op::FloorDiv: return "//";
    case Op::Mod: return "%";
    default: return "** or pow()";
  }
}

[[noreturn]] void overflow() { fail("the result does not fit a 64-bit integer"); }

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  if (b == 0) fail("integer division or modulo by zero");
  if (b == -1) {
    std::int64_t negated = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &negated)) overflow();
    return negated;
  }
  const std::int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

std::int64_t floor_mod(std::int64_t a, std::int64_t b) {
  if (b == 0) fail("integer division or modulo by zero");
  if (b == -1) return 0;
  const std::int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail("0.0 cannot be raised to a negative power");
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) overflow();
  }
  return Value::integer(result);
}

Value integers(Op op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  switch (op) {
    case Op::Add:
      if (__builtin_add_overflow(a, b, &result)) overflow();
      return Value::integer(result);
    case Op::Sub:
      if (__builtin_sub_overflow(a, b, &result)) overflow();
      return Value::integer(result);
    case Op::Mul:
      if (__builtin_mul_overflow(a, b, &result)) overflow();
      return Value::integer(result);
    case Op::Div:
      if (b == 0) fail("division by zero");
      return Value::real(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case Op::FloorDiv: return Value::integer(floor_div(a, b));
    case Op::Mod: return Value::integer(floor_mod(a, b));
    default: return integer_power(a, b);
  }
}

double float_mod(double a, double b, double& quotient) {
  if (b == 0) fail("float floor division or modulo by zero");
  double mod = std::fmod(a, b);
  double div = (a - mod) / b;
  if (mod != 0) {
    if ((b < 0) != (mod < 0)) {
      mod += b;
      div -= 1;
    }
  } else {
    mod = std::copysign(0.0, b);
  }
  quotient = std::floor(div);
  if (div - quotient > 0.5) quotient += 1;
  if (div == 0) quotient = std::copysign(0.0, a / b);
  return mod;
}

double floats(Op op, double a, double b) {
  double quotient = 0;
  switch (op) {
    case Op::Add: return a + b;
    case Op::Sub: return a - b;
    case Op::Mul: return a * b;
    case Op::Div:
      if (b == 0) fail("float division by zero");
      return a / b;
    case Op::FloorDiv: (void)float_mod(a, b, quotient); return quotient;
    case Op::Mod: return float_mod(a, b, quotient);
    default: break;
  }
  if (a == 0 && b < 0) fail("0.0 cannot be raised to a negative power");
  const double power = std::pow(a, b);
  if (std::isnan(power) && !std::isnan(a) && !std::isnan(b)) fail("a complex power is not supported");
  if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) fail("the result of a power is too large");
  return power;
}

/// The list or tuple that `v` is, else nullptr.
const SequenceObject* as_list(const Value& v) {
  if (!v.is(Kind::Sequence)) return nullptr;
  const auto& sequence = v.as<SequenceObject>();
  const bool fits = sequence.flavour == Flavour::List || sequence.flavour == Flavour::Tuple ||
                    sequence.flavour == Flavour::GroupTuple;
  return fits ? &sequence : nullptr;
}

bool is_list(const SequenceObject& s) { return s.flavour == Flavour::List; }

Value add_texts(Runtime& rt, const Value& a, const Value& b) {
  Builder out(rt);
  const bool markup = a.is_markup() || b.is_markup();
  for (const Value* part : {&a, &b}) {
    if (markup && !part->is_markup()) {
      append_escaped(out, part->view());
    } else {
      out.add(part->view());
    }
  }
  return out.finish(markup);
}

Value add_lists(Runtime& rt, const SequenceObject& a, const SequenceObject& b) {
  std::vector<Value> items;
  rt.budget.step(a.items.size() + b.items.size());
  items.reserve(a.items.size() + b.items.size());
  items.insert(items.end(), a.items.begin(), a.items.end());
  items.insert(items.end(), b.items.begin(), b.items.end());
  return rt.sequence(is_list(a) ? Flavour::List : Flavour::Tuple, std::move(items));
}

Value repeated(Runtime& rt, const Value& value, std::int64_t count) {
  const auto times = static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
  if (value.is_string()) {
    Builder out(rt);
    out.repeat(value.view(), times);
    return out.finish(value.is_markup());
  }
  const SequenceObject& sequence = *as_list(value);
  std::vector<Value> items;
  for (std::uint64_t i = 0; i < times && !sequence.items.empty(); ++i) {
    rt.budget.step(sequence.items.size());
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
    if (items.size() % 4096 < sequence.items.size()) rt.budget.check_text(items.size() * sizeof(Value));
  }
  return rt.sequence(is_list(sequence) ? Flavour::List : Flavour::Tuple, std::move(items));
}

bool repeatable(const Value& v) { return v.is_string() || as_list(v) != nullptr; }

}  // namespace

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::Undefined:
    case Kind::None: return false;
    case Kind::Bool:
    case Kind::Int: return value.as_int() != 0;
    case Kind::Float: return value.as_double() != 0;
    case Kind::String: return !value.view().empty();
    case Kind::Sequence: {
      const auto& sequence = value.as<SequenceObject>();
      return sequence.flavour == Flavour::Generator || !sequence.items.empty();
    }
    case Kind::Dict: return !value.as<DictObject>().entries.empty();
    case Kind::Range: return value.as<RangeObject>().length != 0;
    default: return true;
  }
}

void require_defined(const Value& value) {
  if (!value.is_undefined()) return;
  fail(value.view().empty() ? "a value is undefined" : std::string(value.view()));
}

Value binary(Runtime& rt, Op op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return integers(op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return Value::real(floats(op, a.as_double(), b.as_double()));
  if (op == Op::Mod && a.is_string()) return percent_format(rt, a, b);
  if (op == Op::Add) {
    if (a.is_string() && b.is_string()) return add_texts(rt, a, b);
    const SequenceObject* x = as_list(a);
    const SequenceObject* y = as_list(b);
    if (x != nullptr && y != nullptr && is_list(*x) == is_list(*y)) return add_lists(rt, *x, *y);
  }
  if (op == Op::Mul && repeatable(a) && b.is_integral()) return repeated(rt, a, b.as_int());
  if (op == Op::Mul && repeatable(b) && a.is_integral()) return repeated(rt, b, a.as_int());
  require_defined(a);
  require_defined(b);
  if (op == Op::Add && a.is_string()) fail(fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
  fail(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

Value negate(Op op, const Value& a) {
  if (op == Op::Not) return Value::boolean(!truthy(a));
  if (a.is(Kind::Float)) return Value::real(op == Op::Neg ? -a.as_double() : a.as_double());
  if (a.is_integral()) return op == Op::Neg ? integers(Op::Sub, 0, a.as_int()) : Value::integer(a.as_int());
  require_defined(a);
  fail(fmt::format("bad operand type for unary {}: '{}'", op == Op::Neg ? "-" : "+", type_name(a)));
}

}  // namespace apr::model::jinja
