// Runs a Program.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "ast.h"

namespace apr::model::jinja {

/// Variables of one block. Assignments go to the innermost scope; a loop body, a macro, a call block, ... has its own.
struct Scope : Object {
  Scope* parent = nullptr;
  bool captured = false;  // a macro refers to it
  std::vector<std::pair<std::string_view, Value>> variables;
};

class Interpreter {
 public:
  Interpreter(const Program& program, const TemplateContext& context, const TemplateLimits& limits);
  [[nodiscard]] std::string run();

 private:
  friend class LoopState;

  enum class Flow : std::uint8_t { Normal, Break, Continue };

  // --- statements (interpreter.cpp) ---
  Flow run_block(const Block& block, Scope& scope);
  Flow run_stmt(const Stmt& stmt, Scope& scope);
  Flow run_if(const Stmt& stmt, Scope& scope);
  Flow run_for(const Stmt& stmt, const Value& iterable, Scope& scope, std::int64_t depth0);
  void run_call_block(const Stmt& stmt, Scope& scope);
  /// What a block writes, as a text.
  Value captured(const Block& block, Scope& scope, Flow* flow = nullptr);
  void assign(const Expr& target, const Value& value, Scope& scope);
  void set_variable(Scope& scope, std::string_view name, Value value);
  [[nodiscard]] const Value* find_variable(const Scope& scope, std::string_view name);
  Scope* inner(Scope& scope);
  Value make_macro(const Macro& macro, Scope& scope);

  // --- expressions (evaluator.cpp) ---
  Value eval(const Expr& expr, Scope& scope);
  Value eval_kind(const Expr& expr, Scope& scope);
  Value eval_name(const Expr& expr, const Scope& scope);
  Value eval_slice(const Expr& expr, Scope& scope);
  Value eval_concat(const Expr& expr, Scope& scope);
  Value eval_compare(const Expr& expr, Scope& scope);
  Value eval_condition(const Expr& expr, Scope& scope);
  Value eval_items(const Expr& expr, Scope& scope);
  Value eval_dict(const Expr& expr, Scope& scope);
  /// `input` is the value of a filter block; else the first filter's own operand counts.
  Value eval_filter(const Expr& expr, Scope& scope, const Value* input = nullptr);
  Value eval_call(const Expr& expr, Scope& scope, const Value* caller = nullptr);
  Args eval_args(const CallArgs& args, Scope& scope, const Value* first = nullptr);
  Value call(const Value& callee, Args args);
  Value call_macro(const MacroObject& object, Args args);

  const Program& program_;
  Runtime rt_;
  Builder output_;
  Builder* out_ = &output_;
  Scope* root_ = nullptr;
  std::uint32_t offset_ = 0;  // of what is being evaluated
};

/// range, namespace, dict, cycler, joiner, raise_exception, and strftime_now when there is a time.
void add_globals(Runtime& rt, Scope& scope, const TemplateContext& context);

}  // namespace apr::model::jinja
