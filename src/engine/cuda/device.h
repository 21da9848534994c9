// One CUDA device behind a Driver: what it is, and the handles that give themselves back.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "driver.h"

namespace apr::engine::cuda {

struct DeviceInfo {
  std::string name;
  int ordinal = 0;
  int compute_major = 0, compute_minor = 0;
  int multiprocessors = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t l2_bytes = 0;
  std::uint64_t shared_per_block = 0;  // most that a block can ask for
  int driver_version = 0;              // 1000 * major + 10 * minor of CUDA
};
/// "NVIDIA H200 (compute 9.0, 132 SMs, 139.8 GiB)"
[[nodiscard]] std::string describe(const DeviceInfo& device);

/// Starts the driver and looks at device `ordinal`. Nothing with the reason when there is no usable device: no driver
/// that starts, no device, or one below compute capability 7.5, which is named.
[[nodiscard]] std::optional<DeviceInfo> find_device(Driver& driver, int ordinal, std::string& reason);

/// Owns what a driver call gave out; `release` takes it back. A failure to give back is not reported: what failed
/// before is, and a lost device has forgotten everything already.
template <class T, Result (Driver::*release)(T)>
class Owned {
 public:
  Owned() = default;
  Owned(Driver& driver, T handle) : driver_(&driver), handle_(handle) {}
  Owned(Owned&& other) noexcept : driver_(std::exchange(other.driver_, nullptr)), handle_(other.handle_) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(driver_, other.driver_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (driver_ != nullptr) static_cast<void>((driver_->*release)(handle_));
  }
  [[nodiscard]] T get() const noexcept { return handle_; }

 private:
  Driver* driver_ = nullptr;
  T handle_{};
};
using OwnedMemory = Owned<DevicePtr, &Driver::memory_free>;
using OwnedPinned = Owned<void*, &Driver::pinned_free>;
using OwnedStream = Owned<Stream, &Driver::stream_destroy>;
using OwnedEvent = Owned<Event, &Driver::event_destroy>;
using OwnedModule = Owned<Module, &Driver::module_unload>;
using OwnedGraph = Owned<Graph, &Driver::graph_destroy>;
using OwnedGraphExec = Owned<GraphExec, &Driver::graph_exec_destroy>;
using OwnedContext = Owned<Device, &Driver::context_release>;

/// Each throws Inference when the call fails (see APR_CUDA).
[[nodiscard]] OwnedMemory allocate_memory(Driver& driver, std::uint64_t n_bytes);
[[nodiscard]] OwnedPinned allocate_pinned(Driver& driver, std::uint64_t n_bytes);
[[nodiscard]] OwnedStream create_stream(Driver& driver);
[[nodiscard]] OwnedEvent create_event(Driver& driver, bool timed = false);
[[nodiscard]] OwnedModule load_module(Driver& driver, const void* image);
/// The primary context of the device, made current on this thread; `context` gets it, for other threads.
[[nodiscard]] OwnedContext retain_context(Driver& driver, int ordinal, Context& context);

/// What is put into `stream` between begin and the end of `record` becomes one graph, ready to be launched.
template <class Record>
[[nodiscard]] OwnedGraphExec capture_graph(Driver& driver, Stream stream, const Record& record) {
  APR_CUDA(driver, capture_begin(stream, kCaptureThreadLocal));
  Graph graph = nullptr;
  try {
    record();
  } catch (...) {
    // An open capture would swallow everything that follows.
    if (driver.capture_end(stream, &graph) == kSuccess && graph != nullptr) OwnedGraph(driver, graph);
    throw;
  }
  if (const Result result = driver.capture_end(stream, &graph); result != kSuccess) {
    // The call that ends a capture is also the one that gives its graph back.
    if (graph == nullptr && driver.capture_end(stream, &graph) != kSuccess) graph = nullptr;
    if (graph != nullptr) OwnedGraph(driver, graph);
    driver_failed(driver, result, "capture_end(stream, &graph)", __FILE__, __LINE__);
  }
  const OwnedGraph owned(driver, graph);
  GraphExec exec = nullptr;
  APR_CUDA(driver, graph_instantiate(&exec, graph, 0));
  return {driver, exec};
}

}  // namespace apr::engine::cuda
