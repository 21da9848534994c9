// Methods of the built-in types.
#pragma once
#include <initializer_list>
#include <optional>
#include <string_view>

#include "runtime.h"

namespace apr::model::jinja {

struct MethodRow {
  std::string_view name;
  Value (*call)(Runtime& rt, const Value& self,
                const Args& args);  // nullptr: it would modify its object; the sandbox refuses
};

/// A method with a call.
[[nodiscard]] Value call_method(Runtime& rt, const MethodRow& row, const Value& self, const Args& args);
/// nullptr when the type has no such method.
[[nodiscard]] const MethodRow* find_method(const Value& self, std::string_view name);
[[nodiscard]] const MethodRow* find_text_method(std::string_view name);

/// Arguments put in the order of a signature. Throws for an unknown name, one given twice, too many, or a missing one
/// of the first `required`.
class Bound {
 public:
  Bound(std::string_view function, const Args& args, std::initializer_list<std::string_view> parameters,
        std::size_t required = 0, std::size_t skip = 0);

  [[nodiscard]] bool has(std::size_t i) const noexcept { return values_[i] != nullptr; }
  [[nodiscard]] const Value& at(std::size_t i) const { return *values_[i]; }
  [[nodiscard]] Value get(std::size_t i, Value absent) const { return has(i) ? at(i) : absent; }
  [[nodiscard]] bool truth(std::size_t i, bool absent) const { return has(i) ? truthy(at(i)) : absent; }
  /// Throws unless it is an integer.
  [[nodiscard]] std::int64_t integer(std::size_t i, std::int64_t absent) const;
  [[nodiscard]] std::optional<std::int64_t> optional_integer(std::size_t i) const;  // none counts as absent
  /// Throws unless it is a text.
  [[nodiscard]] std::string_view text(std::size_t i) const;

 private:
  std::string_view function_;
  std::vector<const Value*> values_;
};

}  // namespace apr::model::jinja
