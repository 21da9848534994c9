// apr hex FILE --tensor GLOB: the first block of tensors, field by field, and their first values.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "apr/core/text.h"
#include "apr/inspect/address.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_tensor.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr std::size_t kBlockBytes = 8;           // of a block field
constexpr std::size_t kBlockValues = 6;          // of a block field
constexpr std::uint64_t kValues = 64;            // of a tensor, without --limit
constexpr std::uint64_t kMostValues = 1U << 16;  // of a tensor; whole ones are not for reading
constexpr std::size_t kTensors = 64;             // shown without --all

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

/// Elements [first, end) of a tensor, row-major.
struct Slice {
  std::uint64_t first = 0;
  std::optional<std::uint64_t> end;
};

/// "a:b", "a:" or ":b".
Slice parse_slice(const std::string& text) {
  const std::size_t colon = text.find(':');
  Slice slice;
  const auto refuse = [&](std::string message) {
    return Error(ErrorCode::Usage, std::move(message))
        .in("--slice")
        .want("A:B, the elements from A to before B")
        .got(text);
  };
  if (colon == std::string::npos) throw refuse("no slice");
  const std::string a = text.substr(0, colon), b = text.substr(colon + 1);
  const auto first = a.empty() ? std::optional<std::uint64_t>(0) : parse_u64(a);
  if (!first) throw refuse("not a number");
  slice.first = *first;
  if (!b.empty() && !(slice.end = parse_u64(b))) throw refuse("not a number");
  if (slice.end && *slice.end <= slice.first) throw refuse("an empty slice");
  return slice;
}

/// The places of the elements; a slice that does not lie in the tensor is refused, one that is long is cut at `most`.
std::vector<inspect::WeightPlace> places_of(const inspect::AddressMap& map, std::size_t tensor, const Slice& slice,
                                            std::uint64_t most) {
  const format::TensorInfo& info = map.model().tensors[tensor];
  const std::uint64_t end = slice.end.value_or(info.n_elements);
  if (slice.first >= info.n_elements || end > info.n_elements)
    throw Error(ErrorCode::Usage, "the slice does not lie in the tensor")
        .at(map.model().path)
        .in("--slice")
        .want(fmt::format("elements 0 to {} of {}", info.n_elements, info.name))
        .got(fmt::format("{}:{}", slice.first, end));
  std::vector<inspect::WeightPlace> places;
  for (std::uint64_t e = slice.first; e < end && e - slice.first < most; ++e) places.push_back(map.weight(tensor, e));
  return places;
}

void append_slice(std::string& out, const Style& style, const ModelFile& model, std::size_t tensor, const Slice& slice,
                  const std::vector<inspect::WeightPlace>& places) {
  const format::TensorInfo& info = model.tensors[tensor];
  const std::uint64_t end = slice.end.value_or(info.n_elements);
  append_heading(out, style, fmt::format("TENSOR {}", tensor),
                 fmt::format("{}  {} {}", escaped(info.name), type_text(info), shape_text(info.shape)));
  append_heading(out, style, "SLICE",
                 fmt::format("elements {} to {}, row-major; {} shown", grouped(slice.first), grouped(end - 1),
                             grouped(places.size())));
  Table table({{"element", Align::Right},
               {"index"},
               {"code at", Align::Left, 40},
               {"stored", Align::Right},
               {"value", Align::Right}});
  for (const inspect::WeightPlace& w : places)
    table.add({{grouped(w.element), Role::Dim},
               {index_text(w.index)},
               {bits_text(inspect::code_of(w).bits), Role::Offset},
               {fmt::format("{}", inspect::code_of(w).stored)},
               {w.value ? number_text(*w.value) : "-", Role::Number}});
  table.append_to(out, style);
  if (places.size() < end - slice.first)
    style.append(out, Role::Dim,
                 fmt::format("  … {} more; --limit N or --all\n", grouped(end - slice.first - places.size())));
}

Json slice_json(const ModelFile& model, std::size_t tensor, const Slice& slice,
                const std::vector<inspect::WeightPlace>& places) {
  const format::TensorInfo& info = model.tensors[tensor];
  Json j = tensor_info_json(tensor, info);
  j["slice"] = {{"first", slice.first}, {"end", slice.end.value_or(info.n_elements)}};
  std::vector<inspect::Number> values;
  Json offsets = Json::array(), stored = Json::array();
  for (const inspect::WeightPlace& w : places) {
    values.push_back(w.value.value_or(std::nan("")));
    offsets.push_back(inspect::code_of(w).bits.front().offset);
    stored.push_back(inspect::code_of(w).stored);
  }
  put_numbers(j, values);
  j["offsets"] = std::move(offsets);
  j["stored"] = std::move(stored);
  return j;
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

HexModeRun setup_hex_tensor(HexFlags& flags) {
  auto slice = std::make_shared<std::optional<Slice>>();
  flags.own(add_text(
      flags.app, "--slice", [slice](const std::string& text) { *slice = parse_slice(text); }, "A:B",
      "Only elements A to before B, row-major, each with its place"));
  return [slice](HexRun& run) {
    const std::uint64_t limit = run.shared.limit_or(kValues, kMostValues);
    const Style& style = run.context.style;
    std::vector<std::size_t> tensors = inspect::select_tensors(*run.model, *run.shared.tensor);
    const std::size_t n_chosen = tensors.size();
    if (!run.shared.all) tensors.resize(std::min(tensors.size(), kTensors));
    if (run.wants_json()) run.json = {{"n_tensors", n_chosen}, {"tensors", Json::array()}};
    const inspect::AddressMap map(*run.model);
    for (const std::size_t i : tensors) {
      check_interrupted();
      if (*slice) {
        const auto places = places_of(map, i, **slice, limit);
        if (run.wants_json())
          run.json["tensors"].push_back(slice_json(*run.model, i, **slice, places));
        else
          append_slice(run.text, style, *run.model, i, **slice, places);
        continue;
      }
      const inspect::TensorReport report = inspect::tensor_report(*run.model, i, limit);
      if (run.wants_json())
        run.json["tensors"].push_back(tensor_json(report));
      else
        append_tensor(run.text, style, *run.model, report);
    }
    if (run.first && !run.text.empty()) run.text.erase(0, 1);  // the blank line above the first heading
    if (!run.wants_json() && tensors.size() < n_chosen)
      style.append(run.text, Role::Dim,
                   fmt::format("\n  … {} more tensors; --all shows them\n", grouped(n_chosen - tensors.size())));
    return 0;
  };
}

}  // namespace apr::cli
