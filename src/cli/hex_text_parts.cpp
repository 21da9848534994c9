#include "src/cli/hex_text_parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "apr/core/text.h"
#include "src/cli/table.h"

namespace apr::cli {

using format::ModelFile;

namespace {

constexpr std::size_t kFewestChars = 8;  // of a text, however narrow its column is
constexpr std::size_t kShownDims = 8;
constexpr int kArrayDepth = 3;
constexpr std::size_t kShownRegions = 24;

std::string scalar_text(const format::Value& value, std::size_t columns) {
  using format::ValueType;
  const std::size_t chars = std::max(kFewestChars, columns) - 2;
  switch (value.type()) {
    case ValueType::String: return fmt::format("\"{}\"", escaped(value.as_string().value_or(""), chars));
    case ValueType::Bool: return value.as_bool().value_or(false) ? "true" : "false";
    case ValueType::F32: return fmt::format("{}", static_cast<float>(value.as_f64().value_or(0)));
    case ValueType::F64: return fmt::format("{}", value.as_f64().value_or(0));
    case ValueType::Null: return "null";
    case ValueType::Object: return escaped(value.as_object()->text, chars);
    default: break;
  }
  if (const auto i = value.as_i64()) return fmt::format("{}", *i);
  return fmt::format("{}", value.as_u64().value_or(0));
}

/// At least one element, then as many as fit into `columns`, at most `limit`.
std::string array_text(const format::ArrayRef& array, std::uint64_t limit, std::size_t columns, int depth) {
  std::string out = "[";
  std::uint64_t shown = 0;
  const std::size_t tail = 3 + fmt::formatted_size(", … {} more]", grouped(array.count));
  array.for_each([&](std::uint64_t i, const format::Value& value) {
    if (i >= limit) return false;
    const format::ArrayRef* inner = value.as_array();
    std::string item = inner == nullptr ? scalar_text(value, columns / 2)
                       : depth > 1      ? array_text(*inner, limit, columns / 2, depth - 1)
                                        : "[…]";
    if (i > 0 && display_width(out) + display_width(item) + tail > columns) return false;
    out += (i == 0 ? "" : ", ") + item;
    ++shown;
    return true;
  });
  if (array.count > shown) out += fmt::format("{}… {} more", shown == 0 ? "" : ", ", grouped(array.count - shown));
  return out + "]";
}

}  // namespace

std::string format_title(const ModelFile& model) {
  std::string out = model.format == format::Format::Gguf          ? "GGUF"
                    : model.format == format::Format::SafeTensors ? "SafeTensors"
                                                                  : "APR";
  if (!model.version.empty()) out += " version " + escaped(model.version, 16);
  return out + (model.byte_order == std::endian::big ? ", big-endian" : ", little-endian");
}

void append_title(std::string& out, const Style& style, const ModelFile& model) {
  style.append(out, Role::Title, escaped(model.path));
  out += fmt::format("  {}, {}\n", format_title(model), size_text(model.total_bytes()));
}

void append_files(std::string& out, const Style& style, const ModelFile& model) {
  if (model.files.size() < 2) return;
  append_heading(out, style, "FILES", plural(model.files.size(), "shard", "shards"));
  Table table({{"#", Align::Right}, {"bytes", Align::Right}, {"file"}});
  for (std::size_t i = 0; i < model.files.size(); ++i)
    table.add(
        {{fmt::format("{}", i)}, {grouped(model.files[i]->size())}, {escaped(model.files[i]->path()), Role::Name}});
  table.append_to(out, style);
}

void append_regions(std::string& out, const Style& style, const ModelFile& model) {
  if (model.regions.empty()) return;
  append_heading(out, style, "MAP");
  const bool sharded = model.files.size() > 1;
  Table table({{sharded ? "file" : "", Align::Right}, {"offset"}, {"bytes", Align::Right}, {"region"}});
  for (std::size_t i = 0; i < std::min(model.regions.size(), kShownRegions); ++i) {
    const format::Region& region = model.regions[i];
    table.add({{sharded ? fmt::format("{}", region.file_index) : ""},
               {offset_text(region.offset), Role::Offset},
               {grouped(region.size_bytes)},
               {escaped(region.name), Role::Name}});
  }
  table.append_to(out, style);
  if (model.regions.size() > kShownRegions)
    style.append(out, Role::Dim, fmt::format("  … {} more\n", model.regions.size() - kShownRegions));
}

void append_heading(std::string& out, const Style& style, std::string_view title, std::string_view note) {
  out += '\n';
  style.append(out, Role::Heading, title);
  if (!note.empty()) {
    out += "  ";
    style.append(out, Role::Dim, note);
  }
  out += '\n';
}

std::string offset_text(std::uint64_t offset) { return fmt::format("0x{:08x}", offset); }

std::string bytes_text(std::span<const std::byte> bytes, std::size_t most) {
  std::string out;
  const std::size_t shown = std::min(bytes.size(), most);
  for (std::size_t i = 0; i < shown; ++i)
    out += fmt::format("{}{:02x}", i == 0 ? "" : " ", std::to_integer<unsigned>(bytes[i]));
  if (shown < bytes.size()) out += " …";
  return out;
}

std::string size_text(std::uint64_t bytes) {
  return bytes < 1024 ? fmt::format("{} bytes", bytes)
                      : fmt::format("{} bytes ({})", grouped(bytes), human_bytes(bytes));
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < std::min(shape.size(), kShownDims); ++i)
    out += fmt::format("{}{}", i == 0 ? "" : ", ", shape[i]);
  if (shape.size() > kShownDims) out += fmt::format(", … {} dimensions", shape.size());
  return out + "]";
}

std::string type_text(const format::TensorInfo& tensor) {
  if (tensor.type != TensorType::Unknown) return std::string(name(tensor.type));
  if (!tensor.raw_type_name.empty()) return fmt::format("? {}", escaped(tensor.raw_type_name, 16));
  return fmt::format("? {}", tensor.raw_type);
}

std::string plural(std::uint64_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", grouped(n), n == 1 ? one : many);
}

std::string value_type_text(const format::Value& value) {
  if (const auto* array = value.as_array()) return fmt::format("{}[{}]", name(array->element), array->count);
  return std::string(name(value.type()));
}

Role value_role(const format::Value& value) {
  return value.type() == format::ValueType::String ? Role::Text : Role::Plain;
}

std::string value_text(const format::Value& value, std::uint64_t limit, std::size_t columns) {
  if (const auto* array = value.as_array()) return array_text(*array, limit, columns, kArrayDepth);
  return scalar_text(value, columns);
}

std::string number_text(const inspect::Number& number) {
  return std::visit([](const auto v) { return fmt::format("{}", v); }, number);
}

std::string_view encoding_text(FieldEncoding encoding) {
  switch (encoding) {
    case FieldEncoding::U8: return "u8";
    case FieldEncoding::I8: return "i8";
    case FieldEncoding::U16: return "u16";
    case FieldEncoding::I16: return "i16";
    case FieldEncoding::I32: return "i32";
    case FieldEncoding::I64: return "i64";
    case FieldEncoding::F16: return "f16";
    case FieldEncoding::BF16: return "bf16";
    case FieldEncoding::F32: return "f32";
    case FieldEncoding::F64: return "f64";
    case FieldEncoding::E8M0: return "e8m0";
    case FieldEncoding::E4M3: return "e4m3";
    case FieldEncoding::Packed: return "packed";
  }
  return "packed";
}

std::string_view field_meaning(std::string_view field) {
  constexpr std::pair<std::string_view, std::string_view> kMeanings[] = {
      {"d", "scale"},
      {"dmin", "scale of the minima"},
      {"m", "minimum"},
      {"s", "d x sum of the quants"},
      {"qs", "quants"},
      {"ql", "low bits of the quants"},
      {"qh", "high bits of the quants"},
      {"hmask", "high bits of the quants"},
      {"scales", "scales of the sub-blocks"},
      {"scales_h", "high bits of the sub-block scales"},
      {"scales_l", "low bits of the sub-block scales"},
      {"scales_and_signs", "sub-block scales and signs"},
      {"signs", "signs"},
      {"bsums", "sums of 16 quants"},
      {"e", "scale, a power of two"}};
  for (const auto& [name, meaning] : kMeanings)
    if (name == field) return meaning;
  return "";
}

std::string index_text(std::span<const std::int64_t> index) { return fmt::format("[{}]", fmt::join(index, ", ")); }

std::string bits_text(std::span<const inspect::FileBits> bits) {
  std::string out;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const inspect::FileBits& b = bits[i];
    if (i == 0 || b.offset != bits[i - 1].offset) out += fmt::format("{}{}", i == 0 ? "" : ", ", offset_text(b.offset));
    if (b.width < 8) out += fmt::format(":{}", b.first_bit);
    if (b.width > 1 && b.width < 8) out += fmt::format("-{}", b.first_bit + b.width - 1);
  }
  return out;
}

}  // namespace apr::cli
