// apr hex FILE: what this file is, and its first tensor.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "apr/inspect/hex.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_tensor.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;

constexpr std::size_t kBarColumns = 20;
constexpr std::uint64_t kFewElements = 4;  // of an array, where they fit
constexpr std::uint64_t kValues = 16;      // of the first tensor

std::string checksum_text(inspect::DataChecksum state) {
  switch (state) {
    case inspect::DataChecksum::NoneInFormat: return "";
    case inspect::DataChecksum::NotVerified: return "not verified (--verify reads the whole file)";
    case inspect::DataChecksum::Good: return "correct over the whole file";
    case inspect::DataChecksum::Bad: return "WRONG";
  }
  return "";
}

std::string_view checksum_name(inspect::DataChecksum state) {
  switch (state) {
    case inspect::DataChecksum::NoneInFormat: return "none_in_format";
    case inspect::DataChecksum::NotVerified: return "not_verified";
    case inspect::DataChecksum::Good: return "correct";
    case inspect::DataChecksum::Bad: return "wrong";
  }
  return "not_verified";
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

void append_summary(std::string& out, const Style& style, const ModelFile& model, const inspect::Summary& summary) {
  style.append(out, Role::Title, escaped(model.path));
  out += '\n';
  append_facts(out, style, model, summary);
  append_files(out, style, model);
  append_types(out, style, summary);
  append_key_metadata(out, style, model, summary);
  append_regions(out, style, model);
}

void put_summary(Json& document, const ModelFile& model, const inspect::Summary& summary) {
  put_model(document, model);
  document["total_bytes"] = summary.total_bytes;
  document["tensor_bytes"] = summary.tensor_bytes;
  document["n_tensors"] = summary.n_tensors;
  document["n_unreadable"] = summary.n_unreadable;
  document["n_parameters"] = summary.n_parameters;
  document["n_metadata"] = model.metadata.size();
  document["data_checksum"] = checksum_name(summary.data_checksum);
  document["types"] = Json::array();
  for (const inspect::TypeShare& t : summary.types) {
    Json share;
    put_text(share, "name", t.name);
    share["n_tensors"] = t.n_tensors;
    share["n_elements"] = t.n_elements;
    share["size_bytes"] = t.size_bytes;
    share["share"] = t.share;
    document["types"].push_back(std::move(share));
  }
  document["key_metadata"] = Json::array();
  for (const auto* entry : summary.key_metadata) document["key_metadata"].push_back(metadata_json(*entry, 2));
  document["regions"] = regions_json(model);
  document["companions"] = Json::array();
  for (const std::string& path : model.companions) {
    Json c;
    put_text(c, "path", path);
    document["companions"].push_back(std::move(c));
  }
}

void report(HexRun& run) {
  const ModelFile& model = *run.model;
  const inspect::Summary summary = inspect::summarize(model);
  if (run.wants_json()) {
    put_summary(run.json, model, summary);
    run.json["first_tensor"] =
        model.tensors.empty() ? Json(nullptr) : tensor_json(inspect::tensor_report(model, 0, kValues));
    return;
  }
  append_summary(run.text, run.context.style, model, summary);
  if (!model.tensors.empty())
    append_tensor(run.text, run.context.style, model, inspect::tensor_report(model, 0, kValues));
}

}  // namespace

HexModeRun setup_hex_summary(HexFlags&) {
  return [](HexRun& run) {
    report(run);
    return 0;
  };
}

}  // namespace apr::cli
