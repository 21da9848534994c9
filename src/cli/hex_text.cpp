#include "src/cli/hex_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "apr/core/text.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr std::size_t kColumns = 100;       // of a line, where the texts in it allow that
constexpr std::size_t kFewestColumns = 24;  // of a value, however long its key is
constexpr std::size_t kValueChars = 30;     // of a header field that has a meaning, too
constexpr std::size_t kLoneValueChars = 48;
constexpr std::size_t kShownBytes = 8;  // of a header field
constexpr std::size_t kShownRegions = 24;
constexpr std::size_t kBarColumns = 20;
constexpr std::size_t kKeyChars = 64;
constexpr std::size_t kUnboundedColumns = 1U << 20;
constexpr std::uint64_t kFewElements = 4;  // of an array, where they fit

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
  append_heading(out, style, "FILES", plural(model.files.size(), "shard", "shards"));
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
      return "not verified (--verify reads the whole file)";
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
  const std::string about = summary.n_parameters < 1000 ? "" : fmt::format(" ({})", human_count(summary.n_parameters));
  add("tensors", fmt::format("{}, {} parameters{}, {}", grouped(summary.n_tensors), grouped(summary.n_parameters),
                             about, size_text(summary.tensor_bytes)));
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
  append_heading(out, style, "TYPES");
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

void append_key_metadata(std::string& out, const Style& style, const ModelFile& model,
                         const inspect::Summary& summary) {
  if (model.metadata.empty()) return;
  append_heading(
      out, style, "METADATA",
      fmt::format("{} of {} entries; --header shows all", summary.key_metadata.size(), model.metadata.size()));
  Table table({{""}, {"", Align::Left, 100}});
  for (const format::MetadataEntry* entry : summary.key_metadata)
    table.add({{escaped(entry->key, 48), Role::Name},
               {value_text(entry->value, kFewElements, 64), value_role(entry->value)}});
  table.append_to(out, style);
}

std::string upper_case(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

void append_section(std::string& out, const Style& style, const ModelFile& model,
                    const inspect::HeaderSection& section) {
  append_heading(out, style, upper_case(section.title),
                 model.files.size() > 1 ? fmt::format("file {}", section.file_index) : std::string{});
  Table table(
      {{"offset"}, {"bytes"}, {"field"}, {"value", Align::Left, kValueChars}, {"meaning", Align::Left, kColumns}});
  for (const inspect::HeaderField& field : section.fields)
    table.add({{offset_text(field.offset), Role::Offset},
               {bytes_text(field.bytes, kShownBytes), Role::Bytes},
               {field.name, Role::Name},
               {escaped(field.value, field.meaning.empty() ? kLoneValueChars : kValueChars),
                field.number ? Role::Number : Role::Text},
               {field.meaning}});
  table.append_to(out, style);
}

/// All entries. Values take what the widest key leaves of a line; with a limit that the user gave, what they take.
void append_metadata(std::string& out, const Style& style, const std::vector<format::MetadataEntry>& metadata,
                     std::optional<std::uint64_t> limit) {
  if (metadata.empty()) return;
  append_heading(out, style, "METADATA", plural(metadata.size(), "entry", "entries"));
  std::size_t used = 12;
  std::size_t type_columns = 0;
  std::size_t key_columns = 0;
  for (const format::MetadataEntry& entry : metadata) {
    type_columns = std::max(type_columns, value_type_text(entry.value).size());
    key_columns = std::max(key_columns, display_width(escaped(entry.key, kKeyChars)));
  }
  used += 2 + type_columns + 2 + key_columns + 2;
  const std::size_t left = std::max(kFewestColumns, kColumns - std::min(kColumns, used));
  Table table({{"offset"}, {"type"}, {"key"}, {"value", Align::Left, kColumns}});
  for (const format::MetadataEntry& entry : metadata)
    table.add({{offset_text(entry.key_offset), Role::Offset},
               {value_type_text(entry.value), Role::Type},
               {escaped(entry.key, kKeyChars), Role::Name},
               {value_text(entry.value, limit.value_or(kFewElements), limit ? kUnboundedColumns : left),
                value_role(entry.value)}});
  table.append_to(out, style);
}

}  // namespace

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
                   std::optional<std::uint64_t> limit) {
  title(out, style, model);
  append_files(out, style, model);
  for (const auto& section : report.sections)
    if (section.title == "header") append_section(out, style, model, section);
  append_metadata(out, style, *report.metadata, limit);
  for (const auto& section : report.sections)
    if (section.title != "header") append_section(out, style, model, section);
  append_regions(out, style, model);
}

void append_list(std::string& out, const Style& style, const ModelFile& model) {
  title(out, style, model);
  append_files(out, style, model);
  const bool sharded = model.files.size() > 1;
  append_heading(out, style, "TENSORS",
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

}  // namespace apr::cli
