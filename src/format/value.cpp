#include "apr/format/value.h"

#include <limits>

#include "apr/core/bytes.h"
#include "src/format/gguf.h"
#include "src/format/json.h"

namespace apr::format {

std::string_view name(ValueType type) noexcept {
  switch (type) {
    case ValueType::U8: return "u8";
    case ValueType::I8: return "i8";
    case ValueType::U16: return "u16";
    case ValueType::I16: return "i16";
    case ValueType::U32: return "u32";
    case ValueType::I32: return "i32";
    case ValueType::F32: return "f32";
    case ValueType::Bool: return "bool";
    case ValueType::String: return "string";
    case ValueType::Array: return "array";
    case ValueType::U64: return "u64";
    case ValueType::I64: return "i64";
    case ValueType::F64: return "f64";
    case ValueType::Null: return "null";
    case ValueType::Object: return "object";
  }
  return "unknown";
}

std::optional<std::uint64_t> Value::as_u64() const noexcept {
  if (const auto* u = std::get_if<std::uint64_t>(&data_)) return *u;
  if (const auto* i = std::get_if<std::int64_t>(&data_); i != nullptr && *i >= 0) return static_cast<std::uint64_t>(*i);
  return std::nullopt;
}

std::optional<std::int64_t> Value::as_i64() const noexcept {
  if (const auto* i = std::get_if<std::int64_t>(&data_)) return *i;
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (const auto* u = std::get_if<std::uint64_t>(&data_); u != nullptr && *u <= kMax)
    return static_cast<std::int64_t>(*u);
  return std::nullopt;
}

std::optional<double> Value::as_f64() const noexcept {
  if (const auto* d = std::get_if<double>(&data_)) return *d;
  if (const auto* u = std::get_if<std::uint64_t>(&data_)) return static_cast<double>(*u);
  if (const auto* i = std::get_if<std::int64_t>(&data_)) return static_cast<double>(*i);
  return std::nullopt;
}

std::optional<bool> Value::as_bool() const noexcept {
  if (const auto* b = std::get_if<bool>(&data_)) return *b;
  return std::nullopt;
}

std::optional<std::string_view> Value::as_string() const noexcept {
  if (const auto* s = std::get_if<std::string_view>(&data_)) return *s;
  return std::nullopt;
}

void ArrayRef::for_each(const std::function<bool(std::uint64_t, const Value&)>& visit) const {
  if (encoding == Encoding::Json) return json_for_each(*this, visit);
  ByteReader reader(bytes, encoding == Encoding::GgufBig ? std::endian::big : std::endian::little, offset);
  for (std::uint64_t i = 0; i < count; ++i) {
    Value value;
    if (!gguf::read_value(reader, element, value)) return;  // not for an array that a reader has verified
    if (!visit(i, value)) return;
  }
}

}  // namespace apr::format
