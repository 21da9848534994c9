// Values to write, and the choice of a writer.
#include "apr/format/writer.h"

#include "src/format/json_write.h"
#include "src/format/readers.h"

namespace apr::format {
namespace {

WriteValue scalar(ValueType type, decltype(WriteValue::data) data) {
  WriteValue value;
  value.type = type;
  value.data = std::move(data);
  return value;
}

WriteValue array_of(ValueType element, decltype(WriteValue::data) data) {
  WriteValue value = scalar(ValueType::Array, std::move(data));
  value.element = element;
  return value;
}

/// Text that only JSON formats can hold: nested or mixed arrays. The type stays Array, so other formats can refuse it.
WriteValue json_array(const ArrayRef& array) {
  WriteValue value;
  value.type = ValueType::Array;
  value.element = ValueType::Array;
  value.is_json = true;
  std::string text;
  if (array.encoding == ArrayRef::Encoding::Json) {
    text.assign(reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size());
  } else {  // the recursion is bounded: a reader refuses GGUF arrays that nest deeper than 8 levels
    array.for_each([&](std::uint64_t index, const Value& element) {
      text += index == 0 ? "[" : ",";
      append_json(text, WriteValue::copy_of(element), "");
      return true;
    });
    text += array.count == 0 ? "[]" : "]";
  }
  value.data = std::move(text);
  return value;
}

bool is_signed(ValueType type) {
  return type == ValueType::I8 || type == ValueType::I16 || type == ValueType::I32 || type == ValueType::I64;
}
bool is_float(ValueType type) { return type == ValueType::F32 || type == ValueType::F64; }
bool is_integer(ValueType type) {
  return is_signed(type) || type == ValueType::U8 || type == ValueType::U16 || type == ValueType::U32 ||
         type == ValueType::U64;
}

/// One element type for all elements of an array, or nothing. JSON writes 1 and 1.5 side by side: floats then.
std::optional<ValueType> common_element(const ArrayRef& array) {
  if (array.encoding != ArrayRef::Encoding::Json) return array.element;
  std::optional<ValueType> common;
  bool mixed = false;
  array.for_each([&](std::uint64_t, const Value& element) {
    const ValueType type = element.type();
    if (!common || *common == type)
      common = type;
    else if (is_integer(*common) && is_integer(type))
      common = ValueType::I64;
    else if ((is_float(*common) || is_integer(*common)) && (is_float(type) || is_integer(type)))
      common = ValueType::F64;
    else
      mixed = true;
    return !mixed;
  });
  if (mixed) return std::nullopt;
  return common ? common : ValueType::I32;  // of an empty JSON array nothing is known; any type will do
}

WriteValue copy_array(const ArrayRef& array) {
  const auto element = common_element(array);
  if (!element || *element == ValueType::Array || *element == ValueType::Object || *element == ValueType::Null)
    return json_array(array);
  std::vector<std::string> strings;
  std::vector<std::int64_t> integers;
  std::vector<double> floats;
  bool fits = true;
  array.for_each([&](std::uint64_t, const Value& value) {
    if (*element == ValueType::String) {
      strings.emplace_back(value.as_string().value_or(""));
    } else if (is_float(*element)) {
      floats.push_back(value.as_f64().value_or(0));
    } else if (*element == ValueType::Bool) {
      integers.push_back(value.as_bool().value_or(false) ? 1 : 0);
    } else if (*element == ValueType::U64) {
      integers.push_back(static_cast<std::int64_t>(value.as_u64().value_or(0)));  // the same 64 bits
    } else {
      const auto number = value.as_i64();
      fits = fits && number.has_value();
      integers.push_back(number.value_or(0));
    }
    return fits;
  });
  if (!fits) return json_array(array);
  if (*element == ValueType::String) return array_of(*element, std::move(strings));
  if (is_float(*element)) return array_of(*element, std::move(floats));
  return array_of(*element, std::move(integers));
}

}  // namespace

WriteValue WriteValue::u8(std::uint8_t v) { return scalar(ValueType::U8, std::uint64_t{v}); }
WriteValue WriteValue::u32(std::uint32_t v) { return scalar(ValueType::U32, std::uint64_t{v}); }
WriteValue WriteValue::u64(std::uint64_t v) { return scalar(ValueType::U64, v); }
WriteValue WriteValue::i32(std::int32_t v) { return scalar(ValueType::I32, std::int64_t{v}); }
WriteValue WriteValue::f32(float v) { return scalar(ValueType::F32, double{v}); }
WriteValue WriteValue::boolean(bool v) { return scalar(ValueType::Bool, v); }
WriteValue WriteValue::string(std::string v) { return scalar(ValueType::String, std::move(v)); }
WriteValue WriteValue::strings(std::vector<std::string> v) { return array_of(ValueType::String, std::move(v)); }
WriteValue WriteValue::i32s(std::vector<std::int64_t> v) { return array_of(ValueType::I32, std::move(v)); }
WriteValue WriteValue::f32s(std::vector<double> v) { return array_of(ValueType::F32, std::move(v)); }

WriteValue WriteValue::json(std::string text) {
  WriteValue value = string(std::move(text));
  value.is_json = true;
  return value;
}

WriteValue WriteValue::copy_of(const Value& value) {
  if (const ArrayRef* array = value.as_array()) return copy_array(*array);
  if (const ObjectRef* object = value.as_object()) return json(std::string(object->text));
  if (const auto text = value.as_string()) return string(std::string(*text));
  if (const auto flag = value.as_bool()) return boolean(*flag);
  if (is_signed(value.type())) return scalar(value.type(), value.as_i64().value_or(0));
  if (is_float(value.type())) return scalar(value.type(), value.as_f64().value_or(0));
  if (const auto number = value.as_u64()) return scalar(value.type(), *number);
  WriteValue null = json("null");
  null.type = ValueType::Null;
  return null;
}

std::unique_ptr<ModelWriter> make_writer(Format format, const std::string& path) {
  switch (format) {
    case Format::Gguf: return make_gguf_writer(path);
    case Format::SafeTensors: return make_safetensors_writer(path);
    case Format::Apr: return make_apr_writer(path);
  }
  throw Error(ErrorCode::Internal, "there is no writer for this format").at(path);
}

}  // namespace apr::format
