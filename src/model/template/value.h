// The values of a template: Python's, as far as chat templates reach.
// Texts are counted references and charge the budget while they live. Containers are immutable after construction
// (the sandbox forbids append, pop, update, ...), belong to the heap of one rendering, and are freed with it: no cycles
// to collect, no deep destruction.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apr/model/chat_template.h"

namespace apr::model::jinja {

struct Macro;
struct Scope;
class Runtime;

/// A refused rendering. The place is added where the rendering started.
[[noreturn]] void fail(std::string message);

/// What one rendering has used of its limits.
class Budget {
 public:
  explicit Budget(const TemplateLimits& limits) : limits_(limits) {}

  void step(std::uint64_t count = 1) {
    steps_ += count;
    if (steps_ > limits_.steps) exceeded("steps", limits_.steps);
  }
  void take(std::uint64_t bytes) {
    live_bytes_ += bytes;
    if (live_bytes_ > limits_.memory_bytes) exceeded("memory_bytes", limits_.memory_bytes);
  }
  void give(std::uint64_t bytes) noexcept { live_bytes_ -= bytes < live_bytes_ ? bytes : live_bytes_; }
  void check_text(std::uint64_t bytes) const {
    if (bytes > limits_.output_bytes) exceeded("output_bytes", limits_.output_bytes);
  }
  void enter() {
    if (depth_ >= limits_.depth) exceeded("depth", limits_.depth);
    ++depth_;
  }
  void leave() noexcept { --depth_; }

 private:
  [[noreturn]] static void exceeded(std::string_view limit, std::uint64_t value);

  TemplateLimits limits_;
  std::uint64_t steps_ = 0;
  std::uint64_t live_bytes_ = 0;
  std::uint32_t depth_ = 0;
};

/// One level of recursion, and one step.
class Depth {
 public:
  explicit Depth(Budget& budget) : budget_(budget) {
    budget_.enter();
    budget_.step();
  }
  ~Depth() { budget_.leave(); }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  Budget& budget_;
};

struct Text {
  Text(Budget* owner, std::string content);
  ~Text();
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  [[nodiscard]] bool ascii() const noexcept { return n_chars == bytes.size(); }

  std::string bytes;
  std::size_t n_chars;  // code points
  Budget* budget;       // nullptr: a constant of the program, not charged
};

struct Object {
  Object() = default;
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
};

enum class Kind : std::uint8_t {
  Undefined,
  None,
  Bool,
  Int,
  Float,
  String,
  Sequence,
  Dict,
  Range,
  Namespace,
  Loop,
  Macro,
  Function,
  Method,
  Cycler,
  Joiner
};

class Value {
 public:
  Value() = default;  // an Undefined without a message
  static Value none() { return Value(Kind::None, std::int64_t{0}); }
  static Value boolean(bool v) { return Value(Kind::Bool, std::int64_t{v}); }
  static Value integer(std::int64_t v) { return Value(Kind::Int, v); }
  static Value real(double v) {
    Value value(Kind::Float, std::int64_t{0});
    value.real_ = v;
    return value;
  }
  static Value object(Kind kind, Object* v) {
    Value value(kind, std::int64_t{0});
    value.object_ = v;
    return value;
  }
  static Value string(std::shared_ptr<const Text> text, bool markup = false) {
    Value value(Kind::String, std::int64_t{0});
    value.text_ = std::move(text);
    value.flag_ = markup;
    return value;
  }
  static Value undefined(std::shared_ptr<const Text> message) {
    Value value;
    value.text_ = std::move(message);
    return value;
  }

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] bool is(Kind kind) const noexcept { return kind_ == kind; }
  [[nodiscard]] bool is_undefined() const noexcept { return kind_ == Kind::Undefined; }
  [[nodiscard]] bool is_none() const noexcept { return kind_ == Kind::None; }
  [[nodiscard]] bool is_string() const noexcept { return kind_ == Kind::String; }
  [[nodiscard]] bool is_markup() const noexcept { return kind_ == Kind::String && flag_; }
  /// Python's bool is an int.
  [[nodiscard]] bool is_integral() const noexcept { return kind_ == Kind::Int || kind_ == Kind::Bool; }
  [[nodiscard]] bool is_number() const noexcept { return is_integral() || kind_ == Kind::Float; }

  [[nodiscard]] bool as_bool() const noexcept { return integer_ != 0; }
  [[nodiscard]] std::int64_t as_int() const noexcept { return integer_; }
  [[nodiscard]] double as_double() const noexcept {
    return kind_ == Kind::Float ? real_ : static_cast<double>(integer_);
  }
  [[nodiscard]] std::string_view view() const noexcept { return text_ ? std::string_view(text_->bytes) : ""; }
  [[nodiscard]] const Text& text() const noexcept { return *text_; }
  template <class T>
  [[nodiscard]] T& as() const noexcept {
    return *static_cast<T*>(object_);
  }
  [[nodiscard]] const Object* identity() const noexcept { return object_; }

 private:
  Value(Kind kind, std::int64_t integer) : kind_(kind), integer_(integer) {}

  Kind kind_ = Kind::Undefined;
  bool flag_ = false;
  union {
    std::int64_t integer_ = 0;
    double real_;
    Object* object_;
  };
  std::shared_ptr<const Text> text_;  // of a String; of an Undefined: its message
};

/// Positional and named arguments of a call.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

enum class Flavour : std::uint8_t { List, Tuple, Generator, DictKeys, DictValues, DictItems, GroupTuple };

struct SequenceObject : Object {
  Flavour flavour = Flavour::List;
  std::vector<Value> items;
  std::size_t consumed = 0;  // Generator only: how many items have been taken out
};

struct DictObject : Object {
  std::vector<std::pair<Value, Value>> entries;  // in insertion order
};

struct RangeObject : Object {
  std::int64_t start = 0, stop = 0, step = 1, length = 0;
  /// Wraps around only for an index outside of the range.
  [[nodiscard]] std::int64_t at(std::int64_t i) const noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(start) +
                                     static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(step));
  }
};

struct NamespaceObject : Object {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct MacroObject : Object {
  const Macro* macro = nullptr;
  Scope* closure = nullptr;
};

/// The `loop` variable.
struct LoopObject : Object {
  /// Nothing when there is no such attribute.
  virtual std::optional<Value> attribute(Runtime& rt, std::string_view name) = 0;
  virtual Value call(Runtime& rt, std::string_view method, const Args& args) = 0;
  virtual std::int64_t count(Runtime& rt) = 0;
};

/// A global function.
struct FunctionObject : Object {
  Value (*call)(Runtime& rt, const FunctionObject& self, const Args& args) = nullptr;
  std::optional<std::int64_t> local_time;  // strftime_now only
};

/// A method bound to its object, e.g. the value of `text.upper`.
struct MethodObject : Object {
  Value self;
  const struct MethodRow* row = nullptr;
};

struct CyclerObject : Object {
  std::vector<Value> items;
  std::size_t position = 0;
};

struct JoinerObject : Object {
  Value separator;
  bool used = false;
};

}  // namespace apr::model::jinja
