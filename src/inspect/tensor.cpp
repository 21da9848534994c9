// The first bytes and values of one tensor.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "apr/core/text.h"
#include "apr/inspect/hex.h"
#include "apr/kernels/dispatch.h"
#include "src/inspect/numbers.h"

namespace apr::inspect {
namespace {

using format::ModelFile;
using format::TensorInfo;

constexpr std::uint64_t kAprQ8ScaleBytes = 4;

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
  if (auto exact = exact_numbers(tensor.type, data, model.byte_order, count))
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
