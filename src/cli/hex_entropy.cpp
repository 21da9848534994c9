// apr hex FILE --entropy: bits per byte by region and field, and the ranges that stand out. Every byte is counted.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apr/core/text.h"
#include "apr/inspect/scan.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_scan_parts.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/progress.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using inspect::EntropyReport;

constexpr std::uint64_t kShown = 20;  // anomalies, fields and windows, without --limit

void put(Json& json, const EntropyReport& report, const format::ModelFile& model, std::uint64_t limit, bool windows) {
  json["unit"] = "bits per byte, high and low nibble";
  json["window_bytes"] = inspect::kWindowBytes;
  json["n_bytes"] = report.n_bytes;
  json["regions"] = Json::array();
  for (const inspect::RegionEntropy& r : report.regions) {
    Json entry{{"name", r.name},
               {"file_index", r.file_index},
               {"offset", r.offset},
               {"size_bytes", r.size_bytes},
               {"n_windows", r.n_windows}};
    put_number(entry, "bits_per_byte", r.bits_per_byte);
    put_number(entry, "lowest", r.lowest);
    entry["lowest_offset"] = r.lowest_offset;
    put_number(entry, "highest", r.highest);
    json["regions"].push_back(std::move(entry));
  }
  json["fields"] = Json::array();
  for (const inspect::FieldEntropy& f : report.fields) {
    Json entry{{"type", f.type}};
    put_text(entry, "role", f.role);
    entry["field"] = f.field;
    entry["n_tensors"] = f.n_tensors;
    entry["n_bytes"] = f.n_bytes;
    put_number(entry, "bits_per_byte", f.bits_per_byte);
    if (f.usual) {
      put_number(entry, "usual", *f.usual);
    } else {
      entry["usual"] = nullptr;
      entry["usual_reason"] = "too few bytes";
    }
    json["fields"].push_back(std::move(entry));
  }
  json["n_anomalies"] = report.anomalies.size();
  json["anomalies"] = Json::array();
  for (std::size_t i = 0; i < std::min<std::uint64_t>(limit, report.anomalies.size()); ++i) {
    const inspect::Anomaly& a = report.anomalies[i];
    Json entry{{"kind", inspect::name(a.kind)},
               {"file_index", a.file_index},
               {"offset", a.offset},
               {"size_bytes", a.size_bytes},
               {"n_windows", a.n_windows}};
    put_number(entry, "bits_per_byte", a.bits_per_byte);
    put_number(entry, "usual", a.usual);
    entry["field"] = a.field.empty() ? Json(nullptr) : Json(a.field);
    put_place(entry, a.place, model);
    json["anomalies"].push_back(std::move(entry));
  }
  if (!windows) return;
  json["n_windows"] = report.windows.size();
  json["windows"] = Json::array();
  for (std::size_t i = 0; i < std::min<std::uint64_t>(limit, report.windows.size()); ++i) {
    const inspect::WindowEntropy& w = report.windows[i];
    Json entry{{"file_index", w.file_index}, {"offset", w.offset}};
    put_number(entry, "bits_per_byte", w.bits_per_byte);
    entry["tensor_index"] = w.tensor ? Json(*w.tensor) : Json(nullptr);
    entry["stands_out"] = w.stands_out;
    json["windows"].push_back(std::move(entry));
  }
}

void append_regions(std::string& out, const Style& style, const EntropyReport& report) {
  append_heading(out, style, "ENTROPY BY REGION", "bits per byte, high and low nibble; windows of 4 KiB");
  Table table({{"offset"},
               {"bytes", Align::Right},
               {"region"},
               {"bits", Align::Right},
               {"lowest", Align::Right},
               {"at"},
               {"highest", Align::Right}});
  for (const inspect::RegionEntropy& r : report.regions)
    table.add({{offset_text(r.offset), Role::Offset},
               {grouped(r.size_bytes)},
               {escaped(r.name, 40), Role::Name},
               {fmt::format("{:.2f}", r.bits_per_byte), Role::Number},
               {fmt::format("{:.2f}", r.lowest)},
               {offset_text(r.lowest_offset), Role::Dim},
               {fmt::format("{:.2f}", r.highest)}});
  table.append_to(out, style);
}

void append_fields(std::string& out, const Style& style, const EntropyReport& report, std::uint64_t limit) {
  append_heading(out, style, "ENTROPY BY FIELD", "of a float scale: bits of its sign and high exponent bits");
  Table table({{"type"},
               {"role"},
               {"field"},
               {"tensors", Align::Right},
               {"bytes", Align::Right},
               {"bits", Align::Right},
               {"usual window", Align::Right}});
  for (std::size_t i = 0; i < std::min<std::uint64_t>(limit, report.fields.size()); ++i) {
    const inspect::FieldEntropy& f = report.fields[i];
    table.add({{f.type, Role::Type},
               {escaped(f.role, 48), Role::Name},
               {f.field},
               {grouped(f.n_tensors)},
               {grouped(f.n_bytes)},
               {fmt::format("{:.2f}", f.bits_per_byte), Role::Number},
               {f.usual ? fmt::format("{:.2f}", *f.usual) : "-"}});
  }
  table.append_to(out, style);
  append_cut(out, report.fields.size(), limit, "fields");
}

void append_anomalies(std::string& out, const Style& style, const EntropyReport& report, const format::ModelFile& model,
                      std::uint64_t limit) {
  append_heading(out, style, "ANOMALIES",
                 report.anomalies.empty() ? "none" : fmt::format("{}", report.anomalies.size()));
  if (report.anomalies.empty()) return;
  Table table(
      {{"offset"}, {"bytes", Align::Right}, {"bits", Align::Right}, {"usual", Align::Right}, {"kind"}, {"where"}});
  for (std::size_t i = 0; i < std::min<std::uint64_t>(limit, report.anomalies.size()); ++i) {
    const inspect::Anomaly& a = report.anomalies[i];
    table.add({{offset_text(a.offset), Role::Offset},
               {grouped(a.size_bytes)},
               {fmt::format("{:.2f}", a.bits_per_byte), Role::Warning},
               {fmt::format("{:.2f}", a.usual)},
               {fmt::format("{}{}", inspect::name(a.kind), a.field.empty() ? "" : ": " + a.field)},
               {place_text(a.place, model), Role::Name}});
  }
  table.append_to(out, style);
  append_cut(out, report.anomalies.size(), limit, "anomalies");
}

void append_windows(std::string& out, const Style& style, const EntropyReport& report, const format::ModelFile& model,
                    std::uint64_t limit) {
  append_heading(out, style, "WINDOWS", fmt::format("{}; * stands out", grouped(report.windows.size())));
  Table table({{"offset"}, {"bits", Align::Right}, {""}, {"where"}});
  for (std::size_t i = 0; i < std::min<std::uint64_t>(limit, report.windows.size()); ++i) {
    const inspect::WindowEntropy& w = report.windows[i];
    table.add({{offset_text(w.offset), Role::Offset},
               {fmt::format("{:.3f}", w.bits_per_byte), w.stands_out ? Role::Warning : Role::Number},
               {w.stands_out ? "*" : ""},
               {w.tensor ? escaped(model.tensors[*w.tensor].name, 80) : "-", Role::Name}});
  }
  table.append_to(out, style);
  append_cut(out, report.windows.size(), limit, "windows");
}

int run_entropy(bool windows, HexRun& run) {
  const std::uint64_t limit = run.shared.limit_or(kShown, UINT64_MAX);
  Progress progress(run.context, "counting", Progress::Unit::Bytes);
  const EntropyReport report =
      inspect::entropy_report(*run.model, run.context.globals.threads, progress.callback(), windows);
  if (run.wants_json()) {
    put(run.json, report, *run.model, run.shared.limit.value_or(UINT64_MAX), windows);
    return 0;
  }
  if (run.first) append_title(run.text, run.context.style, *run.model);
  append_regions(run.text, run.context.style, report);
  append_fields(run.text, run.context.style, report, limit);
  append_anomalies(run.text, run.context.style, report, *run.model, limit);
  if (windows) append_windows(run.text, run.context.style, report, *run.model, limit);
  return 0;
}

}  // namespace

HexModeRun setup_hex_entropy(HexFlags& flags) {
  auto windows = std::make_shared<bool>(false);
  flags.own(add_switch(flags.app, "--windows", *windows, "Also list every window of 4 KiB"));
  return [windows](HexRun& run) { return run_entropy(*windows, run); };
}

}  // namespace apr::cli
