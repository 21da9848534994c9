#include "src/inspect/numbers.h"

#include <algorithm>

#include "apr/core/bytes.h"
#include "apr/kernels/dispatch.h"

namespace apr::inspect {
namespace {

template <class T, class Wide = T>
std::vector<Number> load_all(std::span<const std::byte> bytes, std::endian order) {
  std::vector<Number> values;
  values.reserve(bytes.size() / sizeof(T));
  for (std::size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T))
    values.emplace_back(static_cast<Wide>(load<T>(bytes.data() + at, order)));
  return values;
}

/// One-byte and two-byte floats through the kernels, so that hex and every other reader agree.
std::vector<Number> load_narrow_floats(TensorType type, std::size_t width, std::span<const std::byte> bytes,
                                       std::endian order) {
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  if (order != std::endian::little)
    for (std::size_t at = 0; width == 2 && at + 2 <= copy.size(); at += 2) std::swap(copy[at], copy[at + 1]);
  std::vector<float> floats(copy.size() / width);
  if (!kernels::decode(type, copy, 0, floats)) return {};
  return {floats.begin(), floats.end()};
}

}  // namespace

std::vector<Number> field_values(FieldEncoding encoding, std::span<const std::byte> bytes, std::endian order) {
  switch (encoding) {
    case FieldEncoding::U8: return load_all<std::uint8_t, std::uint64_t>(bytes, order);
    case FieldEncoding::I8: return load_all<std::int8_t, std::int64_t>(bytes, order);
    case FieldEncoding::U16: return load_all<std::uint16_t, std::uint64_t>(bytes, order);
    case FieldEncoding::I16: return load_all<std::int16_t, std::int64_t>(bytes, order);
    case FieldEncoding::I32: return load_all<std::int32_t, std::int64_t>(bytes, order);
    case FieldEncoding::I64: return load_all<std::int64_t>(bytes, order);
    case FieldEncoding::F16: return load_narrow_floats(TensorType::F16, 2, bytes, order);
    case FieldEncoding::BF16: return load_narrow_floats(TensorType::BF16, 2, bytes, order);
    case FieldEncoding::F32: return load_all<float>(bytes, order);
    case FieldEncoding::F64: return load_all<double>(bytes, order);
    case FieldEncoding::E8M0: return load_narrow_floats(TensorType::F8_E8M0, 1, bytes, order);
    case FieldEncoding::E4M3: return load_narrow_floats(TensorType::F8_E4M3, 1, bytes, order);
    case FieldEncoding::Packed: return {};
  }
  return {};
}

std::optional<std::vector<Number>> exact_numbers(TensorType type, std::span<const std::byte> data, std::endian order,
                                                 std::uint64_t count) {
  const auto first = [&](std::uint64_t width) {
    return data.first(std::min<std::uint64_t>(data.size(), width * count));
  };
  switch (type) {
    case TensorType::I8: return load_all<std::int8_t, std::int64_t>(first(1), order);
    case TensorType::I16: return load_all<std::int16_t, std::int64_t>(first(2), order);
    case TensorType::I32: return load_all<std::int32_t, std::int64_t>(first(4), order);
    case TensorType::I64: return load_all<std::int64_t>(first(8), order);
    case TensorType::Bool:
    case TensorType::U8: return load_all<std::uint8_t, std::uint64_t>(first(1), order);
    case TensorType::U16: return load_all<std::uint16_t, std::uint64_t>(first(2), order);
    case TensorType::U32: return load_all<std::uint32_t, std::uint64_t>(first(4), order);
    case TensorType::U64: return load_all<std::uint64_t>(first(8), order);
    case TensorType::F64: return load_all<double>(first(8), order);
    default: return std::nullopt;
  }
}

}  // namespace apr::inspect
