// The first bytes and values of one tensor.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "apr/core/bytes.h"
#include "apr/core/text.h"
#include "apr/inspect/hex.h"
#include "apr/kernels/dispatch.h"

namespace apr::inspect {
namespace {

using format::ModelFile;
using format::TensorInfo;

constexpr std::uint64_t kAprQ8ScaleBytes = 4;

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

std::vector<Number> field_values(FieldEncoding encoding, std::span<const std::byte> bytes, std::endian order) {
  switch (encoding) {
    case FieldEncoding::U8:
      return load_all<std::uint8_t, std::uint64_t>(bytes, order);
    case FieldEncoding::I8:
      return load_all<std::int8_t, std::int64_t>(bytes, order);
    case FieldEncoding::U16:
      return load_all<std::uint16_t, std::uint64_t>(bytes, order);
    case FieldEncoding::I16:
      return load_all<std::int16_t, std::int64_t>(bytes, order);
    case FieldEncoding::I32:
      return load_all<std::int32_t, std::int64_t>(bytes, order);
    case FieldEncoding::I64:
      return load_all<std::int64_t>(bytes, order);
    case FieldEncoding::F16:
      return load_narrow_floats(TensorType::F16, 2, bytes, order);
    case FieldEncoding::BF16:
      return load_narrow_floats(TensorType::BF16, 2, bytes, order);
    case FieldEncoding::F32:
      return load_all<float>(bytes, order);
    case FieldEncoding::F64:
      return load_all<double>(bytes, order);
    case FieldEncoding::E8M0:
      return load_narrow_floats(TensorType::F8_E8M0, 1, bytes, order);
    case FieldEncoding::E4M3:
      return load_narrow_floats(TensorType::F8_E4M3, 1, bytes, order);
    case FieldEncoding::Packed:
      return {};
  }
  return {};
}

BlockView first_block_of(const TensorInfo& tensor, const TypeInfo& type, std::span<const std::byte> data,
                         std::endian order) {
  BlockView block{0, tensor.offset, data.first(type.block_bytes), {}};
  for (const BlockField& field : type.fields) {
    const auto bytes = block.bytes.subspan(field.offset, field.bytes);
    block.fields.push_back(
        {field.name, field.encoding, block.offset + field.offset, bytes, field_values(field.encoding, bytes, order)});
  }
  return block;
}

/// Types whose values a float cannot hold exactly, read as what they are. Nothing for the others.
std::optional<std::vector<Number>> exact_values(TensorType type, std::span<const std::byte> data, std::endian order,
                                                std::uint64_t count) {
  const auto first = [&](std::uint64_t width) {
    return data.first(std::min<std::uint64_t>(data.size(), width * count));
  };
  switch (type) {
    case TensorType::I8:
      return load_all<std::int8_t, std::int64_t>(first(1), order);
    case TensorType::I16:
      return load_all<std::int16_t, std::int64_t>(first(2), order);
    case TensorType::I32:
      return load_all<std::int32_t, std::int64_t>(first(4), order);
    case TensorType::I64:
      return load_all<std::int64_t>(first(8), order);
    case TensorType::Bool:
    case TensorType::U8:
      return load_all<std::uint8_t, std::uint64_t>(first(1), order);
    case TensorType::U16:
      return load_all<std::uint16_t, std::uint64_t>(first(2), order);
    case TensorType::U32:
      return load_all<std::uint32_t, std::uint64_t>(first(4), order);
    case TensorType::U64:
      return load_all<std::uint64_t>(first(8), order);
    case TensorType::F64:
      return load_all<double>(first(8), order);
    default:
      return std::nullopt;
  }
}

/// Values through the kernels. Empty when the type has no f32 form.
std::vector<Number> decoded_values(const TypeInfo& type, std::span<const std::byte> data, std::endian order,
                                   std::uint64_t count) {
  std::uint64_t size = data.size();
  if (type.type == TensorType::AprQ8)
    size = std::min<std::uint64_t>(size, kAprQ8ScaleBytes + count);
  else
    size = std::min<std::uint64_t>(size, (count + type.block_elements - 1) / type.block_elements * type.block_bytes);
  std::vector<std::byte> head(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(size));
  if (order != std::endian::little) swap_block_bytes(type, head);
  std::vector<float> floats(static_cast<std::size_t>(count), std::nanf(""));
  if (!kernels::decode(type.type, head, 0, floats)) return {};
  return {floats.begin(), floats.end()};
}

std::string unreadable_reason(const TypeInfo* type) {
  if (type == nullptr) return "its element type is unknown";
  if (type->status == TypeStatus::Removed)
    return fmt::format("element type {} was removed from the format", type->name);
  return "its data is not wholly inside the file";
}

}  // namespace

TensorReport tensor_report(const ModelFile& model, std::size_t index, std::uint64_t limit) {
  const TensorInfo& tensor = model.tensors.at(index);
  TensorReport report{index, &tensor, {}, std::nullopt, {}, {}};
  const TypeInfo* type = find_type(tensor.type);
  if (!tensor.readable || type == nullptr) {
    report.no_values_reason = unreadable_reason(type);
    return report;
  }
  const auto data = model.data(tensor);
  if (tensor.n_elements == 0 || data.empty()) {
    report.no_values_reason = "it has no elements";
    return report;
  }
  const std::uint64_t count = std::min(limit, tensor.n_elements);
  if (!type->fields.empty() && data.size() >= type->block_bytes)
    report.first_block = first_block_of(tensor, *type, data, model.byte_order);
  const std::uint64_t shown =
      (count + type->block_elements - 1) / std::max(1U, type->block_elements) * type->block_bytes;
  report.first_bytes = data.first(static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), shown)));
  if (auto exact = exact_values(tensor.type, data, model.byte_order, count))
    report.values = std::move(*exact);
  else
    report.values = decoded_values(*type, data, model.byte_order, count);
  if (report.values.empty()) report.no_values_reason = fmt::format("{} has no numeric form here", type->name);
  return report;
}

std::vector<std::size_t> select_tensors(const ModelFile& model, std::string_view pattern) {
  if (const TensorInfo* exact = model.find_tensor(pattern))
    return {static_cast<std::size_t>(exact - model.tensors.data())};
  std::vector<std::size_t> chosen;
  if (has_glob(pattern))
    for (std::size_t i = 0; i < model.tensors.size(); ++i)
      if (glob_match(pattern, model.tensors[i].name)) chosen.push_back(i);
  if (!chosen.empty()) return chosen;
  std::vector<std::string_view> names;
  names.reserve(model.tensors.size());
  for (const TensorInfo& tensor : model.tensors) names.push_back(tensor.name);
  std::string hint;
  for (const std::string& near : nearest(pattern, names))
    hint += fmt::format("{}{}", hint.empty() ? "nearest: " : ", ", near);
  if (hint.empty()) hint = model.tensors.empty() ? "the file has no tensors" : "apr hex FILE --list shows the names";
  throw Error(ErrorCode::ValidationFailed, fmt::format("no tensor matches, of {}", model.tensors.size()))
      .at(model.path)
      .in("--tensor")
      .got(std::string(pattern))
      .help(std::move(hint));
}

}  // namespace apr::inspect
