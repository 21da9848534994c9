// The 13 value types of GGUF.
#include "src/format/gguf.h"

namespace apr::format::gguf {
namespace {

template <class T, class Wide>
bool read_as(ByteReader& reader, ValueType type, Value& value) {
  T number;
  if (!reader.read(number)) return false;
  value = Value(type, static_cast<Wide>(number));
  return true;
}

/// Moves behind `count` elements. The depth is bounded although the reader has verified the nesting.
bool skip_elements(ByteReader& reader, ValueType type, std::uint64_t count, unsigned depth) {
  if (const std::uint64_t size = scalar_bytes(type); size != 0)
    return count <= reader.remaining() / size && reader.skip(count * size);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (type == ValueType::String) {
      std::uint64_t length;
      if (!reader.read(length) || !reader.skip(length)) return false;
      continue;
    }
    std::uint32_t inner;
    std::uint64_t inner_count;
    if (!reader.read(inner) || !is_value_type(inner) || !reader.read(inner_count) || depth >= kMaxArrayDepth)
      return false;
    if (!skip_elements(reader, static_cast<ValueType>(inner), inner_count, depth + 1)) return false;
  }
  return true;
}

bool read_array(ByteReader& reader, Value& value) {
  std::uint32_t element;
  ArrayRef array;
  if (!reader.read(element) || !is_value_type(element) || !reader.read(array.count)) return false;
  array.element = static_cast<ValueType>(element);
  array.encoding = reader.order() == std::endian::big ? ArrayRef::Encoding::GgufBig : ArrayRef::Encoding::GgufLittle;
  array.offset = reader.offset();
  ByteReader end = reader;
  if (!skip_elements(end, array.element, array.count, 1)) return false;
  if (!reader.read_bytes(end.offset() - array.offset, array.bytes)) return false;
  value = Value(array);
  return true;
}

}  // namespace

std::uint64_t scalar_bytes(ValueType type) noexcept {
  switch (type) {
    case ValueType::U8:
    case ValueType::I8:
    case ValueType::Bool: return 1;
    case ValueType::U16:
    case ValueType::I16: return 2;
    case ValueType::U32:
    case ValueType::I32:
    case ValueType::F32: return 4;
    case ValueType::U64:
    case ValueType::I64:
    case ValueType::F64: return 8;
    default: return 0;
  }
}

std::uint64_t min_element_bytes(ValueType type) noexcept {
  if (type == ValueType::String) return 8;  // the length
  if (type == ValueType::Array) return 12;  // element type and count
  return scalar_bytes(type);
}

bool read_value(ByteReader& reader, ValueType type, Value& value) {
  using U64 = std::uint64_t;
  using I64 = std::int64_t;
  switch (type) {
    case ValueType::U8: return read_as<std::uint8_t, U64>(reader, type, value);
    case ValueType::I8: return read_as<std::int8_t, I64>(reader, type, value);
    case ValueType::U16: return read_as<std::uint16_t, U64>(reader, type, value);
    case ValueType::I16: return read_as<std::int16_t, I64>(reader, type, value);
    case ValueType::U32: return read_as<std::uint32_t, U64>(reader, type, value);
    case ValueType::I32: return read_as<std::int32_t, I64>(reader, type, value);
    case ValueType::F32: return read_as<float, double>(reader, type, value);
    case ValueType::U64: return read_as<std::uint64_t, U64>(reader, type, value);
    case ValueType::I64: return read_as<std::int64_t, I64>(reader, type, value);
    case ValueType::F64: return read_as<double, double>(reader, type, value);
    case ValueType::Array: return read_array(reader, value);
    case ValueType::Bool: {
      std::uint8_t byte;
      if (!reader.read(byte)) return false;
      value = Value(byte != 0);
      return true;
    }
    case ValueType::String: {
      std::uint64_t length;
      std::string_view text;
      if (!reader.read(length) || !reader.read_text(length, text)) return false;
      value = Value(text);
      return true;
    }
    case ValueType::Null:
    case ValueType::Object: return false;
  }
  return false;
}

}  // namespace apr::format::gguf
