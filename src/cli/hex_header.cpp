// apr hex FILE --header: every field of the header and all metadata.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "apr/inspect/hex.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
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
constexpr std::size_t kKeyChars = 64;
constexpr std::size_t kUnboundedColumns = 1U << 20;
constexpr std::uint64_t kFewElements = 4;  // of an array, where they fit
constexpr std::uint64_t kMostElements = 1U << 24;
constexpr std::size_t kHeaderBytesShown = 64;  // of one field in JSON; longer ones are text that has its own member

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
  std::size_t size_columns = 5;  // of the heading
  for (const format::MetadataEntry& entry : metadata) {
    type_columns = std::max(type_columns, value_type_text(entry.value).size());
    key_columns = std::max(key_columns, display_width(escaped(entry.key, kKeyChars)));
    size_columns = std::max(size_columns, grouped(entry.end_offset - entry.key_offset).size());
  }
  used += 2 + size_columns + 2 + type_columns + 2 + key_columns + 2;
  const std::size_t left = std::max(kFewestColumns, kColumns - std::min(kColumns, used));
  Table table({{"offset"}, {"bytes", Align::Right}, {"type"}, {"key"}, {"value", Align::Left, kColumns}});
  for (const format::MetadataEntry& entry : metadata)
    table.add({{offset_text(entry.key_offset), Role::Offset},
               {grouped(entry.end_offset - entry.key_offset)},
               {value_type_text(entry.value), Role::Type},
               {escaped(entry.key, kKeyChars), Role::Name},
               {value_text(entry.value, limit.value_or(kFewElements), limit ? kUnboundedColumns : left),
                value_role(entry.value)}});
  table.append_to(out, style);
}

void append_header(std::string& out, const Style& style, const ModelFile& model, const inspect::HeaderReport& report,
                   std::optional<std::uint64_t> limit, bool first) {
  if (first) append_title(out, style, model);
  append_files(out, style, model);
  for (const auto& section : report.sections)
    if (section.title == "header") append_section(out, style, model, section);
  append_metadata(out, style, *report.metadata, limit);
  for (const auto& section : report.sections)
    if (section.title != "header") append_section(out, style, model, section);
  append_regions(out, style, model);
}

Json section_json(const inspect::HeaderSection& section) {
  Json s;
  s["title"] = section.title;
  s["file_index"] = section.file_index;
  s["fields"] = Json::array();
  for (const inspect::HeaderField& field : section.fields) {
    Json f;
    f["offset"] = field.offset;
    f["size_bytes"] = field.bytes.size();
    f["bytes_hex"] = bytes_hex(field.bytes.first(std::min(field.bytes.size(), kHeaderBytesShown)));
    f["name"] = field.name;
    if (field.number)
      f["value"] = *field.number;
    else
      put_text(f, "value", field.value);
    if (field.cut) f["value_cut"] = true;
    if (field.computed) f["computed"] = *field.computed;
    f["meaning"] = field.meaning;
    s["fields"].push_back(std::move(f));
  }
  return s;
}

void put_header(Json& document, const ModelFile& model, const inspect::HeaderReport& report, std::uint64_t limit) {
  put_model(document, model);
  document["sections"] = Json::array();
  for (const auto& section : report.sections) document["sections"].push_back(section_json(section));
  document["metadata"] = Json::array();
  for (const auto& entry : *report.metadata) document["metadata"].push_back(metadata_json(entry, limit));
  document["regions"] = regions_json(model);
}

}  // namespace

HexModeRun setup_hex_header(HexFlags&) {
  return [](HexRun& run) {
    const std::uint64_t limit = run.shared.limit_or(kFewElements, kMostElements);
    const inspect::HeaderReport report = inspect::header_report(*run.model, run.shared.all ? UINT64_MAX : 1);
    if (run.wants_json())
      put_header(run.json, *run.model, report, limit);
    else
      append_header(run.text, run.context.style, *run.model, report,
                    run.shared.all ? std::optional(limit) : run.shared.limit, run.first);
    return 0;
  };
}

}  // namespace apr::cli
