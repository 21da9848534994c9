#include "apr/diag/diag.h"

#include <fmt/format.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <map>

#include "apr/core/text.h"
#include "src/diag/moments.h"

namespace apr::diag {
namespace {

constexpr std::size_t kFewest = 4;  // tensors of a role before "the others" means anything

/// The compared features of one tensor, in the order of feature_names(). Magnitudes are compared as logarithms: a
/// factor counts the same at any size.
std::vector<double> feature_vector(const TensorFeatures& t) {
  const auto log_of = [](double x) { return std::log10(std::max(std::fabs(x), 1e-30)); };
  const double n = std::max<double>(1, static_cast<double>(t.n_elements));
  return {log_of(t.std),
          t.std > 0 ? t.mean / t.std : 0,
          t.skewness,
          std::log1p(std::max(0.0, t.excess_kurtosis + 2)),
          log_of(std::max(std::fabs(t.min), std::fabs(t.max))),
          static_cast<double>(t.n_zero) / n,
          t.byte_entropy};
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

/// Smallest spread that counts as one: a role whose members agree to the last digit must not make dust an outlier.
double least_spread(std::size_t feature) {
  static constexpr double kLeast[] = {0.01, 0.005, 0.02, 0.02, 0.02, 0.002, 0.01};
  return kLeast[feature];
}

struct Standardised {
  const TensorFeatures* tensor;
  std::vector<double> z;
};

std::vector<Standardised> standardise(const DiagReport& report, const DiagOptions& options,
                                      std::vector<Outlier>& outliers) {
  std::map<std::string, std::vector<const TensorFeatures*>> roles;
  for (const TensorFeatures& t : report.tensors)
    if (t.unread_reason.empty() && t.n_elements > 0) roles[t.role].push_back(&t);
  std::vector<Standardised> rows;
  for (const auto& [role, members] : roles) {
    if (members.size() < kFewest) continue;
    const std::size_t first = rows.size();
    for (const TensorFeatures* t : members) rows.push_back({t, feature_vector(*t)});
    for (std::size_t f = 0; f < feature_names().size(); ++f) {
      std::vector<double> values, distance;
      for (std::size_t i = first; i < rows.size(); ++i) values.push_back(rows[i].z[f]);
      const double middle = median_of(values);
      for (const double v : values) distance.push_back(std::fabs(v - middle));
      const double spread = std::max(1.4826 * median_of(distance), least_spread(f));
      for (std::size_t i = first; i < rows.size(); ++i) {
        const double value = rows[i].z[f], z = std::clamp((value - middle) / spread, -1e6, 1e6);
        if (std::fabs(z) >= options.outlier_z)
          outliers.push_back({rows[i].tensor->name, role, feature_names()[f], value, middle, z});
        rows[i].z[f] = z;
      }
    }
  }
  std::sort(outliers.begin(), outliers.end(),
            [](const Outlier& a, const Outlier& b) { return std::fabs(a.robust_z) > std::fabs(b.robust_z); });
  return rows;
}

Pca principal_components(const std::vector<Standardised>& rows) {
  Pca pca;
  const std::size_t n_features = feature_names().size();
  if (rows.size() <= n_features) {
    pca.absent_reason = fmt::format("{} tensors are in roles of at least {}; a PCA of {} features needs more than that",
                                    rows.size(), kFewest, n_features);
    return pca;
  }
  Eigen::MatrixXd x(static_cast<Eigen::Index>(rows.size()), static_cast<Eigen::Index>(n_features));
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t f = 0; f < n_features; ++f)
      x(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(f)) = std::clamp(rows[i].z[f], -50.0, 50.0);
  x.rowwise() -= x.colwise().mean();
  const Eigen::MatrixXd covariance = x.transpose() * x / static_cast<double>(rows.size() - 1);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance);  // eigenvalues ascending
  const Eigen::VectorXd variance = solver.eigenvalues().reverse().cwiseMax(0.0);
  const Eigen::MatrixXd vectors = solver.eigenvectors().rowwise().reverse();
  const Eigen::MatrixXd scores = x * vectors;
  const double total = std::max(variance.sum(), 1e-300);
  for (Eigen::Index c = 0; c < variance.size(); ++c) {
    pca.explained.push_back(variance(c) / total);
    std::vector<double> component;
    for (Eigen::Index f = 0; f < vectors.rows(); ++f) component.push_back(vectors(f, c));
    pca.components.push_back(std::move(component));
  }
  for (Eigen::Index i = 0; i < scores.rows(); ++i) {
    double square = 0;
    for (Eigen::Index c = 0; c < variance.size(); ++c)
      if (variance(c) > 1e-9 * total) square += scores(i, c) * scores(i, c) / variance(c);
    pca.scores.push_back(
        {rows[static_cast<std::size_t>(i)].tensor->name, scores(i, 0), scores(i, 1), std::sqrt(square)});
  }
  std::sort(pca.scores.begin(), pca.scores.end(),
            [](const Pca::Score& a, const Pca::Score& b) { return a.distance > b.distance; });
  return pca;
}

void add_findings(const format::ModelFile& model, const format::TensorInfo& tensor, const TensorFeatures& t,
                  std::vector<Finding>& findings) {
  const auto add = [&](std::string rule, Severity severity, std::string message, std::string found) {
    Finding finding;
    finding.rule = std::move(rule);
    finding.severity = severity;
    finding.message = std::move(message);
    finding.file = model.files[tensor.file_index]->path();
    finding.offset = tensor.offset;
    finding.tensor = t.name;
    finding.found = std::move(found);
    findings.push_back(std::move(finding));
  };
  if (!t.unread_reason.empty())
    return add("diag.tensor.unread", Severity::Warning, "tensor not diagnosed: " + t.unread_reason, t.type);
  const std::uint64_t n_finite = t.n_elements - t.n_nan - t.n_inf;
  if (t.n_nan > 0)
    add("diag.values.nan", Severity::Error, "tensor holds NaN",
        fmt::format("{} of {} elements", t.n_nan, t.n_elements));
  if (t.n_inf > 0)
    add("diag.values.inf", Severity::Error, "tensor holds infinities",
        fmt::format("{} of {} elements", t.n_inf, t.n_elements));
  if (n_finite > 1 && t.n_zero == n_finite)
    add("diag.values.all_zero", Severity::Warning, "every element is zero", fmt::format("{} elements", n_finite));
  else if (n_finite > 1 && t.min == t.max && t.type != "I32" && t.type != "I64")
    add("diag.values.constant", Severity::Info, "every element has the same value", fmt::format("{}", t.min));
  if (t.scales && t.scales->n_not_finite > 0)
    add("diag.scales.not_finite", Severity::Error, "block scales are not finite",
        fmt::format("{} of {} scales", t.scales->n_not_finite, t.scales->n_scales));
}

}  // namespace

const std::vector<std::string>& feature_names() {
  static const std::vector<std::string> names = {"log10_std",     "mean_over_std", "skewness",    "log_kurtosis",
                                                 "log10_abs_max", "zero_share",    "byte_entropy"};
  return names;
}

RoleName role_of(std::string_view tensor_name) {
  RoleName result;
  for (std::size_t at = 0; at <= tensor_name.size();) {
    const std::size_t dot = std::min(tensor_name.find('.', at), tensor_name.size());
    const std::string_view part = tensor_name.substr(at, dot - at);
    const bool number =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string_view::npos;
    if (at > 0) result.role += '.';
    if (number && !result.layer) {
      result.layer = parse_u64(part);
      result.role += '*';
    } else {
      result.role += part;
    }
    at = dot + 1;
  }
  return result;
}

DiagReport diagnose(const format::ModelFile& model, const DiagOptions& options) {
  DiagReport report;
  ThreadPool pool(options.n_threads);
  std::uint64_t total = 0, done = 0;
  for (const format::TensorInfo& tensor : model.tensors) total += tensor.readable ? tensor.size_bytes : 0;
  for (const format::TensorInfo& tensor : model.tensors) {
    report.tensors.push_back(compute_features(model, tensor, pool, [&](std::uint64_t bytes) {
      done += bytes;
      if (options.progress) options.progress(done, total);
    }));
    report.n_decoded += report.tensors.back().unread_reason.empty() ? 1 : 0;
    add_findings(model, tensor, report.tensors.back(), report.findings);
  }
  report.pca = principal_components(standardise(report, options, report.outliers));
  return report;
}

}  // namespace apr::diag
