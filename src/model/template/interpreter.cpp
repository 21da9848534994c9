#include "interpreter.h"

#include <fmt/format.h>

#include "apr/core/error.h"
#include "loop_state.h"

namespace apr::model::jinja {

namespace {

Value to_value(Runtime& rt, const TemplateValue& value) {
  struct Visitor {
    Runtime& rt;
    Value operator()(std::monostate) const { return Value::none(); }
    Value operator()(bool v) const { return Value::boolean(v); }
    Value operator()(std::int64_t v) const { return Value::integer(v); }
    Value operator()(double v) const { return Value::real(v); }
    Value operator()(const std::string& v) const { return rt.text(v); }
  };
  return std::visit(Visitor{rt}, value);
}

Value to_messages(Runtime& rt, const std::vector<ChatMessage>& messages) {
  const Value role_key = rt.text("role");
  const Value content_key = rt.text("content");
  std::vector<Value> items;
  for (const ChatMessage& message : messages) {
    std::vector<std::pair<Value, Value>> entries;
    entries.emplace_back(role_key, rt.text(message.role));
    entries.emplace_back(content_key, rt.text(message.content));
    items.push_back(rt.dict(std::move(entries)));
  }
  return rt.list(std::move(items));
}

}  // namespace

Interpreter::Interpreter(const Program& program, const TemplateContext& context, const TemplateLimits& limits)
    : program_(program), rt_(limits), output_(rt_) {
  Scope* globals = rt_.make<Scope>();
  add_globals(rt_, *globals, context);
  set_variable(*globals, "messages", to_messages(rt_, context.messages));
  set_variable(*globals, "add_generation_prompt", Value::boolean(context.add_generation_prompt));
  set_variable(*globals, "tools", Value::none());
  set_variable(*globals, "documents", Value::none());
  if (context.bos_token) set_variable(*globals, "bos_token", rt_.text(*context.bos_token));
  if (context.eos_token) set_variable(*globals, "eos_token", rt_.text(*context.eos_token));
  for (const auto& [name, value] : context.extra) set_variable(*globals, name, to_value(rt_, value));
  root_ = inner(*globals);
}

std::string Interpreter::run() {
  try {
    (void)run_block(program_.body, *root_);
    return output_.take();
  } catch (Error& error) {
    if (error.field.empty()) error.field = program_.place(offset_);
    throw;
  }
}

Scope* Interpreter::inner(Scope& scope) {
  Scope* made = rt_.make<Scope>();
  made->parent = &scope;
  return made;
}

void Interpreter::set_variable(Scope& scope, std::string_view name, Value value) {
  rt_.budget.step(1 + scope.variables.size() / 16);
  for (auto& [known, stored] : scope.variables) {
    if (known == name) {
      stored = std::move(value);
      return;
    }
  }
  rt_.budget.take(sizeof(scope.variables[0]));
  scope.variables.emplace_back(name, std::move(value));
}

const Value* Interpreter::find_variable(const Scope& scope, std::string_view name) {
  for (const Scope* at = &scope; at != nullptr; at = at->parent) {
    rt_.budget.step(1 + at->variables.size() / 16);
    for (const auto& [known, value] : at->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

Value Interpreter::make_macro(const Macro& macro, Scope& scope) {
  for (Scope* at = &scope; at != nullptr; at = at->parent) at->captured = true;
  auto* object = rt_.make<MacroObject>();
  object->macro = &macro;
  object->closure = &scope;
  return Value::object(Kind::Macro, object);
}

Value Interpreter::captured(const Block& block, Scope& scope, Flow* flow) {
  Builder text(rt_);
  Builder* outer = std::exchange(out_, &text);
  const Flow result = run_block(block, scope);
  out_ = outer;
  if (flow != nullptr) *flow = result;
  return text.finish();
}

Interpreter::Flow Interpreter::run_block(const Block& block, Scope& scope) {
  const Depth depth(rt_.budget);
  for (const Stmt* stmt : block) {
    const Flow flow = run_stmt(*stmt, scope);
    if (flow != Flow::Normal) return flow;
  }
  return Flow::Normal;
}

Interpreter::Flow Interpreter::run_stmt(const Stmt& stmt, Scope& scope) {
  rt_.budget.step();
  offset_ = stmt.offset;
  Flow flow = Flow::Normal;
  switch (stmt.kind) {
    case StmtKind::Data: out_->add(stmt.data); break;
    case StmtKind::Output: append_str(rt_, *out_, eval(*stmt.expr, scope)); break;
    case StmtKind::Set: assign(*stmt.target, eval(*stmt.expr, scope), scope); break;
    case StmtKind::SetBlock: {
      Scope* own = inner(scope);
      Value text = captured(stmt.body, *own, &flow);
      if (flow != Flow::Normal) break;
      if (stmt.expr != nullptr) text = eval_filter(*stmt.expr, *own, &text);
      assign(*stmt.target, text, scope);
      break;
    }
    case StmtKind::If: return run_if(stmt, scope);
    case StmtKind::For: return run_for(stmt, eval(*stmt.expr, scope), scope, 0);
    case StmtKind::MacroDef: set_variable(scope, stmt.macro->name, make_macro(*stmt.macro, scope)); break;
    case StmtKind::CallBlock: run_call_block(stmt, scope); break;
    case StmtKind::FilterBlock: {
      Scope* own = inner(scope);
      const Value text = captured(stmt.body, *own, &flow);
      if (flow == Flow::Normal) append_str(rt_, *out_, eval_filter(*stmt.expr, *own, &text));
      break;
    }
    case StmtKind::With: {
      Scope* own = inner(scope);
      for (std::size_t i = 0; i < stmt.targets.size(); ++i) {
        assign(*stmt.targets[i], eval(*stmt.branches[i].condition, scope), *own);
      }
      return run_block(stmt.body, *own);
    }
    case StmtKind::Scope: return run_block(stmt.body, *inner(scope));
    case StmtKind::Break: return Flow::Break;
    case StmtKind::Continue: return Flow::Continue;
  }
  return flow;
}

Interpreter::Flow Interpreter::run_if(const Stmt& stmt, Scope& scope) {
  for (const Branch& branch : stmt.branches) {
    if (branch.condition == nullptr || truthy(eval(*branch.condition, scope))) return run_block(branch.body, scope);
  }
  return Flow::Normal;
}

Interpreter::Flow Interpreter::run_for(const Stmt& stmt, const Value& iterable, Scope& scope, std::int64_t depth0) {
  const Depth depth(rt_.budget);
  auto* loop = rt_.make<LoopState>();
  loop->start(*this, stmt, iterable, scope, depth0);
  const Value loop_value = Value::object(Kind::Loop, static_cast<LoopObject*>(loop));
  Scope* own = nullptr;
  bool completed = false;  // a round that break or continue cut short does not keep the else part away
  for (Value item; loop->next(item);) {
    // A scope that no macro kept is used again.
    if (own == nullptr || own->captured) {
      own = inner(scope);
    } else {
      own->variables.clear();
    }
    set_variable(*own, "loop", loop_value);
    assign(*stmt.target, item, *own);
    const Flow flow = run_block(stmt.body, *own);
    if (flow == Flow::Break) break;
    completed = completed || flow == Flow::Normal;
  }
  if (!completed && !stmt.branches.empty()) return run_block(stmt.branches[0].body, *inner(scope));
  return Flow::Normal;
}

void Interpreter::run_call_block(const Stmt& stmt, Scope& scope) {
  const Value caller = make_macro(*stmt.macro, scope);
  const Depth depth(rt_.budget);
  append_str(rt_, *out_, eval_call(*stmt.expr, scope, &caller));
}

void Interpreter::assign(const Expr& target, const Value& value, Scope& scope) {
  switch (target.kind) {
    case ExprKind::Name: set_variable(scope, target.text, value); return;
    case ExprKind::NamespaceRef: {
      offset_ = target.offset;
      const Value* found = find_variable(scope, target.items[0]->text);
      if (found == nullptr || !found->is(Kind::Namespace)) fail("cannot assign attribute on non-namespace object");
      auto& attributes = found->as<NamespaceObject>().attributes;
      for (auto& [name, stored] : attributes) {
        if (name == target.text) {
          stored = value;
          return;
        }
      }
      rt_.budget.take(sizeof(attributes[0]) + target.text.size());
      attributes.emplace_back(target.text, value);
      return;
    }
    default: break;
  }
  Cursor cursor(rt_, value);
  std::vector<Value> items;
  for (Value item; cursor.next(item);) {
    if (items.size() == target.items.size()) {
      fail(fmt::format("too many values to unpack (expected {})", target.items.size()));
    }
    items.push_back(item);
  }
  if (items.size() < target.items.size()) {
    fail(fmt::format("not enough values to unpack (expected {}, got {})", target.items.size(), items.size()));
  }
  for (std::size_t i = 0; i < items.size(); ++i) assign(*target.items[i], items[i], scope);
}

}  // namespace apr::model::jinja
