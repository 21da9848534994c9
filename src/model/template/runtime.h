// Making, comparing, walking and printing values. Every function charges the budget for what it does.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "value.h"

namespace apr::model::jinja {

class Runtime;

/// Collects a text under the limits.
class Builder {
 public:
  explicit Builder(Runtime& runtime) : rt_(runtime) {}
  ~Builder();
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  void add(std::string_view text);
  void add(char c) { add(std::string_view(&c, 1)); }
  void add_char(char32_t c);
  void repeat(std::string_view text, std::uint64_t count);
  /// Charges for looking at each character of a text.
  void scan(std::string_view text);
  [[nodiscard]] std::size_t size() const noexcept { return out_.size(); }
  [[nodiscard]] Value finish(bool markup = false);
  [[nodiscard]] std::string take();

 private:
  Runtime& rt_;
  std::string out_;
};

class Runtime {
 public:
  explicit Runtime(const TemplateLimits& limits) : budget(limits) {}

  Budget budget;

  template <class T>
  T* make() {
    budget.take(sizeof(T) + 16);
    auto owned = std::make_unique<T>();
    T* object = owned.get();
    heap_.push_back(std::move(owned));
    return object;
  }
  /// Charges for a pass over a text, character by character.
  void scan(std::string_view text) { budget.step(text.size() / 32); }
  [[nodiscard]] Value text(std::string content, bool markup = false);
  [[nodiscard]] Value text(std::string_view content, bool markup = false) { return text(std::string(content), markup); }
  [[nodiscard]] Value text(const char* content) { return text(std::string(content)); }
  [[nodiscard]] Value undefined(std::string message);
  [[nodiscard]] Value sequence(Flavour flavour, std::vector<Value> items);
  [[nodiscard]] Value list(std::vector<Value> items) { return sequence(Flavour::List, std::move(items)); }
  [[nodiscard]] Value tuple(std::vector<Value> items) { return sequence(Flavour::Tuple, std::move(items)); }
  [[nodiscard]] Value pair(Value a, Value b);
  [[nodiscard]] Value dict(std::vector<std::pair<Value, Value>> entries);  // keys are distinct and hashable

 private:
  std::vector<std::unique_ptr<Object>> heap_;
};

// --- names and printing (print.cpp) ---
[[nodiscard]] std::string_view type_name(const Value& value);     // Python's, e.g. "str"
[[nodiscard]] std::string described_type(const Value& value);     // as in jinja2's messages, e.g. "str object"
void append_str(Runtime& rt, Builder& out, const Value& value);   // str()
void append_repr(Runtime& rt, Builder& out, const Value& value);  // repr()
[[nodiscard]] Value to_str(Runtime& rt, const Value& value);      // a String; a text stays as it is
[[nodiscard]] std::string repr(Runtime& rt, const Value& value);
[[nodiscard]] std::string float_repr(double value);
void append_quoted(Builder& out, std::string_view text);       // repr() of a text
void append_escaped(Builder& out, std::string_view text);      // &, <, >, " and ' as HTML entities
[[nodiscard]] Value escaped(Runtime& rt, const Value& value);  // as Markup; Markup stays as it is

// --- operations (operations.cpp, compare.cpp) ---
enum class Op : std::uint8_t {
  Add,
  Sub,
  Mul,
  Div,
  FloorDiv,
  Mod,
  Pow,
  Neg,
  Pos,
  Not,
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  In,
  NotIn
};
[[nodiscard]] bool truthy(const Value& value);
/// Throws "'x' is undefined" and the like when the value is undefined.
void require_defined(const Value& value);
[[nodiscard]] Value binary(Runtime& rt, Op op, const Value& a, const Value& b);
[[nodiscard]] Value negate(Op op, const Value& a);
[[nodiscard]] bool compare(Runtime& rt, Op op, const Value& a, const Value& b);
[[nodiscard]] bool equals(Runtime& rt, const Value& a, const Value& b);
[[nodiscard]] bool contains(Runtime& rt, const Value& item, const Value& container);
void require_hashable(const Value& value);
/// Stable; by `keys`, ascending, or descending with equal ones in their order. Returns the permutation.
[[nodiscard]] std::vector<std::size_t> sort_order(Runtime& rt, const std::vector<Value>& keys, bool reverse);

// --- containers (access.cpp) ---
[[nodiscard]] std::optional<std::int64_t> length(const Value& value);
[[nodiscard]] std::int64_t require_length(const Value& value);
[[nodiscard]] const Value* find_key(Runtime& rt, const DictObject& dict, const Value& key);
[[nodiscard]] const Value* find_key(Runtime& rt, const DictObject& dict, std::string_view key);
void set_key(Runtime& rt, std::vector<std::pair<Value, Value>>& entries, Value key, Value value);
[[nodiscard]] Value get_attribute(Runtime& rt, const Value& value, std::string_view name);
[[nodiscard]] Value get_item(Runtime& rt, const Value& value, const Value& key);
[[nodiscard]] Value get_slice(Runtime& rt, const Value& value, const Value& start, const Value& stop,
                              const Value& step);
/// An attribute of a value proper, without falling back to an item; nothing when there is none.
[[nodiscard]] std::optional<Value> own_attribute(Runtime& rt, const Value& value, std::string_view name);
[[nodiscard]] bool is_iterable(const Value& value);

/// Walks an iterable: list items, keys of a dict, characters of a text, ...
class Cursor {
 public:
  Cursor(Runtime& rt, Value iterable);  // throws for what is not iterable
  bool next(Value& out);

 private:
  Runtime& rt_;
  Value iterable_;
  std::size_t position_ = 0;
};
[[nodiscard]] std::vector<Value> to_items(Runtime& rt, const Value& iterable);

// --- JSON (json.cpp) ---
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
void append_json(Runtime& rt, Builder& out, const Value& value, const JsonStyle& style);

// --- texts with placeholders (text_format.cpp) ---
[[nodiscard]] Value percent_format(Runtime& rt, const Value& format, const Value& arguments);
[[nodiscard]] Value brace_format(Runtime& rt, const Value& format, const Args& args);

}  // namespace apr::model::jinja
