// The kernels of this build, loaded into a context, and launched.
#pragma once
#include <array>
#include <vector>

#include "apr/kernels/cuda_kernels.h"
#include "device.h"

namespace apr::engine::cuda {

enum class KernelVariant : std::uint8_t { Plain, Stamped };

class KernelSet {
 public:
  /// Throws Unsupported when the build has no code for this device.
  KernelSet(Driver& driver, const DeviceInfo& device, KernelVariant variant = KernelVariant::Plain);
  /// Puts a launch into the stream. `early` launches may start before the one in front of them ends, on devices that
  /// can. `stamps`: where the stamped variant leaves its Stamps.
  void launch(const kernels::cuda::Launch& launch, Stream stream, DevicePtr stamps = 0);
  /// What launches are shaped for.
  [[nodiscard]] const kernels::cuda::DeviceShape& shape() const noexcept { return shape_; }
  /// Whether early launches are asked of the driver (compute capability 9.0 and later). For tests and comparisons.
  void set_early(bool on) noexcept { early_ = on && can_early_; }

 private:
  struct Entry {
    Function function = nullptr;
    std::uint32_t shared_bytes = 48 * 1024;  // what the function may use
  };
  Driver& driver_;
  KernelVariant variant_;
  kernels::cuda::DeviceShape shape_;
  bool can_early_, early_;
  std::vector<OwnedModule> modules_;
  std::vector<Entry> entries_;  // by KernelId
};

}  // namespace apr::engine::cuda
