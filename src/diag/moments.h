// Moments of a stream in one pass, mergeable; and the features of one tensor.
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "apr/core/thread_pool.h"
#include "apr/diag/diag.h"

namespace apr::diag {

/// Count, extremes and central moments of finite values. Merging is exact up to rounding (Chan, Golub, LeVeque 1979;
/// higher moments: Pebay 2008), and always done in the order of the data.
struct Moments {
  std::uint64_t n = 0, n_nan = 0, n_inf = 0, n_zero = 0;
  double min = 0, max = 0, mean = 0, m2 = 0, m3 = 0, m4 = 0;

  void add(std::span<const float> values);
  void merge(const Moments& other);
};

/// Everything about one tensor; `features.name`, `type` and the like are filled, too.
[[nodiscard]] TensorFeatures compute_features(const format::ModelFile& model, const format::TensorInfo& tensor, ThreadPool& pool,
                                              const std::function<void(std::uint64_t)>& bytes_done);

}  // namespace apr::diag
