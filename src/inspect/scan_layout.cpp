#include "src/inspect/scan_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "apr/core/error.h"
#include "apr/core/text.h"

namespace apr::inspect {
namespace {

bool is_scale(FieldEncoding encoding) {
  switch (encoding) {
    case FieldEncoding::F16:
    case FieldEncoding::BF16:
    case FieldEncoding::F32:
    case FieldEncoding::E8M0:
    case FieldEncoding::E4M3: return true;
    default: return false;
  }
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

ScanLayout plain_layout(const TypeInfo& type) {
  ScanLayout layout;
  layout.unit_bytes = type.block_bytes;
  layout.period = type.block_bytes >= 4 && type.block_bytes % 4 == 0 ? 4 : type.block_bytes == 2 ? 2 : 1;
  if (type.type == TensorType::AprQ8) layout.head_bytes = 4;
  if (type.type == TensorType::F16) layout.float_bits = 16, layout.octave = 1U << 10, layout.infinity = 0x7C00;
  if (type.type == TensorType::BF16) layout.float_bits = 16, layout.octave = 1U << 7, layout.infinity = 0x7F80;
  if (type.type == TensorType::F32) layout.float_bits = 32, layout.octave = 1U << 7, layout.infinity = 0x7F80;
  for (int i = 0; i < layout.period; ++i)
    layout.streams.push_back(
        {layout.period == 1 ? "bytes" : fmt::format("byte {}", i), static_cast<std::uint32_t>(i), 1});
  return layout;
}

}  // namespace

std::uint32_t ScanScale::width() const noexcept {
  return encoding == FieldEncoding::F32 ? 4 : encoding == FieldEncoding::F16 || encoding == FieldEncoding::BF16 ? 2 : 1;
}

ScanLayout scan_layout(const TypeInfo& type) {
  if (type.fields.empty()) return plain_layout(type);
  ScanLayout layout;
  layout.unit_bytes = type.block_bytes;
  for (const BlockField& field : type.fields) {
    if (is_scale(field.encoding)) {
      ScanScale scale{std::string(field.name), field.offset, 0, field.encoding};
      scale.count = field.bytes / scale.width();
      layout.scales.push_back(std::move(scale));
    } else {
      layout.streams.push_back({std::string(field.name), field.offset, field.bytes});
    }
  }
  APR_CHECK(layout.streams.size() <= kMostStreams && layout.scales.size() <= kMostScales);
  return layout;
}

std::string tensor_role(std::string_view name) {
  std::string role;
  while (!name.empty()) {
    const std::size_t end = std::min(name.find('.'), name.size());
    role += all_digits(name.substr(0, end)) ? "*" : std::string(name.substr(0, end));
    if (end < name.size()) role += '.';
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  return role;
}

int tensor_layer(std::string_view name) {
  while (!name.empty()) {
    const std::size_t end = std::min(name.find('.'), name.size());
    if (all_digits(name.substr(0, end)))
      if (const auto number = parse_u64(name.substr(0, end)); number && *number < 100'000)
        return static_cast<int>(*number);
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  return -1;
}

}  // namespace apr::inspect
