// The regions of device memory that are not weights.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/error.h"
#include "launch_list.h"

namespace apr::engine::cuda {
namespace {

using kernels::cuda::tile_cols;

std::uint64_t padded(std::uint64_t width) { return (width + tile_cols - 1) / tile_cols * tile_cols; }

}  // namespace

DeviceBuffers::DeviceBuffers(const model::Plan& plan, const ExecutorOptions& options,
                             const kernels::cuda::DeviceShape& shape, std::uint64_t slot_bytes)
    : plan_(plan),
      n_ctx_(options.n_ctx),
      n_batch_(options.n_batch),
      n_sequences_(options.n_sequences),
      kv_type_(options.kv_type),
      slot_bytes_(slot_bytes),
      // The same for every number of columns, so that a prompt gives the same bits however it is cut.
      n_splits_(kernels::cuda::attention_splits(static_cast<std::int32_t>(plan.hparams.n_kv_heads), 1,
                                                static_cast<std::int32_t>(options.n_ctx), shape)),
      n_logit_rows_(std::min<std::int32_t>(kLogitRows, static_cast<std::int32_t>(options.n_batch))) {}

void DeviceBuffers::plan(MemoryPool& pool) {
  const model::HParams& h = plan_.hparams;
  const std::uint64_t columns = n_batch_, f32 = sizeof(float);
  const auto work = [&](std::uint64_t n_bytes) { regions_.push_back(pool.plan(MemoryUse::Working, n_bytes)); };
  kernels::cuda::AttentionParams attention{};
  attention.head.n_heads = static_cast<std::int32_t>(h.n_heads);
  attention.head.n_kv_heads = static_cast<std::int32_t>(h.n_kv_heads);
  attention.head.head_dim = static_cast<std::int32_t>(h.head_dim);
  attention.head.n_columns = kAttentionColumns;
  attention.n_splits = n_splits_;
  work(columns * h.n_embd * f32);                                         // X
  work(columns * h.n_embd * f32);                                         // Y
  work(columns * (h.q_width() + std::uint64_t{2} * h.kv_width()) * f32);  // Qkv
  work(static_cast<std::uint64_t>(n_logit_rows_) * h.n_vocab * f32);      // Logits
  work(columns * sizeof(kernels::cuda::Column));
  const std::uint64_t slots = n_sequences_;
  work(slots * sizeof(kernels::cuda::Sequence));
  work(slots * kRingSize * sizeof(std::int32_t));
  work(slots * kMaxPenaltyWindow * sizeof(std::int32_t));  // Recent
  work(slots * h.n_vocab * sizeof(std::int32_t));          // Counts
  work(most_decoded() * kMaxEndTokens * sizeof(std::int32_t));
  work(most_decoded() * kernels::cuda::sample_scratch_elements(static_cast<std::int32_t>(h.n_vocab)) *
       sizeof(std::uint64_t));
  work(kernels::cuda::attention_partial_elements(attention) * f32);
  work(std::uint64_t{kAttentionColumns} * h.n_kv_heads * sizeof(std::uint32_t));  // Tickets
  work(StagingRing::kSlots * slot_bytes_);                                        // Staging
  for (const std::uint64_t width : {padded(h.n_embd), padded(h.q_width()), padded(h.n_ffn)}) {
    work(columns * width);             // q
    work(columns * width / 32 * f32);  // d
    work(columns * width / 32 * f32);  // s
    work(columns * width * f32);       // x
  }
  APR_CHECK(regions_.size() == kRegions);
  pool.set_cache(kv_type_, n_sequences_);
  const bool q8_0 = kv_type_ == TensorType::Q8_0;
  const std::uint64_t rows = slots * n_ctx_ * h.n_kv_heads;
  for (std::uint32_t layer = 0; layer < h.n_layers; ++layer) {
    for (std::vector<std::size_t>* of : {&keys_, &values_})
      of->push_back(pool.plan(MemoryUse::KvCache, rows * h.head_dim * (q8_0 ? 1 : 2)));
    if (!q8_0) continue;
    for (std::vector<std::size_t>* of : {&key_scales_, &value_scales_})
      of->push_back(pool.plan(MemoryUse::KvCache, rows * ((h.head_dim + 31) / 32) * 2));
  }
  for (const model::Rope& rope : plan_.ropes) {
    const std::uint64_t pair = 2 * f32, pairs = rope.inverse_freq.size();
    coarse_.push_back(pool.plan(MemoryUse::Working, (n_ctx_ / 256 + 1) * pairs * pair));
    fine_.push_back(pool.plan(MemoryUse::Working, 256 * pairs * pair));
  }
}

void DeviceBuffers::load(Driver& driver, const MemoryPool& pool, StagingRing& ring, Stream stream) const {
  // Activations past the width of a row, tickets and counts are read before anything wrote them.
  for (const Region region : {InputQ, InputD, InputS, InputX, AttendedQ, AttendedD, AttendedS, AttendedX, GatedQ,
                              GatedD, GatedS, GatedX, Tickets, Recent, Counts, EndTokens, Sequences, Columns, Ring}) {
    APR_CUDA(driver, fill(at(pool, region), 0, pool.n_bytes(regions_[region]), stream));
  }
  for (std::size_t i = 0; i < plan_.ropes.size(); ++i) {
    const auto tables = kernels::cuda::make_rope_tables(plan_.ropes[i].inverse_freq, n_ctx_);
    ring.copy(pool.address(coarse_[i]), std::as_bytes(std::span(tables.coarse)));
    ring.copy(pool.address(fine_[i]), std::as_bytes(std::span(tables.fine)));
  }
}

const char* DeviceBuffers::name(Region region) noexcept {
  constexpr const char* kNames[] = {
      "x",          "y",          "qkv",        "logits",     "columns", "sequences", "ring",    "recent",  "counts",
      "end_tokens", "scratch",    "partial",    "tickets",    "staging", "input.q",   "input.d", "input.s", "input.x",
      "attended.q", "attended.d", "attended.s", "attended.x", "gated.q", "gated.d",   "gated.s", "gated.x"};
  static_assert(std::size(kNames) == kRegions);
  return kNames[region];
}

kernels::cuda::Activations DeviceBuffers::activations(const MemoryPool& pool, Region q, std::int32_t width,
                                                      std::int32_t first) const {
  const std::uint64_t stride = padded(static_cast<std::uint64_t>(width)), column = static_cast<std::uint64_t>(first);
  const auto region = [&](std::size_t n) { return pool.address(regions_.at(std::size_t{q} + n)); };
  kernels::cuda::Activations a{};
  a.q = region(0) + column * stride;
  a.d = region(1) + column * stride / 32 * sizeof(float);
  a.s = region(2) + column * stride / 32 * sizeof(float);
  a.x = region(3) + column * stride * sizeof(float);
  a.stride = static_cast<std::int32_t>(stride);
  return a;
}

DeviceBuffers::Cache DeviceBuffers::cache(const MemoryPool& pool, std::int32_t layer) const {
  const auto at = static_cast<std::size_t>(layer);
  Cache c{pool.address(keys_.at(at)), pool.address(values_.at(at))};
  if (key_scales_.empty()) return c;
  c.key_scales = pool.address(key_scales_.at(at));
  c.value_scales = pool.address(value_scales_.at(at));
  return c;
}
DevicePtr DeviceBuffers::rope_coarse(const MemoryPool& pool, std::int32_t rope) const {
  return pool.address(coarse_.at(static_cast<std::size_t>(rope)));
}
DevicePtr DeviceBuffers::rope_fine(const MemoryPool& pool, std::int32_t rope) const {
  return pool.address(fine_.at(static_cast<std::size_t>(rope)));
}

std::vector<std::pair<std::string, std::size_t>> DeviceBuffers::named_regions() const {
  std::vector<std::pair<std::string, std::size_t>> out;
  for (std::size_t r = 0; r < kRegions; ++r) out.emplace_back(name(static_cast<Region>(r)), regions_[r]);
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    out.emplace_back(fmt::format("blk.{}.keys", i), keys_[i]);
    out.emplace_back(fmt::format("blk.{}.values", i), values_[i]);
  }
  for (std::size_t i = 0; i < key_scales_.size(); ++i) {
    out.emplace_back(fmt::format("blk.{}.key_scales", i), key_scales_[i]);
    out.emplace_back(fmt::format("blk.{}.value_scales", i), value_scales_[i]);
  }
  for (std::size_t i = 0; i < coarse_.size(); ++i) {
    out.emplace_back(fmt::format("rope.{}.coarse", i), coarse_[i]);
    out.emplace_back(fmt::format("rope.{}.fine", i), fine_[i]);
  }
  return out;
}

}  // namespace apr::engine::cuda
