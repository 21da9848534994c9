// Single values that cannot be: NaN, infinity, and magnitudes many octaves above all others of their kind.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "apr/core/bytes.h"
#include "apr/kernels/dispatch.h"
#include "src/inspect/damage_parts.h"

namespace apr::inspect {
namespace {

constexpr std::size_t kFewestWindows = 8;        // that a limit is made from
constexpr std::uint32_t kOctavesAbove = 4;       // above the 90 % quantile, and twice its distance from the median
constexpr std::size_t kMostValuesOfWindow = 16;  // more are no single fault

/// A float of a tensor: a scale of a block, or an element of a plain type.
struct Place {
  std::uint64_t offset = 0;  // in the tensor's data
  std::size_t scale = 0;     // in ScanLayout::scales
  std::uint32_t width = 0;
  FieldEncoding encoding = FieldEncoding::F32;
  std::string_view field;  // empty: an element
};

double value_of(std::span<const std::byte> data, const Place& place, std::endian order) {
  std::byte raw[4];
  std::memcpy(raw, data.data() + place.offset, place.width);
  if (order != std::endian::little) std::reverse(raw, raw + place.width);
  const TensorType type = place.encoding == FieldEncoding::F16    ? TensorType::F16
                          : place.encoding == FieldEncoding::BF16 ? TensorType::BF16
                          : place.encoding == FieldEncoding::F32  ? TensorType::F32
                          : place.encoding == FieldEncoding::E8M0 ? TensorType::F8_E8M0
                                                                  : TensorType::F8_E4M3;
  float value = 0;
  APR_CHECK(kernels::decode(type, std::span(raw, place.width), 0, std::span(&value, 1)));
  return static_cast<double>(value);
}

FieldEncoding plain_encoding(const ScanLayout& layout) {
  return layout.float_bits == 32     ? FieldEncoding::F32
         : layout.infinity == 0x7C00 ? FieldEncoding::F16
                                     : FieldEncoding::BF16;
}

/// Calls body(place) for every float of a window.
template <class Body>
void for_each_float(const TensorScan& tensor, std::size_t window, const Body& body) {
  const ScanLayout& layout = *tensor.target.layout;
  const DataRange range = data_range(tensor, window, window);
  const std::uint64_t unit = layout.unit_bytes;
  for (std::uint64_t u = (range.begin + unit - 1) / unit; u < tensor.target.n_units && u * unit < range.end; ++u) {
    if (layout.float_bits > 0) body(Place{u * unit, 0, layout.unit_bytes, plain_encoding(layout), {}});
    for (std::size_t s = 0; s < layout.scales.size(); ++s) {
      const ScanScale& scale = layout.scales[s];
      for (std::uint32_t i = 0; i < scale.count; ++i)
        body(Place{u * unit + scale.offset + i * scale.width(), s, scale.width(), scale.encoding, scale.name});
    }
  }
}

class BadValues {
 public:
  explicit BadValues(const DamageContext& context) : context_(context) {}

  void not_finite(const TensorScan& tensor, std::size_t window) const {
    const DataRange range = data_range(tensor, window, window);
    if (context_.explained(tensor, range.begin, range.end) * 4 >= range.end - range.begin) return;
    std::vector<Place> bad;
    std::uint64_t n_nan = 0;
    for_each_float(tensor, window, [&](const Place& place) {
      const double value = value_of(tensor.target.data, place, tensor.target.order);
      if (std::isfinite(value)) return;
      bad.push_back(place);
      if (std::isnan(value)) ++n_nan;
    });
    if (bad.empty()) return;
    const std::uint64_t end = bad.back().offset + bad.back().width;
    context_.add(DamageCause::NonFinite, Certainty::Exact, tensor, bad.front().offset, end,
                 fmt::format("{}: {} NaN, {} infinite", what(bad.front(), bad.size()), n_nan, bad.size() - n_nan));
  }

  void outliers(const GroupScan& group) const {
    const std::size_t n_scales = group.layout->float_bits > 0 ? 1 : group.layout->scales.size();
    for (std::size_t s = 0; s < n_scales; ++s) outliers(group, s);
  }

 private:
  /// Of one scale: a scale and the scale of the minima are octaves apart.
  void outliers(const GroupScan& group, std::size_t scale) const {
    const ScanLayout& layout = *group.layout;
    std::vector<std::uint32_t> peaks;
    for (const std::size_t t : group.members)
      for (const WindowRecord& w : context_.scan.tensors[t].windows)
        if (w.n_units > 0) peaks.push_back(peak_of(w, layout, scale));
    if (peaks.size() < kFewestWindows) return;
    std::sort(peaks.begin(), peaks.end());
    const std::uint32_t median = peaks[peaks.size() / 2], high = peaks[peaks.size() * 9 / 10];
    const std::uint32_t octave =
        layout.float_bits > 0 ? layout.octave : 1;  // of a scale's six bits: F16 alone is that fine
    const std::uint32_t limit = high + kOctavesAbove * octave + 2 * (high - median);
    for (const std::size_t t : group.members) {
      const TensorScan& tensor = context_.scan.tensors[t];
      for (std::size_t w = 0; w < tensor.windows.size() && !context_.full(); ++w)
        if (peak_of(tensor.windows[w], layout, scale) > limit) outlier(tensor, w, scale, limit, high);
    }
  }

  static std::string what(const Place& place, std::size_t n) {
    return place.field.empty()
               ? fmt::format("{} {}", n, n == 1 ? "weight" : "weights")
               : fmt::format("{} of {}", n == 1 ? std::string("one value") : fmt::format("{} values", n), place.field);
  }

  void outlier(const TensorScan& tensor, std::size_t window, std::size_t scale, std::uint32_t limit,
               std::uint32_t high) const {
    const DataRange range = data_range(tensor, window, window);
    if (context_.explained(tensor, range.begin, range.end) > 0) return;
    std::vector<Place> above;
    double most = 0;
    for_each_float(tensor, window, [&](const Place& place) {
      if (place.scale != scale) return;
      const std::byte* at = tensor.target.data.data() + place.offset;
      std::uint32_t magnitude = 0;
      if (!place.field.empty()) {
        magnitude = scale_symbol(at, place.encoding, tensor.target.order);
        if (place.encoding != FieldEncoding::E8M0) magnitude %= kScaleSymbols / 2;
      } else {
        magnitude =
            place.width == 2 ? load<std::uint16_t>(at) & 0x7FFFU : (load<std::uint32_t>(at) & 0x7FFFFFFFU) >> 16;
      }
      if (magnitude <= limit) return;
      above.push_back(place);
      const double value = value_of(tensor.target.data, place, tensor.target.order);
      if (std::abs(value) > std::abs(most)) most = value;
    });
    if (above.empty() || above.size() > kMostValuesOfWindow) return;
    const std::uint32_t octave = tensor.target.layout->float_bits > 0 ? tensor.target.layout->octave : 1;
    const bool is_scale = !above.front().field.empty();
    context_.add(is_scale ? DamageCause::ScaleOutlier : DamageCause::ValueOutlier, Certainty::Likely, tensor,
                 above.front().offset, above.back().offset + above.back().width,
                 fmt::format("{}: {:g} is more than {} octaves above what 90 % of the windows of its kind reach",
                             what(above.front(), above.size()), most, (limit - high) / octave));
  }

  const DamageContext& context_;
};

}  // namespace

void find_bad_values(const DamageContext& context) {
  const BadValues search(context);
  for (const TensorScan& tensor : context.scan.tensors)
    for (std::size_t w = 0; w < tensor.windows.size() && !context.full(); ++w)
      if ((tensor.windows[w].flags & kNotFinite) != 0) search.not_finite(tensor, w);
  for (const GroupScan& group : context.scan.groups) search.outliers(group);
}

}  // namespace apr::inspect
