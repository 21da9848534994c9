#include "src/cli/hex_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "apr/core/text.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr std::size_t kValueChars = 60;  // of a text value in a table
constexpr std::size_t kShownBytes = 8;   // of a header field
constexpr std::size_t kBlockBytes = 16;  // of a block field
constexpr std::size_t kBlockValues = 6;  // of a block field
constexpr std::size_t kShownDims = 8;
constexpr std::size_t kShownRegions = 24;
constexpr std::size_t kBarColumns = 20;
constexpr int kArrayDepth = 3;

void heading(std::string& out, const Style& style, std::string_view title, std::string_view note = {}) {
  out += '\n';
  style.append(out, Role::Heading, title);
  if (!note.empty()) {
    out += "  ";
    style.append(out, Role::Dim, note);
  }
  out += '\n';
}

std::string offset_text(std::uint64_t offset) {
  return fmt::format("0x{:08x}", offset);
}

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

std::string scalar_text(const format::Value& value) {
  using format::ValueType;
  switch (value.type()) {
    case ValueType::String:
      return fmt::format("\"{}\"", escaped(value.as_string().value_or(""), kValueChars));
    case ValueType::Bool:
      return value.as_bool().value_or(false) ? "true" : "false";
    case ValueType::F32:
      return fmt::format("{}", static_cast<float>(value.as_f64().value_or(0)));
    case ValueType::F64:
      return fmt::format("{}", value.as_f64().value_or(0));
    case ValueType::Null:
      return "null";
    case ValueType::Object:
      return escaped(value.as_object()->text, kValueChars);
    default:
      break;
  }
  if (const auto i = value.as_i64()) return fmt::format("{}", *i);
  return fmt::format("{}", value.as_u64().value_or(0));
}

std::string array_text(const format::ArrayRef& array, std::uint64_t limit, int depth) {
  std::string out = "[";
  std::uint64_t shown = 0;
  array.for_each([&](std::uint64_t i, const format::Value& value) {
    if (i >= limit) return false;
    if (i > 0) out += ", ";
    const format::ArrayRef* inner = value.as_array();
    out += inner == nullptr ? scalar_text(value) : depth > 1 ? array_text(*inner, limit, depth - 1) : "[…]";
    ++shown;
    return true;
  });
  if (array.count > shown) out += fmt::format("{}… {} more", shown == 0 ? "" : ", ", grouped(array.count - shown));
  return out + "]";
}

std::string value_type_text(const format::Value& value) {
  if (const auto* array = value.as_array()) return fmt::format("{}[{}]", name(array->element), array->count);
  return std::string(name(value.type()));
}

Role value_role(const format::Value& value) {
  return value.type() == format::ValueType::String ? Role::Text : Role::Plain;
}

Role severity_role(Severity severity) {
  return severity == Severity::Error ? Role::Bad : severity == Severity::Warning ? Role::Warning : Role::Dim;
}

std::string_view encoding_text(FieldEncoding encoding) {
  switch (encoding) {
    case FieldEncoding::U8:
      return "u8";
    case FieldEncoding::I8:
      return "i8";
    case FieldEncoding::U16:
      return "u16";
    case FieldEncoding::I16:
      return "i16";
    case FieldEncoding::I32:
      return "i32";
    case FieldEncoding::I64:
      return "i64";
    case FieldEncoding::F16:
      return "f16";
    case FieldEncoding::BF16:
      return "bf16";
    case FieldEncoding::F32:
      return "f32";
    case FieldEncoding::F64:
      return "f64";
    case FieldEncoding::E8M0:
      return "e8m0";
    case FieldEncoding::E4M3:
      return "e4m3";
    case FieldEncoding::Packed:
      return "packed";
  }
  return "packed";
}

std::string format_title(const ModelFile& model) {
  std::string out = model.format == format::Format::Gguf          ? "GGUF"
                    : model.format == format::Format::SafeTensors ? "SafeTensors"
                                                                  : "APR";
  if (!model.version.empty()) out += " version " + escaped(model.version, 16);
  return out + (model.byte_order == std::endian::big ? ", big-endian" : ", little-endian");
}

void title(std::string& out, const Style& style, const ModelFile& model) {
  style.append(out, Role::Title, escaped(model.path));
  out += fmt::format("  {}, {}\n", format_title(model), size_text(model.total_bytes()));
}

void append_files(std::string& out, const Style& style, const ModelFile& model) {
  if (model.files.size() < 2) return;
  heading(out, style, "FILES", plural(model.files.size(), "shard", "shards"));
  Table table({{"#", Align::Right}, {"bytes", Align::Right}, {"file"}});
  for (std::size_t i = 0; i < model.files.size(); ++i)
    table.add(
        {{fmt::format("{}", i)}, {grouped(model.files[i]->size())}, {escaped(model.files[i]->path()), Role::Name}});
  table.append_to(out, style);
}

std::string checksum_text(inspect::DataChecksum state) {
  switch (state) {
    case inspect::DataChecksum::NoneInFormat:
      return "";
    case inspect::DataChecksum::NotVerified:
      return "not verified (it takes a pass over the whole file: --verify)";
    case inspect::DataChecksum::Good:
      return "correct over the whole file";
    case inspect::DataChecksum::Bad:
      return "WRONG";
  }
  return "";
}

void append_facts(std::string& out, const Style& style, const ModelFile& model, const inspect::Summary& summary) {
  Table table({{"", Align::Left}, {"", Align::Left, 200}});
  const auto add = [&table](std::string label, std::string text, Role role = Role::Plain) {
    if (!text.empty()) table.add({{std::move(label), Role::Dim}, {std::move(text), role}});
  };
  add("format", format_title(model));
  add("size", size_text(summary.total_bytes));
  add("tensors", fmt::format("{}, {} parameters ({}), {}", grouped(summary.n_tensors), grouped(summary.n_parameters),
                             human_count(summary.n_parameters), size_text(summary.tensor_bytes)));
  if (summary.n_unreadable > 0) add("unreadable", plural(summary.n_unreadable, "tensor", "tensors"), Role::Bad);
  add("alignment", model.alignment > 1 ? size_text(model.alignment) : "");
  add("data at", model.data_offset > 0 ? offset_text(model.data_offset) : "");
  add("checksum", checksum_text(summary.data_checksum),
      summary.data_checksum == inspect::DataChecksum::Bad ? Role::Bad : Role::Plain);
  std::string companions;
  for (const std::string& path : model.companions) {
    const std::size_t slash = path.rfind('/');
    companions +=
        (companions.empty() ? "" : ", ") + escaped(slash == std::string::npos ? path : path.substr(slash + 1));
  }
  add("beside it", companions);
  table.append_to(out, style);
}

void append_types(std::string& out, const Style& style, const inspect::Summary& summary) {
  if (summary.types.empty()) return;
  heading(out, style, "TYPES");
  Table table({{"type"},
               {"tensors", Align::Right},
               {"elements", Align::Right},
               {"bytes", Align::Right},
               {"share", Align::Right},
               {""}});
  for (const inspect::TypeShare& t : summary.types) {
    std::string bar;
    const auto filled = static_cast<std::size_t>(t.share * kBarColumns + 0.5);
    for (std::size_t i = 0; i < filled; ++i) bar += "█";
    table.add({{escaped(t.name, 24), Role::Type},
               {grouped(t.n_tensors)},
               {grouped(t.n_elements)},
               {grouped(t.size_bytes)},
               {fmt::format("{:.1f}%", t.share * 100)},
               {std::move(bar), Role::Bytes}});
  }
  table.append_to(out, style);
}

void append_regions(std::string& out, const Style& style, const ModelFile& model) {
  if (model.regions.empty()) return;
  heading(out, style, "MAP");
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

void append_key_metadata(std::string& out, const Style& style, const ModelFile& model,
                         const inspect::Summary& summary) {
  if (model.metadata.empty()) return;
  heading(out, style, "METADATA",
          fmt::format("{} of {} entries; --header shows all", summary.key_metadata.size(), model.metadata.size()));
  Table table({{""}, {"", Align::Left, 100}});
  for (const format::MetadataEntry* entry : summary.key_metadata)
    table.add({{escaped(entry->key, 48), Role::Name}, {value_text(entry->value, 2), value_role(entry->value)}});
  table.append_to(out, style);
}

void append_values(std::string& out, const Style& style, const inspect::TensorReport& report) {
  if (report.values.empty()) {
    style.append(out, Role::Warning, fmt::format("  no values: {}\n", report.no_values_reason));
    return;
  }
  heading(
      out, style, "VALUES",
      fmt::format("first {} of {}, in storage order", grouped(report.values.size()), grouped(report.info->n_elements)));
  const TypeInfo* type = find_type(report.info->type);
  const bool plain =
      type != nullptr && type->fields.empty() && type->block_elements == 1 && report.info->type != TensorType::AprQ8;
  const std::size_t per_row = plain && type->block_bytes == 8 ? 2 : plain && type->block_bytes >= 2 ? 4 : 8;
  std::vector<Table::Column> columns = {{"element", Align::Right}};
  if (plain) columns.insert(columns.end(), {{"offset"}, {"bytes"}});
  for (std::size_t i = 0; i < per_row; ++i) columns.push_back({"", Align::Right});
  Table table(std::move(columns));
  for (std::size_t i = 0; i < report.values.size(); i += per_row) {
    std::vector<Cell> row = {{fmt::format("{}", i), Role::Dim}};
    const std::size_t n = std::min(per_row, report.values.size() - i);
    if (plain) {
      row.push_back({offset_text(report.info->offset + i * type->block_bytes), Role::Offset});
      row.push_back(
          {bytes_text(report.first_bytes.subspan(i * type->block_bytes, n * type->block_bytes), 16), Role::Bytes});
    }
    for (std::size_t j = 0; j < n; ++j) row.push_back({number_text(report.values[i + j]), Role::Number});
    table.add(std::move(row));
  }
  table.append_to(out, style);
}

/// What the values or bits of a block field are for. The names are those of ggml-common.h.
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

void append_block(std::string& out, const Style& style, const inspect::TensorReport& report) {
  const TypeInfo* type = find_type(report.info->type);
  const inspect::BlockView& block = *report.first_block;
  heading(out, style, fmt::format("BLOCK {}", block.index),
          fmt::format("{} elements in {} bytes", type->block_elements, type->block_bytes));
  Table table({{"offset"}, {"bytes", Align::Left, 50}, {"field"}, {"as"}, {"value", Align::Left, 80}});
  for (const inspect::BlockFieldValues& field : block.fields) {
    std::string text;
    for (std::size_t i = 0; i < std::min(field.values.size(), kBlockValues); ++i)
      text += (i == 0 ? "" : " ") + number_text(field.values[i]);
    if (field.values.size() > kBlockValues) text += fmt::format(" … {} more", field.values.size() - kBlockValues);
    const std::string_view meaning = field_meaning(field.name);
    table.add({{offset_text(field.offset), Role::Offset},
               {bytes_text(field.bytes, kBlockBytes), Role::Bytes},
               {std::string(field.name), Role::Name},
               {std::string(encoding_text(field.encoding)), Role::Type},
               {text.empty() ? fmt::format("{}, {} bytes", meaning, field.bytes.size())
                             : fmt::format("{}  {}", text, meaning)}});
  }
  table.append_to(out, style);
}

}  // namespace

std::string value_text(const format::Value& value, std::uint64_t limit) {
  if (const auto* array = value.as_array()) return array_text(*array, limit, kArrayDepth);
  return scalar_text(value);
}

std::string number_text(const inspect::Number& number) {
  return std::visit([](const auto v) { return fmt::format("{}", v); }, number);
}

void append_summary(std::string& out, const Style& style, const ModelFile& model, const inspect::Summary& summary) {
  style.append(out, Role::Title, escaped(model.path));
  out += '\n';
  append_facts(out, style, model, summary);
  append_files(out, style, model);
  append_types(out, style, summary);
  append_key_metadata(out, style, model, summary);
  append_regions(out, style, model);
}

void append_header(std::string& out, const Style& style, const ModelFile& model, const inspect::HeaderReport& report,
                   std::uint64_t limit) {
  title(out, style, model);
  append_files(out, style, model);
  const auto append_section = [&](const inspect::HeaderSection& section) {
    std::string upper = section.title;
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    heading(out, style, upper, model.files.size() > 1 ? fmt::format("file {}", section.file_index) : std::string{});
    Table table({{"offset"}, {"bytes"}, {"field"}, {"value", Align::Left, 40}, {"meaning", Align::Left, 80}});
    for (const inspect::HeaderField& field : section.fields)
      table.add({{offset_text(field.offset), Role::Offset},
                 {bytes_text(field.bytes, kShownBytes), Role::Bytes},
                 {field.name, Role::Name},
                 {escaped(field.value, kValueChars), field.number ? Role::Number : Role::Text},
                 {field.meaning, Role::Plain}});
    table.append_to(out, style);
  };
  for (const auto& section : report.sections)
    if (section.title == "header") append_section(section);
  if (!report.metadata->empty()) {
    heading(out, style, "METADATA", plural(report.metadata->size(), "entry", "entries"));
    Table table({{"offset"}, {"type"}, {"key"}, {"value", Align::Left, 100}});
    for (const format::MetadataEntry& entry : *report.metadata)
      table.add({{offset_text(entry.key_offset), Role::Offset},
                 {value_type_text(entry.value), Role::Type},
                 {escaped(entry.key, 64), Role::Name},
                 {value_text(entry.value, limit), value_role(entry.value)}});
    table.append_to(out, style);
  }
  for (const auto& section : report.sections)
    if (section.title != "header") append_section(section);
  append_regions(out, style, model);
}

void append_list(std::string& out, const Style& style, const ModelFile& model) {
  title(out, style, model);
  append_files(out, style, model);
  const bool sharded = model.files.size() > 1;
  heading(out, style, "TENSORS",
          fmt::format("{}, {} parameters", grouped(model.tensors.size()), human_count(model.n_parameters())));
  std::vector<Table::Column> columns = {
      {"#", Align::Right},    {"name"}, {"type"}, {"shape"}, {"elements", Align::Right}, {"offset"},
      {"bytes", Align::Right}};
  columns.push_back({sharded ? "file" : "", Align::Right});
  columns.push_back({""});
  Table table(std::move(columns));
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    const format::TensorInfo& t = model.tensors[i];
    table.add({{fmt::format("{}", i), Role::Dim},
               {escaped(t.name), Role::Name},
               {type_text(t), Role::Type},
               {shape_text(t.shape)},
               {grouped(t.n_elements)},
               {offset_text(t.offset), Role::Offset},
               {grouped(t.size_bytes)},
               {sharded ? fmt::format("{}", t.file_index) : ""},
               {t.readable ? "" : "unreadable", Role::Bad}});
  }
  table.append_to(out, style);
  const inspect::Summary summary = inspect::summarize(model);
  out += fmt::format("\n  {}, {} parameters, {}\n", plural(summary.n_tensors, "tensor", "tensors"),
                     grouped(summary.n_parameters), size_text(summary.tensor_bytes));
}

void append_tensor(std::string& out, const Style& style, const ModelFile& model, const inspect::TensorReport& report) {
  const format::TensorInfo& t = *report.info;
  const TypeInfo* type = find_type(t.type);
  heading(out, style, fmt::format("TENSOR {}", report.index), escaped(t.name));
  Table table({{""}, {"", Align::Left, 200}});
  std::string type_line = type_text(t);
  if (type != nullptr && type->block_elements > 0)
    type_line +=
        fmt::format("  {} in {} bytes", plural(type->block_elements, "element", "elements"), type->block_bytes);
  table.add({{"type", Role::Dim}, {type_line, Role::Type}});
  table.add({{"shape", Role::Dim},
             {fmt::format("{}  {}", shape_text(t.shape), plural(t.n_elements, "element", "elements"))}});
  std::string place = fmt::format("{}  {}", offset_text(t.offset), size_text(t.size_bytes));
  if (model.files.size() > 1) place += fmt::format("  in {}", escaped(model.files[t.file_index]->path()));
  table.add({{"data", Role::Dim}, {place}});
  table.add({{"entry", Role::Dim}, {fmt::format("{}  {}", offset_text(t.info_offset), size_text(t.info_size))}});
  table.append_to(out, style);
  if (report.first_block) append_block(out, style, report);
  append_values(out, style, report);
}

void append_raw(std::string& out, const Style& style, std::span<const std::byte> bytes, std::uint64_t offset,
                std::uint64_t width, std::size_t offset_digits) {
  std::string hex;
  std::string ascii;
  for (std::size_t at = 0; at < bytes.size(); at += width) {
    const auto row = bytes.subspan(at, std::min<std::size_t>(width, bytes.size() - at));
    hex.clear();
    ascii.clear();
    for (std::size_t i = 0; i < width; ++i) {
      if (i > 0) hex += (width >= 8 && i == width / 2) ? "  " : " ";  // a wider gap in the middle of a row
      if (i >= row.size()) {
        hex += "  ";
        continue;
      }
      const auto b = std::to_integer<unsigned char>(row[i]);
      constexpr char kDigits[] = "0123456789abcdef";
      hex += kDigits[b >> 4];
      hex += kDigits[b & 15];
      ascii += b >= 0x20 && b < 0x7F ? static_cast<char>(b) : '.';
    }
    style.append(out, Role::Offset, fmt::format("{:0{}x}", offset + at, offset_digits));
    out += "  ";
    style.append(out, Role::Bytes, hex);
    out += "  |";
    out += ascii;
    out += "|\n";
  }
}

void append_findings(std::string& out, const Style& style, const std::vector<Finding>& findings) {
  if (findings.empty()) return;
  const auto count = [&](Severity s) {
    return static_cast<std::uint64_t>(
        std::count_if(findings.begin(), findings.end(), [s](const Finding& f) { return f.severity == s; }));
  };
  heading(out, style, "FINDINGS",
          fmt::format("{}, {}", plural(count(Severity::Error), "error", "errors"),
                      plural(count(Severity::Warning), "warning", "warnings")));
  for (const Finding& f : findings) {
    out += "  ";
    style.append(out, severity_role(f.severity), fmt::format("{:<7}", name(f.severity)));
    out += "  ";
    style.append(out, Role::Offset, f.offset ? offset_text(*f.offset) : "-         ");
    out += "  " + escaped(f.message) + '\n';
    const auto detail = [&](std::string_view label, std::string_view text) {
      if (text.empty()) return;
      out += std::string(23, ' ');
      style.append(out, Role::Dim, fmt::format("{:<9}", label));
      out += escaped(text, 200) + '\n';
    };
    detail("field", f.field);
    detail("tensor", f.tensor);
    detail("expected", f.expected);
    detail("found", f.found);
    detail("hint", f.hint);
    detail("rule", f.rule);
  }
}

}  // namespace apr::cli
