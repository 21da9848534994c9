// The kernel table and the shapes of launches. Plain host code: the build without nvcc has it, too.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "apr/core/error.h"
#include "apr/kernels/cuda_kernels.h"
#include "kernels/cuda/shared_layout.h"
#include "kernels/cuda/tile_layout.h"

namespace apr::kernels::cuda {
namespace {

constexpr KernelInfo kKernels[] = {
#define APR_CUDA_KERNEL(symbol, name, module, threads, registers) \
  {KernelId::symbol, #name, "apr_" #name, "apr_" #name "_stamped", #module, threads, registers, sizeof(symbol##Params)},
#include "apr/kernels/cuda_kernels.def"
#undef APR_CUDA_KERNEL
};

std::int32_t ceil_div(std::int64_t a, std::int64_t b) { return static_cast<std::int32_t>((a + b - 1) / b); }
std::int32_t padded(std::int32_t n_cols) { return ceil_div(n_cols, tile_cols) * tile_cols; }

template <class Params>
Launch make_launch(KernelId id, const Params& params, std::array<std::int64_t, 3> grid, std::int32_t shared_bytes,
                   bool early) {
  static_assert(sizeof(Stamped<Params>) <= sizeof(Launch::params));
  constexpr std::int64_t kMostBlocks[3] = {2147483647, 65535, 65535};
  Launch launch;
  launch.kernel = id;
  for (std::size_t i = 0; i < 3; ++i) {
    APR_CHECK(grid[i] > 0 && grid[i] <= kMostBlocks[i]);
    launch.grid[i] = static_cast<std::uint32_t>(grid[i]);
  }
  launch.block = static_cast<std::uint32_t>(info(id).threads);
  launch.shared_bytes = static_cast<std::uint32_t>(shared_bytes);
  launch.early = early;
  launch.params_bytes = sizeof(Params);
  std::memcpy(launch.params.data(), &params, sizeof(Params));
  return launch;
}

void require_shared(const char* kernel, std::int32_t bytes, const DeviceShape& device) {
  if (bytes <= device.shared_bytes) return;
  throw Error(ErrorCode::Unsupported, "a kernel needs more shared memory than the device has for a block")
      .in(kernel)
      .want(fmt::format("at most {} bytes", device.shared_bytes))
      .got(fmt::format("{} bytes", bytes));
}

void require_shape(bool holds, const char* field, const char* expected, std::int64_t found) {
  if (holds) return;
  throw Error(ErrorCode::Unsupported, "the CUDA kernels have no path for this shape")
      .in(field)
      .want(expected)
      .got(fmt::format("{}", found));
}

std::int32_t group_heads(const HeadParams& head) { return head.n_heads / head.n_kv_heads; }

bool is_q8(const HeadParams& head) { return head.kv_type == static_cast<std::int32_t>(TensorType::Q8_0); }

void check_heads(const HeadParams& head) {
  require_shape(head.head_dim % 8 == 0 && head.head_dim <= 512, "head_dim", "a multiple of 8, at most 512",
                head.head_dim);
  APR_CHECK(head.kv_type == static_cast<std::int32_t>(TensorType::F16) || is_q8(head));
  require_shape(head.n_rot % 2 == 0 && head.n_rot <= head.head_dim, "n_rot", "even, at most head_dim", head.n_rot);
  APR_CHECK(head.n_kv_heads > 0 && head.n_heads % head.n_kv_heads == 0);
}

bool is_gated(const LinearParams& p) { return p.output == LinearOutput::SiluMul || p.output == LinearOutput::GeluMul; }

bool is_float_tile(std::int32_t type) {
  return type == static_cast<std::int32_t>(TensorType::F32) || type == static_cast<std::int32_t>(TensorType::F16) ||
         type == static_cast<std::int32_t>(TensorType::BF16);
}

}  // namespace

std::span<const KernelInfo> kernels() noexcept { return kKernels; }
const KernelInfo& info(KernelId id) noexcept { return kKernels[static_cast<std::size_t>(id)]; }

Launch launch_repack(const RepackParams& p) {
  const std::int64_t tiles = std::int64_t{ceil_div(p.n_rows, tile_rows)} * ceil_div(p.n_cols, tile_cols);
  return make_launch(KernelId::Repack, p, {ceil_div(tiles, 8), 1, 1}, 0, false);
}

Launch launch_expand(const ExpandParams& p) {
  return make_launch(KernelId::Expand, p, {ceil_div(p.n_cols, tile_cols), ceil_div(p.n_rows, tile_rows), 1}, 0, false);
}

Launch launch_embed(const EmbedParams& p) {
  return make_launch(KernelId::Embed, p, {ceil_div(p.n_cols, tile_cols), p.n_columns, 1}, 0, true);
}

Launch launch_prepare(const PrepareParams& p) {
  return make_launch(KernelId::Prepare, p, {p.n_columns, 1, 1}, 128, true);
}

Launch launch_norm_add(const NormAddParams& p) {
  return make_launch(KernelId::NormAdd, p, {p.n_columns, 1, 1}, 128, true);
}

/// Few row tiles: eight warps share one, so that every multiprocessor has work; many: each warp pair has its own.
Launch launch_linear(LinearParams p, const DeviceShape& device) {
  const bool gated = is_gated(p);
  APR_CHECK(p.n_matrices >= 1 && p.n_matrices <= 3 && p.n_columns >= 1);
  APR_CHECK(!gated || (p.n_matrices == 2 && p.matrix[0].n_rows == p.matrix[1].n_rows));
  std::int32_t row_tiles = 0;
  p.keep_float = 0;
  for (std::int32_t i = 0; i < p.n_matrices; ++i) {
    APR_CHECK(tile_bytes(static_cast<TensorType>(p.matrix[i].type)) != 0);
    row_tiles += ceil_div(p.matrix[i].n_rows, tile_rows);
    if (is_float_tile(p.matrix[i].type)) p.keep_float = 1;
  }
  p.warps_k = 8;
  if (gated) p.warps_k = 2;
  while (!gated && p.warps_k > 2 && row_tiles >= device.multiprocessors * 4 * (linear_warps * 2 / p.warps_k))
    p.warps_k /= 2;
  const std::int32_t warps_r = linear_warps / p.warps_k;
  const std::int32_t units = gated ? ceil_div(p.matrix[0].n_rows, 32) : ceil_div(row_tiles, warps_r);
  const std::int32_t blocks = std::min(units, 2 * device.multiprocessors);
  if (p.n_columns == 1) {
    const std::int32_t shared = Linear1Shared(padded(p.n_cols), p.keep_float != 0).bytes;
    require_shared("linear1", shared, device);
    return make_launch(KernelId::Linear1, p, {blocks, 1, 1}, shared, true);
  }
  APR_CHECK(p.input == LinearInput::Ready);
  return make_launch(KernelId::Linear8, p, {blocks, ceil_div(p.n_columns, max_columns), 1}, linear8_shared_bytes, true);
}

/// Four row tiles a block, which share the activations; fewer where that leaves multiprocessors without work and the
/// activations of more tiles at once fit.
template <int Columns>
Launch make_linear_prompt(KernelId id, LinearParams p, const DeviceShape& device) {
  using Layout = LinearPromptShared<Columns>;
  std::int32_t row_tiles = 0;
  for (std::int32_t i = 0; i < p.n_matrices; ++i) row_tiles += ceil_div(p.matrix[i].n_rows, tile_rows);
  const auto units = [&] {
    return is_gated(p) ? ceil_div(p.matrix[0].n_rows, 32) : ceil_div(row_tiles, linear_warps / p.warps_k);
  };
  p.warps_k = 2;
  while (!is_gated(p) && p.warps_k < 8 && units() < device.multiprocessors &&
         Layout::bytes(2 * p.warps_k) <= device.shared_bytes)
    p.warps_k *= 2;
  require_shared("linear of a prompt", Layout::bytes(p.warps_k), device);
  return make_launch(id, p, {std::min(units(), 2 * device.multiprocessors), ceil_div(p.n_columns, Columns), 1},
                     Layout::bytes(p.warps_k), true);
}

Launch launch_linear_prompt(LinearParams p, const DeviceShape& device) {
  bool floats = false;
  for (std::int32_t i = 0; i < p.n_matrices; ++i) floats = floats || is_float_tile(p.matrix[i].type);
  if (floats || p.n_columns <= max_columns) return launch_linear(p, device);
  APR_CHECK(p.n_matrices >= 1 && p.n_matrices <= 3 && p.input == LinearInput::Ready);
  APR_CHECK(!is_gated(p) || (p.n_matrices == 2 && p.matrix[0].n_rows == p.matrix[1].n_rows));
  if (p.n_columns <= 16) return make_linear_prompt<16>(KernelId::Linear16, p, device);
  if (p.n_columns <= 32) return make_linear_prompt<32>(KernelId::Linear32, p, device);
  return make_linear_prompt<64>(KernelId::Linear64, p, device);
}

Launch launch_store_kv(const StoreKvParams& p) {
  check_heads(p.head);
  return make_launch(is_q8(p.head) ? KernelId::StoreKvQ8 : KernelId::StoreKv, p,
                     {p.head.n_heads + 2 * p.head.n_kv_heads, p.head.n_columns, 1}, p.head.head_dim * 8 + 128, true);
}

Launch launch_attention(const AttentionParams& p, const DeviceShape& device) {
  check_heads(p.head);
  APR_CHECK(p.n_splits >= 1);
  const std::int32_t shared = AttentionShared(group_heads(p.head), p.head.head_dim).bytes;
  require_shared("attention", shared, device);
  return make_launch(is_q8(p.head) ? KernelId::AttentionQ8 : KernelId::Attention, p,
                     {p.n_splits, p.head.n_kv_heads, p.head.n_columns}, shared, true);
}

Launch launch_prefill_attention(const PrefillAttentionParams& p) {
  check_heads(p.head);
  require_shape(prefill_attends(p.head), "head_dim", "at most 256, in a cache of f16", p.head.head_dim);
  const std::int64_t rows = std::int64_t{p.head.n_columns} * group_heads(p.head);
  const std::array<std::int64_t, 3> grid = {ceil_div(rows, prefill_rows), p.head.n_kv_heads, 1};
  if (p.head.head_dim <= 64) return make_launch(KernelId::PrefillAttention64, p, grid, PrefillTile<64>::bytes, true);
  if (p.head.head_dim <= 128) return make_launch(KernelId::PrefillAttention128, p, grid, PrefillTile<128>::bytes, true);
  return make_launch(KernelId::PrefillAttention256, p, grid, PrefillTile<256>::bytes, true);
}

Launch launch_sample(const SampleParams& p) {
  require_shape(p.temperature == 0 || (p.top_k >= 1 && p.top_k <= sample_candidates / 2), "top_k",
                "1 to 1024 for sampling on the device", p.top_k);
  return make_launch(KernelId::Sample, p, {p.n_columns, 1, 1}, SampleShared::bytes, true);
}

std::int32_t attention_splits(std::int32_t n_kv_heads, std::int32_t n_columns, std::int32_t n_ctx,
                              const DeviceShape& device) noexcept {
  const std::int32_t fill = device.multiprocessors / std::max(1, n_kv_heads * n_columns);
  return std::clamp(std::min(fill, ceil_div(n_ctx, 256)), 1, 64);
}

std::size_t attention_partial_elements(const AttentionParams& p) noexcept {
  return static_cast<std::size_t>(p.head.n_columns) * static_cast<std::size_t>(p.head.n_heads) *
         static_cast<std::size_t>(p.n_splits) * static_cast<std::size_t>(p.head.head_dim + 2);
}

std::size_t sample_scratch_elements(std::int32_t n_vocab) noexcept { return static_cast<std::size_t>(n_vocab); }

bool prefill_attends(const HeadParams& head) noexcept { return head.head_dim <= 256 && !is_q8(head); }

bool attention_quantises(const HeadParams& head) noexcept { return group_heads(head) * head.head_dim % 32 == 0; }

RopeTables make_rope_tables(std::span<const double> inverse_freq, std::int64_t n_ctx) {
  RopeTables tables;
  const auto fill = [&](std::vector<float>& out, std::int64_t n, std::int64_t step) {
    for (std::int64_t i = 0; i < n; ++i) {
      for (const double frequency : inverse_freq) {
        const double angle = static_cast<double>(i * step) * frequency;
        out.push_back(static_cast<float>(std::cos(angle)));
        out.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  };
  fill(tables.coarse, n_ctx / 256 + 1, 256);
  fill(tables.fine, 256, 1);
  return tables;
}

}  // namespace apr::kernels::cuda
