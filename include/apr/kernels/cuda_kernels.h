// The CUDA kernels as data: what to launch, with which shape and parameters. No CUDA header: a Launch is executed by
// the driver (engine) or by the emulator (apr/kernels/cuda_emulator.h) alike.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "apr/kernels/cuda_params.h"
#include "apr/kernels/cuda_tiles.h"

namespace apr::kernels::cuda {

/// Rows: cuda_kernels.def.
enum class KernelId : std::uint8_t {
#define APR_CUDA_KERNEL(symbol, name, module, threads, registers) symbol,
#include "apr/kernels/cuda_kernels.def"
#undef APR_CUDA_KERNEL
};
struct KernelInfo {
  KernelId id;
  std::string_view name;
  const char* entry;          // symbol in its module: "apr_linear1"
  const char* stamped_entry;  // and of the profiling variant: "apr_linear1_stamped"
  const char* module;         // "linear1"
  std::int32_t threads, max_registers;
  std::size_t params_bytes;
};
[[nodiscard]] std::span<const KernelInfo> kernels() noexcept;
[[nodiscard]] const KernelInfo& info(KernelId id) noexcept;

/// One module: device code for all architectures of this build, for cuModuleLoadData. Empty without nvcc.
struct Module {
  const char* name;
  const unsigned char* fatbin;
  std::size_t fatbin_bytes;
};
[[nodiscard]] std::span<const Module> modules() noexcept;
/// The same kernels with time stamps (Stamped); empty when this build has none (APR_CUDA_STAMPS).
[[nodiscard]] std::span<const Module> stamped_modules() noexcept;

struct Launch {
  KernelId kernel{};
  std::array<std::uint32_t, 3> grid{1, 1, 1};
  std::uint32_t block = 0;         // threads, in x
  std::uint32_t shared_bytes = 0;  // dynamic; above 48 KiB the driver wants an attribute on the function
  bool early =
      false;  // may start before the launch in front of it ends (programmatic serialisation): the kernel waits itself
  std::uint32_t params_bytes = 0;
  alignas(16) std::array<std::byte, 512> params{};  // the kernel's one argument
};

/// What a launch is shaped for.
struct DeviceShape {
  std::int32_t multiprocessors = 132;
  std::int32_t shared_bytes = 101376;  // most dynamic shared memory of a block (99 KiB: the least of 8.x)
};

// One function per kernel: grid, block and shared bytes from the shape. `early` is set where the kernel waits by
// itself. Throws Error (Unsupported) when a shape does not fit, naming the numbers.
[[nodiscard]] Launch launch_repack(const RepackParams& params);
[[nodiscard]] Launch launch_expand(const ExpandParams& params);
[[nodiscard]] Launch launch_embed(const EmbedParams& params);
[[nodiscard]] Launch launch_prepare(const PrepareParams& params);
[[nodiscard]] Launch launch_norm_add(const NormAddParams& params);
/// One column: Linear1. Several: Linear8, whose input must be Ready (launch_prepare). The same bits either way.
[[nodiscard]] Launch launch_linear(LinearParams params, const DeviceShape& device);
/// More than eight columns of a prompt: Linear16, 32 or 64, which read the weights once for that many columns; other
/// bits, the same for any number of columns. Where a matrix is of a float type, and for fewer columns: launch_linear.
[[nodiscard]] Launch launch_linear_prompt(LinearParams params, const DeviceShape& device);
[[nodiscard]] Launch launch_store_kv(const StoreKvParams& params);
[[nodiscard]] Launch launch_attention(const AttentionParams& params, const DeviceShape& device);
/// For heads that prefill_attends() takes.
[[nodiscard]] Launch launch_prefill_attention(const PrefillAttentionParams& params);
[[nodiscard]] Launch launch_sample(const SampleParams& params);

/// Splits for a context of n_ctx positions: n_kv_heads * splits blocks fill the device once, 256 positions at least
/// each.
[[nodiscard]] std::int32_t attention_splits(std::int32_t n_kv_heads, std::int32_t n_columns, std::int32_t n_ctx,
                                            const DeviceShape& device) noexcept;
/// f32 elements of AttentionParams::partial.
[[nodiscard]] std::size_t attention_partial_elements(const AttentionParams& params) noexcept;
/// u64 elements of SampleParams::scratch for one column.
[[nodiscard]] std::size_t sample_scratch_elements(std::int32_t n_vocab) noexcept;
/// Whether the prefill attention has a kernel for these heads: at most 256 wide, in a cache of f16.
[[nodiscard]] bool prefill_attends(const HeadParams& head) noexcept;
/// True when a group of query heads is a multiple of 32 wide, so that the attention kernel quantises its output itself.
[[nodiscard]] bool attention_quantises(const HeadParams& head) noexcept;

/// The tables of HeadParams::rope_coarse and rope_fine, as (cos, sin) pairs, computed in double: position p is
/// coarse[p / 256] turned by fine[p % 256].
struct RopeTables {
  std::vector<float> coarse, fine;
};
[[nodiscard]] RopeTables make_rope_tables(std::span<const double> inverse_freq, std::int64_t n_ctx);

}  // namespace apr::kernels::cuda
