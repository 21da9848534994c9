#include "src/engine/fast/fast_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/core/huge_pages.h"
#include "apr/kernels/dispatch.h"

namespace apr::engine {
namespace {

constexpr std::uint64_t kAlignment = 64;

const std::uint8_t* row_bytes(const model::Weight& weight, std::int64_t row) {
  return reinterpret_cast<const std::uint8_t*>(weight.bytes.data()) +
         static_cast<std::uint64_t>(row) * weight.row_bytes();
}

/// The elements of rows [row, row + n) as f32, without the padding between rows.
void dequantize_rows(const model::Weight& weight, std::int64_t row, std::int64_t n, float* out) {
  const TypeInfo& type = *find_type(weight.type);
  const kernels::DequantizeFn dequantize = kernels::dequantizer(weight.type);
  std::vector<float> padded(static_cast<std::size_t>(weight.row_stride));
  for (std::int64_t r = 0; r < n; ++r, out += weight.n_cols) {
    dequantize(row_bytes(weight, row + r), padded.data(), weight.row_stride / type.block_elements);
    std::copy_n(padded.begin(), weight.n_cols, out);
  }
}

}  // namespace

FastWeights::FastWeights(const model::Plan& plan, const kernels::OpKernels& ops, bool repack)
    : plan_(plan),
      ops_(ops),
      matrices_(plan.weights.size()),
      vectors_(plan.weights.size()),
      arena_(nullptr, [](std::uint8_t* p) { std::free(p); }) {
  std::vector<bool> multiplied(plan.weights.size(), false);
  for (const model::Op& op : plan.ops)
    if (op.kind == model::OpKind::MatMul)
      multiplied[static_cast<std::size_t>(op.weight)] = true;
    else if (op.kind == model::OpKind::Embed)
      mapped_bytes_ += plan.weights[static_cast<std::size_t>(op.weight)].bytes.size();

  for (std::size_t i = 0; i < plan.weights.size(); ++i) {
    if (!multiplied[i]) continue;
    const model::Weight& weight = plan.weights[i];
    FastMatrix& m = matrices_[i];
    m.weight = &weight;
    m.n_panels = (weight.n_rows + ops.lanes - 1) / ops.lanes;
    const auto id = static_cast<std::size_t>(weight.type);
    const bool known = id < kernels::n_panel_types && ops.panel[id].unit_cols != 0;
    m.native = known && weight.n_cols % ops.panel[id].unit_cols == 0 && weight.plus == 0;
    m.repacked = m.native && repack;
    m.kernel = &ops.panel[m.native ? id : static_cast<std::size_t>(TensorType::F32)];
    m.panel_bytes = static_cast<std::uint64_t>(weight.n_cols / m.kernel->unit_cols) *
                    static_cast<std::uint64_t>(m.kernel->unit_bytes);
    if (m.repacked) {
      m.offset = arena_bytes_;
      arena_bytes_ +=
          (m.panel_bytes * static_cast<std::uint64_t>(m.n_panels) + kAlignment - 1) / kAlignment * kAlignment;
    } else {
      mapped_bytes_ += weight.bytes.size();
      const std::int64_t panel_floats = static_cast<std::int64_t>(m.panel_bytes + 3) / 4;
      scratch_floats_ = std::max(scratch_floats_, m.native ? panel_floats : 2 * weight.n_cols * ops.lanes);
      if (m.native) continue;
      notes_.push_back(fmt::format("{} ({}, {} columns) has no fast path: it is dequantised as it runs", weight.name,
                                   apr::name(weight.type), weight.n_cols));
    }
  }
  if (!repack) notes_.push_back("--no-repack: the weights stay in the file and are repacked as they run");
}

void FastWeights::load(ThreadPool& pool) {
  if (arena_bytes_ > 0) {
    // Large arenas stand on huge pages: a token reads them all, and misses of the address translation cost bandwidth.
    const bool huge = arena_bytes_ >= 16 * huge_page_bytes;
    const std::size_t alignment = huge ? huge_page_bytes : kAlignment;
    const std::size_t size = (arena_bytes_ + alignment - 1) / alignment * alignment;
    arena_.reset(static_cast<std::uint8_t*>(std::aligned_alloc(alignment, size)));
    if (!arena_) throw Error(ErrorCode::ModelLoad, fmt::format("cannot allocate {} bytes for the weights", size));
    if (huge) prefer_huge_pages(arena_.get(), size);
  }
  for (std::size_t i = 0; i < matrices_.size(); ++i) {
    const model::Weight& weight = plan_.weights[i];
    const FastMatrix& m = matrices_[i];
    if (m.kernel == nullptr && weight.n_rows == 1) {
      vectors_[i].resize(static_cast<std::size_t>(weight.n_cols));
      dequantize_rows(weight, 0, 1, vectors_[i].data());
      for (float& v : vectors_[i]) v += weight.plus;
    }
    if (!m.repacked) continue;
    pool.parallel_for(static_cast<std::uint64_t>(m.n_panels), [&](std::uint64_t p) {
      const auto first = static_cast<std::int64_t>(p) * ops_.lanes;
      const int n = static_cast<int>(std::min<std::int64_t>(ops_.lanes, weight.n_rows - first));
      m.kernel->repack(row_bytes(weight, first), static_cast<std::int64_t>(weight.row_bytes()), n, weight.n_cols,
                       arena_.get() + m.offset + p * m.panel_bytes);
    });
    release_pages(weight.bytes);
    check_interrupted();
  }
}

const float* FastWeights::vector(std::int32_t weight) const {
  if (weight == model::kNone) return nullptr;
  const auto& values = vectors_[static_cast<std::size_t>(weight)];
  APR_CHECK(!values.empty());
  return values.data();
}

void FastWeights::make_panel(const FastMatrix& m, std::int64_t index, float* scratch) const {
  const model::Weight& weight = *m.weight;
  const std::int64_t first = index * ops_.lanes, n = std::min<std::int64_t>(ops_.lanes, weight.n_rows - first);
  if (m.native)
    return m.kernel->repack(row_bytes(weight, first), static_cast<std::int64_t>(weight.row_bytes()),
                            static_cast<int>(n), weight.n_cols, reinterpret_cast<std::uint8_t*>(scratch));
  float* rows = scratch + weight.n_cols * ops_.lanes;
  dequantize_rows(weight, first, n, rows);
  for (std::int64_t i = 0; weight.plus != 0 && i < n * weight.n_cols; ++i) rows[i] += weight.plus;
  m.kernel->repack(reinterpret_cast<const std::uint8_t*>(rows), weight.n_cols * 4, static_cast<int>(n), weight.n_cols,
                   reinterpret_cast<std::uint8_t*>(scratch));
}

}  // namespace apr::engine
