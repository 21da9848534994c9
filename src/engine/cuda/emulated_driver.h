// A CUDA driver without a GPU: device memory is host memory, a launch is run by a KernelRunner on this thread.
//
// Work is done as late as the rules allow: a stream keeps what was put into it and runs it when somebody waits for it.
// A copy whose source changes too early, or a result read without a wait, is therefore wrong here every time, and not
// once in a thousand runs. Memory is poisoned, copies are checked against the allocation they lie in, handles against
// those that live, and everything is counted.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "driver.h"

namespace apr::engine::cuda {

/// Runs one launch. A kernel takes one struct of parameters by value.
class KernelRunner {
 public:
  virtual ~KernelRunner() = default;
  /// A handle, or null: no kernel of that name.
  [[nodiscard]] virtual const void* find(std::string_view name) const = 0;
  [[nodiscard]] virtual std::size_t parameter_bytes(const void* kernel) const = 0;
  /// Throws apr::Error for what a GPU would fail at or corrupt memory by.
  virtual void run(const void* kernel, const LaunchConfig& config, const std::byte* parameters) = 0;
};

struct EmulatedDevice {
  std::string name = "emulated device";
  int compute_major = 9, compute_minor = 0;
  int multiprocessors = 4;  // few, so that a grid that fills the device is small
  std::uint64_t memory_bytes = 1ULL << 30;
  std::uint64_t shared_per_block = 227 * 1024;
};

/// What lives and what was done.
struct DriverCounts {
  std::uint64_t contexts = 0, allocations = 0, allocated_bytes = 0, pinned = 0, streams = 0, events = 0, modules = 0,
                graphs = 0, graph_execs = 0;  // alive now
  std::uint64_t memory_allocs = 0, host_writes = 0, host_reads = 0, launches = 0,
                graph_launches = 0;  // since the start
  [[nodiscard]] std::uint64_t alive() const noexcept {
    return contexts + allocations + pinned + streams + events + modules + graphs + graph_execs;
  }
};

class EmulatedDriver final : public Driver {
 public:
  explicit EmulatedDriver(std::unique_ptr<KernelRunner> runner, EmulatedDevice device = {});
  ~EmulatedDriver() override;
  [[nodiscard]] bool is_hardware() const noexcept override { return false; }
  [[nodiscard]] const DriverCounts& counts() const noexcept { return counts_; }
  /// Whether [address, address + n_bytes) lies in one allocation.
  [[nodiscard]] bool is_device_memory(DevicePtr address, std::size_t n_bytes) const;
  /// The text of the first error that a kernel threw; empty: none.
  [[nodiscard]] const std::string& kernel_error() const noexcept { return kernel_error_; }

#define APR_DRIVER_CALL(method, symbol, parameters, arguments) [[nodiscard]] Result method parameters override;
#define APR_DRIVER_RELEASE APR_DRIVER_CALL
#include "driver_calls.def"
#undef APR_DRIVER_RELEASE
#undef APR_DRIVER_CALL

 private:
  using Work = std::function<Result()>;
  /// Puts work into a stream, or into the graph that is being captured from it.
  Result enqueue(Stream stream, Work work);
  /// Runs what is in the stream up to the entry `until` (a count since its creation).
  Result flush(Stream stream, std::uint64_t until);
  Result flush_all();
  Result run_kernel(const void* kernel, const LaunchConfig& config, const std::vector<std::byte>& parameters);

  std::unique_ptr<KernelRunner> runner_;
  EmulatedDevice device_;
  DriverCounts counts_;
  std::string kernel_error_;
  std::map<DevicePtr, std::pair<std::uint64_t, std::unique_ptr<std::byte[]>>> memory_;
  std::map<void*, std::unique_ptr<std::byte[]>> pinned_;
  std::set<Stream> streams_;
  std::set<Event> events_;
  std::set<Module> modules_;
  std::set<Graph> graphs_;
  std::set<GraphExec> execs_;
};

}  // namespace apr::engine::cuda
