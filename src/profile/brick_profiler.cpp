#include "src/profile/brick_profiler.h"

namespace apr::profile {
namespace {

double us_between(engine::Clock::time_point begin, engine::Clock::time_point end) {
  return std::chrono::duration<double, std::micro>(end - begin).count();
}

}  // namespace

void BrickProfiler::reserve(std::size_t n_passes, std::size_t n_ops) {
  passes_.reserve(n_passes);
  n_ops_ = n_ops;
}

void BrickProfiler::pass_begin(const model::Batch& batch) noexcept {
  passes_.push_back({batch, 0, {}});
  passes_.back().spans.reserve(n_ops_);
}

void BrickProfiler::ops_done(std::size_t first, std::size_t count, engine::Clock::time_point begin,
                             engine::Clock::time_point end) noexcept {
  passes_.back().spans.push_back({first, count, us_between(begin, end)});
}

void BrickProfiler::pass_end(engine::Clock::time_point begin, engine::Clock::time_point end) noexcept {
  passes_.back().wall_us = us_between(begin, end);
}

}  // namespace apr::profile
