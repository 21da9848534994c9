// Moments of a stream in one pass, mergeable.
#pragma once
#include <cstdint>
#include <span>

namespace apr::diag {

/// Count, extremes and central moments of finite values. Merging is exact up to rounding (Chan, Golub, LeVeque 1979;
/// higher moments: Pebay 2008), and always done in the order of the data.
struct Moments {
  std::uint64_t n = 0, n_nan = 0, n_inf = 0, n_zero = 0;
  double min = 0, max = 0, mean = 0, m2 = 0, m3 = 0, m4 = 0;

  void add(std::span<const float> values);
  void merge(const Moments& other);
};

}  // namespace apr::diag
