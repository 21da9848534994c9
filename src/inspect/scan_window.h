// What one window of a tensor looks like, and what windows of its kind usually look like.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "apr/format/model_file.h"
#include "apr/kernels/scan.h"
#include "src/inspect/scan_layout.h"

namespace apr::inspect {

inline constexpr std::uint32_t kScaleSymbols = 64;  // the six high bits of a float

/// A tensor as the scan sees it.
struct ScanTarget {
  std::span<const std::byte> data;  // behind the head
  std::uint64_t offset = 0;         // of data, in its file
  std::uint64_t n_units = 0;
  std::uint64_t row_bytes = 0;
  std::endian order = std::endian::little;
  const ScanLayout* layout = nullptr;
};

struct WindowCounts {
  std::array<kernels::NibbleCounts, kMostStreams> streams;
  std::array<std::uint32_t, kMostStreams> n_bytes;
  std::array<std::array<std::uint16_t, kScaleSymbols>, kMostScales> scales;
  std::array<std::uint32_t, kMostScales> n_scales;
  std::array<std::uint64_t, kMostScales> seen;  // which of `scales` are not 0: of 64 a window has two or three
  kernels::ScreenCounts screen;
  std::uint32_t peak;  // 16 high bits of the greatest magnitude of a plain float
  std::uint64_t first_unit, n_units;
};

/// Calls body(v) for each bit v that is set.
template <class Body>
void for_each_bit(std::uint64_t bits, const Body& body) {
  for (; bits != 0; bits &= bits - 1) body(static_cast<std::uint32_t>(std::countr_zero(bits)));
}

/// Units that start in [begin, end) of the file. Only what the layout has is written.
void count_window(const kernels::ScanKernels& kernels, const ScanTarget& target, std::uint64_t begin, std::uint64_t end,
                  WindowCounts& out);

/// H(low) + H(high), bits per byte; 0 of nothing.
[[nodiscard]] double entropy_of(const kernels::NibbleCounts& counts) noexcept;
[[nodiscard]] double entropy_of(std::span<const std::uint64_t> counts) noexcept;
[[nodiscard]] double window_entropy(const WindowCounts& window, std::size_t n_streams) noexcept;

/// Of one stream: expected shares, and how far a window may be from them.
struct StreamBaseline {
  float share[2][16] = {};
  float inverse[2][16] = {};
  std::optional<double> usual;  // entropy: median of the samples; nothing: none is large enough
  double limit = 0;             // divergence above which a window is no longer usual
  double typical = 0;           // divergence: upper quartile of the samples
};

/// Of one float scale: the range of usual high bits (sign apart).
struct ScaleBaseline {
  std::uint32_t low = 0, high = 31;
  bool negative = true;         // negative values are usual
  std::uint64_t unusual = 0;    // a bit for each symbol outside of it
  std::optional<double> usual;  // entropy of the six bits: median of the samples
};

struct Baseline {
  std::array<StreamBaseline, kMostStreams> streams;
  std::array<ScaleBaseline, kMostScales> scales;
  bool usual_high[16] = {};  // plain floats: high nibbles (sign, three exponent bits) that are usual for the top byte
};

/// 30 degrees of freedom give a divergence of 30 / n by chance alone; four times that is allowed on top of a limit.
inline constexpr double kChance = 120;

/// Sum over both halves of (count / n - share)^2 / share: 0 when alike.
[[nodiscard]] double divergence(const kernels::NibbleCounts& counts, std::uint32_t n_bytes,
                                const StreamBaseline& baseline) noexcept;
/// Whether nothing but chance speaks against all 16 values being equally likely in both halves of every stream.
[[nodiscard]] bool looks_like_dice(const WindowCounts& window, std::size_t n_streams) noexcept;
/// Plain floats: the share of elements whose high exponent bits are not usual. `top`: counts of the byte with the sign.
[[nodiscard]] double unusual_exponents(const kernels::NibbleCounts& top, std::uint32_t n,
                                       const Baseline& baseline) noexcept;
/// The stream with the sign of a plain float.
[[nodiscard]] std::size_t top_stream(const ScanTarget& target) noexcept;
/// A window with more unusual scales or exponents than this share is itself unusual. Healthy ones have next to none, a
/// random f16 is outside in half of all cases (docs/damage.md).
inline constexpr double kUnusualShare = 0.25;

/// How many times its limit the worst stream is off, and which it is. Above 1 the window is unusual. Of plain floats
/// only the exponents count: mantissas look like dice or, in rows that were rounded once, like zeros.
struct Excess {
  double times = 0;
  std::size_t stream = 0;
};
[[nodiscard]] Excess worst_stream(const WindowCounts& window, const ScanTarget& target,
                                  const Baseline& baseline) noexcept;

/// Scales of a window outside the usual range.
[[nodiscard]] std::uint32_t unusual_scales(const WindowCounts& window, std::size_t scale,
                                           const ScaleBaseline& baseline) noexcept;
[[nodiscard]] bool is_usual_scale(std::uint32_t symbol, const ScaleBaseline& baseline) noexcept;
/// The six high bits of value `i` of a scale of the block at `unit`.
[[nodiscard]] std::uint32_t scale_symbol(const std::byte* value, FieldEncoding encoding, std::endian order) noexcept;

/// From windows spread over the tensors of one type and role.
[[nodiscard]] Baseline make_baseline(const ScanLayout& layout, std::endian order,
                                     std::span<const WindowCounts> samples);

}  // namespace apr::inspect
