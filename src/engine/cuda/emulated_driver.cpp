#include "emulated_driver.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <utility>

namespace apr::engine::cuda {

struct StreamObject {
  std::deque<std::function<Result()>> work;
  std::uint64_t n_done = 0;  // entries that ran
  Result error = kSuccess;   // of the first that failed: stays, as on a GPU
  Graph capture = nullptr;
};
struct EventObject {
  Stream stream = nullptr;
  std::uint64_t position = 0;  // entries of the stream in front of it
  std::chrono::steady_clock::time_point reached{};
};
struct ModuleObject {};
struct GraphObject {
  std::vector<std::function<Result()>> nodes;
};
struct GraphExecObject {
  std::vector<std::function<Result()>> nodes;
};

namespace {

constexpr std::byte kPoison{0xCB};
constexpr std::size_t kAlignment = 256;  // of cuMemAlloc

/// Poisoned bytes whose address is a multiple of kAlignment.
std::pair<std::unique_ptr<std::byte[]>, std::byte*> poisoned(std::size_t n_bytes) {
  auto block = std::make_unique_for_overwrite<std::byte[]>(n_bytes + kAlignment);
  std::memset(block.get(), static_cast<int>(kPoison), n_bytes + kAlignment);
  void* at = block.get();
  std::size_t room = n_bytes + kAlignment;
  std::align(kAlignment, n_bytes, at, room);
  return {std::move(block), static_cast<std::byte*>(at)};
}

std::byte* host_pointer(DevicePtr address) { return reinterpret_cast<std::byte*>(address); }

/// Removes a handle and destroys its object.
template <class Handle>
Result destroy(std::set<Handle>& live, Handle handle, std::uint64_t& count) {
  if (live.erase(handle) == 0) return kInvalidValue;
  delete handle;
  --count;
  return kSuccess;
}

template <class Object>
Result create(std::set<Object*>& live, Object** handle, std::uint64_t& count) {
  *handle = new Object();
  live.insert(*handle);
  ++count;
  return kSuccess;
}

}  // namespace

EmulatedDriver::EmulatedDriver(std::unique_ptr<KernelRunner> runner, EmulatedDevice device)
    : runner_(std::move(runner)), device_(std::move(device)) {}

EmulatedDriver::~EmulatedDriver() {
  for (const Stream stream : streams_) delete stream;
  for (const Event event : events_) delete event;
  for (const Module module : modules_) delete module;
  for (const Graph graph : graphs_) delete graph;
  for (const GraphExec exec : execs_) delete exec;
}

bool EmulatedDriver::is_device_memory(DevicePtr address, std::size_t n_bytes) const {
  auto at = memory_.upper_bound(address);
  if (at == memory_.begin()) return false;
  --at;
  return address - at->first <= at->second.first && n_bytes <= at->second.first - (address - at->first);
}

Result EmulatedDriver::enqueue(Stream stream, Work work) {
  if (!streams_.contains(stream)) return kInvalidValue;
  if (stream->capture != nullptr) {
    stream->capture->nodes.push_back(std::move(work));
    return kSuccess;
  }
  stream->work.push_back(std::move(work));
  return stream->error;
}

Result EmulatedDriver::flush(Stream stream, std::uint64_t until) {
  while (stream->n_done < until && !stream->work.empty()) {
    const auto work = std::move(stream->work.front());
    stream->work.pop_front();
    ++stream->n_done;
    if (stream->error == kSuccess) stream->error = work();
  }
  return stream->error;
}

Result EmulatedDriver::flush_all() {
  Result first = kSuccess;
  for (const Stream stream : streams_) {
    const Result result = flush(stream, UINT64_MAX);
    if (first == kSuccess) first = result;
  }
  return first;
}

Result EmulatedDriver::run_kernel(const void* kernel, const LaunchConfig& config,
                                  const std::vector<std::byte>& parameters) {
  ++counts_.launches;
  try {
    runner_->run(kernel, config, parameters.data());
    return kSuccess;
  } catch (const std::exception& error) {
    if (kernel_error_.empty()) kernel_error_ = error.what();
    return kLaunchFailed;
  }
}

Result EmulatedDriver::init(unsigned) { return kSuccess; }
Result EmulatedDriver::driver_version(int* version) {
  *version = 13000;
  return kSuccess;
}
Result EmulatedDriver::device_count(int* count) {
  *count = 1;
  return kSuccess;
}
Result EmulatedDriver::device_get(Device* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? kSuccess : kInvalidValue;
}
Result EmulatedDriver::device_name(char* name, int length, Device) {
  const std::size_t n = std::min(device_.name.size(), static_cast<std::size_t>(length) - 1);
  std::copy_n(device_.name.data(), n, name);
  name[n] = '\0';
  return kSuccess;
}
Result EmulatedDriver::device_attribute(int* value, int attribute, Device) {
  switch (attribute) {
    case kAttributeWarpSize: *value = 32; return kSuccess;
    case kAttributeMultiprocessors: *value = device_.multiprocessors; return kSuccess;
    case kAttributeL2Bytes: *value = 50 << 20; return kSuccess;
    case kAttributeComputeMajor: *value = device_.compute_major; return kSuccess;
    case kAttributeComputeMinor: *value = device_.compute_minor; return kSuccess;
    case kAttributeSharedPerMultiprocessor:
    case kAttributeSharedPerBlockOptin: *value = static_cast<int>(device_.shared_per_block); return kSuccess;
    default: return kInvalidValue;
  }
}
Result EmulatedDriver::device_memory(std::size_t* bytes, Device) {
  *bytes = device_.memory_bytes;
  return kSuccess;
}
Result EmulatedDriver::context_retain(Context* context, Device) {
  *context = reinterpret_cast<Context>(this);
  ++counts_.contexts;
  return kSuccess;
}
Result EmulatedDriver::context_release(Device) {
  if (counts_.contexts == 0) return kInvalidValue;
  --counts_.contexts;
  return kSuccess;
}
Result EmulatedDriver::context_set(Context) { return kSuccess; }

Result EmulatedDriver::memory_info(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = device_.memory_bytes;
  *free_bytes = device_.memory_bytes - counts_.allocated_bytes;
  return kSuccess;
}
Result EmulatedDriver::memory_alloc(DevicePtr* address, std::size_t n_bytes) {
  ++counts_.memory_allocs;
  if (n_bytes == 0) return kInvalidValue;
  if (n_bytes > device_.memory_bytes - counts_.allocated_bytes) return kOutOfMemory;
  auto [block, at] = poisoned(n_bytes);
  *address = reinterpret_cast<DevicePtr>(at);
  memory_.emplace(*address, std::pair{n_bytes, std::move(block)});
  ++counts_.allocations;
  counts_.allocated_bytes += n_bytes;
  return kSuccess;
}
Result EmulatedDriver::memory_free(DevicePtr address) {
  const auto at = memory_.find(address);
  if (at == memory_.end()) return kInvalidValue;
  const Result result = flush_all();  // cuMemFree waits for the device
  counts_.allocated_bytes -= at->second.first;
  memory_.erase(at);
  --counts_.allocations;
  return result;
}
Result EmulatedDriver::pinned_alloc(void** address, std::size_t n_bytes, unsigned) {
  auto [block, at] = poisoned(n_bytes);
  *address = at;
  pinned_.emplace(at, std::move(block));
  ++counts_.pinned;
  return kSuccess;
}
Result EmulatedDriver::pinned_free(void* address) {
  const Result result = flush_all();
  if (pinned_.erase(address) == 0) return kInvalidValue;
  --counts_.pinned;
  return result;
}
Result EmulatedDriver::copy_to_device(DevicePtr to, const void* from, std::size_t n_bytes, Stream stream) {
  if (!is_device_memory(to, n_bytes)) return kInvalidValue;
  ++counts_.host_writes;
  return enqueue(stream, [this, to, from, n_bytes] {
    if (!is_device_memory(to, n_bytes)) return kIllegalAddress;
    std::memcpy(host_pointer(to), from, n_bytes);
    return kSuccess;
  });
}
Result EmulatedDriver::copy_to_host(void* to, DevicePtr from, std::size_t n_bytes, Stream stream) {
  if (!is_device_memory(from, n_bytes)) return kInvalidValue;
  ++counts_.host_reads;
  return enqueue(stream, [this, to, from, n_bytes] {
    if (!is_device_memory(from, n_bytes)) return kIllegalAddress;
    std::memcpy(to, host_pointer(from), n_bytes);
    return kSuccess;
  });
}
Result EmulatedDriver::copy_on_device(DevicePtr to, DevicePtr from, std::size_t n_bytes, Stream stream) {
  if (!is_device_memory(to, n_bytes) || !is_device_memory(from, n_bytes)) return kInvalidValue;
  return enqueue(stream, [this, to, from, n_bytes] {
    if (!is_device_memory(to, n_bytes) || !is_device_memory(from, n_bytes)) return kIllegalAddress;
    std::memmove(host_pointer(to), host_pointer(from), n_bytes);
    return kSuccess;
  });
}
Result EmulatedDriver::fill(DevicePtr to, unsigned char value, std::size_t n_bytes, Stream stream) {
  if (!is_device_memory(to, n_bytes)) return kInvalidValue;
  ++counts_.host_writes;
  return enqueue(stream, [this, to, value, n_bytes] {
    if (!is_device_memory(to, n_bytes)) return kIllegalAddress;
    std::memset(host_pointer(to), value, n_bytes);
    return kSuccess;
  });
}

Result EmulatedDriver::stream_create(Stream* stream, unsigned) { return create(streams_, stream, counts_.streams); }
Result EmulatedDriver::stream_destroy(Stream stream) {
  if (!streams_.contains(stream)) return kInvalidValue;
  const Result result = flush(stream, UINT64_MAX);
  for (const Event event : events_)
    if (event->stream == stream) event->stream = nullptr;
  if (stream->capture != nullptr) destroy(graphs_, stream->capture, counts_.graphs);  // a capture that never ended
  destroy(streams_, stream, counts_.streams);
  return result;
}
Result EmulatedDriver::stream_synchronize(Stream stream) {
  return streams_.contains(stream) ? flush(stream, UINT64_MAX) : kInvalidValue;
}
Result EmulatedDriver::event_create(Event* event, unsigned) { return create(events_, event, counts_.events); }
Result EmulatedDriver::event_destroy(Event event) {
  if (!events_.contains(event)) return kInvalidValue;
  // Its entry in a stream refers to it.
  const Result result = event->stream == nullptr ? kSuccess : flush(event->stream, event->position + 1);
  destroy(events_, event, counts_.events);
  return result;
}
Result EmulatedDriver::event_record(Event event, Stream stream) {
  // While a stream is captured a plain record makes no node: the event would never be reached.
  if (!events_.contains(event) || !streams_.contains(stream) || stream->capture != nullptr) return kInvalidValue;
  event->stream = stream;
  event->position = stream->n_done + stream->work.size();
  return enqueue(stream, [event] {
    event->reached = std::chrono::steady_clock::now();
    return kSuccess;
  });
}
Result EmulatedDriver::event_record_flags(Event event, Stream stream, unsigned flags) {
  if (flags == 0) return event_record(event, stream);
  if (flags != kEventRecordExternal || !events_.contains(event) || !streams_.contains(stream) ||
      stream->capture == nullptr)
    return kInvalidValue;
  return enqueue(stream, [this, event] {
    if (!events_.contains(event)) return kInvalidValue;
    event->reached = std::chrono::steady_clock::now();
    return kSuccess;
  });
}
Result EmulatedDriver::event_synchronize(Event event) {
  if (!events_.contains(event)) return kInvalidValue;
  return event->stream == nullptr ? kSuccess : flush(event->stream, event->position + 1);
}
Result EmulatedDriver::event_elapsed(float* milliseconds, Event start, Event end) {
  if (!events_.contains(start) || !events_.contains(end)) return kInvalidValue;
  *milliseconds = std::chrono::duration<float, std::milli>(end->reached - start->reached).count();
  return kSuccess;
}

Result EmulatedDriver::module_load(Module* module, const void*) { return create(modules_, module, counts_.modules); }
Result EmulatedDriver::module_unload(Module module) { return destroy(modules_, module, counts_.modules); }
Result EmulatedDriver::module_function(Function* function, Module module, const char* name) {
  if (!modules_.contains(module)) return kInvalidValue;
  const void* kernel = runner_->find(name);
  if (kernel == nullptr) return kNotFound;
  *function = static_cast<Function>(const_cast<void*>(kernel));
  return kSuccess;
}
Result EmulatedDriver::function_set(Function, int attribute, int value) {
  const bool too_large = attribute == kFunctionMaxDynamicShared &&
                         (value < 0 || static_cast<std::uint64_t>(value) > device_.shared_per_block);
  return too_large ? kInvalidValue : kSuccess;
}
Result EmulatedDriver::launch(const LaunchConfig* config, Function function, void** parameters, void** extra) {
  if (extra != nullptr || config->shared_bytes > device_.shared_per_block) return kInvalidValue;
  if (config->block_x * config->block_y * config->block_z > 1024) return kLaunchOutOfResources;
  const auto* first = static_cast<const std::byte*>(parameters[0]);
  LaunchConfig kept = *config;
  kept.attributes = nullptr;
  return enqueue(config->stream,
                 [this, kept, function, values = std::vector(first, first + runner_->parameter_bytes(function))] {
                   return run_kernel(function, kept, values);
                 });
}

Result EmulatedDriver::capture_begin(Stream stream, int) {
  if (!streams_.contains(stream) || stream->capture != nullptr) return kInvalidValue;
  return create(graphs_, &stream->capture, counts_.graphs);
}
Result EmulatedDriver::capture_end(Stream stream, Graph* graph) {
  if (!streams_.contains(stream) || stream->capture == nullptr) return kInvalidValue;
  *graph = std::exchange(stream->capture, nullptr);
  return kSuccess;
}
Result EmulatedDriver::graph_instantiate(GraphExec* exec, Graph graph, unsigned long long) {
  if (!graphs_.contains(graph)) return kInvalidValue;
  create(execs_, exec, counts_.graph_execs);
  (*exec)->nodes = graph->nodes;
  return kSuccess;
}
Result EmulatedDriver::graph_destroy(Graph graph) { return destroy(graphs_, graph, counts_.graphs); }
Result EmulatedDriver::graph_launch(GraphExec exec, Stream stream) {
  if (!execs_.contains(exec)) return kInvalidValue;
  ++counts_.graph_launches;
  return enqueue(stream, [this, exec] {
    if (!execs_.contains(exec)) return kInvalidValue;
    Result result = kSuccess;
    for (const Work& node : exec->nodes)
      if (result == kSuccess) result = node();
    return result;
  });
}
Result EmulatedDriver::graph_exec_destroy(GraphExec exec) {
  const Result result = flush_all();
  return destroy(execs_, exec, counts_.graph_execs) == kSuccess ? result : kInvalidValue;
}

Result EmulatedDriver::error_name(Result code, const char** text) {
  *text = code == kSuccess          ? "CUDA_SUCCESS"
          : code == kInvalidValue   ? "CUDA_ERROR_INVALID_VALUE"
          : code == kOutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : code == kNotFound       ? "CUDA_ERROR_NOT_FOUND"
          : code == kIllegalAddress ? "CUDA_ERROR_ILLEGAL_ADDRESS"
          : code == kLaunchFailed   ? "CUDA_ERROR_LAUNCH_FAILED"
                                    : "CUDA_ERROR_UNKNOWN";
  return kSuccess;
}
Result EmulatedDriver::error_text(Result code, const char** text) {
  *text = code == kLaunchFailed && !kernel_error_.empty() ? kernel_error_.c_str() : "reported by the emulator";
  return kSuccess;
}

}  // namespace apr::engine::cuda
