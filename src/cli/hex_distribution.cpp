// apr hex FILE --distribution: moments, extremes, entropies and a histogram of values. --stats: one line per tensor.
#include "apr/inspect/distribution.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "apr/core/text.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/progress.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;
using inspect::Distribution;

constexpr std::uint32_t kBins = 24;
constexpr std::uint32_t kMostBins = 4096;
constexpr std::size_t kDistributions = 8;  // shown without --all
constexpr std::size_t kBarColumns = 40;
constexpr std::uint64_t kStatsRows = 1000;  // shown without --limit or --all
constexpr std::uint64_t kMostRows = UINT32_MAX;
constexpr std::size_t kUnreadShown = 4;
constexpr std::size_t kStatsNameColumns = 30;

struct DistributionOptions {
  std::uint32_t bins = kBins;
};

std::string real(double value) { return fmt::format("{:.6g}", value); }

std::string real(const std::optional<double>& value) { return value ? real(*value) : "-"; }

std::string code_entropy_text(const Distribution& d) {
  return d.code_entropy ? fmt::format("{:.4f} of {} bits", *d.code_entropy, d.code_bits)
                        : std::string("- (no codes of one type)");
}

void append_facts(std::string& out, const Style& style, const ModelFile& model, const Distribution& d) {
  Table table({{""}, {"", Align::Left, 200}});
  const auto add = [&](std::string label, std::string text, Role role = Role::Plain) {
    table.add({{std::move(label), Role::Dim}, {std::move(text), role}});
  };
  add("elements",
      fmt::format("{} in {}, {}", grouped(d.n_elements),
                  plural(d.tensors.size() - d.unread.size(), "tensor", "tensors"), fmt::join(d.types, ", ")));
  const diag::Moments& m = d.moments;
  if (m.n > 0) {
    add("min, max", fmt::format("{}, {}", real(m.min), real(m.max)), Role::Number);
    add("mean, std", fmt::format("{}, {}", real(m.mean), real(d.std_deviation())), Role::Number);
    add("skewness", real(d.skewness()), Role::Number);
    add("excess kurtosis", real(d.excess_kurtosis()), Role::Number);
  }
  add("zeros",
      fmt::format("{} ({:.4g}%)", grouped(m.n_zero),
                  d.n_elements == 0 ? 0.0 : 100.0 * static_cast<double>(m.n_zero) / static_cast<double>(d.n_elements)));
  add("NaN, Inf", fmt::format("{}, {}", grouped(m.n_nan), grouped(m.n_inf)),
      m.n_nan + m.n_inf > 0 ? Role::Bad : Role::Plain);
  if (d.abs_max)
    add("largest", fmt::format("{} at {}{}, block at {}", real(d.abs_max->value),
                               escaped(model.tensors[d.abs_max->tensor].name, 60), index_text(d.abs_max->index),
                               offset_text(d.abs_max->offset)));
  add("entropy", fmt::format("values {:.4f} of 16 bits; codes {}", d.value_entropy, code_entropy_text(d)));
  table.append_to(out, style);
}

void append_histogram(std::string& out, const Style& style, const inspect::Histogram& h) {
  append_heading(out, style, "HISTOGRAM", fmt::format("{} bins", h.counts.size()));
  const std::uint64_t most = *std::max_element(h.counts.begin(), h.counts.end());
  const double width = (h.high - h.low) / static_cast<double>(h.counts.size());
  Table table({{"from", Align::Right}, {"count", Align::Right}, {""}});
  for (std::size_t b = 0; b < h.counts.size(); ++b) {
    const double share = most == 0 ? 0 : static_cast<double>(h.counts[b]) / static_cast<double>(most);
    auto columns = static_cast<std::size_t>(share * kBarColumns + 0.5);
    if (h.counts[b] > 0 && columns == 0) columns = 1;  // few is not none
    std::string bar;
    for (std::size_t i = 0; i < columns; ++i) bar += "█";
    table.add({{real(h.low + static_cast<double>(b) * width), Role::Number},
               {grouped(h.counts[b])},
               {std::move(bar), Role::Bytes}});
  }
  table.append_to(out, style);
}

void append_unread(std::string& out, const Style& style, const ModelFile& model,
                   const std::vector<Distribution::Unread>& unread) {
  for (std::size_t i = 0; i < std::min(unread.size(), kUnreadShown); ++i)
    style.append(out, Role::Warning,
                 fmt::format("  not read: {}: {}\n", escaped(model.tensors[unread[i].tensor].name), unread[i].reason));
  if (unread.size() > kUnreadShown)
    style.append(out, Role::Warning, fmt::format("  not read: {} more tensors\n", unread.size() - kUnreadShown));
}

void append_distribution(std::string& out, const Style& style, const ModelFile& model, const Distribution& d) {
  append_heading(out, style, "DISTRIBUTION", escaped(d.label));
  append_facts(out, style, model, d);
  append_unread(out, style, model, d.unread);
  if (d.histogram) append_histogram(out, style, *d.histogram);
}

void put_optional(Json& j, const char* key, const std::optional<double>& value, const char* reason) {
  if (value)
    put_number(j, key, *value);
  else
    j[key] = nullptr, j[std::string(key) + "_reason"] = reason;
}

Json distribution_json(const ModelFile& model, const Distribution& d) {
  Json j = Json::object();
  put_text(j, "label", d.label);
  j["n_tensors"] = d.tensors.size();
  j["types"] = d.types;
  j["n_elements"] = d.n_elements;
  j["size_bytes"] = d.size_bytes;
  const diag::Moments& m = d.moments;
  j["n_finite"] = m.n;
  j["n_zero"] = m.n_zero;
  j["n_nan"] = m.n_nan;
  j["n_inf"] = m.n_inf;
  const auto finite = [&](double v) { return m.n > 0 ? std::optional(v) : std::nullopt; };
  put_optional(j, "min", finite(m.min), "no finite value");
  put_optional(j, "max", finite(m.max), "no finite value");
  put_optional(j, "mean", finite(m.mean), "no finite value");
  put_optional(j, "std", finite(d.std_deviation()), "no finite value");
  put_optional(j, "skewness", d.skewness(), "no spread");
  put_optional(j, "excess_kurtosis", d.excess_kurtosis(), "no spread");
  j["abs_max"] = nullptr;
  if (d.abs_max) {
    Json a = Json::object();
    put_text(a, "tensor", model.tensors[d.abs_max->tensor].name);
    a["element"] = d.abs_max->element;
    a["index"] = d.abs_max->index;
    a["block_offset"] = d.abs_max->offset;
    put_number(a, "value", d.abs_max->value);
    j["abs_max"] = std::move(a);
  }
  put_number(j, "value_entropy_bits", d.value_entropy);
  put_optional(j, "code_entropy_bits", d.code_entropy, "the types store no codes, or codes of several kinds");
  j["code_bits"] = d.code_entropy ? Json(d.code_bits) : Json(nullptr);
  j["histogram"] = nullptr;
  if (d.histogram)
    j["histogram"] = {{"low", d.histogram->low}, {"high", d.histogram->high}, {"counts", d.histogram->counts}};
  j["unread"] = Json::array();
  for (const auto& unread : d.unread) {
    Json u = Json::object();
    put_text(u, "tensor", model.tensors[unread.tensor].name);
    u["reason"] = unread.reason;
    j["unread"].push_back(std::move(u));
  }
  return j;
}

int run_distribution(const DistributionOptions& o, HexRun& run) {
  const ModelFile& model = *run.model;
  std::vector<std::size_t> chosen = inspect::chosen_tensors(model, run.shared.tensor, run.shared.role);
  struct Group {
    std::string label;
    std::vector<std::size_t> tensors;
  };
  std::vector<Group> groups;
  if (run.shared.role)
    for (inspect::RoleGroup& group : inspect::select_roles(model, *run.shared.role))
      groups.push_back({std::move(group.role), std::move(group.tensors)});
  else if (run.shared.tensor)
    for (const std::size_t i : chosen) groups.push_back({std::string(model.tensors[i].name), {i}});
  else
    groups.push_back({"all tensors", std::move(chosen)});
  const std::size_t n_chosen = groups.size();
  if (!run.shared.all) groups.resize(std::min(groups.size(), kDistributions));
  if (run.wants_json())
    run.json = {{"n_distributions", n_chosen}, {"distributions", Json::array()}};
  else if (run.first)
    append_title(run.text, run.context.style, model);
  bool any = false;
  for (Group& group : groups) {
    Progress progress(run.context, escaped(group.label, 32), Progress::Unit::Bytes);
    const Distribution d = inspect::distribution_of(model, std::move(group.label), std::move(group.tensors),
                                                    {run.context.globals.threads, o.bins, progress.callback()});
    any = any || d.n_elements > 0;
    if (run.wants_json())
      run.json["distributions"].push_back(distribution_json(model, d));
    else
      append_distribution(run.text, run.context.style, model, d);
  }
  if (!run.wants_json() && groups.size() < n_chosen)
    run.context.style.append(run.text, Role::Dim,
                             fmt::format("\n  … {} more distributions; --all shows them\n", n_chosen - groups.size()));
  return any ? 0 : exit_status(ErrorCode::ValidationFailed);  // nothing was measured
}

void append_stats(std::string& out, const Style& style, const ModelFile& model, const std::vector<Distribution>& rows,
                  std::size_t n_chosen) {
  append_heading(out, style, "STATISTICS",
                 fmt::format("{} of {}", grouped(rows.size()), plural(n_chosen, "tensor", "tensors")));
  Table table({{"#", Align::Right},
               {"name", Align::Left, kStatsNameColumns},
               {"type"},
               {"mean", Align::Right},
               {"std", Align::Right},
               {"min", Align::Right},
               {"max", Align::Right},
               {"kurt", Align::Right},
               {"zeros", Align::Right},
               {"bad", Align::Right},
               {"H val", Align::Right},
               {"H code", Align::Right}});
  const auto short_real = [](double v) { return fmt::format("{:.3g}", v); };
  for (const Distribution& d : rows) {
    const diag::Moments& m = d.moments;
    std::vector<Cell> row = {{fmt::format("{}", d.tensors[0]), Role::Dim},
                             {escaped(d.label, 60), Role::Name},
                             {type_text(model.tensors[d.tensors[0]]), Role::Type}};
    if (!d.unread.empty() || m.n + m.n_nan + m.n_inf == 0) {
      row.push_back({d.unread.empty() ? "no elements" : "not read", Role::Warning});
      for (int i = 0; i < 8; ++i) row.push_back({""});
    } else {
      const auto kurtosis = d.excess_kurtosis();
      row.insert(row.end(), {{short_real(m.mean), Role::Number},
                             {short_real(d.std_deviation()), Role::Number},
                             {short_real(m.min), Role::Number},
                             {short_real(m.max), Role::Number},
                             {kurtosis ? short_real(*kurtosis) : "-", Role::Number},
                             {human_count(m.n_zero)},
                             {human_count(m.n_nan + m.n_inf), m.n_nan + m.n_inf > 0 ? Role::Bad : Role::Plain},
                             {fmt::format("{:.2f}", d.value_entropy)},
                             {d.code_entropy ? fmt::format("{:.2f}", *d.code_entropy) : "-"}});
    }
    table.add(std::move(row));
  }
  table.append_to(out, style);
}

int run_stats(HexRun& run) {
  const ModelFile& model = *run.model;
  std::vector<std::size_t> tensors = inspect::chosen_tensors(model, run.shared.tensor, run.shared.role);
  const std::size_t n_chosen = tensors.size();
  tensors.resize(std::min<std::uint64_t>(tensors.size(), run.shared.limit_or(kStatsRows, kMostRows)));
  Progress progress(run.context, "statistics", Progress::Unit::Bytes);
  const auto rows = inspect::distributions(model, tensors, {run.context.globals.threads, 0, progress.callback()});
  if (run.wants_json()) {
    run.json = {{"n_tensors", n_chosen}, {"tensors", Json::array()}};
    for (const Distribution& d : rows) run.json["tensors"].push_back(distribution_json(model, d));
  } else {
    if (run.first) append_title(run.text, run.context.style, model);
    append_stats(run.text, run.context.style, model, rows, n_chosen);
    if (rows.size() < n_chosen)
      run.context.style.append(run.text, Role::Dim,
                               fmt::format("  … {} more; --all shows them\n", grouped(n_chosen - rows.size())));
  }
  const bool any = std::any_of(rows.begin(), rows.end(), [](const Distribution& d) { return d.n_elements > 0; });
  return any ? 0 : exit_status(ErrorCode::ValidationFailed);
}

}  // namespace

HexModeRun setup_hex_distribution(HexFlags& flags) {
  auto o = std::make_shared<DistributionOptions>();
  flags.own(add_number(
      flags.app, "--bins", [o](std::uint64_t n) { o->bins = static_cast<std::uint32_t>(n); }, 1, kMostBins,
      fmt::format("Bins of the histogram ({})", kBins)));
  return [o](HexRun& run) { return run_distribution(*o, run); };
}

HexModeRun setup_hex_stats(HexFlags&) {
  return [](HexRun& run) { return run_stats(run); };
}

}  // namespace apr::cli
