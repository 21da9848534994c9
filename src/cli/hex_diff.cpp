// apr hex FILE --diff OTHER: two files compared, whatever their formats. Exit 0: equal; 5: different.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "apr/inspect/diff.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/progress.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using inspect::DiffReport;
using inspect::TensorDiff;

constexpr std::size_t kShown = 40;  // rows of a table; --json has all

std::string kind_of(const TensorDiff& t) {
  if (t.shape_changed) return "shape";
  if (t.values && !t.values->not_compared_reason.empty()) return "not compared";
  if (!t.same_values()) return t.type_changed ? "type and values" : "data";
  return t.type_changed ? "type" : "renamed";
}

std::string nmse_text(const TensorDiff& t) {
  if (!t.values || !t.values->not_compared_reason.empty()) return "";
  if (t.values->n_not_finite != 0) return fmt::format("{} not finite", t.values->n_not_finite);
  return t.values->nmse ? fmt::format("{:.3g}", *t.values->nmse) : "-";
}

std::string detail_of(const TensorDiff& t) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (t.shape_changed) add(shape_text(t.a->shape) + " -> " + shape_text(t.b->shape));
  if (t.type_changed) add(type_text(*t.a) + " -> " + type_text(*t.b));
  if (t.renamed) add("in OTHER: " + escaped(t.name_b));
  if (t.permuted) add("rows reordered");
  if (t.plus_a + t.plus_b != 0) add("norms shifted by 1");
  if (t.bytes && t.bytes->n_different != 0)
    add(fmt::format("first byte {} of the tensor, in block {}", t.bytes->first_different, t.bytes->first_block));
  if (t.values && t.values->largest > 0)
    add(fmt::format("worst at element {}: {} / {}", t.values->largest_at, static_cast<float>(t.values->a_at_largest),
                    static_cast<float>(t.values->b_at_largest)));
  if (t.values && !t.values->not_compared_reason.empty()) add(t.values->not_compared_reason);
  return text;
}

void append_tensors(std::string& out, const Style& style, const DiffReport& report) {
  std::size_t n_renamed = 0;
  std::vector<const TensorDiff*> shown;
  for (const TensorDiff& t : report.tensors) {
    if (kind_of(t) == "renamed")
      ++n_renamed;
    else
      shown.push_back(&t);
  }
  append_heading(
      out, style, "TENSORS",
      fmt::format("{} the same, {} with the same values under another name, {} different, {} removed, {} added",
                  report.n_same, n_renamed, shown.size(), report.only_in_a.size(), report.only_in_b.size()));
  Table table({{"tensor"},
               {"differs"},
               {"bytes", Align::Right},
               {"blocks", Align::Right},
               {"values", Align::Right},
               {"NMSE", Align::Right},
               {"", Align::Left, 120}});
  for (std::size_t i = 0; i < std::min(shown.size(), kShown); ++i) {
    const TensorDiff& t = *shown[i];
    table.add({{escaped(t.name_a), Role::Name},
               {kind_of(t), Role::Bad},
               {t.bytes ? grouped(t.bytes->n_different) : ""},
               {t.bytes && t.bytes->n_blocks != 0
                    ? fmt::format("{} of {}", grouped(t.bytes->n_blocks_different), grouped(t.bytes->n_blocks))
                    : ""},
               {t.values && t.values->not_compared_reason.empty()
                    ? fmt::format("{} of {}", grouped(t.values->n_different), grouped(t.values->n_elements))
                    : ""},
               {nmse_text(t), Role::Number},
               {detail_of(t)}});
  }
  if (!table.empty()) table.append_to(out, style);
  if (shown.size() > kShown) out += fmt::format("  and {} more (--json has all)\n", shown.size() - kShown);
  const auto list = [&](std::string_view sign, Role role, const std::vector<const format::TensorInfo*>& tensors) {
    for (std::size_t i = 0; i < std::min(tensors.size(), kShown); ++i)
      out += "  " + style(role, sign) + " " + style(Role::Name, escaped(tensors[i]->name)) + "  " +
             type_text(*tensors[i]) + " " + shape_text(tensors[i]->shape) + "\n";
    if (tensors.size() > kShown)
      out += fmt::format("  {} and {} more (--json has all)\n", sign, tensors.size() - kShown);
  };
  list("-", Role::Bad, report.only_in_a);
  list("+", Role::Good, report.only_in_b);
}

void append_metadata(std::string& out, const Style& style, const DiffReport& report) {
  append_heading(out, style, "METADATA",
                 fmt::format("{} the same, {} different", report.n_metadata_same, report.metadata.size()));
  Table table({{"key"}, {"FILE"}, {"OTHER"}});
  for (std::size_t i = 0; i < std::min(report.metadata.size(), kShown); ++i) {
    const inspect::MetadataDiff& m = report.metadata[i];
    table.add({{m.key, Role::Name}, {m.a.value_or("-")}, {m.b.value_or("-")}});
  }
  if (!table.empty()) table.append_to(out, style);
  if (report.metadata.size() > kShown)
    out += fmt::format("  and {} more (--json has all)\n", report.metadata.size() - kShown);
}

Json value_json(const inspect::ValueDiff& v) {
  if (!v.not_compared_reason.empty()) return {{"compared", false}, {"reason", v.not_compared_reason}};
  Json out = {{"compared", true},
              {"n_elements", v.n_elements},
              {"n_different", v.n_different},
              {"n_not_finite", v.n_not_finite}};
  out["nmse"] = v.nmse ? Json(*v.nmse) : Json(nullptr);
  if (!v.nmse) out["nmse_reason"] = v.n_not_finite != 0 ? "an element is not finite" : "the first tensor is all zero";
  if (v.largest > 0) {
    Json worst = {{"element", v.largest_at}};
    put_number(worst, "difference", v.largest);
    put_number(worst, "a", v.a_at_largest);
    put_number(worst, "b", v.b_at_largest);
    out["worst"] = std::move(worst);
  } else {
    out["worst"] = nullptr;
  }
  return out;
}

Json tensor_json(const TensorDiff& t) {
  Json out = Json::object();
  put_text(out, "name", t.name_a);
  put_text(out, "other_name", t.name_b);
  out["differs"] = kind_of(t);
  out["renamed"] = t.renamed;
  out["rows_permuted"] = t.permuted;
  out["plus"] = t.plus_a;
  out["other_plus"] = t.plus_b;
  out["type"] = type_text(*t.a);
  out["other_type"] = type_text(*t.b);
  out["shape"] = t.a->shape;
  out["other_shape"] = t.b->shape;
  out["bytes"] = nullptr;
  if (t.bytes) {
    out["bytes"] = {{"n_bytes", t.bytes->n_bytes},
                    {"n_different", t.bytes->n_different},
                    {"n_blocks", t.bytes->n_blocks},
                    {"n_blocks_different", t.bytes->n_blocks_different}};
    const bool differs = t.bytes->n_different != 0;
    out["bytes"]["first_different"] = differs ? Json(t.bytes->first_different) : Json(nullptr);
    out["bytes"]["first_block"] = differs ? Json(t.bytes->first_block) : Json(nullptr);
    out["bytes"]["first_file_offset"] = differs ? Json(t.a->offset + t.bytes->first_different) : Json(nullptr);
  }
  out["values"] = t.values ? value_json(*t.values) : Json(nullptr);
  return out;
}

void put_diff(Json& document, const std::string& other, const DiffReport& report) {
  put_text(document, "other", other);
  document["other_format"] = report.format_b;
  document["equal"] = report.equal();
  document["bytes_compared"] = report.bytes_compared;
  document["n_same"] = report.n_same;
  document["tensors"] = Json::array();
  for (const TensorDiff& t : report.tensors) document["tensors"].push_back(tensor_json(t));
  const auto list = [&document](const char* key, const std::vector<const format::TensorInfo*>& tensors) {
    document[key] = Json::array();
    for (const format::TensorInfo* t : tensors) {
      Json entry = Json::object();
      put_text(entry, "name", t->name);
      entry["type"] = type_text(*t);
      entry["shape"] = t->shape;
      document[key].push_back(std::move(entry));
    }
  };
  list("removed", report.only_in_a);
  list("added", report.only_in_b);
  document["n_metadata_same"] = report.n_metadata_same;
  document["metadata"] = Json::array();
  for (const inspect::MetadataDiff& m : report.metadata)
    document["metadata"].push_back({{"key", m.key},
                                    {"value", m.a ? Json(*m.a) : Json(nullptr)},
                                    {"other_value", m.b ? Json(*m.b) : Json(nullptr)}});
}

}  // namespace

HexModeRun setup_hex_diff(HexFlags&) {
  return [](HexRun& run) {
    const format::ModelFile other = format::open_model(run.value);
    other.require_sound();
    Progress progress(run.context, "diff", Progress::Unit::Bytes);
    const DiffReport report =
        inspect::diff(*run.model, other, {.n_threads = run.context.globals.threads, .progress = progress.callback()});
    other.check_intact();
    if (run.wants_json()) {
      put_diff(run.json, run.value, report);
    } else {
      if (run.first) append_title(run.text, run.context.style, *run.model);
      run.text += fmt::format(
          "  compared with {}: {}\n", escaped(run.value),
          report.equal() ? run.context.style(Role::Good, "equal") : run.context.style(Role::Bad, "different"));
      append_tensors(run.text, run.context.style, report);
      append_metadata(run.text, run.context.style, report);
    }
    return report.equal() ? 0 : exit_status(ErrorCode::ValidationFailed);
  };
}

}  // namespace apr::cli
