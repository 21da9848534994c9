#include "loop_state.h"

#include <fmt/format.h>

#include "methods.h"

namespace apr::model::jinja {

void LoopState::start(Interpreter& interpreter, const Stmt& stmt, Value iterable, Scope& scope, std::int64_t depth0) {
  interpreter_ = &interpreter;
  stmt_ = &stmt;
  iterable_ = std::move(iterable);
  cursor_.emplace(interpreter.rt_, iterable_);
  scope_ = &scope;
  depth0_ = depth0;
}

bool LoopState::pull(Value& item) {
  if (!buffered_.empty()) {
    item = std::move(buffered_.front());
    buffered_.pop_front();
    return true;
  }
  while (!exhausted_ && cursor_->next(item)) {
    if (stmt_->test == nullptr) return true;
    Scope* scope = interpreter_->inner(*scope_);
    interpreter_->assign(*stmt_->target, item, *scope);
    if (truthy(interpreter_->eval(*stmt_->test, *scope))) return true;
  }
  exhausted_ = true;
  return false;
}

bool LoopState::peek() {
  if (after_) return true;
  Value item;
  if (!pull(item)) return false;
  after_ = std::move(item);
  return true;
}

bool LoopState::next(Value& item) {
  if (after_) {
    item = *std::move(after_);
    after_.reset();
  } else if (!pull(item)) {
    return false;
  }
  ++index0_;
  before_ = std::move(current_);
  current_ = item;
  return true;
}

std::int64_t LoopState::count(Runtime& rt) {
  if (count_) return *count_;
  const auto known = stmt_->test == nullptr ? length(iterable_) : std::nullopt;
  if (known) {
    count_ = known;
    return *count_;
  }
  std::deque<Value> rest;
  for (Value item; pull(item);) {
    rt.budget.take(sizeof(Value));
    rest.push_back(item);
  }
  buffered_ = std::move(rest);
  count_ = static_cast<std::int64_t>(buffered_.size()) + index0_ + 1 + (after_ ? 1 : 0);
  return *count_;
}

std::optional<Value> LoopState::attribute(Runtime& rt, std::string_view name) {
  if (name == "index") return Value::integer(index0_ + 1);
  if (name == "index0") return Value::integer(index0_);
  if (name == "first") return Value::boolean(index0_ == 0);
  if (name == "last") return Value::boolean(!peek());
  if (name == "length") return Value::integer(count(rt));
  if (name == "revindex") return Value::integer(count(rt) - index0_);
  if (name == "revindex0") return Value::integer(count(rt) - index0_ - 1);
  if (name == "depth") return Value::integer(depth0_ + 1);
  if (name == "depth0") return Value::integer(depth0_);
  if (name == "previtem") {
    return index0_ > 0 && before_ ? *before_ : rt.undefined("there is no previous item");
  }
  if (name == "nextitem") return peek() ? *after_ : rt.undefined("there is no next item");
  return std::nullopt;
}

Value LoopState::call(Runtime& rt, std::string_view method, const Args& args) {
  if (method == "cycle") {
    if (args.positional.empty()) fail("no items for cycling given");
    return args.positional[static_cast<std::size_t>(index0_) % args.positional.size()];
  }
  const Value now = rt.tuple(args.positional);
  const bool changed = !last_changed_ || !equals(rt, *last_changed_, now);
  last_changed_ = now;
  return Value::boolean(changed);
}

Value LoopState::recurse(const Value& items) {
  if (!stmt_->recursive) fail("The loop must have the 'recursive' marker to be called recursively.");
  Builder out(interpreter_->rt_);
  Builder* outer = std::exchange(interpreter_->out_, &out);
  (void)interpreter_->run_for(*stmt_, items, *scope_, depth0_ + 1);
  interpreter_->out_ = outer;
  return out.finish();
}

}  // namespace apr::model::jinja
