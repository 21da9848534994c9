// Ranges that do not look like their type, field and role: which known cause, undone, makes them look usual again?
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "src/inspect/damage_parts.h"

namespace apr::inspect {
namespace {

constexpr std::uint64_t kTriedBlocks = 64;  // of a range, spread evenly
constexpr double kRestored = 0.85;          // share of them whose scales are usual under the right hypothesis
constexpr std::uint64_t kFewUnits = 8;      // blocks of a window that are too few to say anything alone
constexpr double kForeignCodes = 3;    // times the limit, for codes that are not dice: rows with an outlier reach 2
constexpr double kSingleWindow = 1.5;  // times the limit, for a window with no unusual neighbour
constexpr std::uint64_t kSliceBytes = 256;  // plain types: how finely the ends of a range are looked for
constexpr std::uint64_t kTriedWindows = 32;

struct Verdict {
  DamageCause cause = DamageCause::ForeignBytes;
  Certainty certainty = Certainty::Likely;
  std::string evidence;
  std::optional<std::int64_t> shift;
};

class Foreign {
 public:
  Foreign(const DamageContext& context, const TensorScan& tensor)
      : context_(context),
        tensor_(tensor),
        layout_(*tensor.target.layout),
        baseline_(context.group(tensor).baseline),
        kernels_(kernels::active_scan()) {}

  void run(std::size_t first, std::size_t last) const {
    const DataRange windows = data_range(tensor_, first, last);
    const std::uint64_t explained = context_.explained(tensor_, windows.begin, windows.end);
    if (explained * (last - first < 2 ? 8 : 2) >= windows.end - windows.begin)
      return;  // its ends make windows unusual, too
    unsigned flags = 0;
    for (std::size_t w = first; w <= last; ++w) flags |= tensor_.windows[w].flags;
    const bool by_scales = (flags & kScalesOff) != 0;
    Excess worst;
    if (!by_scales && !codes_are_off(first, last, worst)) return;
    const DataRange range = by_scales            ? ends_by_scales(windows)
                            : layout_.period > 0 ? ends_by_slices(windows)
                                                 : windows;
    if (range.begin >= range.end) return;
    const WindowCounts counts = counts_of(range);
    const bool dice = looks_like_dice(counts, layout_.streams.size());
    const Verdict verdict = by_scales            ? judge_blocks(range, dice)
                            : layout_.period > 1 ? judge_planes(range, counts, dice)
                                                 : judge_codes(worst.stream, counts);
    if (!by_scales && layout_.period == 0 && verdict.cause != DamageCause::RandomBytes && worst.times < kForeignCodes)
      return;
    DamageRange& out =
        context_.add(verdict.cause, verdict.certainty, tensor_, range.begin, range.end, verdict.evidence);
    out.shift_bytes = verdict.shift;
  }

 private:
  /// Whether streams speak for damage where the scales do not: in two windows, or in one much.
  bool codes_are_off(std::size_t first, std::size_t last, Excess& worst) const {
    std::size_t n = 0;
    for (std::size_t w = first; w <= last; ++w) {
      if ((tensor_.windows[w].flags & kDiverges) == 0 || tensor_.windows[w].n_units < kFewUnits) continue;
      WindowCounts counts;
      const std::uint64_t begin = (tensor_.first_window + w) * kWindowBytes;
      count_window(kernels_, tensor_.target, begin, begin + kWindowBytes, counts);
      // Scales and minima of sub-blocks differ widely between the rows of a trained tensor; nothing damages them alone.
      for (std::size_t s = 0; s < layout_.streams.size(); ++s)
        if (layout_.period == 0 && layout_.streams[s].width * 4 <= widest()) counts.n_bytes[s] = 0;
      const Excess here = worst_stream(counts, tensor_.target, baseline_);
      n += here.times > 1 ? 1 : 0;
      if (here.times > worst.times) worst = here;
    }
    return worst.times > 1 && (n > 1 || worst.times >= kSingleWindow);
  }

  std::uint32_t widest() const {
    std::uint32_t most = 0;
    for (const ScanStream& stream : layout_.streams) most = std::max(most, stream.width);
    return most;
  }

  // ---- blocks with scales -------------------------------------------------------------------------------------------

  /// Reads each value of the scales of a block through `map`, which says where a byte of the data stands now.
  template <class Map>
  bool scales_usual(std::uint64_t unit, const Map& map) const {
    const auto data = tensor_.target.data;
    for (std::size_t s = 0; s < layout_.scales.size(); ++s) {
      const ScanScale& scale = layout_.scales[s];
      for (std::uint32_t i = 0; i < scale.count; ++i) {
        std::byte raw[4];
        for (std::uint32_t b = 0; b < scale.width(); ++b) {
          const std::uint64_t at = map(unit * layout_.unit_bytes + scale.offset + i * scale.width() + b);
          if (at >= data.size()) return false;
          raw[b] = data[at];
        }
        if (!is_usual_scale(scale_symbol(raw, scale.encoding, tensor_.target.order), baseline_.scales[s])) return false;
      }
    }
    return true;
  }
  bool scales_usual(std::uint64_t unit) const {
    return scales_usual(unit, [](std::uint64_t at) { return at; });
  }

  template <class Map>
  double share_usual(DataRange range, const Map& map) const {
    const std::uint64_t first = (range.begin + layout_.unit_bytes - 1) / layout_.unit_bytes;
    const std::uint64_t end = range.end / layout_.unit_bytes;
    if (end <= first) return 0;
    const std::uint64_t n = std::min(kTriedBlocks, end - first);
    std::uint64_t usual = 0;
    for (std::uint64_t i = 0; i < n; ++i) usual += scales_usual(first + i * (end - first) / n, map) ? 1 : 0;
    return static_cast<double>(usual) / static_cast<double>(n);
  }

  /// From the first to the last block that has unusual scales and many such neighbours.
  DataRange ends_by_scales(DataRange windows) const {
    const std::uint64_t unit = layout_.unit_bytes, around = kWindowBytes / unit + 1;
    const std::uint64_t first = windows.begin / unit - std::min(windows.begin / unit, around);
    const std::uint64_t end = std::min(tensor_.target.n_units, windows.end / unit + around);
    const auto odd_of_8 = [&](std::uint64_t u) {
      std::uint64_t n = 0;
      for (std::uint64_t k = u; k < std::min(u + 8, end); ++k) n += scales_usual(k) ? 0 : 1;
      return n;
    };
    std::uint64_t a = first, b = end;
    while (a < end && (scales_usual(a) || odd_of_8(a) < std::min<std::uint64_t>(4, (end - a + 1) / 2))) ++a;
    const auto odd_of_8_before = [&](std::uint64_t u) {
      int n = 0;
      for (std::uint64_t k = u >= 7 ? u - 7 : 0; k <= u; ++k) n += scales_usual(k) ? 0 : 1;
      return n;
    };
    while (b > a && (scales_usual(b - 1) || odd_of_8_before(b - 1) < 4)) --b;
    return a < b ? DataRange{a * unit, b * unit} : windows;
  }

  static Verdict swapped_verdict(std::uint64_t width, double as_is, double share) {
    return {DamageCause::ByteSwapped, Certainty::Strong,
            fmt::format("{:.0f} % of the scales are usual as they stand, {:.0f} % when every {} bytes are reversed",
                        100 * as_is, 100 * share, width),
            std::nullopt};
  }
  Verdict shifted_verdict(std::uint64_t by, double as_is, double share) const {
    const auto unit = static_cast<std::int64_t>(layout_.unit_bytes);
    auto shift = static_cast<std::int64_t>(by);
    if (shift > unit / 2) shift -= unit;
    return {DamageCause::Shifted, Certainty::Strong,
            fmt::format("{:.0f} % of the scales are usual as they stand, {:.0f} % when read {:+} bytes on", 100 * as_is,
                        100 * share, shift),
            shift};
  }

  Verdict judge_blocks(DataRange range, bool uniform) const {
    const double as_is = share_usual(range, [](std::uint64_t at) { return at; });
    double best = 0;
    std::uint64_t best_shift = 0;
    for (std::uint64_t k = 1; k < layout_.unit_bytes; ++k) {
      const double share = share_usual(range, [k](std::uint64_t at) { return at + k; });
      if (share > best) best = share, best_shift = k;
    }
    // The six high bits that are looked at stand in one byte: a shift by -1 brings it to the same place as a reversal
    // of pairs. What begins inside the tensor and goes on to its end is the shift.
    const bool to_the_end =
        range.end + layout_.unit_bytes >= tensor_.target.data.size() && range.begin >= 8 * layout_.unit_bytes;
    const auto swapped = [&](std::uint64_t width) {
      return share_usual(range, [width](std::uint64_t at) { return at - at % width + width - 1 - at % width; });
    };
    const double pairs = swapped(2);
    if (pairs >= kRestored && pairs >= best && !(best >= kRestored && to_the_end))
      return swapped_verdict(2, as_is, pairs);
    if (best >= kRestored) return shifted_verdict(best_shift, as_is, best);
    for (const std::uint64_t width : {4U, 8U})
      if (const double share = swapped(width); share >= kRestored) return swapped_verdict(width, as_is, share);
    if (uniform)
      return {DamageCause::RandomBytes, Certainty::Strong,
              fmt::format("all fields look like dice; {:.0f} % of the scales are usual", 100 * as_is), std::nullopt};
    return {DamageCause::ForeignBytes, Certainty::Likely,
            fmt::format("{:.0f} % of the scales are usual, and no shift or byte order makes it more than {:.0f} %",
                        100 * as_is, 100 * best),
            std::nullopt};
  }

  // ---- plain types, and codes alone ---------------------------------------------------------------------------------

  bool slice_is_odd(std::uint64_t begin) const {
    WindowCounts counts;
    const std::uint64_t at = tensor_.target.offset + begin;
    count_window(kernels_, tensor_.target, at, at + kSliceBytes, counts);
    return worst_stream(counts, tensor_.target, baseline_).times > 1;
  }

  DataRange ends_by_slices(DataRange windows) const {
    const std::uint64_t first = windows.begin - std::min(windows.begin, kWindowBytes);
    const std::uint64_t end = std::min<std::uint64_t>(tensor_.target.data.size(), windows.end + kWindowBytes);
    std::uint64_t a = first / kSliceBytes * kSliceBytes;
    while (a < windows.end &&
           !(slice_is_odd(a) && (slice_is_odd(a + kSliceBytes) || slice_is_odd(a + 2 * kSliceBytes))))
      a += kSliceBytes;
    if (a >= windows.end) return windows;
    std::uint64_t b = (end + kSliceBytes - 1) / kSliceBytes * kSliceBytes;
    while (b > a + kSliceBytes && !slice_is_odd(b - kSliceBytes)) b -= kSliceBytes;
    return {a, std::min(b, end)};
  }

  /// Of up to 32 windows spread over a range.
  WindowCounts counts_of(DataRange range) const {
    WindowCounts sum{}, counts;
    const std::uint64_t n =
        std::max<std::uint64_t>(1, std::min(kTriedWindows, (range.end - range.begin) / kWindowBytes));
    const std::uint64_t step = (range.end - range.begin) / n;
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t at = tensor_.target.offset + range.begin + i * step;
      count_window(kernels_, tensor_.target, at, at + std::min(kWindowBytes, step), counts);
      for (std::size_t s = 0; s < layout_.streams.size(); ++s) {
        sum.n_bytes[s] += counts.n_bytes[s];
        for (int half = 0; half < 2; ++half)
          for (int v = 0; v < 16; ++v) sum.streams[s].n[half][v] += counts.streams[s].n[half][v];
      }
    }
    return sum;
  }

  Verdict judge_planes(DataRange range, const WindowCounts& sum, bool uniform) const {
    const std::size_t planes = layout_.streams.size();
    const std::size_t top = top_stream(tensor_.target);
    const auto fits = [&](const auto& plane_of) {
      for (std::size_t s = 0; s < planes; ++s)
        if (layout_.float_bits > 0 && plane_of(s) == top) {
          if (unusual_exponents(sum.streams[s], sum.n_bytes[s], baseline_) >= kUnusualShare) return false;
        } else if (divergence(sum.streams[s], sum.n_bytes[s], baseline_.streams[plane_of(s)]) >
                   2 * baseline_.streams[plane_of(s)].limit + kChance / std::max(1U, sum.n_bytes[s]))
          return false;
      return true;
    };
    if (uniform)
      return {DamageCause::RandomBytes, Certainty::Strong, "every byte of the elements looks like dice", std::nullopt};
    const bool reversed = fits([&](std::size_t s) { return planes - 1 - s; });
    const bool to_the_end = range.end + kSliceBytes >= tensor_.target.data.size() && range.begin > kSliceBytes;
    if (reversed && (planes > 2 || !to_the_end))
      return {DamageCause::ByteSwapped, planes > 2 ? Certainty::Strong : Certainty::Likely,
              "the bytes of an element look like its others in reverse", std::nullopt};
    for (std::size_t k = 1; k < planes; ++k)
      if (fits([&](std::size_t s) { return (s + planes - k) % planes; }))
        return {DamageCause::Shifted, planes > 2 ? Certainty::Strong : Certainty::Likely,
                fmt::format("the bytes of an element look like those {} places before{}", k,
                            planes == 2 ? ", up to the end of the tensor" : ""),
                static_cast<std::int64_t>(k)};
    return {DamageCause::ForeignBytes, Certainty::Likely, "the bytes of an element look like none of its kind",
            std::nullopt};
  }

  /// One stream is off and the scales are not: the others say nothing about it.
  Verdict judge_codes(std::size_t stream, const WindowCounts& counts) const {
    const std::string& field = layout_.streams[stream].name;
    WindowCounts alone{};
    alone.streams[0] = counts.streams[stream];
    alone.n_bytes[0] = counts.n_bytes[stream];
    const bool uniform = looks_like_dice(alone, 1);
    if (uniform)
      return {DamageCause::RandomBytes, Certainty::Likely, fmt::format("{} looks like dice", field), std::nullopt};
    return {DamageCause::ForeignBytes, Certainty::Likely,
            fmt::format("{} is distributed as nowhere else in this role", field), std::nullopt};
  }

  const DamageContext& context_;
  const TensorScan& tensor_;
  const ScanLayout& layout_;
  const Baseline& baseline_;
  const kernels::ScanKernels& kernels_;
};

}  // namespace

void find_foreign(const DamageContext& context) {
  for (const TensorScan& tensor : context.scan.tensors) {
    if (tensor.target.row_bytes == 0) continue;  // vectors are too short and too unlike each other
    const Foreign foreign(context, tensor);
    for_each_run(tensor, kDiverges | kScalesOff, 1, [&](std::size_t first, std::size_t last) {
      if (!context.full()) foreign.run(first, last);
    });
  }
}

}  // namespace apr::inspect
