#include "device_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "apr/core/error.h"
#include "apr/kernels/dispatch.h"

namespace apr::engine::cuda {
namespace {

using kernels::cuda::tile_rows;
using model::kNone;
using model::Op;
using model::Weight;

std::uint64_t positive(std::int64_t n) { return n > 0 ? static_cast<std::uint64_t>(n) : 0; }

/// Elements [first, first + out.size()) in storage order; the weight was checked when the plan was built.
void decode_or_throw(const Weight& weight, std::uint64_t first, std::span<float> out) {
  if (kernels::decode(weight.type, weight.bytes, first, out)) return;
  throw Error(ErrorCode::Internal, "a weight cannot be decoded").in(weight.name);
}

}  // namespace

DeviceWeights::DeviceWeights(const model::Plan& plan, const std::vector<FusedOp>& ops)
    : plan_(plan), entries_(plan.weights.size()) {
  const auto vector_of = [&](std::int32_t weight) {
    if (weight != kNone) entries_[static_cast<std::size_t>(weight)].form = Form::Vector;
  };
  for (const FusedOp& op : ops) {
    for (const Op* norm : {op.norm, op.q_norm, op.k_norm, op.post_norm})
      if (norm != nullptr) vector_of(norm->weight);
    for (const Op* product : op.matrices) {
      if (product == nullptr) continue;
      vector_of(product->bias);
      entries_[static_cast<std::size_t>(product->weight)].form = Form::Matrix;
    }
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    const Weight& weight = plan.weights[i];
    if (entry.form != Form::Matrix) continue;
    const bool tiled = kernels::cuda::tiled(weight.type);
    entry.type = tiled ? weight.type : TensorType::F16;
    entry.row_bytes = tiled ? weight.row_bytes() : 2 * positive(weight.n_cols);
    if (!tiled)
      notes_.push_back(
          fmt::format("{}: {} has no layout on the device and is held as F16", weight.name, name(weight.type)));
    slot_bytes_ = std::max(slot_bytes_, positive(tile_rows) * entry.row_bytes);
  }
}

void DeviceWeights::plan(MemoryPool& pool) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    const Weight& weight = plan_.weights[i];
    if (entry.form == Form::Unused) continue;
    entry.region =
        pool.plan(MemoryUse::Weights, entry.form == Form::Vector
                                          ? sizeof(float) * positive(weight.n_cols)
                                          : kernels::cuda::tiles_bytes(entry.type, weight.n_rows, weight.n_cols));
  }
}

void DeviceWeights::load(const MemoryPool& pool, KernelSet& kernels, StagingRing& ring, Stream stream) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    if (entry.form == Form::Vector) load_vector(plan_.weights[i], pool.address(entry.region), ring);
    if (entry.form == Form::Matrix)
      load_matrix(plan_.weights[i], entry, pool.address(entry.region), kernels, ring, stream);
  }
}

void DeviceWeights::load_vector(const Weight& weight, DevicePtr to, StagingRing& ring) const {
  std::vector<float> values(positive(weight.n_cols));
  decode_or_throw(weight, 0, values);
  for (float& v : values) v += weight.plus;
  ring.copy(to, std::as_bytes(std::span(values)));
}

void DeviceWeights::load_matrix(const Weight& weight, const Entry& entry, DevicePtr tiles, KernelSet& kernels,
                                StagingRing& ring, Stream stream) const {
  const auto rows_per_slot = static_cast<std::int64_t>(slot_bytes_ / entry.row_bytes) / tile_rows * tile_rows;
  std::vector<std::byte> converted;
  std::vector<float> row(positive(weight.n_cols));
  std::vector<std::uint16_t> halves(row.size());
  for (std::int64_t first = 0; first < weight.n_rows; first += rows_per_slot) {
    const std::int64_t n_rows = std::min(rows_per_slot, weight.n_rows - first);
    std::span<const std::byte> bytes =
        weight.bytes.subspan(positive(first) * weight.row_bytes(), positive(n_rows) * weight.row_bytes());
    if (entry.type != weight.type) {
      converted.clear();
      for (std::int64_t r = first; r < first + n_rows; ++r) {
        decode_or_throw(weight, positive(r) * positive(weight.row_stride), row);
        kernels::quantizer(TensorType::F16)(row.data(), halves.data(), weight.n_cols);
        const auto raw = std::as_bytes(std::span(halves));
        converted.insert(converted.end(), raw.begin(), raw.end());
      }
      bytes = converted;
    }
    kernels::cuda::RepackParams params{};
    params.rows = ring.push(bytes);
    params.tiles = tiles;
    params.row_stride = static_cast<std::int64_t>(entry.row_bytes);
    params.type = static_cast<std::int32_t>(entry.type);
    params.n_rows = static_cast<std::int32_t>(n_rows);
    params.n_cols = static_cast<std::int32_t>(weight.n_cols);
    params.first_tile = static_cast<std::int32_t>(first / tile_rows);
    kernels.launch(kernels::cuda::launch_repack(params), stream);
  }
}

kernels::cuda::Matrix DeviceWeights::matrix(const MemoryPool& pool, const Op& op, std::int32_t out_offset) const {
  const Entry& entry = entries_.at(static_cast<std::size_t>(op.weight));
  kernels::cuda::Matrix matrix{};
  matrix.tiles = pool.address(entry.region);
  matrix.bias = vector(pool, op.bias);
  matrix.type = static_cast<std::int32_t>(entry.type);
  matrix.n_rows = static_cast<std::int32_t>(op.n_out);
  matrix.out_offset = out_offset;
  return matrix;
}

DevicePtr DeviceWeights::vector(const MemoryPool& pool, std::int32_t weight) const {
  return weight == kNone ? 0 : pool.address(entries_.at(static_cast<std::size_t>(weight)).region);
}

std::optional<std::size_t> DeviceWeights::region(std::size_t weight) const {
  const Entry& entry = entries_.at(weight);
  return entry.form == Form::Unused ? std::nullopt : std::optional(entry.region);
}

}  // namespace apr::engine::cuda
