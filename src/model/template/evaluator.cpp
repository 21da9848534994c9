// The expressions of Interpreter.
#include <fmt/format.h>

#include <algorithm>

#include "filters.h"
#include "interpreter.h"
#include "loop_state.h"
#include "methods.h"

namespace apr::model::jinja {

Value Interpreter::eval(const Expr& expr, Scope& scope) {
  const Depth depth(rt_.budget);
  if (expr.kind == ExprKind::Constant) return expr.constant;
  offset_ = expr.offset;
  return eval_kind(expr, scope);
}

Value Interpreter::eval_kind(const Expr& expr, Scope& scope) {
  switch (expr.kind) {
    case ExprKind::Constant: return expr.constant;
    case ExprKind::Name: return eval_name(expr, scope);
    case ExprKind::NamespaceRef: break;  // a target only
    case ExprKind::Attribute: {
      const Value object = eval(*expr.items[0], scope);
      offset_ = expr.offset;
      return get_attribute(rt_, object, expr.text);
    }
    case ExprKind::Item: {
      const Value object = eval(*expr.items[0], scope);
      const Value key = eval(*expr.items[1], scope);
      offset_ = expr.offset;
      return get_item(rt_, object, key);
    }
    case ExprKind::Slice: return eval_slice(expr, scope);
    case ExprKind::Call: return eval_call(expr, scope);
    case ExprKind::Filter: return eval_filter(expr, scope);
    case ExprKind::Test: {
      const Value subject = eval(*expr.items[0], scope);
      const Args args = eval_args(expr.args, scope, &subject);
      offset_ = expr.offset;
      return Value::boolean(apply_test(rt_, expr.text, args));
    }
    case ExprKind::Unary: return negate(expr.ops[0], eval(*expr.items[0], scope));
    case ExprKind::Binary: {
      const Value left = eval(*expr.items[0], scope);
      const Value right = eval(*expr.items[1], scope);
      offset_ = expr.offset;
      return binary(rt_, expr.ops[0], left, right);
    }
    case ExprKind::Concat: return eval_concat(expr, scope);
    case ExprKind::Compare: return eval_compare(expr, scope);
    case ExprKind::And: {
      Value left = eval(*expr.items[0], scope);
      return truthy(left) ? eval(*expr.items[1], scope) : left;
    }
    case ExprKind::Or: {
      Value left = eval(*expr.items[0], scope);
      return truthy(left) ? left : eval(*expr.items[1], scope);
    }
    case ExprKind::Condition: return eval_condition(expr, scope);
    case ExprKind::List:
    case ExprKind::Tuple: return eval_items(expr, scope);
    case ExprKind::Dict: return eval_dict(expr, scope);
  }
  fail("this expression has no value");
}

Value Interpreter::eval_name(const Expr& expr, const Scope& scope) {
  if (const Value* found = find_variable(scope, expr.text)) return *found;
  return rt_.undefined(fmt::format("'{}' is undefined", expr.text));
}

Value Interpreter::eval_slice(const Expr& expr, Scope& scope) {
  const Value object = eval(*expr.items[0], scope);
  Value parts[3];
  for (std::size_t i = 0; i < 3; ++i) {
    parts[i] = expr.items[i + 1] != nullptr ? eval(*expr.items[i + 1], scope) : Value::none();
  }
  offset_ = expr.offset;
  return get_slice(rt_, object, parts[0], parts[1], parts[2]);
}

Value Interpreter::eval_concat(const Expr& expr, Scope& scope) {
  Builder out(rt_);
  for (const Expr* item : expr.items) append_str(rt_, out, eval(*item, scope));
  return out.finish();
}

Value Interpreter::eval_compare(const Expr& expr, Scope& scope) {
  Value left = eval(*expr.items[0], scope);
  for (std::size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = eval(*expr.items[i + 1], scope);
    offset_ = expr.offset;
    if (!compare(rt_, expr.ops[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::eval_condition(const Expr& expr, Scope& scope) {
  if (truthy(eval(*expr.items[1], scope))) return eval(*expr.items[0], scope);
  if (expr.items[2] != nullptr) return eval(*expr.items[2], scope);
  return rt_.undefined("the inline if-expression evaluated to false and no else section was defined.");
}

Value Interpreter::eval_items(const Expr& expr, Scope& scope) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const Expr* item : expr.items) items.push_back(eval(*item, scope));
  return expr.kind == ExprKind::List ? rt_.list(std::move(items)) : rt_.tuple(std::move(items));
}

Value Interpreter::eval_dict(const Expr& expr, Scope& scope) {
  std::vector<std::pair<Value, Value>> entries;
  for (std::size_t i = 0; i < expr.items.size(); i += 2) {
    Value key = eval(*expr.items[i], scope);
    Value value = eval(*expr.items[i + 1], scope);
    offset_ = expr.offset;
    set_key(rt_, entries, std::move(key), std::move(value));
  }
  return rt_.dict(std::move(entries));
}

Value Interpreter::eval_filter(const Expr& expr, Scope& scope, const Value* input) {
  const Depth depth(rt_.budget);
  Value subject;
  if (expr.items[0] == nullptr) {
    subject = *input;
  } else {
    const bool chain = input != nullptr && expr.items[0]->kind == ExprKind::Filter;
    subject = chain ? eval_filter(*expr.items[0], scope, input) : eval(*expr.items[0], scope);
  }
  const Args args = eval_args(expr.args, scope, &subject);
  offset_ = expr.offset;
  return apply_filter(rt_, expr.text, args);
}

Args Interpreter::eval_args(const CallArgs& args, Scope& scope, const Value* first) {
  Args out;
  out.positional.reserve(args.positional.size() + 1);
  if (first != nullptr) out.positional.push_back(*first);
  for (const Expr* arg : args.positional) out.positional.push_back(eval(*arg, scope));
  for (const auto& [name, arg] : args.named) out.named.emplace_back(name, eval(*arg, scope));
  if (args.rest != nullptr) {
    for (Value& item : to_items(rt_, eval(*args.rest, scope))) out.positional.push_back(std::move(item));
  }
  if (args.rest_named == nullptr) return out;
  const Value named = eval(*args.rest_named, scope);
  if (!named.is(Kind::Dict)) fail(fmt::format("argument after ** must be a mapping, not {}", type_name(named)));
  for (const auto& [key, value] : named.as<DictObject>().entries) {
    if (!key.is_string()) fail("keywords must be strings");
    const std::string_view name = key.view();
    rt_.budget.step(1 + out.named.size() / 16);
    const auto same = [name](const auto& known) { return known.first == name; };
    if (std::any_of(out.named.begin(), out.named.end(), same)) {
      fail(fmt::format("got multiple values for keyword argument '{}'", name));
    }
    out.named.emplace_back(std::string(name), value);
  }
  return out;
}

Value Interpreter::eval_call(const Expr& expr, Scope& scope, const Value* caller) {
  const Expr& callee = *expr.items[0];
  const auto arguments = [&] {
    Args args = eval_args(expr.args, scope);
    if (caller != nullptr) args.named.emplace_back("caller", *caller);
    offset_ = expr.offset;
    return args;
  };
  if (callee.kind != ExprKind::Attribute) {
    const Value function = eval(callee, scope);
    return call(function, arguments());
  }
  // A method is called without making a bound method of it.
  const Value object = eval(*callee.items[0], scope);
  offset_ = callee.offset;
  const MethodRow* row = find_method(object, callee.text);
  if (row != nullptr && row->call != nullptr) {
    const Args args = arguments();
    return call_method(rt_, *row, object, args);
  }
  const Value function = get_attribute(rt_, object, callee.text);
  return call(function, arguments());
}

Value Interpreter::call(const Value& callee, Args args) {
  switch (callee.kind()) {
    case Kind::Macro: return call_macro(callee.as<MacroObject>(), std::move(args));
    case Kind::Function: {
      const auto& function = callee.as<FunctionObject>();
      return function.call(rt_, function, args);
    }
    case Kind::Method: {
      const auto& method = callee.as<MethodObject>();
      return call_method(rt_, *method.row, method.self, args);
    }
    case Kind::Joiner: {
      auto& joiner = callee.as<JoinerObject>();
      return std::exchange(joiner.used, true) ? joiner.separator : rt_.text("");
    }
    case Kind::Loop: {
      const Bound b("loop", args, {"iterable"}, 1);
      const Depth depth(rt_.budget);
      return static_cast<LoopState&>(callee.as<LoopObject>()).recurse(b.at(0));
    }
    default: break;
  }
  require_defined(callee);
  fail(fmt::format("'{}' object is not callable", type_name(callee)));
}

Value Interpreter::call_macro(const MacroObject& object, Args args) {
  const Depth depth(rt_.budget);
  const Macro& macro = *object.macro;
  Scope* scope = inner(*object.closure);
  const auto take_named = [&](std::string_view name) -> std::optional<Value> {
    rt_.budget.step(1 + args.named.size() / 16);
    for (auto it = args.named.begin(); it != args.named.end(); ++it) {
      if (it->first != name) continue;
      Value value = std::move(it->second);
      args.named.erase(it);
      return value;
    }
    return std::nullopt;
  };
  const std::size_t n = macro.parameters.size();
  bool explicit_caller = false;
  std::vector<std::optional<Value>> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    explicit_caller = explicit_caller || macro.parameters[i] == "caller";
    values[i] = i < args.positional.size() ? args.positional[i] : take_named(macro.parameters[i]);
  }
  if (macro.uses_caller && !explicit_caller) {
    const auto caller = take_named("caller");
    set_variable(*scope, "caller", caller && !caller->is_none() ? *caller : rt_.undefined("No caller defined"));
  }
  if (macro.uses_kwargs) {
    std::vector<std::pair<Value, Value>> entries;
    for (const auto& [name, value] : args.named) entries.emplace_back(rt_.text(name), value);
    set_variable(*scope, "kwargs", rt_.dict(std::move(entries)));
  } else if (!args.named.empty()) {
    fail(fmt::format("macro '{}' takes no keyword argument '{}'", macro.name, args.named.front().first));
  }
  if (macro.uses_varargs) {
    const auto extra = static_cast<std::ptrdiff_t>(std::min(n, args.positional.size()));
    set_variable(*scope, "varargs", rt_.tuple({args.positional.begin() + extra, args.positional.end()}));
  } else if (args.positional.size() > n) {
    fail(fmt::format("macro '{}' takes not more than {} argument(s)", macro.name, n));
  }
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t first_default = n - macro.defaults.size();
    if (!values[i] && i >= first_default) values[i] = eval(*macro.defaults[i - first_default], *scope);
    if (!values[i]) values[i] = rt_.undefined(fmt::format("parameter '{}' was not provided", macro.parameters[i]));
    set_variable(*scope, macro.parameters[i], *values[i]);
  }
  return captured(macro.body, *scope);
}

}  // namespace apr::model::jinja
