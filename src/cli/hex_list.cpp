// apr hex FILE --list: the tensor table, and what it sums up to.
#include "apr/inspect/list.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apr/core/text.h"
#include "apr/inspect/distribution.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;
using inspect::ListOrder;

constexpr std::uint64_t kRows = 4096;  // of the text, without --limit or --all
constexpr std::size_t kRoles = 24;     // of the text, without --all

struct ListOptions {
  ListOrder order = ListOrder::File;
};

void append_totals(std::string& out, const Style& style, std::string_view title,
                   const std::vector<inspect::ListTotal>& totals, std::size_t most) {
  append_heading(out, style, title);
  Table table({{"", Align::Left, 40},
               {"tensors", Align::Right},
               {"elements", Align::Right},
               {"bytes", Align::Right},
               {"share", Align::Right},
               {"bits/weight", Align::Right}});
  for (std::size_t i = 0; i < std::min(most, totals.size()); ++i) {
    const inspect::ListTotal& t = totals[i];
    table.add({{escaped(t.name, 64), Role::Name},
               {grouped(t.n_tensors)},
               {grouped(t.n_elements)},
               {grouped(t.size_bytes)},
               {fmt::format("{:.1f}%", t.share * 100)},
               {t.bits_per_weight ? fmt::format("{:.4g}", *t.bits_per_weight) : "-", Role::Number}});
  }
  table.append_to(out, style);
  if (totals.size() > most)
    style.append(out, Role::Dim, fmt::format("  … {} more; --all shows them\n", grouped(totals.size() - most)));
}

void append_list(std::string& out, const Style& style, const ModelFile& model, const inspect::ListReport& report,
                 const HexRun& run) {
  if (run.first) append_title(out, style, model);
  append_files(out, style, model);
  const bool sharded = model.files.size() > 1;
  const std::uint64_t n = std::min<std::uint64_t>(report.tensors.size(), run.shared.limit_or(kRows, UINT32_MAX));
  const bool filtered = report.tensors.size() < model.tensors.size();
  append_heading(out, style, "TENSORS",
                 fmt::format("{}{}, {} parameters", grouped(report.tensors.size()),
                             filtered ? fmt::format(" of {}", grouped(model.tensors.size())) : "",
                             human_count(report.total.n_elements)));
  std::vector<Table::Column> columns = {
      {"#", Align::Right},    {"name"}, {"type"}, {"shape"}, {"elements", Align::Right}, {"offset"},
      {"bytes", Align::Right}};
  columns.push_back({sharded ? "file" : "", Align::Right});
  columns.push_back({""});
  Table table(std::move(columns));
  for (std::size_t k = 0; k < n; ++k) {
    const format::TensorInfo& t = model.tensors[report.tensors[k]];
    table.add({{fmt::format("{}", report.tensors[k]), Role::Dim},
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
  if (n < report.tensors.size())
    style.append(out, Role::Dim, fmt::format("  … {} more; --all shows them\n", grouped(report.tensors.size() - n)));
  if (!report.tensors.empty()) {
    append_totals(out, style, "BY TYPE", report.types, SIZE_MAX);
    append_totals(out, style, "BY ROLE", report.roles, run.shared.all ? SIZE_MAX : kRoles);
  }
  out += fmt::format("\n  {}, {} parameters, {}", plural(report.total.n_tensors, "tensor", "tensors"),
                     grouped(report.total.n_elements), size_text(report.total.size_bytes));
  if (report.total.bits_per_weight) out += fmt::format(", {:.4g} bits per weight", *report.total.bits_per_weight);
  out += '\n';
}

Json totals_json(const std::vector<inspect::ListTotal>& totals) {
  Json list = Json::array();
  for (const inspect::ListTotal& t : totals) {
    Json j = Json::object();
    put_text(j, "name", t.name);
    j["n_tensors"] = t.n_tensors;
    j["n_elements"] = t.n_elements;
    j["size_bytes"] = t.size_bytes;
    j["share"] = t.share;
    j["bits_per_weight"] = t.bits_per_weight ? Json(*t.bits_per_weight) : Json(nullptr);
    list.push_back(std::move(j));
  }
  return list;
}

/// Every tensor that was chosen, unless --limit cuts the list.
void put_list(Json& document, const ModelFile& model, const inspect::ListReport& report, const HexShared& shared) {
  put_model(document, model);
  document["n_tensors"] = report.total.n_tensors;
  document["n_parameters"] = report.total.n_elements;
  document["tensor_bytes"] = report.total.size_bytes;
  document["bits_per_weight"] = report.total.bits_per_weight ? Json(*report.total.bits_per_weight) : Json(nullptr);
  document["tensors"] = Json::array();
  const std::uint64_t n = std::min<std::uint64_t>(report.tensors.size(), shared.limit.value_or(UINT64_MAX));
  for (std::size_t k = 0; k < n; ++k)
    document["tensors"].push_back(tensor_info_json(report.tensors[k], model.tensors[report.tensors[k]]));
  document["types"] = totals_json(report.types);
  document["roles"] = totals_json(report.roles);
}

}  // namespace

HexModeRun setup_hex_list(HexFlags& flags) {
  auto o = std::make_shared<ListOptions>();
  flags.own(add_enum(
      flags.app, "--sort", o->order,
      {{"offset", ListOrder::Offset}, {"size", ListOrder::Size}, {"name", ListOrder::Name}, {"type", ListOrder::Type}},
      "Order of the tensors; without it as in the file"));
  return [o](HexRun& run) {
    const inspect::ListReport report = inspect::list_report(
        *run.model, inspect::chosen_tensors(*run.model, run.shared.tensor, run.shared.role), o->order);
    if (run.wants_json())
      put_list(run.json, *run.model, report, run.shared);
    else
      append_list(run.text, run.context.style, *run.model, report, run);
    return 0;
  };
}

}  // namespace apr::cli
