#include "src/convert/synth_random.h"

#include <algorithm>

namespace apr::convert {

std::uint64_t stream_key(std::uint64_t seed, std::string_view name) noexcept {
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a, 64 bits
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return scrambled(scrambled(seed + 0x9E3779B97F4A7C15ULL) ^ hash);
}

namespace {
// 1 + spread * z, kept away from zero.
double factor(std::uint64_t key, std::int64_t index, double spread) {
  const double z = drawn(key, static_cast<std::uint64_t>(index)) / kUnitDeviation;
  return std::max(0.25, 1.0 + spread * z);
}
}  // namespace

TensorDraw::TensorDraw(std::uint64_t seed, std::string_view name, const Spread& spread, std::int64_t n_columns,
                       const std::vector<std::int64_t>& outliers)
    : key_(stream_key(seed, name)),
      row_key_(scrambled(key_ ^ 0x726F77ULL)),
      spread_(spread),
      n_columns_(n_columns),
      outliers_(outliers),
      column_factor_(static_cast<std::size_t>(n_columns)) {
  const std::uint64_t column_key = scrambled(key_ ^ 0x636F6CULL);
  for (std::int64_t c = 0; c < n_columns; ++c) {
    column_factor_[static_cast<std::size_t>(c)] = static_cast<float>(factor(column_key, c, spread.column_spread));
  }
  if (!spread.outlier_columns) return;
  for (const std::int64_t c : outliers_) {
    column_factor_[static_cast<std::size_t>(c)] *= static_cast<float>(spread.outlier_factor);
  }
}

void TensorDraw::row(std::int64_t row, float* out) const {
  double scale = spread_.deviation / kUnitDeviation * factor(row_key_, row, spread_.row_spread);
  if (spread_.outlier_rows && std::ranges::find(outliers_, row) != outliers_.end()) scale *= spread_.outlier_factor;
  const float row_scale = static_cast<float>(scale);
  const float mean = static_cast<float>(spread_.mean);
  const std::uint64_t first = static_cast<std::uint64_t>(row) * static_cast<std::uint64_t>(n_columns_);
  const float* columns = column_factor_.data();
  for (std::int64_t c = 0; c < n_columns_; ++c) {
    const float z = static_cast<float>(drawn(key_, first + static_cast<std::uint64_t>(c)));
    out[c] = (z * row_scale + mean) * columns[c];
  }
}

std::vector<std::int64_t> outlier_channels(std::uint64_t seed, std::int64_t n_hidden) {
  const std::uint64_t key = stream_key(seed, "outlier channels");
  const std::int64_t wanted = std::max<std::int64_t>(1, n_hidden / 512);
  std::vector<std::int64_t> channels;
  for (std::uint64_t i = 0; static_cast<std::int64_t>(channels.size()) < wanted; ++i) {
    const auto c = static_cast<std::int64_t>(scrambled(key + i) % static_cast<std::uint64_t>(n_hidden));
    if (std::ranges::find(channels, c) == channels.end()) channels.push_back(c);
  }
  std::ranges::sort(channels);
  return channels;
}

}  // namespace apr::convert
