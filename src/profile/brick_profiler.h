// Collects the spans that an executor reports, pass by pass.
#pragma once
#include <cstdint>
#include <vector>

#include "apr/engine/executor.h"

namespace apr::profile {

class BrickProfiler final : public engine::OpObserver {
 public:
  struct Span {
    std::size_t first = 0, count = 0;
    double time_us = 0;
  };
  struct Pass {
    model::Batch batch;
    double wall_us = 0;
    std::vector<Span> spans;
  };
  void pass_begin(const model::Batch& batch) noexcept override;
  void ops_done(std::size_t first, std::size_t count, engine::Clock::time_point begin,
                engine::Clock::time_point end) noexcept override;
  void pass_end(engine::Clock::time_point begin, engine::Clock::time_point end) noexcept override;

  /// Makes room, so that collecting allocates nothing.
  void reserve(std::size_t n_passes, std::size_t n_ops);
  [[nodiscard]] const std::vector<Pass>& passes() const noexcept { return passes_; }

 private:
  std::vector<Pass> passes_;
  std::size_t n_ops_ = 0;
};

}  // namespace apr::profile
