#include "src/inspect/scan_window.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "apr/core/bytes.h"

namespace apr::inspect {
namespace {

constexpr double kLeastShare = 1e-3;  // of a value that no sample has: one stray value must not count as a change
constexpr double kUniformLimit = 4;   // chi-squared of dice, as a multiple of its degrees of freedom
constexpr double kMixedLimit = 1;     // of the lowest exponent bit and three of the mantissa: less is a row's scale
constexpr double kSpreadOut = 0.25;   // a top byte no value of which is more frequent is none
constexpr std::uint32_t kTightOctaves = 9;  // scales of a sound window lie closer together; random ones span about 25
constexpr float kUsualHighShare = 0.004F;   // of a high nibble that occurs; above the share that an absent one is given
constexpr std::uint32_t kLeastSampleBytes = 64;
constexpr std::size_t kTableSize = 1U << 13;

/// c * log2(c) of counts as they stand in a window.
const std::array<double, kTableSize>& c_log_c() {
  static const auto table = [] {
    std::array<double, kTableSize> t{};
    for (std::size_t c = 2; c < t.size(); ++c) t[c] = static_cast<double>(c) * std::log2(static_cast<double>(c));
    return t;
  }();
  return table;
}

double half_entropy(const std::uint32_t counts[16]) noexcept {
  const auto& table = c_log_c();
  double sums[4] = {};  // side by side: one sum would wait for itself
  std::uint32_t n = 0, most = 0;
  for (int v = 0; v < 16; ++v) n += counts[v], most |= counts[v];
  for (int v = 0; v < 16; v += 4)
    for (int k = 0; k < 4; ++k) {
      const std::uint32_t c = counts[v + k];
      sums[k] += most < kTableSize ? table[c] : c * std::log2(static_cast<double>(std::max(c, 1U)));
    }
  if (n == 0) return 0;
  const auto total = static_cast<double>(n);
  const double log_total = n < kTableSize ? table[n] / total : std::log2(total);
  return std::max(0.0, log_total - ((sums[0] + sums[1]) + (sums[2] + sums[3])) / total);
}

template <class T>
T quantile(std::vector<T>& values, double q) {
  if (values.empty()) return T{};
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

/// Octaves that a scale may be outside what the samples have, in steps of its six high bits, and still be usual.
std::uint32_t scale_margin(FieldEncoding encoding) {
  switch (encoding) {
    case FieldEncoding::F16: return 3;   // one step is one octave
    case FieldEncoding::E4M3: return 6;  // half an octave
    default: return 1;                   // BF16 and F32: eight octaves; E8M0: four
  }
}

void set_shares(StreamBaseline& baseline, std::span<const WindowCounts> samples, std::size_t stream) {
  std::vector<double> shares;
  for (int half = 0; half < 2; ++half) {
    double sum = 0, median[16];
    for (int v = 0; v < 16; ++v) {
      shares.clear();
      for (const WindowCounts& w : samples)
        if (w.n_bytes[stream] >= kLeastSampleBytes)
          shares.push_back(static_cast<double>(w.streams[stream].n[half][v]) / w.n_bytes[stream]);
      median[v] = std::max(quantile(shares, 0.5), kLeastShare);
      sum += median[v];
    }
    for (int v = 0; v < 16; ++v) {
      baseline.share[half][v] = static_cast<float>(median[v] / sum);
      baseline.inverse[half][v] = static_cast<float>(sum / median[v]);
    }
  }
}

/// Octaves of one step of the six high bits.
std::uint32_t octaves_per_step(FieldEncoding encoding) {
  return encoding == FieldEncoding::F16 || encoding == FieldEncoding::E4M3 ? 1
         : encoding == FieldEncoding::E8M0                                 ? 4
                                                                           : 8;
}

/// Magnitudes (symbols without their sign) of one window.
struct Magnitudes {
  std::vector<std::uint64_t> counts;
  std::uint64_t n = 0, n_negative = 0;

  Magnitudes(const std::array<std::uint16_t, kScaleSymbols>& symbols, std::uint32_t n_symbols) : counts(n_symbols) {
    for (std::uint32_t s = 0; s < kScaleSymbols; ++s) {
      counts[s % n_symbols] += symbols[s];
      n += symbols[s];
      if (s >= n_symbols) n_negative += symbols[s];
    }
  }
  /// The symbol below which `share` of them lie.
  [[nodiscard]] std::uint32_t quantile_of(double share) const {
    auto left = static_cast<std::uint64_t>(share * static_cast<double>(n));
    for (std::uint32_t s = 0; s < counts.size(); ++s) {
      if (counts[s] > left) return s;
      left -= counts[s];
    }
    return static_cast<std::uint32_t>(counts.size()) - 1;
  }
};

/// From the windows whose scales lie close together: damaged ones do not, so nine of ten may be damaged.
ScaleBaseline scale_baseline(const ScanScale& scale, std::span<const WindowCounts> samples, std::size_t index) {
  ScaleBaseline baseline;
  const bool is_signed = scale.encoding != FieldEncoding::E8M0;
  const std::uint32_t n_symbols = is_signed ? kScaleSymbols / 2 : kScaleSymbols;
  Magnitudes all({}, n_symbols);
  std::vector<double> entropies;
  std::size_t n_tight = 0, n_windows = 0;
  for (const WindowCounts& w : samples) {
    const std::vector<std::uint64_t> counts(w.scales[index].begin(), w.scales[index].end());
    if (w.n_scales[index] > 0) entropies.push_back(entropy_of(counts));
    const Magnitudes m(w.scales[index], n_symbols);
    if (m.n == 0) continue;
    ++n_windows;
    if ((m.quantile_of(0.95) - m.quantile_of(0.05)) * octaves_per_step(scale.encoding) > kTightOctaves) continue;
    ++n_tight;
    for (std::size_t s = 0; s < all.counts.size(); ++s) all.counts[s] += m.counts[s];
    all.n += m.n;
    all.n_negative += m.n_negative;
  }
  if (!entropies.empty()) baseline.usual = quantile(entropies, 0.5);
  if (n_tight * 10 < n_windows || all.n == 0) {  // nothing to go by: any scale of a weight below 4
    baseline.low = 0;
    baseline.high = scale.encoding == FieldEncoding::F16 ? 17 : n_symbols - 2;
    return baseline;
  }
  const std::uint32_t margin = scale_margin(scale.encoding);
  const std::uint32_t low = all.quantile_of(0.01), high = all.quantile_of(0.99);
  baseline.negative = !is_signed || all.n_negative * 50 > all.n;
  baseline.low = low - std::min(low, margin);
  baseline.high = std::min(high + margin, n_symbols - 2);
  return baseline;
}

/// Plain floats: the high nibbles of the top byte that occur, and their neighbours, of either sign. Zeros are usual
/// only where there are some: a float of the wrong byte order is nearly zero when its mantissa was short.
void set_usual_high(const ScanLayout& layout, const StreamBaseline& top, Baseline& baseline) {
  bool occurs[8] = {};
  bool any = false;
  for (int v = 0; v < 16; ++v) {
    occurs[v % 8] = occurs[v % 8] || top.share[1][v] >= kUsualHighShare;
    any = any || top.share[1][v] + top.share[1][v ^ 8] > kSpreadOut;
  }
  if (!any)  // nothing to go by: weights below 2, of f16 above 2^-15, of the others above 2^-63
    for (int m = 0; m < 8; ++m) occurs[m] = layout.infinity == 0x7C00 ? m == 1 || m == 2 : m == 3;
  for (int m = 0; m < 8; ++m) {
    const bool usual = occurs[m] || (m > 0 && occurs[m - 1]) || (m < 7 && occurs[m + 1]);
    baseline.usual_high[m] = baseline.usual_high[8 + m] = usual;
  }
}

/// Adds the six high bits of a value in each of n blocks, and returns which occurred. They stand in one byte for every
/// encoding.
std::uint64_t count_scale(const std::byte* at, std::uint64_t stride, std::uint64_t n, const ScanScale& scale,
                          std::endian order, std::array<std::uint16_t, kScaleSymbols>& counts) {
  if (order == std::endian::little) at += scale.width() - 1;
  // Four counters a symbol: neighbours are often equal, and one counter would wait for itself. A window has less than
  // 4 * 256 blocks, so bytes are wide enough.
  std::uint8_t sums[4][kScaleSymbols] = {};
  std::uint64_t u = 0, seen = 0;
  const auto add = [&](std::uint8_t* sum, std::byte value) {
    const unsigned symbol = std::to_integer<unsigned>(value) >> 2;
    ++sum[symbol];
    seen |= 1ULL << symbol;
  };
  for (; u + 4 <= n; u += 4, at += 4 * stride)
    for (std::uint64_t k = 0; k < 4; ++k) add(sums[k], at[k * stride]);
  for (; u < n; ++u, at += stride) add(sums[0], *at);
  for_each_bit(seen, [&](std::uint32_t v) {
    counts[v] = static_cast<std::uint16_t>(counts[v] + sums[0][v] + sums[1][v] + sums[2][v] + sums[3][v]);
  });
  return seen;
}

}  // namespace

std::uint32_t scale_symbol(const std::byte* value, FieldEncoding encoding, std::endian order) noexcept {
  switch (encoding) {
    case FieldEncoding::F16:
    case FieldEncoding::BF16: return load<std::uint16_t>(value, order) >> 10;
    case FieldEncoding::F32: return load<std::uint32_t>(value, order) >> 26;
    default: return std::to_integer<std::uint32_t>(*value) >> 2;
  }
}

void count_window(const kernels::ScanKernels& kernels, const ScanTarget& target, std::uint64_t begin, std::uint64_t end,
                  WindowCounts& out) {
  const ScanLayout& layout = *target.layout;
  const std::uint64_t unit = layout.unit_bytes;
  const auto units_before = [&](std::uint64_t at) {
    return at <= target.offset ? 0 : std::min(target.n_units, (at - target.offset + unit - 1) / unit);
  };
  for (std::size_t s = 0; s < layout.streams.size(); ++s) out.streams[s] = {}, out.n_bytes[s] = 0;
  for (std::size_t s = 0; s < layout.scales.size(); ++s) out.scales[s] = {}, out.n_scales[s] = 0, out.seen[s] = 0;
  out.screen = {};
  out.peak = 0;
  out.first_unit = units_before(begin);
  out.n_units = units_before(end) - out.first_unit;
  if (out.n_units == 0) return;
  const std::byte* first = target.data.data() + out.first_unit * unit;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(first);
  const auto n_units = static_cast<std::int64_t>(out.n_units);
  const auto stride = static_cast<std::int64_t>(unit);
  if (layout.period > 0) {
    kernels.count_nibbles(bytes, n_units * stride, 0, 1, layout.period, out.streams.data());
    for (int p = 0; p < layout.period; ++p)
      out.n_bytes[static_cast<std::size_t>(p)] =
          static_cast<std::uint32_t>(out.n_units * unit / static_cast<std::uint64_t>(layout.period));
    if (target.order == std::endian::little && layout.float_bits == 16) out.peak = kernels.max_abs_16(bytes, n_units);
    if (target.order == std::endian::little && layout.float_bits == 32)
      out.peak = kernels.max_abs_32(bytes, n_units) >> 16;
  }
  for (std::size_t s = 0; layout.period == 0 && s < layout.streams.size(); ++s) {
    const ScanStream& stream = layout.streams[s];
    kernels.count_nibbles(bytes + stream.offset, stream.width, stride, n_units, 1, &out.streams[s]);
    out.n_bytes[s] = static_cast<std::uint32_t>(stream.width * out.n_units);
  }
  for (std::size_t s = 0; s < layout.scales.size(); ++s) {
    const ScanScale& scale = layout.scales[s];
    for (std::uint32_t i = 0; i < scale.count; ++i)
      out.seen[s] |=
          count_scale(first + scale.offset + i * scale.width(), unit, out.n_units, scale, target.order, out.scales[s]);
    out.n_scales[s] = static_cast<std::uint32_t>(scale.count * out.n_units);
  }
  const auto* data_end = reinterpret_cast<const std::uint8_t*>(target.data.data() + target.data.size());
  const std::int64_t block_lag = layout.period == 0 ? stride : 4096;
  const auto row_lag = static_cast<std::int64_t>(target.row_bytes);
  const std::int64_t lags[3] = {64, block_lag, row_lag >= 64 && row_lag != block_lag ? row_lag : 0};
  kernels.screen(bytes, n_units * stride, data_end, lags, &out.screen);
}

double entropy_of(const kernels::NibbleCounts& counts) noexcept {
  return half_entropy(counts.n[0]) + half_entropy(counts.n[1]);
}

double entropy_of(std::span<const std::uint64_t> counts) noexcept {
  double sum = 0, n = 0;
  for (const std::uint64_t c : counts) {
    const auto x = static_cast<double>(c);
    n += x;
    if (c > 1) sum += x * std::log2(x);
  }
  return n > 0 ? std::max(0.0, std::log2(n) - sum / n) : 0;
}

double window_entropy(const WindowCounts& window, std::size_t n_streams) noexcept {
  kernels::NibbleCounts all = window.streams[0];
  for (std::size_t s = 1; s < n_streams; ++s)
    for (int half = 0; half < 2; ++half)
      for (int v = 0; v < 16; ++v) all.n[half][v] += window.streams[s].n[half][v];
  return entropy_of(all);
}

double half_divergence(const std::uint32_t counts[16], std::uint32_t n_bytes, const StreamBaseline& baseline,
                       int half) noexcept {
  const float inverse_n = 1.0F / static_cast<float>(n_bytes);
  float sums[4] = {};  // side by side: one sum would wait for itself
  for (int v = 0; v < 16; v += 4)
    for (int k = 0; k < 4; ++k) {
      const float share = static_cast<float>(static_cast<std::int32_t>(counts[v + k])) * inverse_n;
      const float difference = share - baseline.share[half][v + k];
      sums[k] += difference * difference * baseline.inverse[half][v + k];
    }
  return static_cast<double>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

double divergence(const kernels::NibbleCounts& counts, std::uint32_t n_bytes, const StreamBaseline& baseline) noexcept {
  if (n_bytes == 0) return 0;
  return half_divergence(counts.n[0], n_bytes, baseline, 0) + half_divergence(counts.n[1], n_bytes, baseline, 1);
}

bool is_usual_scale(std::uint32_t symbol, const ScaleBaseline& baseline) noexcept {
  const bool is_signed = baseline.high < kScaleSymbols / 2;
  const std::uint32_t magnitude = is_signed ? symbol % (kScaleSymbols / 2) : symbol;
  if (magnitude == 0) return true;  // zero, or too small to be told from it
  if (is_signed && symbol >= kScaleSymbols / 2 && !baseline.negative) return false;
  return magnitude >= baseline.low && magnitude <= baseline.high;
}

std::uint32_t unusual_scales(const WindowCounts& w, std::size_t scale, const ScaleBaseline& baseline) noexcept {
  std::uint32_t n = 0;
  for_each_bit(w.seen[scale] & baseline.unusual, [&](std::uint32_t v) { n += w.scales[scale][v]; });
  return n;
}

bool looks_like_dice(const WindowCounts& w, std::size_t n_streams) noexcept {
  bool any = false;
  for (std::size_t s = 0; s < n_streams; ++s) {
    if (w.n_bytes[s] < 128) continue;
    any = true;
    const double expected = w.n_bytes[s] / 16.0;
    double chi = 0;
    for (const auto& half : w.streams[s].n)
      for (const std::uint32_t c : half) chi += (c - expected) * (c - expected) / expected;
    if (chi > kUniformLimit * 30) return false;
  }
  return any;
}

std::size_t top_stream(const ScanTarget& target) noexcept {
  return target.order == std::endian::little ? static_cast<std::size_t>(std::max(1, target.layout->period)) - 1 : 0;
}

double unusual_exponents(const kernels::NibbleCounts& top, std::uint32_t n, const Baseline& baseline) noexcept {
  std::uint32_t unusual = 0;
  for (int v = 0; v < 16; ++v)
    if (!baseline.usual_high[v]) unusual += top.n[1][v];
  return n == 0 ? 0 : static_cast<double>(unusual) / n;
}

Excess worst_stream(const WindowCounts& w, const ScanTarget& target, const Baseline& baseline) noexcept {
  const ScanLayout& layout = *target.layout;
  Excess worst;
  const auto consider = [&](double times, std::size_t stream) {
    if (times > worst.times) worst = {times, stream};
  };
  if (layout.float_bits > 0) {
    worst.stream = top_stream(target);
    const std::uint32_t n = w.n_bytes[worst.stream];
    if (n < 32) return worst;
    consider(unusual_exponents(w.streams[worst.stream], n, baseline) / kUnusualShare, worst.stream);
    if (layout.infinity == 0x7C00) return worst;  // f16: the other byte is mantissa
    const std::size_t mixed = target.order == std::endian::little ? layout.streams.size() - 2 : 1;
    consider(half_divergence(w.streams[mixed].n[1], n, baseline.streams[mixed], 1) / (kMixedLimit + kChance / n),
             mixed);
    return worst;
  }
  for (std::size_t s = 0; s < layout.streams.size(); ++s)
    if (const std::uint32_t n = w.n_bytes[s]; n >= 32)
      consider(divergence(w.streams[s], n, baseline.streams[s]) / (baseline.streams[s].limit + kChance / n), s);
  return worst;
}

Baseline make_baseline(const ScanLayout& layout, std::endian order, std::span<const WindowCounts> samples) {
  Baseline baseline;
  std::vector<double> entropies, divergences;
  for (std::size_t s = 0; s < layout.streams.size(); ++s) {
    StreamBaseline& stream = baseline.streams[s];
    set_shares(stream, samples, s);
    entropies.clear();
    divergences.clear();
    for (const WindowCounts& w : samples) {
      if (w.n_bytes[s] < kLeastSampleBytes) continue;
      entropies.push_back(entropy_of(w.streams[s]));
      divergences.push_back(divergence(w.streams[s], w.n_bytes[s], stream));
    }
    if (!entropies.empty()) stream.usual = quantile(entropies, 0.5);
    stream.typical = quantile(divergences, 0.75);
  }
  if (layout.float_bits > 0)
    set_usual_high(layout, baseline.streams[order == std::endian::little ? layout.streams.size() - 1 : 0], baseline);
  for (std::size_t s = 0; s < layout.scales.size(); ++s) {
    ScaleBaseline& scale = baseline.scales[s];
    scale = scale_baseline(layout.scales[s], samples, s);
    for (std::uint32_t v = 0; v < kScaleSymbols; ++v) scale.unusual |= is_usual_scale(v, scale) ? 0 : 1ULL << v;
  }
  return baseline;
}

}  // namespace apr::inspect
