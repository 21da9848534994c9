// apr hex FILE --contract: the names of every tensor in GGUF, Hugging Face files and APR, and what the file lacks.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "apr/core/text.h"
#include "apr/inspect/contract.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using inspect::ContractReport;
using inspect::ContractRow;

constexpr std::size_t kShown = 20;  // problems and unmapped names; --json has all

/// What happens to a tensor between GGUF and Hugging Face, and what its absence means.
std::string rules_of(const ContractRow& row) {
  std::string text;
  const auto add = [&text](std::string_view rule) { text += (text.empty() ? "" : ", ") + std::string(rule); };
  if (row.critical) add("CRITICAL");
  if (row.permuted) add("rows permuted");
  if (row.hf_plus != 0) add(fmt::format("GGUF = HF + {}", row.hf_plus));
  if (row.tied_when_absent) add(row.n_found == 0 ? "absent: the embedding is used" : "may be tied");
  if (!row.required && !row.tied_when_absent) add("optional");
  return text;
}

void append_rows(std::string& out, const Style& style, const ContractReport& report) {
  append_heading(out, style, "NAMES",
                 "shapes outermost first; GGUF stores the numbers backwards, the bytes are the same");
  Table table({{"GGUF"}, {"Hugging Face"}, {"APR"}, {"shape"}, {""}, {"found", Align::Right}, {"rules"}});
  for (const ContractRow& row : report.rows) {
    const bool whole = row.n_found == row.n_expected;
    const bool bad = row.required && !whole;
    table.add({{row.names.gguf, Role::Name},
               {row.names.hugging_face.empty() ? "-" : row.names.hugging_face, Role::Name},
               {row.names.apr == row.names.gguf           ? "as GGUF"
                : row.names.apr == row.names.hugging_face ? "as HF"
                                                          : row.names.apr},
               {"[" + row.shape + "]", Role::Type},
               {row.dims},
               {whole && row.n_found == 1 ? "1" : fmt::format("{} of {}", row.n_found, row.n_expected),
                bad ? Role::Bad : Role::Number},
               {rules_of(row), row.critical ? Role::Warning : Role::Plain}});
  }
  table.append_to(out, style);
  out +=
      "  H hidden, V vocabulary, I feed-forward, A query heads x head, K key heads x head, D head, R half of the "
      "rotation\n";
}

void append_contract(std::string& out, const Style& style, const format::ModelFile& model, const ContractReport& report,
                     bool first) {
  if (first) append_title(out, style, model);
  append_rows(out, style, report);
  append_heading(out, style, "CONTRACT",
                 fmt::format("architecture {}; names of {}; {} of {} tensors mapped",
                             report.architecture.empty() ? "unknown" : escaped(report.architecture),
                             report.style ? inspect::name(*report.style) : "no convention", report.n_mapped,
                             model.tensors.size()));
  if (!report.not_checked_reason.empty())
    style.append(out, Role::Warning, "  required tensors not checked: " + escaped(report.not_checked_reason) + "\n");
  else if (report.holds())
    style.append(out, Role::Good, "  everything that is required is there, in the right shape\n");
  Table problems({{""}, {"tensor"}, {"problem"}, {"expected", Align::Left, 80}, {"found"}});
  for (std::size_t i = 0; i < std::min(report.problems.size(), kShown); ++i) {
    const inspect::ContractProblem& p = report.problems[i];
    problems.add({{p.critical ? "CRITICAL" : "error", Role::Bad},
                  {escaped(p.field), Role::Name},
                  {p.message},
                  {escaped(p.expected)},
                  {escaped(p.found)}});
  }
  if (!problems.empty()) problems.append_to(out, style);
  if (report.problems.size() > kShown)
    out += fmt::format("  and {} more (--json has all)\n", report.problems.size() - kShown);
  if (report.output_is_tied) out += "  no output matrix: the token embedding serves as one (tied)\n";
  if (report.unmapped.empty()) return;
  append_heading(out, style, "UNMAPPED",
                 plural(report.unmapped.size(), "tensor without a name in the contract",
                        "tensors without a name in the contract"));
  for (std::size_t i = 0; i < std::min(report.unmapped.size(), kShown); ++i)
    out += "  " + style(Role::Name, escaped(report.unmapped[i]->name)) + "  " + shape_text(report.unmapped[i]->shape) +
           "\n";
  if (report.unmapped.size() > kShown)
    out += fmt::format("  and {} more (--json has all)\n", report.unmapped.size() - kShown);
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

void put_contract(Json& document, const ContractReport& report) {
  put_text(document, "architecture", report.architecture);
  document["architecture_known"] = report.architecture_known;
  document["names_of"] = report.style ? Json(inspect::name(*report.style)) : Json(nullptr);
  document["n_mapped"] = report.n_mapped;
  document["output_is_tied"] = report.output_is_tied;
  document["required_checked"] = report.not_checked_reason.empty();
  if (!report.not_checked_reason.empty()) put_text(document, "not_checked_reason", report.not_checked_reason);
  document["holds"] = report.not_checked_reason.empty() ? Json(report.holds()) : Json(nullptr);
  document["rows"] = Json::array();
  for (const ContractRow& row : report.rows)
    document["rows"].push_back({{"gguf", row.names.gguf},
                                {"hugging_face", or_null(row.names.hugging_face)},
                                {"apr", row.names.apr},
                                {"shape", row.shape},
                                {"gguf_dims", row.gguf_dims},
                                {"dims", or_null(row.dims)},
                                {"critical", row.critical},
                                {"required", row.required},
                                {"rows_permuted", row.permuted},
                                {"hugging_face_plus", row.hf_plus},
                                {"tied_when_absent", row.tied_when_absent},
                                {"n_expected", row.n_expected},
                                {"n_found", row.n_found}});
  document["problems"] = Json::array();
  for (const inspect::ContractProblem& p : report.problems) {
    Json problem = {{"rule", p.rule}, {"critical", p.critical}, {"message", p.message}};
    put_text(problem, "tensor", p.field);
    put_text(problem, "expected", p.expected);
    put_text(problem, "found", p.found);
    document["problems"].push_back(std::move(problem));
  }
  document["unmapped"] = Json::array();
  for (const format::TensorInfo* tensor : report.unmapped) {
    Json entry = Json::object();
    put_text(entry, "name", tensor->name);
    entry["shape"] = tensor->shape;
    document["unmapped"].push_back(std::move(entry));
  }
}

}  // namespace

HexModeRun setup_hex_contract(HexFlags& flags) {
  const auto strict = std::make_shared<bool>(false);
  flags.own(add_switch(flags.app, "--strict", *strict, "With --contract: exit 5 unless everything required is there"));
  return [strict](HexRun& run) {
    const ContractReport report = inspect::contract_report(*run.model);
    if (run.wants_json())
      put_contract(run.json, report);
    else
      append_contract(run.text, run.context.style, *run.model, report, run.first);
    // Nothing checked is no success either: --strict asks for a contract that holds.
    const bool holds = report.holds() && report.not_checked_reason.empty();
    return *strict && !holds ? exit_status(ErrorCode::ValidationFailed) : 0;
  };
}

}  // namespace apr::cli
