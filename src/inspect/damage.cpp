#include "apr/inspect/damage.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "src/inspect/damage_parts.h"

namespace apr::inspect {
namespace {

constexpr std::string_view kCauseNames[kDamageCauses] = {
    "truncated",     "zero_fill", "constant",     "repeated_block", "text",          "non_finite", "scale_outlier",
    "value_outlier", "shifted",   "byte_swapped", "random_bytes",   "foreign_bytes", "copy"};

bool is_before(const DamageRange& a, const DamageRange& b) {
  return std::pair(a.file_index, a.offset) < std::pair(b.file_index, b.offset);
}

void sum_up(const format::ModelFile& model, DamageReport& report) {
  std::set<std::size_t> tensors;
  std::set<int> layers;
  std::uint32_t file = 0;
  std::uint64_t end = 0;  // of what is counted so far in this file
  for (const DamageRange& range : report.ranges) {
    if (!range.suspicious) continue;
    ++report.n_suspicious;
    tensors.insert(range.place.tensor);
    if (const int layer = tensor_layer(model.tensors[range.place.tensor].name); layer >= 0) layers.insert(layer);
    if (range.file_index != file) file = range.file_index, end = 0;
    const std::uint64_t begin = std::max(end, range.offset);
    end = std::max(end, range.offset + range.size_bytes);
    report.damaged_bytes += end - std::min(begin, end);
  }
  report.tensors.assign(tensors.begin(), tensors.end());
  report.layers.assign(layers.begin(), layers.end());
  if (report.tensor_bytes > 0)
    report.share = static_cast<double>(report.damaged_bytes) / static_cast<double>(report.tensor_bytes);
}

}  // namespace

std::string_view name(DamageCause cause) noexcept { return kCauseNames[static_cast<std::size_t>(cause)]; }

std::string_view name(Certainty certainty) noexcept {
  return certainty == Certainty::Exact ? "exact" : certainty == Certainty::Strong ? "strong" : "likely";
}

DataRange data_range(const TensorScan& tensor, std::size_t first, std::size_t last) noexcept {
  const std::uint64_t begin = (tensor.first_window + first) * kWindowBytes;
  const std::uint64_t end = (tensor.first_window + last + 1) * kWindowBytes;
  const std::uint64_t offset = tensor.target.offset;
  return {begin > offset ? begin - offset : 0, std::min<std::uint64_t>(end - offset, tensor.target.data.size())};
}

DamageRange& DamageContext::add(DamageCause cause, Certainty certainty, const TensorScan& tensor, std::uint64_t begin,
                                std::uint64_t end, std::string evidence) const {
  DamageRange range;
  range.cause = cause;
  range.certainty = certainty;
  range.file_index = tensor.file_index;
  range.offset = tensor.target.offset + begin;
  range.size_bytes = end - begin;
  range.place = place_in_tensor(model, tensor.index, range.offset, range.size_bytes);
  range.evidence = std::move(evidence);
  ranges.push_back(std::move(range));
  return ranges.back();
}

std::uint64_t DamageContext::explained(const TensorScan& tensor, std::uint64_t begin, std::uint64_t end) const {
  const std::uint64_t first = tensor.target.offset + begin, last = tensor.target.offset + end;
  std::uint64_t bytes = 0;
  for (const DamageRange& range : ranges) {
    if (range.place.tensor != tensor.index) continue;
    const std::uint64_t a = std::max(first, range.offset), b = std::min(last, range.offset + range.size_bytes);
    if (a < b) bytes += b - a;
  }
  return std::min(bytes, end - begin);
}

bool is_vocabulary_role(std::string_view role) noexcept {
  for (const std::string_view word :
       {"token_embd", "embed_tokens", "word_embeddings", "position_embeddings", "lm_head", "wte"})
    if (role.find(word) != std::string_view::npos) return true;
  return role == "output.weight";
}

void find_truncated(const DamageContext& context) {
  for (const std::size_t i : context.scan.not_scanned) {
    if (context.full()) return;
    const format::TensorInfo& tensor = context.model.tensors[i];
    if (tensor.file_index >= context.model.files.size()) continue;
    const std::uint64_t size = context.model.files[tensor.file_index]->size();
    if (tensor.readable || tensor.size_bytes == 0 || find_type(tensor.type) == nullptr) continue;
    if (tensor.offset <= size && tensor.size_bytes <= size - tensor.offset) continue;
    DamageRange range;
    range.cause = DamageCause::Truncated;
    range.certainty = Certainty::Exact;
    range.file_index = tensor.file_index;
    range.offset = std::max(tensor.offset, size);
    range.size_bytes = tensor.size_bytes - (range.offset - tensor.offset);
    range.place.tensor = i;
    range.evidence =
        fmt::format("the file ends at {}; {} of {} bytes are missing", size, range.size_bytes, tensor.size_bytes);
    context.ranges.push_back(std::move(range));
  }
}

DamageReport damage_report(const format::ModelFile& model, unsigned n_threads, const ScanProgress& progress) {
  DamageReport report;
  const ScanData scan = scan_model(model, n_threads, true, progress);
  report.n_bytes = scan.n_bytes;
  report.not_scanned = scan.not_scanned;
  for (const format::TensorInfo& tensor : model.tensors)
    if (tensor.readable) report.tensor_bytes += tensor.size_bytes;
  const DamageContext context{model, scan, report.ranges};
  // In this order: what a detector has explained the later ones leave alone.
  find_truncated(context);
  find_runs(context);
  find_copies(context);
  find_foreign(context);
  find_bad_values(context);
  report.complete = !context.full();
  std::stable_sort(report.ranges.begin(), report.ranges.end(), is_before);
  sum_up(model, report);
  return report;
}

}  // namespace apr::inspect
