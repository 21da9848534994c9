// Time stamps of launches -> what a replay of them spent inside of kernels, and between them.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <utility>

#include "apr/core/error.h"
#include "apr/profile/profile.h"
#include "src/profile/statistics.h"

namespace apr::profile {
namespace {

struct Gathered {
  std::uint64_t n_calls = 0;    // of the first replay
  std::vector<double> time_us;  // one sum per replay
};

double shortest_step(std::vector<double> stamps) {
  std::ranges::sort(stamps);
  double shortest = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < stamps.size(); ++i)
    if (stamps[i] > stamps[i - 1]) shortest = std::min(shortest, stamps[i] - stamps[i - 1]);
  return shortest;
}

}  // namespace

double covered(std::vector<Interval> intervals) {
  for (const Interval& i : intervals)
    if (!(i.begin <= i.end) || !std::isfinite(i.end - i.begin))
      throw Error(ErrorCode::Inference, "a launch ends before it begins").in("time stamps");
  std::ranges::sort(intervals, {}, &Interval::begin);
  double sum = 0, end = -std::numeric_limits<double>::infinity();
  for (const Interval& i : intervals) {
    sum += std::max(0.0, i.end - std::max(end, i.begin));
    end = std::max(end, i.end);
  }
  return sum;
}

LaunchReport report_launches(const model::Plan& plan, const std::vector<engine::StampedReplay>& replays) {
  LaunchReport report;
  report.n_replays = replays.size();
  std::map<std::pair<std::string, std::string>, Gathered> rows;  // by name and kernel
  std::vector<double> wall, busy, overhead, stamps;
  for (std::size_t r = 0; r < replays.size(); ++r) {
    const auto& launches = replays[r].launches;
    std::vector<Interval> intervals;
    for (std::size_t i = 0; i < launches.size(); ++i) {
      const engine::StampedLaunch& launch = launches[i];
      std::size_t named = i;
      while (named + 1 < launches.size() && launches[named].n_ops == 0) ++named;
      Gathered& row =
          rows[{span_name(plan, launches[named].first_op, launches[named].n_ops), std::string(launch.kernel)}];
      row.time_us.resize(replays.size(), 0.0);
      row.time_us[r] += launch.left_us - launch.waited_us;
      if (r == 0) ++row.n_calls;
      intervals.push_back({launch.waited_us, launch.left_us});
      stamps.insert(stamps.end(), {launch.entered_us, launch.waited_us, launch.left_us});
    }
    wall.push_back(replays[r].wall_us);
    busy.push_back(covered(std::move(intervals)));
    overhead.push_back(wall.back() - busy.back());
  }
  if (replays.empty()) return report;
  report.wall_us = median(wall);
  report.busy_us = median(busy);
  report.overhead_us = median(overhead);
  report.tick_us = shortest_step(std::move(stamps));
  for (const auto& [key, row] : rows) report.rows.push_back({key.first, key.second, row.n_calls, median(row.time_us)});
  std::ranges::sort(report.rows, std::ranges::greater{}, &LaunchRow::time_us);
  return report;
}

}  // namespace apr::profile
