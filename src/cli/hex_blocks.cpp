// apr hex FILE --blocks: blocks field by field, every number decoded, values beside their codes.
#include "apr/inspect/blocks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "apr/core/text.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr std::uint64_t kElements = 32;            // listed of a block, without --limit
constexpr std::uint64_t kMostElements = 1U << 16;  // of one block or tensor
constexpr std::size_t kTensors = 16;               // shown without --all
constexpr std::size_t kShownBytes = 8;             // of a field
constexpr std::size_t kShownNumbers = 8;           // of a field
constexpr std::size_t kPerRow = 4;                 // elements of a line

struct BlockOptions {
  std::optional<std::uint64_t> row;
  std::uint64_t block = 0;
};

std::string cut_list(std::size_t n, const std::function<std::string(std::size_t)>& item) {
  std::string out;
  for (std::size_t i = 0; i < std::min(n, kShownNumbers); ++i) out += (i == 0 ? "" : " ") + item(i);
  if (n > kShownNumbers) out += fmt::format(" … {} more", n - kShownNumbers);
  return out;
}

std::string_view plural_of(inspect::PartKind kind) {
  switch (kind) {
    case inspect::PartKind::Scale:
    case inspect::PartKind::SubScale: return "scales";
    case inspect::PartKind::Minimum:
    case inspect::PartKind::SubMin: return "minima";
    case inspect::PartKind::Code: return "codes";
    case inspect::PartKind::GridIndex: return "grid indices";
    case inspect::PartKind::Sign: return "signs";
    case inspect::PartKind::Shift: return "shifts";
  }
  return "";
}

/// "scales 1 2 3 4 … 4 more", "upper bits of codes 1 0 0 1 …"
std::string numbers_text(const inspect::FieldNumbers& numbers) {
  return fmt::format(
      "{}{} {}", numbers.upper ? "upper bits of " : "", plural_of(numbers.kind),
      cut_list(numbers.stored.size(), [&](std::size_t i) { return fmt::format("{}", numbers.stored[i]); }));
}

void append_fields(std::string& out, const Style& style, const inspect::BlockReport& report) {
  if (report.fields.empty()) return;
  Table table({{"offset"}, {"bytes", Align::Left, 26}, {"field"}, {"as"}, {"value", Align::Left, 80}});
  for (const auto& field : report.fields) {
    const bool direct =
        field.encoding != FieldEncoding::Packed && field.numbers.size() <= 1 &&
        (field.numbers.empty() || field.numbers[0].kind == inspect::PartKind::Scale ||
         field.numbers[0].kind == inspect::PartKind::Minimum || field.numbers[0].kind == inspect::PartKind::Code);
    std::vector<std::string> lines;
    if (direct)
      lines.push_back(fmt::format(
          "{}  {}", cut_list(field.values.size(), [&](std::size_t i) { return number_text(field.values[i]); }),
          field_meaning(field.name)));
    else
      for (const auto& numbers : field.numbers) lines.push_back(numbers_text(numbers));
    if (lines.empty()) lines.emplace_back(field_meaning(field.name));
    for (std::size_t i = 0; i < lines.size(); ++i)
      if (i == 0)
        table.add({{offset_text(field.offset), Role::Offset},
                   {bytes_text(field.bytes, kShownBytes), Role::Bytes},
                   {std::string(field.name), Role::Name},
                   {std::string(encoding_text(field.encoding)), Role::Type},
                   {lines[i]}});
      else
        table.add({{""}, {""}, {""}, {""}, {lines[i]}});
  }
  table.append_to(out, style);
}

/// "12:0-3 4:6-7": bytes of the block and their bits
std::string place_in_block(const inspect::BlockReport& report, const inspect::PartPlace& part) {
  std::string out;
  for (const inspect::FileBits& b : part.bits)
    out += fmt::format("{}{}:{}-{}", out.empty() ? "" : " ", b.offset - report.offset, b.first_bit,
                       b.first_bit + b.width - 1);
  return out;
}

void append_sub_blocks(std::string& out, const Style& style, const inspect::BlockReport& report) {
  if (report.sub_blocks.empty()) return;
  append_heading(out, style, "SUB-BLOCKS",
                 fmt::format("{} of {} elements", report.sub_blocks.size(), report.sub_blocks[0].n_elements));
  const bool minima = report.sub_blocks[0].minimum.has_value();
  Table table({{"#", Align::Right},
               {"elements"},
               {"stored", Align::Right},
               {"scale", Align::Right},
               {"step", Align::Right},
               {minima ? "minimum" : "", Align::Right},
               {minima ? "taken away" : "", Align::Right},
               {"byte:bits"},
               {minima ? "byte:bits" : ""}});
  for (std::size_t i = 0; i < report.sub_blocks.size(); ++i) {
    const auto& sub = report.sub_blocks[i];
    table.add({{fmt::format("{}", i), Role::Dim},
               {fmt::format("{}-{}", sub.first_element, sub.first_element + sub.n_elements - 1)},
               {fmt::format("{}", sub.scale.stored)},
               {fmt::format("{}", sub.scale.value), Role::Number},
               {fmt::format("{}", sub.step), Role::Number},
               {minima ? fmt::format("{}", sub.minimum->stored) : "", Role::Number},
               {minima ? fmt::format("{}", sub.base) : "", Role::Number},
               {place_in_block(report, sub.scale), Role::Offset},
               {minima ? place_in_block(report, *sub.minimum) : "", Role::Offset}});
  }
  table.append_to(out, style);
}

/// A code in hexadecimal, as wide as the type's codes are; one grid index stands for all of its lanes.
std::string codes_text(const TypeInfo& type, std::span<const inspect::BlockElement> row) {
  const inspect::ElementBits bits = inspect::element_bits(type, row[0].in_block);
  unsigned width = 0;
  bool grid = false;
  for (const inspect::PartBits& part : bits.all()) {
    if (part.kind != inspect::PartKind::Code && part.kind != inspect::PartKind::GridIndex) continue;
    grid = part.kind == inspect::PartKind::GridIndex;
    for (std::size_t r = 0; r < part.n_runs; ++r) width += part.runs[r].width;
  }
  std::string out;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const bool same = grid && i > 0 && row[i].offset == row[i - 1].offset && row[i].stored == row[i - 1].stored;
    if (!same) out += fmt::format("{}{:0{}x}", i == 0 ? "" : " ", row[i].stored, (width + 3) / 4);
  }
  if (grid) {
    out += " =";
    for (const auto& element : row) out += fmt::format(" {}", element.code);
  }
  return out;
}

void append_elements(std::string& out, const Style& style, const inspect::BlockReport& report) {
  const std::string_view how = inspect::formula(report.info->type);
  append_heading(out, style, "VALUES",
                 fmt::format("{} of {}{}{}", grouped(report.elements.size()), grouped(report.n_elements),
                             how.empty() ? "" : ", value = ", how));
  std::vector<Table::Column> columns = {{"element", Align::Right}, {"offset"}, {"codes", Align::Left, 60}};
  for (std::size_t i = 0; i < kPerRow; ++i) columns.push_back({"", Align::Right});
  Table table(std::move(columns));
  for (std::size_t at = 0; at < report.elements.size(); at += kPerRow) {
    const auto row = std::span(report.elements).subspan(at, std::min(kPerRow, report.elements.size() - at));
    std::vector<Cell> cells = {
        {fmt::format("{}", report.fields.empty() ? *row[0].element : row[0].in_block), Role::Dim},
        {offset_text(row[0].offset), Role::Offset},
        {codes_text(*report.type, row), Role::Bytes}};
    for (const auto& element : row)
      cells.push_back({number_text(element.value), element.element ? Role::Number : Role::Dim});
    table.add(std::move(cells));
  }
  table.append_to(out, style);
}

void append_block(std::string& out, const Style& style, const inspect::BlockReport& report) {
  const format::TensorInfo& t = *report.info;
  append_heading(out, style, fmt::format("TENSOR {}", report.tensor),
                 fmt::format("{}  {} {}", escaped(t.name), type_text(t), shape_text(t.shape)));
  if (!report.absent_reason.empty()) {
    style.append(out, Role::Warning, fmt::format("  no blocks: {}\n", report.absent_reason));
    return;
  }
  const std::string in_row =
      report.blocks_per_row > 1 || (report.blocks_per_row == 1 && report.type->block_elements > 1)
          ? fmt::format(", block {} of {} of row {}", report.block_in_row, grouped(report.blocks_per_row), report.row)
          : std::string{};
  append_heading(out, style, fmt::format("BLOCK {}", grouped(report.block)),
                 fmt::format("of {}{}; {} in {} at {}", grouped(report.n_blocks), in_row,
                             plural(report.type->block_elements, "element", "elements"),
                             plural(report.type->block_bytes, "byte", "bytes"), offset_text(report.offset)));
  append_fields(out, style, report);
  append_sub_blocks(out, style, report);
  append_elements(out, style, report);
}

Json numbers_json(const inspect::FieldNumbers& numbers) {
  Json n = {{"kind", name(numbers.kind)}, {"upper_bits", numbers.upper}, {"stored", numbers.stored}};
  n["values"] = Json::array();
  for (const double value : numbers.values) n["values"].push_back(value);
  return n;
}

Json block_json(const inspect::BlockReport& report) {
  Json j = tensor_info_json(report.tensor, *report.info);
  if (!report.absent_reason.empty()) {
    j["block"] = nullptr;
    j["block_reason"] = report.absent_reason;
    return j;
  }
  Json b = {{"index", report.block},   {"n_blocks", report.n_blocks},
            {"row", report.row},       {"block_in_row", report.block_in_row},
            {"offset", report.offset}, {"size_bytes", report.bytes.size()}};
  b["blocks_per_row"] = report.blocks_per_row == 0 ? Json(nullptr) : Json(report.blocks_per_row);
  b["formula"] = inspect::formula(report.info->type);
  b["fields"] = Json::array();
  for (const auto& field : report.fields) {
    Json f;
    f["name"] = field.name;
    f["offset"] = field.offset;
    f["size_bytes"] = field.bytes.size();
    f["as"] = encoding_text(field.encoding);
    f["bytes_hex"] = bytes_hex(field.bytes);
    put_numbers(f, field.values);
    f["numbers"] = Json::array();
    for (const auto& numbers : field.numbers)
      if (field.values.empty() || numbers.kind != inspect::PartKind::Scale)
        f["numbers"].push_back(numbers_json(numbers));
    b["fields"].push_back(std::move(f));
  }
  b["sub_blocks"] = Json::array();
  for (const auto& sub : report.sub_blocks) {
    Json s = {{"first_element", sub.first_element}, {"n_elements", sub.n_elements}, {"scale", part_json(sub.scale)}};
    s["minimum"] = sub.minimum ? part_json(*sub.minimum) : Json(nullptr);
    put_number(s, "step", inspect::Number(sub.step));
    put_number(s, "taken_away", inspect::Number(sub.base));
    b["sub_blocks"].push_back(std::move(s));
  }
  b["n_elements"] = report.n_elements;
  b["elements"] = Json::array();
  for (const auto& element : report.elements) {
    Json e = {{"in_block", element.in_block}};
    e["element"] = element.element ? Json(*element.element) : Json(nullptr);
    e["offset"] = element.offset;
    e["stored"] = element.stored;
    put_number(e, "code", element.code);
    put_number(e, "value", element.value);
    b["elements"].push_back(std::move(e));
  }
  j["block"] = std::move(b);
  return j;
}

int run_blocks(const BlockOptions& o, HexRun& run) {
  const ModelFile& model = *run.model;
  const std::uint64_t limit = run.shared.limit_or(kElements, kMostElements);
  std::vector<std::size_t> tensors =
      run.shared.tensor ? inspect::select_tensors(model, *run.shared.tensor) : inspect::one_of_each_type(model);
  const std::size_t n_chosen = tensors.size();
  if (!run.shared.all) tensors.resize(std::min(tensors.size(), kTensors));
  const inspect::AddressMap map(model);
  if (run.wants_json()) run.json = {{"n_tensors", n_chosen}, {"tensors", Json::array()}};
  if (!run.wants_json() && run.first) append_title(run.text, run.context.style, model);
  for (const std::size_t tensor : tensors) {
    check_interrupted();
    const inspect::BlockReport report = inspect::block_report(map, tensor, {o.row, o.block}, limit);
    if (run.wants_json())
      run.json["tensors"].push_back(block_json(report));
    else
      append_block(run.text, run.context.style, report);
  }
  if (!run.wants_json() && tensors.size() < n_chosen)
    run.context.style.append(run.text, Role::Dim,
                             fmt::format("\n  … {} more tensors; --all shows them\n", n_chosen - tensors.size()));
  return 0;
}

}  // namespace

HexModeRun setup_hex_blocks(HexFlags& flags) {
  auto o = std::make_shared<BlockOptions>();
  flags.own(add_number(
      flags.app, "--block", [o](std::uint64_t n) { o->block = n; }, 0, UINT64_MAX,
      "Which block of the tensor, or of the row (0)"));
  flags.own(add_number(
      flags.app, "--row", [o](std::uint64_t n) { o->row = n; }, 0, UINT64_MAX,
      "Count blocks from the start of this row"));
  return [o](HexRun& run) { return run_blocks(*o, run); };
}

}  // namespace apr::cli
