// The `loop` variable and the walk behind it: lazy, like jinja2's, so that a condition of the loop sees what its body
// did.
#pragma once
#include <deque>

#include "interpreter.h"

namespace apr::model::jinja {

class LoopState : public LoopObject {
 public:
  void start(Interpreter& interpreter, const Stmt& stmt, Value iterable, Scope& scope, std::int64_t depth0);
  bool next(Value& item);

  std::optional<Value> attribute(Runtime& rt, std::string_view name) override;
  Value call(Runtime& rt, std::string_view method, const Args& args) override;
  std::int64_t count(Runtime& rt) override;
  /// loop(items) of a recursive loop: its body over other items, as a text.
  Value recurse(const Value& items);

 private:
  bool pull(Value& item);  // the next item that passes the condition
  bool peek();             // fills after_

  Interpreter* interpreter_ = nullptr;
  const Stmt* stmt_ = nullptr;
  Value iterable_;
  std::optional<Cursor> cursor_;
  Scope* scope_ = nullptr;
  std::deque<Value> buffered_;  // pulled to learn the length
  bool exhausted_ = false;
  std::optional<Value> after_, before_, current_, last_changed_;
  std::optional<std::int64_t> count_;
  std::int64_t index0_ = -1;
  std::int64_t depth0_ = 0;
};

}  // namespace apr::model::jinja
