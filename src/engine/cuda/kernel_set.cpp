#include "kernel_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>

#include "apr/core/error.h"

namespace apr::engine::cuda {
namespace {

/// The image of a module; null when this build has none, which an emulator does not mind.
const unsigned char* image_of(std::string_view name, KernelVariant variant) {
  for (const kernels::cuda::Module& module :
       variant == KernelVariant::Plain ? kernels::cuda::modules() : kernels::cuda::stamped_modules())
    if (module.name == name) return module.fatbin;
  return nullptr;
}

}  // namespace

KernelSet::KernelSet(Driver& driver, const DeviceInfo& device, KernelVariant variant)
    : driver_(driver),
      variant_(variant),
      shape_{device.multiprocessors, static_cast<std::int32_t>(device.shared_per_block)},
      can_early_(device.compute_major >= 9),
      early_(can_early_) {
  std::map<std::string_view, Module> loaded;
  for (const kernels::cuda::KernelInfo& kernel : kernels::cuda::kernels()) {
    if (!loaded.contains(kernel.module)) {
      const unsigned char* image = image_of(kernel.module, variant);
      if (driver.is_hardware() && image == nullptr)
        throw Error(ErrorCode::Unsupported, variant == KernelVariant::Plain
                                                ? "CUDA cannot be used: this build has no kernels"
                                                : "this build has no kernels with time stamps (APR_CUDA_STAMPS)")
            .in(kernel.module);
      Module module = nullptr;
      const Result result = driver.module_load(&module, image);
      if (result == kNoBinaryForGpu)
        throw Error(ErrorCode::Unsupported, "CUDA cannot be used: this build has no code for the device")
            .in(device.name)
            .want("an architecture of CMAKE_CUDA_ARCHITECTURES, or one that its PTX can be compiled for")
            .got(fmt::format("compute capability {}.{}", device.compute_major, device.compute_minor));
      if (result != kSuccess) driver_failed(driver, result, "module_load(&module, image)", __FILE__, __LINE__);
      modules_.emplace_back(driver, module);
      loaded[kernel.module] = module;
    }
    Entry entry;
    APR_CUDA(driver, module_function(&entry.function, loaded[kernel.module],
                                     variant == KernelVariant::Plain ? kernel.entry : kernel.stamped_entry));
    // One share of shared memory for all: a change between two kernels makes the device wait.
    APR_CUDA(driver, function_set(entry.function, kFunctionSharedCarveout, 100));
    entries_.push_back(entry);
  }
}

void KernelSet::launch(const kernels::cuda::Launch& l, Stream stream, DevicePtr stamps) {
  Entry& entry = entries_.at(static_cast<std::size_t>(l.kernel));
  if (l.shared_bytes > entry.shared_bytes) {
    APR_CUDA(driver_, function_set(entry.function, kFunctionMaxDynamicShared, static_cast<int>(l.shared_bytes)));
    entry.shared_bytes = l.shared_bytes;
  }
  LaunchAttribute attribute{};
  attribute.id = kLaunchProgrammaticStreamSerialization;
  attribute.value.programmatic_stream_serialization_allowed = 1;
  const unsigned n_attributes = l.early && early_ ? 1 : 0;
  const LaunchConfig config{l.grid[0],      l.grid[1], l.grid[2],
                            l.block,        1,         1,
                            l.shared_bytes, stream,    n_attributes == 0 ? nullptr : &attribute,
                            n_attributes};
  auto parameters = l.params;  // the driver copies them before the call returns
  if (variant_ == KernelVariant::Stamped) std::memcpy(parameters.data() + l.params_bytes, &stamps, sizeof stamps);
  void* pointers[] = {parameters.data()};
  APR_CUDA(driver_, launch(&config, entry.function, pointers, nullptr));
}

}  // namespace apr::engine::cuda
