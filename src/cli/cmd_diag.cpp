// apr diag: the statistics of every tensor, and those that stand out among their kind.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>

#include "apr/core/text.h"
#include "apr/diag/diag.h"
#include "src/cli/commands.h"
#include "src/cli/findings_text.h"
#include "src/cli/json_document.h"
#include "src/cli/options.h"
#include "src/cli/progress.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

constexpr std::size_t kShownOutliers = 20, kShownScores = 10;

struct DiagCommand {
  std::string path;
  bool all = false;
  std::uint64_t outlier_z = 8;
};

Json features_json(const diag::TensorFeatures& t) {
  Json j;
  put_text(j, "name", t.name);
  put_text(j, "role", t.role);
  j["layer"] = t.layer ? Json(*t.layer) : Json(nullptr);
  j["type"] = t.type;
  j["n_elements"] = t.n_elements;
  if (!t.unread_reason.empty()) {
    j["mean"] = nullptr;
    put_text(j, "mean_reason", t.unread_reason);
    return j;
  }
  j["n_nan"] = t.n_nan;
  j["n_inf"] = t.n_inf;
  j["n_zero"] = t.n_zero;
  for (const auto& [key, value] : {std::pair{"min", t.min},
                                   {"max", t.max},
                                   {"mean", t.mean},
                                   {"std", t.std},
                                   {"skewness", t.skewness},
                                   {"excess_kurtosis", t.excess_kurtosis},
                                   {"byte_entropy", t.byte_entropy}})
    put_number(j, key, value);
  j["scales"] = nullptr;
  if (t.scales) {
    Json s;
    s["n_scales"] = t.scales->n_scales;
    s["n_zero"] = t.scales->n_zero;
    s["n_not_finite"] = t.scales->n_not_finite;
    put_number(s, "min", t.scales->min);
    put_number(s, "max", t.scales->max);
    put_number(s, "mean", t.scales->mean);
    j["scales"] = std::move(s);
  }
  return j;
}

Json report_json(const Context& context, const diag::DiagReport& report) {
  Json document = make_document(context, "apr.diag/1");
  document["tensors_diagnosed"] = report.n_decoded;
  document["tensors"] = Json::array();
  for (const auto& t : report.tensors) document["tensors"].push_back(features_json(t));
  document["outliers"] = Json::array();
  for (const auto& o : report.outliers) {
    Json j;
    put_text(j, "tensor", o.tensor);
    put_text(j, "role", o.role);
    j["feature"] = o.feature;
    put_number(j, "value", o.value);
    put_number(j, "role_median", o.median);
    put_number(j, "robust_z", o.robust_z);
    document["outliers"].push_back(std::move(j));
  }
  if (!report.pca.absent_reason.empty()) {
    document["pca"] = nullptr;
    document["pca_reason"] = report.pca.absent_reason;
    return document;
  }
  Json pca;
  pca["features"] = diag::feature_names();
  pca["explained_variance"] = report.pca.explained;
  pca["components"] = report.pca.components;
  pca["scores"] = Json::array();
  for (const auto& s : report.pca.scores) {
    Json j;
    put_text(j, "tensor", s.tensor);
    put_number(j, "pc1", s.pc1);
    put_number(j, "pc2", s.pc2);
    put_number(j, "distance", s.distance);
    pca["scores"].push_back(std::move(j));
  }
  document["pca"] = std::move(pca);
  return document;
}

std::string g(double value) { return fmt::format("{:.4g}", value); }

void append_tensors(std::string& out, const Style& style, const diag::DiagReport& report) {
  Table table({{"tensor"},
               {"type"},
               {"mean", Align::Right},
               {"std", Align::Right},
               {"skew", Align::Right},
               {"kurt", Align::Right},
               {"min", Align::Right},
               {"max", Align::Right},
               {"zero %", Align::Right},
               {"bits/byte", Align::Right},
               {"bad", Align::Right}});
  for (const auto& t : report.tensors) {
    if (!t.unread_reason.empty()) {
      table.add({{escaped(t.name), Role::Name}, {t.type, Role::Type}, {"not decoded", Role::Warning}});
      continue;
    }
    const std::uint64_t bad = t.n_nan + t.n_inf;
    table.add({{escaped(t.name), Role::Name},
               {t.type, Role::Type},
               {g(t.mean)},
               {g(t.std)},
               {g(t.skewness)},
               {g(t.excess_kurtosis)},
               {g(t.min)},
               {g(t.max)},
               {g(100.0 * static_cast<double>(t.n_zero) / std::max(1.0, static_cast<double>(t.n_elements)))},
               {fmt::format("{:.2f}", t.byte_entropy)},
               {bad > 0 ? grouped(bad) : "", Role::Bad}});
  }
  table.append_to(out, style);
}

void append_outliers(std::string& out, const Style& style, const diag::DiagReport& report, std::uint64_t z) {
  style.append(out, Role::Heading, "\nOUTLIERS");
  out += fmt::format("  {} features at |z| >= {} of their role\n", report.outliers.size(), z);
  Table table(
      {{"tensor"}, {"feature"}, {"value", Align::Right}, {"median of role", Align::Right}, {"z", Align::Right}});
  for (std::size_t i = 0; i < std::min(report.outliers.size(), kShownOutliers); ++i) {
    const auto& o = report.outliers[i];
    table.add({{escaped(o.tensor), Role::Name},
               {o.feature},
               {g(o.value)},
               {g(o.median)},
               {fmt::format("{:+.1f}", o.robust_z), Role::Warning}});
  }
  if (!table.empty()) table.append_to(out, style);
  if (report.outliers.size() > kShownOutliers)
    out += fmt::format("  and {} more (--json has all)\n", report.outliers.size() - kShownOutliers);
}

void append_pca(std::string& out, const Style& style, const diag::Pca& pca) {
  style.append(out, Role::Heading, "\nPRINCIPAL COMPONENTS");
  if (!pca.absent_reason.empty()) {
    out += "  none: " + pca.absent_reason + "\n";
    return;
  }
  out += fmt::format("  of {} tensors; the first two explain {:.0f} % and {:.0f} %; farthest from the centre:\n",
                     pca.scores.size(), 100 * pca.explained[0], 100 * pca.explained[1]);
  Table table({{"tensor"}, {"PC1", Align::Right}, {"PC2", Align::Right}, {"distance", Align::Right}});
  for (std::size_t i = 0; i < std::min(pca.scores.size(), kShownScores); ++i) {
    const auto& s = pca.scores[i];
    table.add({{escaped(s.tensor), Role::Name},
               {fmt::format("{:.2f}", s.pc1)},
               {fmt::format("{:.2f}", s.pc2)},
               {fmt::format("{:.2f}", s.distance)}});
  }
  table.append_to(out, style);
}

int run_diag(const DiagCommand& command, Context& context) {
  context.file = FileFacts{command.path, std::nullopt, {}};
  const format::ModelFile model = format::open_model(command.path);
  context.file->size_bytes = model.total_bytes();
  context.file->format = format::name(model.format);
  context.findings = model.findings;
  diag::DiagOptions options;
  options.n_threads = context.globals.threads;
  options.outlier_z = static_cast<double>(command.outlier_z);
  Progress progress(context, "diag", Progress::Unit::Bytes);
  options.progress = progress.callback();
  const diag::DiagReport report = diag::diagnose(model, options);
  model.check_intact();
  context.findings.insert(context.findings.end(), report.findings.begin(), report.findings.end());
  if (report.n_decoded == 0)
    throw Error(ErrorCode::ValidationFailed, "no tensor could be decoded: nothing was diagnosed").at(command.path);
  std::string text;
  if (context.globals.json) {
    text = to_text(report_json(context, report));
  } else {
    text = fmt::format("{}  {} of {} tensors diagnosed\n", context.style(Role::Title, escaped(command.path)),
                       report.n_decoded, report.tensors.size());
    if (command.all) append_tensors(text, context.style, report);
    append_outliers(text, context.style, report, command.outlier_z);
    append_pca(text, context.style, report.pca);
    append_findings(text, context.style, context.findings);
  }
  context.out.write(text);
  const bool bad = std::any_of(context.findings.begin(), context.findings.end(),
                               [](const Finding& f) { return f.severity == Severity::Error; });
  if (model.has_errors()) return exit_status(ErrorCode::InvalidFormat);
  return bad ? exit_status(ErrorCode::ValidationFailed) : 0;
}

}  // namespace

Run setup_diag(CLI::App& command) {
  auto o = std::make_shared<DiagCommand>();
  command.add_option("FILE", o->path, "GGUF, APR or SafeTensors file, a shard, an index or a directory")->required();
  command.add_flag("--all", o->all, "Also the statistics of every tensor (--json always has them)");
  add_number(
      command, "--outlier-z", [o](std::uint64_t n) { o->outlier_z = n; }, 1, 1000000,
      "Robust z from which a feature counts as an outlier (8)");
  command.footer(
      "  apr diag model.gguf                      NaN, Inf, dead tensors, outliers by role, principal components\n"
      "  apr diag model.gguf --all                with the statistics of every tensor\n"
      "  apr diag model.gguf --json | jq '.outliers[] | [.tensor, .feature, .robust_z]'");
  return [o](Context& context) { return run_diag(*o, context); };
}

}  // namespace apr::cli
