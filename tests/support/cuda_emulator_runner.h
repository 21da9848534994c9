// The CUDA kernels themselves, run by the host's emulator behind an emulated driver: the launches of the engine,
// checked access by access, in an order drawn from a seed.
#pragma once
#include <algorithm>
#include <cstring>
#include <string_view>

#include "apr/kernels/cuda_emulator.h"
#include "src/engine/cuda/cuda_executor.h"
#include "src/engine/cuda/emulated_driver.h"
#include "tests/support/cuda_kernel_handle.h"

namespace apr::test {

class EmulatorRunner final : public engine::cuda::KernelRunner, public engine::cuda::MemoryListener {
 public:
  explicit EmulatorRunner(std::uint64_t seed) : seed_(seed) {}

  [[nodiscard]] const void* find(std::string_view name) const override { return find_cuda_kernel(name); }
  [[nodiscard]] std::size_t parameter_bytes(const void* kernel) const override {
    return static_cast<const CudaKernelHandle*>(kernel)->parameter_bytes();
  }
  void run(const void* kernel, const engine::cuda::LaunchConfig& config, const std::byte* parameters) override {
    const auto& handle = *static_cast<const CudaKernelHandle*>(kernel);
    const kernels::cuda::KernelInfo& info = *handle.info;
    kernels::cuda::Launch launch;
    launch.kernel = info.id;
    launch.grid = {config.grid_x, config.grid_y, config.grid_z};
    launch.block = config.block_x;
    launch.shared_bytes = config.shared_bytes;
    launch.early = config.n_attributes != 0;
    launch.params_bytes = static_cast<std::uint32_t>(handle.parameter_bytes());
    std::memcpy(launch.params.data(), parameters, launch.params_bytes);
    emulator_.run(launch, {.seed = seed_ + n_launches_++});
  }

  void taken(std::span<const engine::cuda::DeviceRegion> regions) override {
    for (const auto& r : regions) emulator_.add(r.name, at(r), r.n_bytes, kernels::cuda::MemoryKind::Mutable);
  }
  void loaded(std::span<const engine::cuda::DeviceRegion> regions) override {
    for (const auto& r : regions)
      if (r.constant) emulator_.set_kind(at(r), kernels::cuda::MemoryKind::Constant);
  }
  void given_back(std::span<const engine::cuda::DeviceRegion> regions) noexcept override {
    for (const auto& r : regions) emulator_.remove(at(r));
  }
  [[nodiscard]] std::uint64_t n_launches() const noexcept { return n_launches_; }

 private:
  static void* at(const engine::cuda::DeviceRegion& r) { return reinterpret_cast<void*>(r.address); }
  kernels::cuda::Emulator emulator_;
  std::uint64_t seed_, n_launches_ = 0;
};

}  // namespace apr::test
