// Expressions of the grammar; Parser (parser.cpp) adds the statements.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lexer.h"

namespace apr::model::jinja {

class ExpressionParser {
 protected:
  explicit ExpressionParser(Program& program) : program_(program), tokens_(tokenize(program)) {}

  /// One level of nesting; throws at ChatTemplate::kMaxNesting.
  class Nested {
   public:
    explicit Nested(ExpressionParser& parser);
    ~Nested() { --parser_.nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    ExpressionParser& parser_;
  };

  // --- tokens ---
  [[nodiscard]] const Token& current() const { return tokens_[index_]; }
  [[nodiscard]] const Token& ahead() const { return tokens_[std::min(index_ + 1, tokens_.size() - 1)]; }
  [[nodiscard]] std::string_view text(const Token& token) const {
    return std::string_view(program_.source).substr(token.begin, token.end - token.begin);
  }
  [[nodiscard]] bool is(TokenType type) const { return current().type == type; }
  [[nodiscard]] bool is_op(std::string_view op) const { return is(TokenType::Operator) && text(current()) == op; }
  [[nodiscard]] bool is_name(std::string_view name) const { return is(TokenType::Name) && text(current()) == name; }
  const Token& advance();
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  void expect(TokenType type, std::string_view described);
  std::string expect_name(std::string_view described = "name");
  [[nodiscard]] std::string described() const;
  [[noreturn]] void fail_here(std::string message) const;

  // --- expressions ---
  Expr* make(ExprKind kind, std::uint32_t offset);
  const Expr* expression(bool with_condition = true);
  /// An expression, or a tuple when commas follow. `end_name`: a name that ends it, e.g. "in".
  const Expr* tuple(bool with_condition = true, std::string_view end_name = {}, bool parentheses = false);
  /// What can be assigned to: names, tuples of them, and ns.attribute if allowed.
  const Expr* target(bool with_namespace, std::string_view end_name = {});
  /// A chain of filters behind `node`, which may be nullptr; `inline_first`: the first has no bar.
  const Expr* filters(const Expr* node, bool inline_first = false);

  /// A use of a filter or a test that is unknown is an error of the template, unless it stands under an `if`.
  void report_unknown() const;
  /// `loop` cannot be assigned inside of a for block.
  void check_loop_target(const Expr& expr) const;

  Program& program_;
  std::vector<Token> tokens_;
  std::size_t index_ = 0;
  unsigned nesting_ = 0;
  unsigned for_depth_ = 0;
  bool soft_ = false;  // under an if
  std::vector<Macro*> open_macros_;

 private:
  struct Unknown {
    const Expr* expr;
    bool soft;
  };

  const Expr* condition();
  const Expr* either();
  const Expr* both();
  const Expr* negation();
  const Expr* comparison();
  const Expr* sum();
  const Expr* concatenation();
  const Expr* product();
  const Expr* power();
  const Expr* unary(bool with_filter = true);
  const Expr* primary(bool with_namespace = false);
  const Expr* name_or_constant(bool with_namespace);
  const Expr* list();
  const Expr* dict();
  const Expr* postfix(const Expr* node);
  const Expr* filter_or_test(const Expr* node);
  const Expr* subscript(const Expr* node);
  const Expr* bracketed(const Expr* node, std::uint32_t offset);
  const Expr* call(const Expr* node);
  const Expr* test(const Expr* node);
  void call_args(CallArgs& args);
  std::string dotted_name();
  template <class Next>
  const Expr* left_chain(Next next, std::initializer_list<std::pair<std::string_view, Op>> operators);
  Expr* constant(Value value, std::uint32_t offset);
  const Expr* simple_tuple(bool with_namespace, std::string_view end_name);
  bool at_tuple_end(std::string_view end_name) const;

  std::vector<Unknown> unknown_;
};

}  // namespace apr::model::jinja
