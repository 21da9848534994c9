// apr hex FILE --tensor GLOB: the first block of tensors, field by field, and their first values.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "apr/inspect/hex.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/table.h"
#include "src/cli/hex_tensor.h"

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr std::size_t kBlockBytes = 8;   // of a block field
constexpr std::size_t kBlockValues = 6;  // of a block field
constexpr std::uint64_t kValues = 64;            // of a tensor, without --limit
constexpr std::uint64_t kMostValues = 1U << 16;  // of a tensor; whole ones are not for reading

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

void append_values(std::string& out, const Style& style, const inspect::TensorReport& report) {
  if (report.values.empty()) {
    style.append(out, Role::Warning, fmt::format("  no values: {}\n", report.no_values_reason));
    return;
  }
  append_heading(
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
  append_heading(out, style, fmt::format("BLOCK {}", block.index),
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

void append_tensor(std::string& out, const Style& style, const ModelFile& model, const inspect::TensorReport& report) {
  const format::TensorInfo& t = *report.info;
  const TypeInfo* type = find_type(t.type);
  append_heading(out, style, fmt::format("TENSOR {}", report.index), escaped(t.name));
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

Json tensor_json(const inspect::TensorReport& report) {
  Json j = tensor_info_json(report.index, *report.info);
  j["info_offset"] = report.info->info_offset;
  j["info_size"] = report.info->info_size;
  j["first_bytes_hex"] = bytes_hex(report.first_bytes);
  if (report.first_block) {
    Json b;
    b["index"] = report.first_block->index;
    b["offset"] = report.first_block->offset;
    b["size_bytes"] = report.first_block->bytes.size();
    b["fields"] = Json::array();
    for (const auto& field : report.first_block->fields) {
      Json f;
      f["name"] = field.name;
      f["offset"] = field.offset;
      f["bytes_hex"] = bytes_hex(field.bytes);
      if (field.encoding != FieldEncoding::Packed) put_numbers(f, field.values);
      b["fields"].push_back(std::move(f));
    }
    j["first_block"] = std::move(b);
  }
  put_numbers(j, report.values);
  if (!report.no_values_reason.empty()) j["values_reason"] = report.no_values_reason;
  return j;
}

HexModeRun setup_hex_tensor(HexFlags&) {
  return [](HexRun& run) {
    const std::uint64_t limit = run.shared.limit_or(kValues, kMostValues);
    if (run.wants_json()) run.json["tensors"] = Json::array();
    for (const std::size_t i : inspect::select_tensors(*run.model, *run.shared.tensor)) {
      const inspect::TensorReport report = inspect::tensor_report(*run.model, i, limit);
      if (run.wants_json())
        run.json["tensors"].push_back(tensor_json(report));
      else
        append_tensor(run.text, run.context.style, *run.model, report);
    }
    if (run.first) run.text.erase(0, 1);  // the blank line above the first heading
    return 0;
  };
}

}  // namespace apr::cli
