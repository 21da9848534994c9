// Running a plan on a CUDA device: the fused launches of launch_list.h, captured as graphs and replayed.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "apr/engine/executor.h"
#include "device.h"

namespace apr::engine::cuda {

/// A named part of the device memory of an executor.
struct DeviceRegion {
  std::string name;
  DevicePtr address = 0;
  std::uint64_t n_bytes = 0;
  bool constant = false;  // written while the model is loaded, never after
};

/// Told where things are, by those who check accesses to device memory.
class MemoryListener {
 public:
  virtual ~MemoryListener() = default;
  /// All of an executor's memory, before anything is written to it.
  virtual void taken(std::span<const DeviceRegion> regions) = 0;
  /// The weights and tables are complete.
  virtual void loaded(std::span<const DeviceRegion> regions) = 0;
  /// The memory is about to be given back.
  virtual void given_back(std::span<const DeviceRegion> regions) noexcept = 0;
};

struct CudaOptions {
  MemoryListener* listener = nullptr;  // not owned; must outlive the executor
  bool graphs = true;                  // off: every launch by itself
  bool early = true;                   // launches overlap the ones in front where the device can
  bool prompts = true;                 // prompts have kernels of their own; off: the bits of single columns
};

/// Plans and takes all device memory, loads the weights, captures the graph of one token. The plan must outlive it.
/// options.memory_limit_bytes bounds device memory (0: what is free). Throws ModelLoad (does not fit, with the
/// numbers), Unsupported (a plan, a shape or a device that the kernels do not know) and Inference (a driver call
/// failed).
[[nodiscard]] std::unique_ptr<Executor> make_cuda_executor(const model::Plan& plan, const ExecutorOptions& options,
                                                           std::shared_ptr<Driver> driver,
                                                           const CudaOptions& cuda = {});

/// On the driver of this machine. `why` gets the device, for the reader. Throws Unsupported when this build has no CUDA
/// part, when there is no driver, no device or one that is too old, each with what is missing; and as
/// make_cuda_executor.
[[nodiscard]] std::unique_ptr<Executor> make_native_executor(const model::Plan& plan, const ExecutorOptions& options,
                                                             std::string& why);

}  // namespace apr::engine::cuda
