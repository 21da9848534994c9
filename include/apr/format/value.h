// A metadata value of any format. Arrays stay in the file and are decoded when walked.
#pragma once
#include <bit>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace apr::format {

/// 0..12 are the value types of GGUF. Null and Object occur in JSON metadata (APR, SafeTensors) only.
enum class ValueType : std::uint8_t {
  U8 = 0,
  I8 = 1,
  U16 = 2,
  I16 = 3,
  U32 = 4,
  I32 = 5,
  F32 = 6,
  Bool = 7,
  String = 8,
  Array = 9,
  U64 = 10,
  I64 = 11,
  F64 = 12,
  Null = 13,
  Object = 14,
};
[[nodiscard]] std::string_view name(ValueType type) noexcept;  // "u32", "string", "array", ...

class Value;

/// An array as it lies in the file. `bytes` is verified by the reader: walking it cannot fail.
struct ArrayRef {
  enum class Encoding : std::uint8_t { GgufLittle, GgufBig, Json };
  ValueType element = ValueType::U8;  // Json: the type of the first element; later ones may differ
  std::uint64_t count = 0;
  std::span<const std::byte> bytes;  // GGUF: the packed elements; Json: the text from '[' to ']'
  std::uint64_t offset = 0;          // file offset of `bytes`
  Encoding encoding = Encoding::GgufLittle;

  /// Calls visit(index, value) for each element until it returns false. A nested array arrives as a Value of type
  /// Array.
  void for_each(const std::function<bool(std::uint64_t, const Value&)>& visit) const;
};

/// JSON object kept as text, from '{' to '}'.
struct ObjectRef {
  std::string_view text;
  std::uint64_t offset = 0;
};

/// A scalar, a string (a view into the file, or into storage that the ModelFile owns), an array or a JSON object.
class Value {
 public:
  Value() = default;  // Null
  Value(ValueType type, std::uint64_t v) : type_(type), data_(v) {}
  Value(ValueType type, std::int64_t v) : type_(type), data_(v) {}
  Value(ValueType type, double v) : type_(type), data_(v) {}
  explicit Value(bool v) : type_(ValueType::Bool), data_(v) {}
  explicit Value(std::string_view v) : type_(ValueType::String), data_(v) {}
  explicit Value(ArrayRef v) : type_(ValueType::Array), data_(v) {}
  explicit Value(ObjectRef v) : type_(ValueType::Object), data_(v) {}

  [[nodiscard]] ValueType type() const noexcept { return type_; }
  /// Integers of any width, if the value fits; nothing for other types.
  [[nodiscard]] std::optional<std::uint64_t> as_u64() const noexcept;
  [[nodiscard]] std::optional<std::int64_t> as_i64() const noexcept;
  /// Integers and floats.
  [[nodiscard]] std::optional<double> as_f64() const noexcept;
  [[nodiscard]] std::optional<bool> as_bool() const noexcept;
  [[nodiscard]] std::optional<std::string_view> as_string() const noexcept;
  [[nodiscard]] const ArrayRef* as_array() const noexcept { return std::get_if<ArrayRef>(&data_); }
  [[nodiscard]] const ObjectRef* as_object() const noexcept { return std::get_if<ObjectRef>(&data_); }

 private:
  ValueType type_ = ValueType::Null;
  std::variant<std::monostate, bool, std::uint64_t, std::int64_t, double, std::string_view, ArrayRef, ObjectRef> data_;
};

}  // namespace apr::format
