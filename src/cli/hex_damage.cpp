// apr hex FILE --damage: what is damaged, where, and by what.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "apr/inspect/damage.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_scan_parts.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/progress.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using inspect::DamageRange;
using inspect::DamageReport;

constexpr std::uint64_t kShown = 20;  // ranges, without --limit; JSON has all

void put(Json& json, const DamageReport& report, const format::ModelFile& model, std::uint64_t limit) {
  json["n_bytes"] = report.n_bytes;
  json["tensor_bytes"] = report.tensor_bytes;
  json["healthy"] = report.n_suspicious == 0;
  json["complete"] = report.complete;
  json["n_suspicious"] = report.n_suspicious;
  json["damaged_bytes"] = report.damaged_bytes;
  put_number(json, "share", report.share);
  json["tensors"] = Json::array();
  for (const std::size_t i : report.tensors) {
    Json entry;
    put_text(entry, "name", model.tensors[i].name);
    json["tensors"].push_back(std::move(entry));
  }
  json["layers"] = report.layers;
  json["n_not_scanned"] = report.not_scanned.size();
  json["n_ranges"] = report.ranges.size();
  json["ranges"] = Json::array();
  for (std::size_t i = 0; i < std::min<std::uint64_t>(limit, report.ranges.size()); ++i) {
    const DamageRange& r = report.ranges[i];
    Json entry{{"cause", inspect::name(r.cause)},
               {"certainty", inspect::name(r.certainty)},
               {"suspicious", r.suspicious},
               {"file_index", r.file_index},
               {"offset", r.offset},
               {"size_bytes", r.size_bytes}};
    put_place(entry, r.place, model);
    put_text(entry, "evidence", r.evidence);
    entry["shift_bytes"] = r.shift_bytes ? Json(*r.shift_bytes) : Json(nullptr);
    entry["other_offset"] = r.other_offset ? Json(*r.other_offset) : Json(nullptr);
    entry["other_tensor_index"] = r.other_tensor ? Json(*r.other_tensor) : Json(nullptr);
    json["ranges"].push_back(std::move(entry));
  }
}

void append_ranges(std::string& out, const Style& style, const DamageReport& report, const format::ModelFile& model,
                   bool suspicious, std::uint64_t limit) {
  const auto n = static_cast<std::size_t>(std::count_if(
      report.ranges.begin(), report.ranges.end(), [&](const DamageRange& r) { return r.suspicious == suspicious; }));
  if (n == 0) return;
  append_heading(out, style, suspicious ? "DAMAGE" : "NOTEWORTHY", suspicious ? "" : "sound models have this, too");
  std::uint64_t shown = 0;
  for (const DamageRange& r : report.ranges) {
    if (r.suspicious != suspicious || shown++ >= limit) continue;
    out += "  ";
    style.append(out, Role::Offset, offset_text(r.offset));
    out += fmt::format("  {:>12} bytes  ", grouped(r.size_bytes));
    style.append(out, suspicious ? Role::Bad : Role::Warning, inspect::name(r.cause));
    out += fmt::format(" ({})  {}\n              {}\n", inspect::name(r.certainty), place_text(r.place, model),
                       escaped(r.evidence, 400));
  }
  append_cut(out, n, limit, "ranges");
}

std::string layers_text(const std::vector<int>& layers) {
  std::string text;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t last = i;
    while (last + 1 < layers.size() && layers[last + 1] == layers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", layers[i]);
    if (last > i) text += fmt::format(" to {}", layers[last]);
    i = last + 1;
  }
  return text;
}

void append(std::string& out, const Style& style, const DamageReport& report, const format::ModelFile& model,
            std::uint64_t limit) {
  append_ranges(out, style, report, model, true, limit);
  append_ranges(out, style, report, model, false, limit);
  append_heading(out, style, "RESULT", "");
  if (report.n_suspicious == 0) {
    out += "  ";
    style.append(out, Role::Good, "no damage that statistics can see");
    out += fmt::format(" in {} scanned\n", size_text(report.n_bytes));
  } else {
    out += fmt::format("  {}, {}, {:.4f} % of the weights' bytes\n",
                       plural(report.n_suspicious, "damaged range", "damaged ranges"), size_text(report.damaged_bytes),
                       100 * report.share);
    out += fmt::format("  {}{}\n", plural(report.tensors.size(), "tensor", "tensors"),
                       report.layers.empty() ? "" : "; layers " + layers_text(report.layers));
  }
  if (!report.complete) out += "  the search stopped at 2,000 ranges\n";
  if (!report.not_scanned.empty())
    out += fmt::format("  {} not scanned: not wholly in the file, of unknown type, empty, or overlapping others\n",
                       plural(report.not_scanned.size(), "tensor", "tensors"));
}

Finding finding_of(const DamageRange& r, const format::ModelFile& model) {
  Finding finding;
  finding.rule = fmt::format("damage.{}", inspect::name(r.cause));
  finding.message = r.evidence;
  finding.offset = r.offset;
  finding.file = model.files[r.file_index]->path();
  finding.tensor = std::string(model.tensors[r.place.tensor].name);
  return finding;
}

int run_damage(HexRun& run) {
  const std::uint64_t limit = run.shared.limit_or(kShown, UINT64_MAX);
  Progress progress(run.context, "scanning", Progress::Unit::Bytes);
  const DamageReport report = inspect::damage_report(*run.model, run.context.globals.threads, progress.callback());
  if (run.wants_json()) {
    for (const DamageRange& r : report.ranges)
      if (r.suspicious) run.context.findings.push_back(finding_of(r, *run.model));
    put(run.json, report, *run.model, run.shared.limit.value_or(UINT64_MAX));
  } else {
    if (run.first) append_title(run.text, run.context.style, *run.model);
    append(run.text, run.context.style, report, *run.model, limit);
  }
  return report.n_suspicious == 0 ? 0 : exit_status(ErrorCode::ValidationFailed);
}

}  // namespace

HexModeRun setup_hex_damage(HexFlags&) { return run_damage; }

}  // namespace apr::cli
