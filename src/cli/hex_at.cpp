// apr hex FILE --at OFFSET: what a byte means. --weight 'NAME[I,J]': where a weight stands.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apr/core/text.h"
#include "apr/inspect/address.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr std::uint64_t kWeights = 8;  // listed without --limit
constexpr std::uint64_t kMostWeights = 1U << 16;
constexpr std::size_t kShownBytes = 16;
constexpr std::size_t kValueChars = 64;
constexpr std::size_t kShownElements = 6;

/// "0-3", "7"
std::string bit_range(unsigned first, unsigned width) {
  return width == 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, first + width - 1);
}

/// "0 to 255", "0, 16, 32, … 5 more"
std::string elements_text(const std::vector<std::uint32_t>& elements) {
  if (elements.empty()) return "all of the tensor";
  if (elements.size() > 1 && elements.back() - elements.front() + 1 == elements.size())
    return fmt::format("{} to {}", elements.front(), elements.back());
  std::string out;
  for (std::size_t i = 0; i < std::min(elements.size(), kShownElements); ++i)
    out += fmt::format("{}{}", i == 0 ? "" : ", ", elements[i]);
  if (elements.size() > kShownElements) out += fmt::format(", … {} more", elements.size() - kShownElements);
  return out;
}

std::string value_or_reason(const std::optional<inspect::Number>& value) {
  return value ? number_text(*value) : "no numeric form";
}

void add_header_byte(Table& table, const inspect::HeaderByte& h, std::uint64_t offset) {
  table.add({{"part", Role::Dim},
             {h.entry.empty() ? h.section : fmt::format("{} {}", h.section, escaped(h.entry, kValueChars))}});
  table.add({{"field", Role::Dim},
             {fmt::format("{}, byte {} of {} at {}", h.field.name, offset - h.field.offset, h.field.bytes.size(),
                          offset_text(h.field.offset)),
              Role::Name}});
  table.add({{"bytes", Role::Dim}, {bytes_text(h.field.bytes, kShownBytes), Role::Bytes}});
  if (!h.field.value.empty()) table.add({{"value", Role::Dim}, {escaped(h.field.value, kValueChars), Role::Text}});
  if (!h.field.meaning.empty()) table.add({{"meaning", Role::Dim}, {h.field.meaning}});
}

void append_tensor_byte(std::string& out, const Style& style, const ModelFile& model, const inspect::TensorByte& t,
                        Table& facts) {
  const format::TensorInfo& info = model.tensors[t.tensor];
  facts.add({{"tensor", Role::Dim},
             {fmt::format("{}  {}  {} {}", t.tensor, escaped(info.name), type_text(info), shape_text(info.shape)),
              Role::Name}});
  facts.add({{"row", Role::Dim}, {fmt::format("{}", grouped(t.row))}});
  facts.add({{"block", Role::Dim},
             {fmt::format("{} at {}, byte {} of {}", grouped(t.block), offset_text(t.block_offset), t.byte_in_block,
                          t.block_bytes)}});
  if (!t.field_name.empty())
    facts.add(
        {{"field", Role::Dim},
         {fmt::format("{}, byte {}{}{}", t.field_name, t.byte_in_field,
                      t.field != nullptr ? fmt::format(" of {}", t.field->bytes) : "",
                      field_meaning(t.field_name).empty() ? "" : fmt::format("  {}", field_meaning(t.field_name)))}});
  facts.append_to(out, style);
  append_heading(out, style, "BITS");
  if (t.uses.empty()) out += "  no value is computed from this byte\n";
  Table bits({{"bits"},
              {"of"},
              {"stored", Align::Right},
              {"value", Align::Right},
              {"elements of the block", Align::Left, 80}});
  for (const inspect::BitUse& use : t.uses)
    bits.add({{bit_range(use.first_bit, use.width), Role::Offset},
              {std::string(name(use.kind)), Role::Type},
              {fmt::format("{}", use.stored)},
              {use.value ? fmt::format("{}", *use.value) : "", Role::Number},
              {elements_text(use.elements)}});
  bits.append_to(out, style);
  if (t.weights.empty()) return;
  append_heading(out, style, "WEIGHTS",
                 fmt::format("{} of {} that this byte is a part of", grouped(t.weights.size()), grouped(t.n_weights)));
  Table weights({{"element", Align::Right}, {"index"}, {"value", Align::Right}});
  for (const inspect::WeightPlace& w : t.weights)
    weights.add({{grouped(w.element), Role::Dim}, {index_text(w.index)}, {value_or_reason(w.value), Role::Number}});
  weights.append_to(out, style);
}

void append_address(std::string& out, const Style& style, const ModelFile& model, const inspect::Address& a,
                    bool first) {
  if (first) append_title(out, style, model);
  append_heading(out, style, fmt::format("OFFSET {}", offset_text(a.offset)), grouped(a.offset));
  Table table({{""}, {"", Align::Left, 200}});
  table.add(
      {{"byte", Role::Dim}, {fmt::format("0x{:02x}  {:04b} {:04b}", a.byte, a.byte >> 4, a.byte & 15), Role::Bytes}});
  if (model.files.size() > 1)
    table.add({{"file", Role::Dim}, {fmt::format("{} {}", a.file_index, escaped(model.files[a.file_index]->path()))}});
  table.add({{"region", Role::Dim},
             {a.region == nullptr ? "none"
                                  : fmt::format("{}, byte {} of {} at {}", escaped(a.region->name),
                                                grouped(a.offset - a.region->offset), grouped(a.region->size_bytes),
                                                offset_text(a.region->offset))}});
  if (a.tensor) return append_tensor_byte(out, style, model, *a.tensor, table);
  if (a.header) add_header_byte(table, *a.header, a.offset);
  table.append_to(out, style);
}

Json address_json(const ModelFile& model, const inspect::Address& a) {
  Json j = {{"offset", a.offset}, {"file_index", a.file_index}, {"byte", a.byte}};
  j["region"] = nullptr;
  if (a.region != nullptr)
    j["region"] = {{"name", a.region->name}, {"offset", a.region->offset}, {"size_bytes", a.region->size_bytes}};
  j["field"] = nullptr;
  if (a.header) {
    const inspect::HeaderField& field = a.header->field;
    Json f = {{"section", a.header->section}};
    put_text(f, "entry", a.header->entry);
    f["name"] = field.name;
    f["offset"] = field.offset;
    f["size_bytes"] = field.bytes.size();
    if (field.number)
      f["value"] = *field.number;
    else
      put_text(f, "value", field.value);
    f["meaning"] = field.meaning;
    j["field"] = std::move(f);
  }
  j["tensor"] = nullptr;
  if (!a.tensor) return j;
  const inspect::TensorByte& t = *a.tensor;
  Json tensor = tensor_info_json(t.tensor, model.tensors[t.tensor]);
  tensor["byte"] = t.byte;
  tensor["row"] = t.row;
  tensor["block"] = t.block;
  tensor["block_offset"] = t.block_offset;
  tensor["block_bytes"] = t.block_bytes;
  tensor["byte_in_block"] = t.byte_in_block;
  tensor["field"] = t.field_name.empty() ? Json(nullptr) : Json(t.field_name);
  tensor["byte_in_field"] = t.byte_in_field;
  tensor["bits"] = Json::array();
  for (const inspect::BitUse& use : t.uses) {
    Json u = {{"kind", name(use.kind)}, {"first_bit", use.first_bit}, {"width", use.width}, {"stored", use.stored}};
    if (use.value)
      put_number(u, "value", *use.value);
    else
      u["value"] = nullptr, u["value_reason"] = "another value to each element";
    u["elements"] = use.elements;
    tensor["bits"].push_back(std::move(u));
  }
  tensor["n_weights"] = t.n_weights;
  tensor["weights"] = Json::array();
  for (const inspect::WeightPlace& w : t.weights) tensor["weights"].push_back(weight_json(model, w));
  j["tensor"] = std::move(tensor);
  return j;
}

void append_weight(std::string& out, const Style& style, const ModelFile& model, const inspect::WeightPlace& w,
                   bool first) {
  if (first) append_title(out, style, model);
  const format::TensorInfo& info = model.tensors[w.tensor];
  append_heading(out, style, fmt::format("WEIGHT {}{}", escaped(info.name), index_text(w.index)),
                 value_or_reason(w.value));
  Table facts({{""}, {"", Align::Left, 200}});
  facts.add({{"tensor", Role::Dim}, {fmt::format("{}  {} {}", w.tensor, type_text(info), shape_text(info.shape))}});
  if (model.files.size() > 1) facts.add({{"file", Role::Dim}, {escaped(model.files[info.file_index]->path())}});
  facts.add({{"element", Role::Dim}, {fmt::format("{}, row {}", grouped(w.element), grouped(w.row))}});
  facts.add({{"block", Role::Dim},
             {fmt::format("{} at {}, {} bytes; element {} of it", grouped(w.block), offset_text(w.block_offset),
                          w.block_bytes, w.in_block)}});
  facts.append_to(out, style);
  append_heading(out, style, "PARTS");
  Table table(
      {{"part"}, {"field"}, {"bytes and bits", Align::Left, 60}, {"stored", Align::Right}, {"value", Align::Right}});
  for (const inspect::PartPlace& part : w.parts)
    table.add({{std::string(name(part.kind)), Role::Type},
               {std::string(part.field), Role::Name},
               {bits_text(part.bits), Role::Offset},
               {fmt::format("{}", part.stored)},
               {fmt::format("{}", part.value), Role::Number}});
  table.append_to(out, style);
}

}  // namespace

HexModeRun setup_hex_at(HexFlags& flags) {
  auto file = std::make_shared<std::uint32_t>(0);
  flags.own(add_number(
      flags.app, "--file", [file](std::uint64_t n) { *file = static_cast<std::uint32_t>(n); }, 0, UINT32_MAX,
      "Which file of a sharded model the offset is in (0)"));
  return [file](HexRun& run) {
    const auto offset = parse_u64(run.value);
    if (!offset)
      throw Error(ErrorCode::Usage, "not a number")
          .in("--at")
          .want("an offset, decimal or 0x hexadecimal")
          .got(run.value)
          .help("--weight takes NAME[I,J]");
    const std::uint64_t limit = run.shared.limit_or(kWeights, kMostWeights);
    const inspect::AddressMap map(*run.model);
    const inspect::Address address = map.at(*offset, *file, limit);
    if (run.wants_json())
      run.json = address_json(*run.model, address);
    else
      append_address(run.text, run.context.style, *run.model, address, run.first);
    return 0;
  };
}

HexModeRun setup_hex_weight(HexFlags&) {
  return [](HexRun& run) {
    const inspect::AddressMap map(*run.model);
    const inspect::WeightPlace weight = map.weight(run.value);
    if (run.wants_json())
      run.json["weight"] = weight_json(*run.model, weight);
    else
      append_weight(run.text, run.context.style, *run.model, weight, run.first);
    return 0;
  };
}

}  // namespace apr::cli
