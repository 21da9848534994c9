// The weights of a synthetic model: each element is a pure function of (seed, tensor name, element index).
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace apr::convert {

/// One step of splitmix64 (Steele, Lea, Flood 2014): a bijection that scrambles 64 bits.
[[nodiscard]] constexpr std::uint64_t scrambled(std::uint64_t x) noexcept {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9ULL;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}
/// The stream of one tensor.
[[nodiscard]] std::uint64_t stream_key(std::uint64_t seed, std::string_view name) noexcept;

/// Element `index` of a stream: near-normal, mean 0, an integer with standard deviation kUnitDeviation, |x| <= 131070.
/// The sum of four 16-bit uniforms (Irwin-Hall, kurtosis 2.7): integer arithmetic only, so every machine agrees on it.
[[nodiscard]] inline std::int32_t drawn(std::uint64_t key, std::uint64_t index) noexcept {
  const std::uint64_t bits = scrambled(key + index * 0x9E3779B97F4A7C15ULL);
  const std::uint64_t pairs = (bits & 0x0000FFFF0000FFFFULL) + ((bits >> 16) & 0x0000FFFF0000FFFFULL);
  return static_cast<std::int32_t>((pairs + (pairs >> 32)) & 0x3FFFF) - 131070;
}
inline constexpr double kUnitDeviation = 37837.226743;  // sqrt(4 * (65536^2 - 1) / 12)

/// How the elements of one tensor are spread.
struct Spread {
  double mean = 0.0;
  double deviation = 0.02;
  double row_spread = 0.0;                             // relative deviation of a factor per row (output channel)
  double column_spread = 0.0;                          // the same per column (input channel)
  bool outlier_rows = false, outlier_columns = false;  // the model's outlier channels are scaled in this dimension
  double outlier_factor = 1.0;
};

/// Draws rows of one tensor. Only IEEE multiplications and additions in a fixed order: bit-identical everywhere.
class TensorDraw {
 public:
  /// `outliers`: the indices of the model's outlier channels.
  TensorDraw(std::uint64_t seed, std::string_view name, const Spread& spread, std::int64_t n_columns,
             const std::vector<std::int64_t>& outliers);
  /// Row `row` into n_columns floats at `out`.
  void row(std::int64_t row, float* out) const;

 private:
  std::uint64_t key_, row_key_;
  Spread spread_;
  std::int64_t n_columns_;
  std::vector<std::int64_t> outliers_;
  std::vector<float> column_factor_;
};

/// The residual channels that carry outsized values in every layer of a model: one in 512, at least one.
[[nodiscard]] std::vector<std::int64_t> outlier_channels(std::uint64_t seed, std::int64_t n_hidden);

}  // namespace apr::convert
