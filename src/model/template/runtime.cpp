#include "runtime.h"

#include <fmt/format.h>

#include "apr/core/error.h"
#include "unicode.h"

namespace apr::model::jinja {

namespace {
constexpr std::uint64_t kTextOverhead = 96;  // the Text, its control block and the allocator's headers
constexpr std::uint64_t kStepBytes = 64;     // bytes of text that cost one step
}  // namespace

void fail(std::string message) { throw Error(ErrorCode::Inference, std::move(message)); }

void Budget::exceeded(std::string_view limit, std::uint64_t value) {
  throw Error(ErrorCode::Inference, fmt::format("the template exceeds its limit of {}", limit))
      .want(fmt::format("at most {}", value))
      .got("more");
}

Text::Text(Budget* owner, std::string content) : bytes(std::move(content)), n_chars(count_chars(bytes)), budget(owner) {
  if (budget == nullptr) return;
  budget->take(bytes.size() + kTextOverhead);
  budget->step(bytes.size() / kStepBytes);
}

Text::~Text() {
  if (budget != nullptr) budget->give(bytes.size() + kTextOverhead);
}

Builder::~Builder() { rt_.budget.give(out_.size()); }

void Builder::add(std::string_view text) {
  rt_.budget.check_text(out_.size() + text.size());
  rt_.budget.take(text.size());
  rt_.budget.step(text.size() / kStepBytes);
  out_.append(text);
}

void Builder::add_char(char32_t c) {
  std::string bytes;
  encode(bytes, c);
  add(bytes);
}

void Builder::repeat(std::string_view text, std::uint64_t count) {
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(text.size()), count, &bytes)) bytes = UINT64_MAX / 2;
  rt_.budget.check_text(out_.size() + bytes);
  rt_.budget.take(bytes);
  rt_.budget.step(bytes / kStepBytes);
  out_.reserve(out_.size() + bytes);
  for (; bytes > 0; bytes -= text.size()) out_.append(text);
}

std::string Builder::take() {
  rt_.budget.give(out_.size());
  return std::exchange(out_, {});
}

void Builder::scan(std::string_view text) { rt_.scan(text); }

Value Builder::finish(bool markup) { return rt_.text(take(), markup); }

Value Runtime::text(std::string content, bool markup) {
  return Value::string(std::make_shared<const Text>(&budget, std::move(content)), markup);
}

Value Runtime::undefined(std::string message) {
  return Value::undefined(std::make_shared<const Text>(&budget, std::move(message)));
}

Value Runtime::sequence(Flavour flavour, std::vector<Value> items) {
  budget.take(items.size() * sizeof(Value));
  budget.step(items.size());
  auto* object = make<SequenceObject>();
  object->flavour = flavour;
  object->items = std::move(items);
  return Value::object(Kind::Sequence, object);
}

Value Runtime::pair(Value a, Value b) {
  std::vector<Value> items;
  items.reserve(2);
  items.push_back(std::move(a));
  items.push_back(std::move(b));
  return tuple(std::move(items));
}

Value Runtime::dict(std::vector<std::pair<Value, Value>> entries) {
  budget.take(entries.size() * sizeof(entries[0]));
  budget.step(entries.size());
  auto* object = make<DictObject>();
  object->entries = std::move(entries);
  return Value::object(Kind::Dict, object);
}

}  // namespace apr::model::jinja
