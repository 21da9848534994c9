#include "src/inspect/scan_pass.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "apr/core/file.h"
#include "apr/core/thread_pool.h"

namespace apr::inspect {
namespace {

using format::ModelFile;
using format::TensorInfo;

constexpr std::uint64_t kTaskWindows = 256;    // 1 MiB: a task reads it while the others read theirs
constexpr std::uint64_t kTasksPerStep = 256;   // between two looks at Ctrl-C and the progress
constexpr std::size_t kSamples = 192;          // windows of a group that its baseline is made from
constexpr std::size_t kAnchorsPerTask = 1024;  // four times what one per 4 KiB gives
constexpr std::uint64_t kAnchorSpan = 8192;    // any so many bytes in a row hold an anchor; one in 4096 is one
// A window is called unusual when its divergence is above this multiple of the samples' upper quartile, and above the
// floor. Derivation: docs/damage.md.
constexpr double kDivergenceFactor = 24;
constexpr double kDivergenceFloor = 0.06;

struct Task {
  std::size_t tensor = 0;
  std::uint64_t first = 0, count = 0;  // windows of it
};

/// Sums of one task: 256 windows of at most 8192 fit 32 bits.
struct TaskTotals {
  std::array<kernels::NibbleCounts, kMostStreams> counts{};
  std::array<std::array<std::uint32_t, kScaleSymbols>, kMostScales> scale_counts{};
  void add(const WindowCounts& w, const ScanLayout& layout) {
    for (std::size_t s = 0; s < layout.streams.size(); ++s)
      for (std::size_t half = 0; half < 2; ++half)
        for (std::size_t v = 0; v < 16; ++v) counts[s].n[half][v] += w.streams[s].n[half][v];
    for (std::size_t s = 0; s < layout.scales.size(); ++s)
      for_each_bit(w.seen[s], [&](std::uint32_t v) { scale_counts[s][v] += w.scales[s][v]; });
  }
};

std::uint64_t window_begin(const TensorScan& tensor, std::uint64_t window) {
  return (tensor.first_window + window) * kWindowBytes;
}

/// As WindowRecord::peak has them.
std::uint32_t scale_peaks(const WindowCounts& w, const ScanLayout& layout) {
  std::uint32_t peaks = 0;
  for (std::size_t s = 0; s < layout.scales.size(); ++s) {
    constexpr unsigned half = kScaleSymbols / 2;
    const bool is_signed = layout.scales[s].encoding != FieldEncoding::E8M0;
    const std::uint64_t magnitudes = is_signed ? (w.seen[s] | w.seen[s] >> half) & ((1ULL << half) - 1) : w.seen[s];
    if (magnitudes != 0) peaks |= static_cast<std::uint32_t>(std::bit_width(magnitudes) - 1) << (8 * s);
  }
  return peaks;
}

bool may_not_be_finite(const WindowCounts& w, const ScanLayout& layout, std::uint32_t peak) {
  if (layout.float_bits > 0) return peak >= layout.infinity;
  for (std::size_t s = 0; s < layout.scales.size(); ++s) {
    const bool is_signed = layout.scales[s].encoding != FieldEncoding::E8M0;
    const std::uint64_t none = 1ULL << (kScaleSymbols - 1) | (is_signed ? 1ULL << (kScaleSymbols / 2 - 1) : 0);
    if ((w.seen[s] & none) != 0) return true;
  }
  return false;
}

WindowRecord judge(const WindowCounts& w, const ScanTarget& target, const Baseline& baseline) {
  const ScanLayout& layout = *target.layout;
  WindowRecord record;
  record.n_units = static_cast<std::uint16_t>(std::min<std::uint64_t>(w.n_units, UINT16_MAX));
  record.entropy = static_cast<std::uint16_t>(window_entropy(w, layout.streams.size()) * kEntropySteps + 0.5);
  const std::uint32_t peak = layout.float_bits > 0 ? w.peak : scale_peaks(w, layout);
  record.peak = static_cast<std::uint16_t>(peak);
  unsigned flags = 0;
  if (w.screen.no_high_bit > 0 || w.screen.equal[0] > 0 || w.screen.equal[1] > 0 || w.screen.equal[2] > 0)
    flags |= kScreened;
  const Excess worst = worst_stream(w, target, baseline);
  record.stream = static_cast<std::uint8_t>(worst.stream);
  if (worst.times > 1) flags |= kDiverges;
  for (std::size_t s = 0; s < layout.scales.size(); ++s) {
    const std::uint32_t unusual = unusual_scales(w, s, baseline.scales[s]);
    if (unusual >= 2 && unusual >= kUnusualShare * w.n_scales[s]) flags |= kScalesOff;
  }
  if (may_not_be_finite(w, layout, peak)) flags |= kNotFinite;
  if ((flags & kDiverges) != 0 && looks_like_dice(w, layout.streams.size())) flags |= kUniform;
  record.flags = static_cast<std::uint8_t>(flags);
  return record;
}

/// Hashes of units, by which copies are found. An anchor is the unit with the least hash of any kAnchorSpan bytes in a
/// row (winnowing: Schleimer, Wilkerson, Aiken 2003): equal bytes agree about it wherever they stand.
class Anchors {
 public:
  Anchors(const TensorScan& tensor, std::uint32_t tensor_index)
      : data_(tensor.target.data), index_(tensor_index), unit_bytes_(anchor_unit_bytes(*tensor.target.layout)) {
    const ScanLayout& layout = *tensor.target.layout;
    const auto widest = std::max_element(layout.streams.begin(), layout.streams.end(),
                                         [](const ScanStream& a, const ScanStream& b) { return a.width < b.width; });
    if (layout.period == 0) key_offset_ = widest->offset;
  }

  /// The anchors that the bytes [begin, end) of the tensor add to those before them.
  void add(std::uint64_t begin, std::uint64_t end, std::vector<Anchor>& anchors) const {
    const std::uint64_t n_units = data_.size() / unit_bytes_,
                        span = std::max<std::uint64_t>(1, kAnchorSpan / unit_bytes_);
    const std::uint64_t first = (begin + unit_bytes_ - 1) / unit_bytes_;
    const std::uint64_t last = std::min((end + unit_bytes_ - 1) / unit_bytes_, n_units);
    const std::uint64_t start = first - std::min(first, span);  // its span says what was chosen before
    Least least{kNever, start};
    std::uint64_t chosen = UINT64_MAX;
    for (std::uint64_t u = start; u < last && anchors.size() < kAnchorsPerTask; ++u) {
      if (u - least.unit < span) {
        take(u, least);
      } else {  // it is no longer in the span
        least = {kNever, u};
        for (std::uint64_t k = u + 1 - span; k <= u; ++k) take(k, least);
      }
      if ((u + 1 < start + span && u + 1 < n_units) || least.unit == chosen || least.order == kNever) continue;
      chosen = least.unit;
      if (u >= first)
        anchors.push_back({least.order * kSpread ^ word(least.unit, 8) * 0xC2B2AE3D27D4EB4FULL, index_, least.unit});
    }
  }

 private:
  static constexpr std::uint64_t kNever = UINT64_MAX, kSpread = 0x9E3779B97F4A7C15ULL;
  struct Least {
    std::uint64_t order, unit;
  };

  std::uint64_t word(std::uint64_t unit, std::uint64_t at) const {
    std::uint64_t bytes;
    std::memcpy(&bytes, data_.data() + unit * unit_bytes_ + key_offset_ + at, sizeof bytes);
    return bytes;
  }
  void take(std::uint64_t unit, Least& least) const {
    const std::uint64_t key = word(unit, 0), order = key * kSpread;
    if (order <= least.order && key != (key << 8 | key >> 56)) least = {order, unit};  // one repeated byte is none
  }

  std::span<const std::byte> data_;
  std::uint32_t index_;
  std::uint64_t unit_bytes_, key_offset_ = 0;
};

class Pass {
 public:
  Pass(const ModelFile& model, unsigned n_threads, bool with_anchors, const ScanProgress& progress)
      : model_(model),
        kernels_(kernels::active_scan()),
        pool_(n_threads),
        with_anchors_(with_anchors),
        progress_(progress) {}

  ScanData run() {
    add_tensors();
    pool_.parallel_for(data_.groups.size(), [&](std::uint64_t g) { set_baseline(data_.groups[g]); });
    scan_tensors();
    sort_anchors();
    for (const format::Region& region : model_.regions) add_region(region);
    return std::move(data_);
  }

 private:
  void add_tensors() {
    std::vector<std::size_t> order(model_.tensors.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto key = [&](std::size_t i) { return std::pair(model_.tensors[i].file_index, model_.tensors[i].offset); };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
    std::map<std::pair<TensorType, std::string>, std::size_t> group_of;
    std::map<TensorType, const ScanLayout*> layout_of;
    std::pair<std::uint32_t, std::uint64_t> end{0, 0};  // of what is scanned so far: no byte is counted twice
    for (const std::size_t i : order) {
      const TensorInfo& tensor = model_.tensors[i];
      const TypeInfo* type = find_type(tensor.type);
      if (!tensor.readable || type == nullptr || tensor.size_bytes == 0 || key(i) < end) {
        data_.not_scanned.push_back(i);
        continue;
      }
      end = {tensor.file_index, tensor.offset + tensor.size_bytes};
      const ScanLayout*& layout = layout_of[tensor.type];
      if (layout == nullptr) {
        data_.layouts.push_back(std::make_unique<ScanLayout>(scan_layout(*type)));
        layout = data_.layouts.back().get();
      }
      std::string role = tensor_role(tensor.name);
      const auto [at, is_new] = group_of.try_emplace({tensor.type, role}, data_.groups.size());
      if (is_new) {
        data_.groups.emplace_back();
        data_.groups.back().type = type;
        data_.groups.back().role = std::move(role);
        data_.groups.back().layout = layout;
      }
      data_.groups[at->second].members.push_back(data_.tensors.size());
      data_.tensors.push_back(target_of(i, at->second, *layout));
    }
  }

  TensorScan target_of(std::size_t index, std::size_t group, const ScanLayout& layout) {
    const TensorInfo& tensor = model_.tensors[index];
    TensorScan scan;
    scan.index = index;
    scan.group = group;
    scan.file_index = tensor.file_index;
    const auto data = model_.data(tensor);
    const std::uint64_t head = std::min<std::uint64_t>(layout.head_bytes, data.size());
    scan.target.data = data.subspan(head);
    scan.target.offset = tensor.offset + head;
    scan.target.n_units = scan.target.data.size() / layout.unit_bytes;
    const std::uint64_t n_rows =
        tensor.shape.size() < 2 || tensor.shape.back() <= 0
            ? 1
            : std::max<std::uint64_t>(1, tensor.n_elements / static_cast<std::uint64_t>(tensor.shape.back()));
    scan.target.row_bytes = n_rows > 1 ? scan.target.data.size() / n_rows : 0;
    scan.target.order = model_.byte_order;
    scan.target.layout = &layout;
    scan.first_window = scan.target.offset / kWindowBytes;
    if (scan.target.data.empty()) return scan;
    scan.windows.resize((scan.target.offset + scan.target.data.size() - 1) / kWindowBytes - scan.first_window + 1);
    return scan;
  }

  void set_baseline(GroupScan& group) {
    std::uint64_t n_windows = 0;
    for (const std::size_t t : group.members) n_windows += data_.tensors[t].windows.size();
    std::vector<WindowCounts> samples;
    const std::uint64_t n_samples = std::min<std::uint64_t>(n_windows, kSamples);
    std::size_t member = 0;
    std::uint64_t before = 0;  // windows of the members before this one
    for (std::uint64_t s = 0; s < n_samples; ++s) {
      const std::uint64_t at = (2 * s + 1) * n_windows / (2 * n_samples);
      while (at - before >= data_.tensors[group.members[member]].windows.size())
        before += data_.tensors[group.members[member++]].windows.size();
      const TensorScan& tensor = data_.tensors[group.members[member]];
      const std::uint64_t begin = window_begin(tensor, at - before);
      samples.emplace_back();
      count_window(kernels_, tensor.target, begin, begin + kWindowBytes, samples.back());
    }
    group.baseline = make_baseline(*group.layout, model_.byte_order, samples);
    for (StreamBaseline& stream : group.baseline.streams)
      stream.limit = std::max(kDivergenceFloor, kDivergenceFactor * stream.typical);
  }

  void scan_tensors() {
    std::vector<Task> tasks;
    std::uint64_t total = 0, done = 0;
    for (std::size_t t = 0; t < data_.tensors.size(); ++t) {
      const std::uint64_t n = data_.tensors[t].windows.size();
      total += data_.tensors[t].target.data.size();
      for (std::uint64_t w = 0; w < n; w += kTaskWindows) tasks.push_back({t, w, std::min(kTaskWindows, n - w)});
    }
    for (std::size_t begin = 0; begin < tasks.size(); begin += kTasksPerStep) {
      check_interrupted();
      const std::size_t count = std::min<std::size_t>(kTasksPerStep, tasks.size() - begin);
      pool_.parallel_for(count, [&](std::uint64_t i) { run_task(tasks[begin + i]); });
      done = std::min(total, done + count * kTaskWindows * kWindowBytes);
      if (progress_) progress_(done, total);
    }
    data_.n_bytes += total;
  }

  void run_task(const Task& task) {
    TensorScan& tensor = data_.tensors[task.tensor];
    GroupScan& group = data_.groups[tensor.group];
    TaskTotals totals;
    std::vector<Anchor> anchors;
    WindowCounts counts;
    std::uint64_t first_unit = UINT64_MAX, last_unit = 0;
    for (std::uint64_t w = task.first; w < task.first + task.count; ++w) {
      const std::uint64_t begin = window_begin(tensor, w);
      count_window(kernels_, tensor.target, begin, begin + kWindowBytes, counts);
      tensor.windows[w] = judge(counts, tensor.target, group.baseline);
      totals.add(counts, *group.layout);
      first_unit = std::min(first_unit, counts.first_unit);
      last_unit = counts.first_unit + counts.n_units;
    }
    if (with_anchors_)
      Anchors(tensor, static_cast<std::uint32_t>(task.tensor))
          .add(first_unit * group.layout->unit_bytes, last_unit * group.layout->unit_bytes, anchors);
    const std::lock_guard lock(mutex_);
    for (std::size_t s = 0; s < kMostStreams; ++s)
      for (std::size_t half = 0; half < 2; ++half)
        for (std::size_t v = 0; v < 16; ++v) group.counts[s][half][v] += totals.counts[s].n[half][v];
    for (std::size_t s = 0; s < kMostScales; ++s)
      for (std::size_t v = 0; v < kScaleSymbols; ++v) group.scale_counts[s][v] += totals.scale_counts[s][v];
    data_.anchors.insert(data_.anchors.end(), anchors.begin(), anchors.end());
  }

  /// By hash, then place: into parts by the first bits of the hash, and each part by itself.
  void sort_anchors() {
    constexpr std::size_t n_parts = 256;
    const auto part_of = [](const Anchor& a) { return static_cast<std::size_t>(a.hash >> 56); };
    std::array<std::size_t, n_parts + 1> begin{};
    for (const Anchor& a : data_.anchors) ++begin[part_of(a) + 1];
    for (std::size_t p = 0; p < n_parts; ++p) begin[p + 1] += begin[p];
    std::vector<Anchor> sorted(data_.anchors.size());
    auto next = begin;
    for (const Anchor& a : data_.anchors) sorted[next[part_of(a)]++] = a;
    pool_.parallel_for(n_parts, [&](std::uint64_t p) {
      const auto at = [&](std::size_t i) { return sorted.begin() + static_cast<std::ptrdiff_t>(begin[i]); };
      std::sort(at(p), at(p + 1), [](const Anchor& a, const Anchor& b) {
        return a.hash != b.hash ? a.hash < b.hash : a.tensor != b.tensor ? a.tensor < b.tensor : a.unit < b.unit;
      });
    });
    data_.anchors = std::move(sorted);
  }

  /// Regions without tensors are counted here; those with tensors are summed from the windows.
  void add_region(const format::Region& region) {
    RegionEntropy out{region.name, region.file_index, region.offset, region.size_bytes, 0, 0, 8, 0, region.offset};
    const auto file = model_.files[region.file_index]->bytes();
    if (region.offset > file.size() || region.size_bytes > file.size() - region.offset || region.size_bytes == 0)
      return;
    std::array<std::array<std::uint64_t, 16>, 2> sums{};
    const auto add = [&](double bits, std::uint64_t offset) {
      ++out.n_windows;
      if (bits < out.lowest) out.lowest = bits, out.lowest_offset = offset;
      out.highest = std::max(out.highest, bits);
    };
    bool has_tensors = false;
    for (const TensorScan& tensor : data_.tensors) {
      if (tensor.file_index != region.file_index || tensor.target.offset < region.offset ||
          tensor.target.offset - region.offset >= region.size_bytes)
        continue;
      has_tensors = true;
      for (std::size_t w = 0; w < tensor.windows.size(); ++w)
        if (tensor.windows[w].n_units > 0)
          add(tensor.windows[w].entropy / kEntropySteps, std::max(tensor.target.offset, window_begin(tensor, w)));
    }
    if (has_tensors) {
      // The totals are per group; a group that lies in two regions (shards) gives both the same picture.
      for (const GroupScan& group : data_.groups)
        for (const auto& stream : group.counts)
          for (std::size_t half = 0; half < 2; ++half)
            for (std::size_t v = 0; v < 16; ++v) sums[half][v] += stream[half][v];
    } else {
      for (std::uint64_t at = 0; at < region.size_bytes; at += kWindowBytes) {
        const std::uint64_t n = std::min(kWindowBytes, region.size_bytes - at);
        kernels::NibbleCounts counts{};
        kernels_.count_nibbles(reinterpret_cast<const std::uint8_t*>(file.data() + region.offset + at),
                               static_cast<std::int64_t>(n), 0, 1, 1, &counts);
        const double bits = entropy_of(counts);
        add(bits, region.offset + at);
        data_.other_windows.push_back({region.file_index, region.offset + at, bits, std::nullopt, false});
        for (std::size_t half = 0; half < 2; ++half)
          for (std::size_t v = 0; v < 16; ++v) sums[half][v] += counts.n[half][v];
      }
      data_.n_bytes += region.size_bytes;
    }
    out.bits_per_byte = entropy_of(sums[0]) + entropy_of(sums[1]);
    data_.regions.push_back(std::move(out));
  }

  const ModelFile& model_;
  const kernels::ScanKernels& kernels_;
  ThreadPool pool_;
  bool with_anchors_;
  const ScanProgress& progress_;
  std::mutex mutex_;
  ScanData data_;
};

}  // namespace

std::uint64_t anchor_unit_bytes(const ScanLayout& layout) noexcept {
  return layout.period == 0 ? layout.unit_bytes : 64;
}

ScanData scan_model(const ModelFile& model, unsigned n_threads, bool with_anchors, const ScanProgress& progress) {
  return Pass(model, n_threads, with_anchors, progress).run();
}

}  // namespace apr::inspect
