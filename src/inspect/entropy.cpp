// The entropy report: a pass, summed up by region and field, and the windows that stand out.
#include <algorithm>
#include <array>

#include "src/inspect/damage_parts.h"
#include "src/inspect/scan_pass.h"

namespace apr::inspect {
namespace {

double median_entropy(const TensorScan& tensor) {
  std::vector<std::uint16_t> values;
  for (const WindowRecord& w : tensor.windows)
    if (w.n_units > 0) values.push_back(w.entropy);
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2] / kEntropySteps;
}

AnomalyKind kind_of(unsigned flags, double lowest, double usual) {
  if (lowest < usual - 2) return AnomalyKind::LowBits;
  if ((flags & kUniform) != 0) return AnomalyKind::Uniform;
  if ((flags & kScalesOff) != 0) return AnomalyKind::Scales;
  if ((flags & kDiverges) != 0) return AnomalyKind::Diverges;
  return (flags & kNotFinite) != 0 ? AnomalyKind::NonFinite : AnomalyKind::Repeats;
}

/// Flags that make a window an anomaly. A vector is short and unlike its neighbours: only what no weights have counts
/// there.
unsigned anomaly_flags(const TensorScan& tensor) {
  return tensor.target.row_bytes > 0 ? kScreened | kDiverges | kScalesOff | kNotFinite : 0U + kNotFinite;
}

void add_anomalies(const format::ModelFile& model, const ScanData& scan, const TensorScan& tensor,
                   std::vector<Anomaly>& anomalies) {
  const double usual = median_entropy(tensor);
  for_each_run(tensor, anomaly_flags(tensor), 0, [&](std::size_t first, std::size_t last) {
    const DataRange range = data_range(tensor, first, last);
    Anomaly anomaly;
    anomaly.file_index = tensor.file_index;
    anomaly.offset = tensor.target.offset + range.begin;
    anomaly.size_bytes = range.end - range.begin;
    anomaly.n_windows = last - first + 1;
    anomaly.usual = usual;
    anomaly.bits_per_byte = 8;
    unsigned all = 0;
    for (std::size_t w = first; w <= last; ++w) {
      all |= tensor.windows[w].flags;
      anomaly.bits_per_byte = std::min(anomaly.bits_per_byte, tensor.windows[w].entropy / kEntropySteps);
    }
    anomaly.kind = kind_of(all, anomaly.bits_per_byte, usual);
    if ((all & kDiverges) != 0)
      anomaly.field = scan.groups[tensor.group].layout->streams[tensor.windows[first].stream].name;
    anomaly.place = place_in_tensor(model, tensor.index, anomaly.offset, anomaly.size_bytes);
    anomalies.push_back(std::move(anomaly));
  });
}

void add_windows(const TensorScan& tensor, std::vector<WindowEntropy>& windows) {
  for (std::size_t w = 0; w < tensor.windows.size(); ++w) {
    const WindowRecord& record = tensor.windows[w];
    if (record.n_units > 0)
      windows.push_back({tensor.file_index, tensor.target.offset + data_range(tensor, w, w).begin,
                         record.entropy / kEntropySteps, tensor.index, (record.flags & anomaly_flags(tensor)) != 0});
  }
}

void add_fields(const ScanData& scan, const GroupScan& group, std::vector<FieldEntropy>& fields) {
  const ScanLayout& layout = *group.layout;
  std::uint64_t n_units = 0;
  for (const std::size_t t : group.members) n_units += scan.tensors[t].target.n_units;
  const auto add = [&](const std::string& field, std::uint64_t bytes, double bits, std::optional<double> usual) {
    fields.push_back({std::string(group.type->name), group.role, field, group.members.size(), bytes, bits, usual});
  };
  for (std::size_t s = 0; s < layout.streams.size(); ++s)
    add(layout.streams[s].name,
        n_units *
            (layout.period > 0 ? layout.unit_bytes / static_cast<unsigned>(layout.period) : layout.streams[s].width),
        entropy_of(group.counts[s][0]) + entropy_of(group.counts[s][1]), group.baseline.streams[s].usual);
  for (std::size_t s = 0; s < layout.scales.size(); ++s)
    add(layout.scales[s].name, n_units * layout.scales[s].count * layout.scales[s].width(),
        entropy_of(group.scale_counts[s]), group.baseline.scales[s].usual);
}

}  // namespace

std::string_view name(AnomalyKind kind) noexcept {
  switch (kind) {
    case AnomalyKind::Uniform: return "uniform";
    case AnomalyKind::Repeats: return "repeats_or_text";
    case AnomalyKind::LowBits: return "low_entropy";
    case AnomalyKind::Diverges: return "unusual_distribution";
    case AnomalyKind::Scales: return "unusual_scales";
    case AnomalyKind::NonFinite: return "may_not_be_finite";
  }
  return "";
}

TensorPlace place_in_tensor(const format::ModelFile& model, std::size_t tensor, std::uint64_t offset,
                            std::uint64_t size_bytes) {
  const format::TensorInfo& info = model.tensors.at(tensor);
  const TypeInfo* type = find_type(info.type);
  TensorPlace place;
  place.tensor = tensor;
  if (type == nullptr || type->block_bytes == 0 || offset < info.offset || size_bytes == 0) return place;
  const std::uint64_t first = offset - info.offset, last = first + size_bytes - 1;
  place.first_block = first / type->block_bytes;
  place.last_block = last / type->block_bytes;
  const std::uint64_t n_rows =
      info.shape.size() < 2 || info.shape.back() <= 0
          ? 1
          : std::max<std::uint64_t>(1, info.n_elements / static_cast<std::uint64_t>(info.shape.back()));
  if (const std::uint64_t row_bytes = info.size_bytes / n_rows; row_bytes > 0) {
    place.first_row = first / row_bytes;
    place.last_row = last / row_bytes;
  }
  return place;
}

EntropyReport entropy_report(const format::ModelFile& model, unsigned n_threads, const ScanProgress& progress,
                             bool with_windows) {
  const ScanData scan = scan_model(model, n_threads, false, progress);
  EntropyReport report;
  report.n_bytes = scan.n_bytes;
  report.regions = scan.regions;
  for (const GroupScan& group : scan.groups) add_fields(scan, group, report.fields);
  for (const TensorScan& tensor : scan.tensors) add_anomalies(model, scan, tensor, report.anomalies);
  if (!with_windows) return report;
  for (const TensorScan& tensor : scan.tensors) add_windows(tensor, report.windows);
  report.windows.insert(report.windows.end(), scan.other_windows.begin(), scan.other_windows.end());
  std::stable_sort(report.windows.begin(), report.windows.end(), [](const WindowEntropy& a, const WindowEntropy& b) {
    return std::pair(a.file_index, a.offset) < std::pair(b.file_index, b.offset);
  });
  return report;
}

}  // namespace apr::inspect
