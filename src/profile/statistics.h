// What the reports of this folder share: order statistics, and the name of a span of ops.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "apr/model/plan.h"

namespace apr::profile {

/// Linear interpolation between the two nearest samples; `fraction` in [0, 1].
inline double percentile(std::vector<double> samples, double fraction) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const double at = fraction * static_cast<double>(samples.size() - 1);
  const auto low = static_cast<std::size_t>(at), high = std::min(low + 1, samples.size() - 1);
  return samples[low] + (samples[high] - samples[low]) * (at - static_cast<double>(low));
}
inline double median(const std::vector<double>& samples) { return percentile(samples, 0.5); }

/// The distinct bricks of `count` ops from `first` on, joined in plan order: what the executor timed as one.
inline std::string span_name(const model::Plan& plan, std::size_t first, std::size_t count) {
  std::string name;
  for (std::size_t i = first; i < first + count; ++i) {
    const auto brick = model::name(plan.ops[i].brick);
    if (name.empty() || name.substr(name.rfind('+') + 1) != brick)
      name += (name.empty() ? "" : "+") + std::string(brick);
  }
  return name;
}

}  // namespace apr::profile
