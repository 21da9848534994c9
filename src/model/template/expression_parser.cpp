#include "expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "filters.h"

namespace apr::model::jinja {

ExpressionParser::Nested::Nested(ExpressionParser& parser) : parser_(parser) {
  if (parser.nesting_ >= ChatTemplate::kMaxNesting) {
    parser.fail_here(fmt::format("nested deeper than {} levels", ChatTemplate::kMaxNesting));
  }
  ++parser.nesting_;
}

const Token& ExpressionParser::advance() {
  const Token& token = tokens_[index_];
  if (index_ + 1 < tokens_.size()) ++index_;
  return token;
}

bool ExpressionParser::skip_op(std::string_view op) {
  if (!is_op(op)) return false;
  advance();
  return true;
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  advance();
  return true;
}

std::string ExpressionParser::described() const {
  switch (current().type) {
    case TokenType::Data: return "template data / text";
    case TokenType::BlockBegin: return "begin of statement block";
    case TokenType::BlockEnd: return "end of statement block";
    case TokenType::VariableBegin: return "begin of print statement";
    case TokenType::VariableEnd: return "end of print statement";
    case TokenType::String: return "string";
    case TokenType::Integer: return "integer";
    case TokenType::Float: return "float";
    case TokenType::End: return "end of template";
    default: return std::string(text(current()));
  }
}

void ExpressionParser::fail_here(std::string message) const {
  syntax_error(program_, current().begin, std::move(message));
}

void ExpressionParser::expect(TokenType type, std::string_view what) {
  if (is(TokenType::End)) fail_here(fmt::format("unexpected end of template, expected '{}'.", what));
  if (!is(type)) fail_here(fmt::format("expected token '{}', got '{}'", what, described()));
  advance();
}

void ExpressionParser::expect_op(std::string_view op) {
  if (is_op(op)) {
    advance();
    return;
  }
  if (is(TokenType::End)) fail_here(fmt::format("unexpected end of template, expected '{}'.", op));
  fail_here(fmt::format("expected token '{}', got '{}'", op, described()));
}

std::string ExpressionParser::expect_name(std::string_view what) {
  const std::string_view name = text(current());
  expect(TokenType::Name, what);
  return std::string(name);
}

Expr* ExpressionParser::make(ExprKind kind, std::uint32_t offset) {
  auto owned = std::make_unique<Expr>();
  owned->kind = kind;
  owned->offset = offset;
  Expr* expr = owned.get();
  program_.exprs.push_back(std::move(owned));
  return expr;
}

Expr* ExpressionParser::constant(Value value, std::uint32_t offset) {
  Expr* expr = make(ExprKind::Constant, offset);
  expr->constant = std::move(value);
  return expr;
}

const Expr* ExpressionParser::expression(bool with_condition) {
  const Nested nested(*this);
  return with_condition ? condition() : either();
}

const Expr* ExpressionParser::condition() {
  const std::uint32_t offset = current().begin;
  std::size_t first_unknown = unknown_.size();
  const Expr* value = either();
  while (skip_name("if")) {
    Expr* made = make(ExprKind::Condition, offset);
    const Expr* test = either();
    const Expr* other = nullptr;
    if (skip_name("else")) {
      const Nested nested(*this);
      other = condition();
    }
    made->items = {value, test, other};
    for (; first_unknown < unknown_.size(); ++first_unknown) unknown_[first_unknown].soft = true;
    value = made;
  }
  return value;
}

const Expr* ExpressionParser::either() {
  const Expr* left = both();
  while (is_name("or")) {
    Expr* made = make(ExprKind::Or, advance().begin);
    made->items = {left, both()};
    left = made;
  }
  return left;
}

const Expr* ExpressionParser::both() {
  const Expr* left = negation();
  while (is_name("and")) {
    Expr* made = make(ExprKind::And, advance().begin);
    made->items = {left, negation()};
    left = made;
  }
  return left;
}

const Expr* ExpressionParser::negation() {
  if (!is_name("not")) return comparison();
  const Nested nested(*this);
  Expr* made = make(ExprKind::Unary, advance().begin);
  made->ops = {Op::Not};
  made->items = {negation()};
  return made;
}

const Expr* ExpressionParser::comparison() {
  constexpr std::pair<std::string_view, Op> kOps[] = {{"==", Op::Eq}, {"!=", Op::Ne}, {"<", Op::Lt},
                                                      {"<=", Op::Le}, {">", Op::Gt},  {">=", Op::Ge}};
  const std::uint32_t offset = current().begin;
  const Expr* first = sum();
  Expr* made = nullptr;
  for (;;) {
    std::optional<Op> op;
    for (const auto& [symbol, value] : kOps) {
      if (is_op(symbol)) op = value;
    }
    if (op) {
      advance();
    } else if (skip_name("in")) {
      op = Op::In;
    } else if (is_name("not") && ahead().type == TokenType::Name && text(ahead()) == "in") {
      advance();
      advance();
      op = Op::NotIn;
    }
    if (!op) return made != nullptr ? made : first;
    if (made == nullptr) {
      made = make(ExprKind::Compare, offset);
      made->items = {first};
    }
    made->ops.push_back(*op);
    made->items.push_back(sum());
  }
}

template <class Next>
const Expr* ExpressionParser::left_chain(Next next, std::initializer_list<std::pair<std::string_view, Op>> operators) {
  const Expr* left = next();
  for (;;) {
    const auto* found = operators.begin();
    while (found != operators.end() && !is_op(found->first)) ++found;
    if (found == operators.end()) return left;
    Expr* made = make(ExprKind::Binary, advance().begin);
    made->ops = {found->second};
    made->items = {left, next()};
    left = made;
  }
}

const Expr* ExpressionParser::sum() {
  return left_chain([this] { return concatenation(); }, {{"+", Op::Add}, {"-", Op::Sub}});
}

const Expr* ExpressionParser::concatenation() {
  const std::uint32_t offset = current().begin;
  const Expr* first = product();
  if (!is_op("~")) return first;
  Expr* made = make(ExprKind::Concat, offset);
  made->items = {first};
  while (skip_op("~")) made->items.push_back(product());
  return made;
}

const Expr* ExpressionParser::product() {
  return left_chain([this] { return power(); }, {{"*", Op::Mul}, {"/", Op::Div}, {"//", Op::FloorDiv}, {"%", Op::Mod}});
}

const Expr* ExpressionParser::power() {
  return left_chain([this] { return unary(); }, {{"**", Op::Pow}});
}

const Expr* ExpressionParser::unary(bool with_filter) {
  const Expr* node = nullptr;
  if (is_op("-") || is_op("+")) {
    const Nested nested(*this);
    const Op op = is_op("-") ? Op::Neg : Op::Pos;
    Expr* made = make(ExprKind::Unary, advance().begin);
    made->ops = {op};
    made->items = {unary(false)};
    node = made;
  } else {
    node = primary();
  }
  node = postfix(node);
  return with_filter ? filter_or_test(node) : node;
}

const Expr* ExpressionParser::name_or_constant(bool with_namespace) {
  const Token& token = advance();
  const std::string_view name = text(token);
  if (name == "true" || name == "True") return constant(Value::boolean(true), token.begin);
  if (name == "false" || name == "False") return constant(Value::boolean(false), token.begin);
  if (name == "none" || name == "None") return constant(Value::none(), token.begin);
  Expr* made = make(ExprKind::Name, token.begin);
  made->text = name;
  for (Macro* macro : open_macros_) {
    macro->uses_caller = macro->uses_caller || name == "caller";
    macro->uses_kwargs = macro->uses_kwargs || name == "kwargs";
    macro->uses_varargs = macro->uses_varargs || name == "varargs";
  }
  if (!with_namespace || !skip_op(".")) return made;
  Expr* reference = make(ExprKind::NamespaceRef, token.begin);
  reference->items = {made};
  reference->text = expect_name();
  return reference;
}

const Expr* ExpressionParser::primary(bool with_namespace) {
  const Token& token = current();
  switch (token.type) {
    case TokenType::Name: return name_or_constant(with_namespace);
    case TokenType::String: {
      std::string content;
      while (is(TokenType::String)) content += unescaped(program_, advance());
      return constant(Value::string(std::make_shared<const Text>(nullptr, std::move(content))), token.begin);
    }
    case TokenType::Integer: {
      std::string digits(text(token));
      std::erase(digits, '_');
      int base = 10;
      if (digits.size() > 2 && digits[0] == '0') {
        base = (digits[1] | 0x20) == 'x' ? 16 : (digits[1] | 0x20) == 'o' ? 8 : (digits[1] | 0x20) == 'b' ? 2 : 10;
      }
      const char* begin = digits.data() + (base == 10 ? 0 : 2);
      std::int64_t value = 0;
      if (std::from_chars(begin, digits.data() + digits.size(), value, base).ec != std::errc()) {
        fail_here("an integer does not fit 64 bits");
      }
      advance();
      return constant(Value::integer(value), token.begin);
    }
    case TokenType::Float: {
      std::string digits(text(token));
      std::erase(digits, '_');
      double value = 0;
      const auto status = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (status.ec != std::errc()) fail_here("a float is out of range");
      advance();
      return constant(Value::real(value), token.begin);
    }
    default: break;
  }
  if (is_op("[")) return list();
  if (is_op("{")) return dict();
  if (!skip_op("(")) fail_here(fmt::format("unexpected '{}'", described()));
  const Expr* inner = tuple(true, {}, true);
  expect_op(")");
  return inner;
}

bool ExpressionParser::at_tuple_end(std::string_view end_name) const {
  return is(TokenType::VariableEnd) || is(TokenType::BlockEnd) || is_op(")") ||
         (!end_name.empty() && is_name(end_name));
}

const Expr* ExpressionParser::tuple(bool with_condition, std::string_view end_name, bool parentheses) {
  const std::uint32_t offset = current().begin;
  std::vector<const Expr*> items;
  bool is_tuple = false;
  for (;;) {
    if (at_tuple_end(end_name)) break;
    items.push_back(expression(with_condition));
    if (!skip_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return items[0];
    if (!parentheses) fail_here(fmt::format("Expected an expression, got '{}'", described()));
  }
  Expr* made = make(ExprKind::Tuple, offset);
  made->items = std::move(items);
  return made;
}

const Expr* ExpressionParser::simple_tuple(bool with_namespace, std::string_view end_name) {
  const std::uint32_t offset = current().begin;
  std::vector<const Expr*> items;
  bool is_tuple = false;
  while (!at_tuple_end(end_name)) {
    const Nested nested(*this);
    items.push_back(primary(with_namespace));
    if (!skip_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return items[0];
  if (items.empty()) fail_here(fmt::format("Expected an expression, got '{}'", described()));
  Expr* made = make(ExprKind::Tuple, offset);
  made->items = std::move(items);
  return made;
}

namespace {
bool assignable(const Expr& expr) {
  if (expr.kind == ExprKind::Name || expr.kind == ExprKind::NamespaceRef) return true;
  if (expr.kind != ExprKind::Tuple) return false;
  for (const Expr* item : expr.items) {
    if (!assignable(*item)) return false;
  }
  return true;
}
}  // namespace

const Expr* ExpressionParser::target(bool with_namespace, std::string_view end_name) {
  const Expr* made = simple_tuple(with_namespace, end_name);
  if (!assignable(*made)) syntax_error(program_, made->offset, "can't assign to this expression");
  check_loop_target(*made);
  return made;
}

void ExpressionParser::check_loop_target(const Expr& expr) const {
  if (for_depth_ == 0) return;
  if (expr.kind == ExprKind::Name && expr.text == "loop") {
    syntax_error(program_, expr.offset, "Can't assign to special loop variable in for-loop target");
  }
  if (expr.kind != ExprKind::Tuple) return;
  for (const Expr* item : expr.items) check_loop_target(*item);
}

const Expr* ExpressionParser::list() {
  Expr* made = make(ExprKind::List, advance().begin);
  while (!is_op("]")) {
    if (!made->items.empty()) {
      expect_op(",");
      if (is_op("]")) break;
    }
    made->items.push_back(expression());
  }
  expect_op("]");
  return made;
}

const Expr* ExpressionParser::dict() {
  Expr* made = make(ExprKind::Dict, advance().begin);
  while (!is_op("}")) {
    if (!made->items.empty()) {
      expect_op(",");
      if (is_op("}")) break;
    }
    made->items.push_back(expression());
    expect_op(":");
    made->items.push_back(expression());
  }
  expect_op("}");
  return made;
}

const Expr* ExpressionParser::postfix(const Expr* node) {
  for (;;) {
    if (is_op(".") || is_op("[")) {
      node = subscript(node);
    } else if (is_op("(")) {
      node = call(node);
    } else {
      return node;
    }
  }
}

const Expr* ExpressionParser::filter_or_test(const Expr* node) {
  for (;;) {
    if (is_op("|")) {
      node = filters(node);
    } else if (is_name("is")) {
      node = test(node);
    } else if (is_op("(")) {
      node = call(node);
    } else {
      return node;
    }
  }
}

const Expr* ExpressionParser::subscript(const Expr* node) {
  const Token& token = advance();
  if (text(token) == "[") return bracketed(node, token.begin);
  if (is(TokenType::Name)) {
    Expr* made = make(ExprKind::Attribute, token.begin);
    made->items = {node};
    made->text = text(advance());
    return made;
  }
  if (!is(TokenType::Integer)) fail_here("expected name or number");
  Expr* made = make(ExprKind::Item, token.begin);
  made->items = {node, primary()};
  return made;
}

const Expr* ExpressionParser::bracketed(const Expr* node, std::uint32_t offset) {
  std::vector<const Expr*> keys;
  while (!is_op("]")) {
    if (!keys.empty()) expect_op(",");
    const Expr* start = is_op(":") ? nullptr : expression();
    if (!skip_op(":")) {
      keys.push_back(start);
      continue;
    }
    const auto part = [&]() -> const Expr* { return is_op(":") || is_op("]") || is_op(",") ? nullptr : expression(); };
    const Expr* stop = part();
    const Expr* step = skip_op(":") ? part() : nullptr;
    Expr* slice = make(ExprKind::Slice, offset);
    slice->items = {node, start, stop, step};
    if (!keys.empty() || !is_op("]")) fail_here("a slice among several subscripts is not supported");
    advance();
    return slice;
  }
  expect_op("]");
  Expr* made = make(ExprKind::Item, offset);
  if (keys.size() == 1) {
    made->items = {node, keys[0]};
    return made;
  }
  Expr* key = make(ExprKind::Tuple, offset);
  key->items = std::move(keys);
  made->items = {node, key};
  return made;
}

void ExpressionParser::call_args(CallArgs& args) {
  expect_op("(");
  bool first = true;
  const auto ensure = [&](bool ok) {
    if (!ok) fail_here("invalid syntax for function call expression");
  };
  while (!is_op(")")) {
    if (!first) {
      expect_op(",");
      if (is_op(")")) break;
    }
    first = false;
    if (skip_op("*")) {
      ensure(args.rest == nullptr && args.rest_named == nullptr);
      args.rest = expression();
    } else if (skip_op("**")) {
      ensure(args.rest_named == nullptr);
      args.rest_named = expression();
    } else if (is(TokenType::Name) && ahead().type == TokenType::Operator && text(ahead()) == "=") {
      ensure(args.rest_named == nullptr);
      std::string name(text(advance()));
      advance();
      args.named.emplace_back(std::move(name), expression());
    } else {
      ensure(args.rest == nullptr && args.rest_named == nullptr && args.named.empty());
      args.positional.push_back(expression());
    }
  }
  std::vector<std::string_view> names;
  for (const auto& named : args.named) names.push_back(named.first);
  std::sort(names.begin(), names.end());
  ensure(std::adjacent_find(names.begin(), names.end()) == names.end());
  expect_op(")");
}

const Expr* ExpressionParser::call(const Expr* node) {
  Expr* made = make(ExprKind::Call, current().begin);
  made->items = {node};
  call_args(made->args);
  return made;
}

std::string ExpressionParser::dotted_name() {
  std::string name = expect_name();
  while (skip_op(".")) name += "." + expect_name();
  return name;
}

const Expr* ExpressionParser::filters(const Expr* node, bool inline_first) {
  while (inline_first || skip_op("|")) {
    inline_first = false;
    Expr* made = make(ExprKind::Filter, current().begin);
    made->items = {node};
    made->text = dotted_name();
    if (is_op("(")) call_args(made->args);
    if (find_filter(made->text) == nullptr) unknown_.push_back({made, soft_});
    node = made;
  }
  return node;
}

const Expr* ExpressionParser::test(const Expr* node) {
  const std::uint32_t offset = advance().begin;
  const bool negated = skip_name("not");
  Expr* made = make(ExprKind::Test, offset);
  made->items = {node};
  made->text = dotted_name();
  const bool operand = is(TokenType::Name) || is(TokenType::String) || is(TokenType::Integer) || is(TokenType::Float) ||
                       is_op("[") || is_op("{");
  if (is_op("(")) {
    call_args(made->args);
  } else if (operand && !is_name("else") && !is_name("or") && !is_name("and")) {
    if (is_name("is")) fail_here("You cannot chain multiple tests with is");
    const Nested nested(*this);
    made->args.positional = {postfix(primary())};
  }
  if (find_test(made->text) == nullptr) unknown_.push_back({made, soft_});
  if (!negated) return made;
  Expr* inverse = make(ExprKind::Unary, offset);
  inverse->ops = {Op::Not};
  inverse->items = {made};
  return inverse;
}

void ExpressionParser::report_unknown() const {
  for (const Unknown& use : unknown_) {
    if (use.soft) continue;
    const std::string_view kind = use.expr->kind == ExprKind::Filter ? "filter" : "test";
    syntax_error(program_, use.expr->offset, fmt::format("No {} named '{}'.", kind, use.expr->text));
  }
}

}  // namespace apr::model::jinja
