// A plan in device memory, and the means to run it: what the executor and the decode loop share.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "cuda_executor.h"
#include "launch_list.h"

namespace apr::engine::cuda {

class DeviceModel {
 public:
  DeviceModel(const model::Plan& plan, const ExecutorOptions& options, std::shared_ptr<Driver> driver,
              const CudaOptions& cuda);
  ~DeviceModel();
  DeviceModel(const DeviceModel&) = delete;
  DeviceModel& operator=(const DeviceModel&) = delete;

  /// Makes the device's context current on this thread.
  void enter() { APR_CUDA(*driver_, context_set(context_handle_)); }
  void launch(const std::vector<PlannedLaunch>& launches) {
    for (const PlannedLaunch& l : launches) kernels_->launch(l.launch, stream_.get());
  }
  /// A graph of these launches.
  [[nodiscard]] OwnedGraphExec capture(const std::vector<PlannedLaunch>& launches) {
    return capture_graph(*driver_, stream_.get(), [&] { launch(launches); });
  }
  void synchronize() { APR_CUDA(*driver_, stream_synchronize(stream_.get())); }
  /// Copies through the stream. The host memory must be pinned and stay as it is until the stream was waited for.
  void copy_in(DeviceBuffers::Region to, const void* from, std::size_t n_bytes, std::size_t offset = 0);
  void copy_out(void* to, DeviceBuffers::Region from, std::size_t n_bytes);

  [[nodiscard]] Driver& driver() noexcept { return *driver_; }
  [[nodiscard]] Stream stream() const noexcept { return stream_.get(); }
  [[nodiscard]] KernelSet& kernels() noexcept { return *kernels_; }
  [[nodiscard]] const LaunchList& list() const noexcept { return *list_; }
  [[nodiscard]] const MemoryPool& pool() const noexcept { return pool_; }
  [[nodiscard]] const DeviceBuffers& buffers() const noexcept { return *buffers_; }
  [[nodiscard]] const DeviceInfo& info() const noexcept { return info_; }
  [[nodiscard]] const model::Plan& plan() const noexcept { return plan_; }
  [[nodiscard]] const ExecutorOptions& options() const noexcept { return options_; }
  [[nodiscard]] const CudaOptions& cuda() const noexcept { return cuda_; }
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return weights_->notes(); }

 private:
  void load();
  /// Which contexts fit into so many bytes of device memory, with either type of cache.
  [[nodiscard]] std::string advice(std::uint64_t n_bytes) const;
  [[nodiscard]] std::vector<DeviceRegion> named_regions() const;

  const model::Plan& plan_;
  ExecutorOptions options_;
  CudaOptions cuda_;
  std::shared_ptr<Driver> driver_;
  DeviceInfo info_;
  std::vector<FusedOp> ops_;
  Context context_handle_ = nullptr;
  OwnedContext context_;
  std::unique_ptr<KernelSet> kernels_;
  std::unique_ptr<DeviceWeights> weights_;
  std::unique_ptr<DeviceBuffers> buffers_;
  std::unique_ptr<LaunchList> list_;
  OwnedStream stream_;
  MemoryPool pool_;
  std::vector<DeviceRegion> regions_;
};

}  // namespace apr::engine::cuda
