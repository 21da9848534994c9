#include "apr/inspect/blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "src/inspect/numbers.h"

namespace apr::inspect {
namespace {

using format::ModelFile;
using format::TensorInfo;

Error no_such(const ModelFile& model, const TensorInfo& tensor, std::string flag, std::uint64_t n,
              std::uint64_t found) {
  return Error(ErrorCode::Usage, fmt::format("{} has no such {}", tensor.name, flag.substr(2)))
      .at(model.path)
      .in(std::move(flag))
      .want(fmt::format("a number below {}", n))
      .got(fmt::format("{}", found));
}

/// Finds the block that was asked for. False when the tensor has none.
bool choose(const ModelFile& model, const BlockGrid& grid, const BlockChoice& choice, BlockReport& report) {
  const TensorInfo& tensor = *report.info;
  const std::uint64_t n = grid.type->block_elements;
  report.n_blocks = grid.n_blocks;
  if (grid.stored_row_elements % n == 0) report.blocks_per_row = grid.stored_row_elements / n;
  report.block = choice.block;
  if (choice.row) {
    const std::uint64_t n_rows = tensor.n_elements / grid.row_elements;
    if (*choice.row >= n_rows) throw no_such(model, tensor, "--row", n_rows, *choice.row);
    if (report.blocks_per_row == 0)
      throw Error(ErrorCode::Usage, fmt::format("rows of {} do not begin at a block", tensor.name))
          .at(model.path)
          .in("--row")
          .help("choose by --block alone");
    if (choice.block >= report.blocks_per_row)
      throw no_such(model, tensor, "--block", report.blocks_per_row, choice.block);
    report.block = *choice.row * report.blocks_per_row + choice.block;
  }
  if (report.block >= grid.n_blocks) throw no_such(model, tensor, "--block", grid.n_blocks, report.block);
  report.row = report.block * n / grid.stored_row_elements;
  report.block_in_row = report.blocks_per_row == 0 ? 0 : report.block % report.blocks_per_row;
  const std::uint64_t at = grid.first_byte + report.block * grid.type->block_bytes;
  report.offset = tensor.offset + at;
  report.bytes = model.data(tensor).subspan(at, grid.type->block_bytes);
  return true;
}

/// Adds a number to those of its kind, once: parts of a sub-block come with each of its elements.
void add_number(BlockFieldReport& field, std::set<std::pair<PartKind, unsigned>>& seen, const Part& part, bool upper,
                std::uint64_t stored, unsigned at) {
  if (!seen.insert({part.bits.kind, at}).second) return;
  auto same = std::find_if(field.numbers.begin(), field.numbers.end(),
                           [&](const FieldNumbers& n) { return n.kind == part.bits.kind && n.upper == upper; });
  if (same == field.numbers.end()) same = field.numbers.insert(same, {part.bits.kind, upper, {}, {}});
  same->stored.push_back(stored);
  if (!upper && part.bits.kind != PartKind::GridIndex) same->values.push_back(part.value);
}

void add_fields(const ModelFile& model, const BlockGrid& grid, std::span<const std::byte> little, BlockReport& report) {
  const TypeInfo& type = *grid.type;
  for (const BlockField& field : type.fields) {
    const auto bytes = report.bytes.subspan(field.offset, field.bytes);
    report.fields.push_back({field.name,
                             field.encoding,
                             report.offset + field.offset,
                             bytes,
                             field_values(field.encoding, bytes, model.byte_order),
                             {}});
  }
  std::set<std::pair<PartKind, unsigned>> seen;
  for (std::uint32_t e = 0; e < type.block_elements; ++e) {
    const Element element = read_element(type, little, e);
    for (const Part& part : element.all()) {
      const BlockField* first = field_at(type, part.bits.runs[0].first / 8U);
      for (std::size_t r = 0; r < part.bits.n_runs; ++r) {
        const BitRun& run = part.bits.runs[r];
        const BlockField* field = field_at(type, run.first / 8U);
        if (field == nullptr || (r > 0 && field == first)) continue;
        const std::uint64_t bits = part.stored >> run.to & ((std::uint64_t{1} << run.width) - 1);
        add_number(report.fields[static_cast<std::size_t>(field - type.fields.data())], seen, part, r > 0,
                   r > 0 ? bits : part.stored, run.first);
      }
    }
  }
  if (type.type == TensorType::TQ1_0)  // a byte of five trits has no value of its own
    for (BlockFieldReport& field : report.fields)
      for (FieldNumbers& numbers : field.numbers)
        if (numbers.kind == PartKind::Code) numbers.values.clear();
}

void add_sub_blocks(const AddressMap& map, const BlockGrid& grid, std::span<const std::byte> little,
                    BlockReport& report) {
  const TypeInfo& type = *grid.type;
  const std::uint32_t n = sub_block_elements(type);
  for (std::uint32_t e = 0; e < type.block_elements; e += n) {
    SubBlock sub{e, n, {}, std::nullopt, 0, 0};
    const auto element = grid.element(report.block * type.block_elements + e, report.info->n_elements);
    const WeightPlace place = map.weight(report.tensor, element.value_or(0));
    double scale = 0, dmin = 0;
    bool has_scale = false, has_sub = false;
    const Element parts = read_element(type, little, e);
    for (std::size_t i = 0; i < parts.n_parts; ++i) {
      const Part& part = parts.parts[i];
      PartPlace where{part.bits.kind, {}, {}, part.stored, part.value};
      if (element) where = place.parts[i];
      if (part.bits.kind == PartKind::Scale) scale = part.value, has_scale = true;
      if (part.bits.kind == PartKind::Minimum) dmin = part.value;
      if (part.bits.kind == PartKind::SubScale)
        sub.scale = std::move(where), has_sub = true;
      else if (part.bits.kind == PartKind::SubMin)
        sub.minimum = std::move(where);
    }
    if (!has_sub) return;
    sub.step = (has_scale ? static_cast<float>(scale) : 1.0F) * static_cast<float>(sub.scale.value);
    if (sub.minimum) sub.base = static_cast<float>(dmin) * static_cast<float>(sub.minimum->value);
    report.sub_blocks.push_back(std::move(sub));
  }
}

BlockElement element_of(const ModelFile& model, const AddressMap& map, const BlockGrid& grid, const BlockReport& report,
                        std::uint64_t stored_number) {
  const TypeInfo& type = *grid.type;
  BlockElement out;
  out.in_block = static_cast<std::uint32_t>(stored_number % type.block_elements);
  out.element = grid.element(stored_number, report.info->n_elements);
  const std::uint64_t block = stored_number / type.block_elements;
  const Element element = read_element(type, little_endian_block(model, *report.info, grid, block), out.in_block);
  out.value = element.value;
  if (out.element)
    if (const auto value = map.weight(report.tensor, *out.element).value) out.value = *value;
  double sign = 1;
  for (const Part& part : element.all()) {
    if (part.bits.kind == PartKind::Sign) sign = part.value;
    if (part.bits.kind != PartKind::Code && part.bits.kind != PartKind::GridIndex) continue;
    const std::uint32_t byte = part.bits.runs[0].first / 8U;
    out.offset = report.info->offset + grid.first_byte + block * type.block_bytes +
                 (model.byte_order == std::endian::little ? byte : big_endian_byte(type, byte));
    out.stored = part.stored;
    out.code = part.value;
  }
  out.code *= sign;
  return out;
}

}  // namespace

BlockReport block_report(const AddressMap& map, std::size_t tensor, const BlockChoice& choice,
                         std::uint64_t most_elements) {
  const ModelFile& model = map.model();
  BlockReport report;
  report.tensor = tensor;
  report.info = &model.tensors.at(tensor);
  report.type = find_type(report.info->type);
  const auto grid = block_grid(*report.info);
  if (!grid) {
    report.absent_reason = !report.info->readable ? "its type or range is not sound" : "it has no elements";
    return report;
  }
  choose(model, *grid, choice, report);
  const auto little = little_endian_block(model, *report.info, *grid, report.block);
  add_fields(model, *grid, little, report);
  if (!report.fields.empty()) add_sub_blocks(map, *grid, little, report);
  const std::uint64_t first = report.block * grid->type->block_elements;
  const bool plain = grid->type->block_elements == 1;
  report.n_elements = plain ? grid->n_blocks - report.block : grid->type->block_elements;
  for (std::uint64_t i = 0; i < std::min(most_elements, report.n_elements); ++i)
    report.elements.push_back(element_of(model, map, *grid, report, first + i));
  return report;
}

std::vector<std::size_t> one_of_each_type(const ModelFile& model) {
  std::vector<std::size_t> chosen;
  std::set<std::pair<TensorType, std::uint32_t>> seen;
  for (std::size_t i = 0; i < model.tensors.size(); ++i)
    if (seen.insert({model.tensors[i].type, model.tensors[i].raw_type}).second) chosen.push_back(i);
  return chosen;
}

std::string_view formula(TensorType type) noexcept {
  switch (type) {
    case TensorType::Q4_1:
    case TensorType::Q5_1: return "d * code + m";
    case TensorType::Q2_K:
    case TensorType::Q4_K:
    case TensorType::Q5_K: return "(d * scale) * code - dmin * minimum";
    case TensorType::Q3_K:
    case TensorType::Q6_K:
    case TensorType::IQ4_XS: return "(d * scale) * code";
    case TensorType::IQ1_S:
    case TensorType::IQ1_M: return "(d * scale) * (grid + shift)";
    case TensorType::IQ2_XXS:
    case TensorType::IQ2_XS:
    case TensorType::IQ2_S:
    case TensorType::IQ3_XXS:
    case TensorType::IQ3_S: return "(d * scale) * grid * sign";
    case TensorType::MXFP4: return "e * code";
    case TensorType::NVFP4: return "d * code, d per sub-block";
    case TensorType::AprQ8: return "scale of the tensor * code";
    default: return find_type(type) != nullptr && !find_type(type)->fields.empty() ? "d * code" : "";
  }
}

}  // namespace apr::inspect
