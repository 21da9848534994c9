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
      for (std::size_t v = 0; v < kScaleSymbols; ++v) scale_counts[s][v] += w.scales[s][v];
  }
};

std::uint64_t window_begin(const TensorScan& tensor, std::uint64_t window) {
  return (tensor.first_window + window) * kWindowBytes;
}

std::uint32_t scale_peak(const WindowCounts& w, const ScanLayout& layout) {
  std::uint32_t peak = 0;
  for (std::size_t s = 0; s < layout.scales.size(); ++s)
    for (std::uint32_t v = 0; v < kScaleSymbols; ++v)
      if (w.scales[s][v] > 0)
        peak = std::max(peak, layout.scales[s].encoding == FieldEncoding::E8M0 ? v : v % (kScaleSymbols / 2));
  return peak;
}

bool may_not_be_finite(const WindowCounts& w, const ScanLayout& layout, std::uint32_t peak) {
  if (layout.float_bits > 0) return peak >= layout.infinity;
  for (std::size_t s = 0; s < layout.scales.size(); ++s) {
    const auto& c = w.scales[s];
    const FieldEncoding encoding = layout.scales[s].encoding;
    if (c[kScaleSymbols - 1] > 0) return true;
    if (encoding != FieldEncoding::E8M0 && c[kScaleSymbols / 2 - 1] > 0) return true;
  }
  return false;
}

WindowRecord judge(const WindowCounts& w, const ScanTarget& target, const Baseline& baseline) {
  const ScanLayout& layout = *target.layout;
  WindowRecord record;
  record.n_units = static_cast<std::uint16_t>(std::min<std::uint64_t>(w.n_units, UINT16_MAX));
  record.entropy = static_cast<std::uint16_t>(window_entropy(w, layout.streams.size()) * kEntropySteps + 0.5);
  const std::uint32_t peak = layout.float_bits > 0 ? w.peak : scale_peak(w, layout);
  record.peak = static_cast<std::uint16_t>(peak);
  unsigned flags = 0;
  if (w.screen.no_high_bit > 0 || w.screen.equal[0] > 0 || w.screen.equal[1] > 0 || w.screen.equal[2] > 0)
    flags |= kScreened;
  const Excess worst = worst_stream(w, target, baseline);
  record.stream = static_cast<std::uint8_t>(worst.stream);
  if (worst.times > 1) flags |= kDiverges;
  for (std::size_t s = 0; s < layout.scales.size(); ++s) {
    const std::uint32_t unusual = unusual_scales(w.scales[s], baseline.scales[s]);
    if (unusual >= 2 && unusual >= kUnusualShare * w.n_scales[s]) flags |= kScalesOff;
  }
  if (may_not_be_finite(w, layout, peak)) flags |= kNotFinite;
  if ((flags & kDiverges) != 0 && looks_like_dice(w, layout.streams.size())) flags |= kUniform;
  record.flags = static_cast<std::uint8_t>(flags);
  return record;
}

/// Hashes the units of a window whose own bytes say so: copies agree about them, wherever they stand.
void add_anchors(const TensorScan& tensor, std::uint32_t tensor_index, const WindowCounts& w,
                 std::vector<Anchor>& anchors) {
  const ScanLayout& layout = *tensor.target.layout;
  const std::uint64_t bytes = anchor_unit_bytes(layout);
  std::uint64_t key_offset = 0;
  if (layout.period == 0) {
    const auto widest = std::max_element(layout.streams.begin(), layout.streams.end(),
                                         [](const ScanStream& a, const ScanStream& b) { return a.width < b.width; });
    key_offset = widest->offset;
  }
  const std::uint64_t first = (w.first_unit * layout.unit_bytes + bytes - 1) / bytes;
  const std::uint64_t last =
      std::min<std::uint64_t>((w.first_unit + w.n_units) * layout.unit_bytes, tensor.target.data.size()) / bytes;
  for (std::uint64_t u = first; u < last && anchors.size() < kAnchorsPerTask; ++u) {
    std::uint64_t key[2];
    std::memcpy(key, tensor.target.data.data() + u * bytes + key_offset, sizeof key);
    const std::uint64_t h = key[0] * 0x9E3779B97F4A7C15ULL;
    if ((h >> 48) >= bytes * 16) continue;                 // one in 4096 bytes
    if (key[0] == (key[0] << 8 | key[0] >> 56)) continue;  // one repeated byte
    anchors.push_back({h ^ (key[1] * 0xC2B2AE3D27D4EB4FULL), tensor_index, u});
  }
}

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
    for (std::uint64_t w = task.first; w < task.first + task.count; ++w) {
      const std::uint64_t begin = window_begin(tensor, w);
      count_window(kernels_, tensor.target, begin, begin + kWindowBytes, counts);
      tensor.windows[w] = judge(counts, tensor.target, group.baseline);
      totals.add(counts, *group.layout);
      if (with_anchors_) add_anchors(tensor, static_cast<std::uint32_t>(task.tensor), counts, anchors);
    }
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
        add(entropy_of(counts), region.offset + at);
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
