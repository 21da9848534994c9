#include "device.h"

#include <fmt/format.h>

#include <array>

#include "apr/core/error.h"
#include "apr/core/text.h"

namespace apr::engine::cuda {
namespace {

constexpr int kOldestMajor = 7, kOldestMinor = 5;  // Turing: the first with int8 matrix instructions

int attribute(Driver& driver, int which, Device device) {
  int value = 0;
  APR_CUDA(driver, device_attribute(&value, which, device));
  return value;
}

std::string text_of(Driver& driver, Result code) {
  const char* text = nullptr;
  if (driver.error_text(code, &text) != kSuccess || text == nullptr) return fmt::format("error {}", code);
  return text;
}

}  // namespace

std::string describe(const DeviceInfo& d) {
  return fmt::format("{} (compute {}.{}, {} SMs, {})", d.name, d.compute_major, d.compute_minor, d.multiprocessors,
                     human_bytes(d.memory_bytes));
}

std::optional<DeviceInfo> find_device(Driver& driver, int ordinal, std::string& reason) {
  if (const Result result = driver.init(0); result != kSuccess) {
    reason = fmt::format("the CUDA driver does not start: {}", text_of(driver, result));
    return std::nullopt;
  }
  int count = 0;
  if (const Result result = driver.device_count(&count); result != kSuccess) {
    reason = fmt::format("the CUDA driver does not list its devices: {}", text_of(driver, result));
    return std::nullopt;
  }
  if (ordinal >= count) {
    reason = "no CUDA device";
    return std::nullopt;
  }
  DeviceInfo info;
  info.ordinal = ordinal;
  Device device = 0;
  APR_CUDA(driver, device_get(&device, ordinal));
  APR_CUDA(driver, driver_version(&info.driver_version));
  std::array<char, 256> name{};
  APR_CUDA(driver, device_name(name.data(), static_cast<int>(name.size()) - 1, device));
  info.name = name.data();
  std::size_t bytes = 0;
  APR_CUDA(driver, device_memory(&bytes, device));
  info.memory_bytes = bytes;
  info.compute_major = attribute(driver, kAttributeComputeMajor, device);
  info.compute_minor = attribute(driver, kAttributeComputeMinor, device);
  info.multiprocessors = attribute(driver, kAttributeMultiprocessors, device);
  info.l2_bytes = static_cast<std::uint64_t>(attribute(driver, kAttributeL2Bytes, device));
  info.shared_per_block = static_cast<std::uint64_t>(attribute(driver, kAttributeSharedPerBlockOptin, device));
  if (std::pair(info.compute_major, info.compute_minor) < std::pair(kOldestMajor, kOldestMinor)) {
    reason = fmt::format("{} has compute capability {}.{}; apr needs {}.{} or newer", info.name, info.compute_major,
                         info.compute_minor, kOldestMajor, kOldestMinor);
    return std::nullopt;
  }
  return info;
}

OwnedMemory allocate_memory(Driver& driver, std::uint64_t n_bytes) {
  DevicePtr address = 0;
  APR_CUDA(driver, memory_alloc(&address, n_bytes));
  return {driver, address};
}
OwnedPinned allocate_pinned(Driver& driver, std::uint64_t n_bytes) {
  void* address = nullptr;
  APR_CUDA(driver, pinned_alloc(&address, n_bytes, 0));
  return {driver, address};
}
OwnedStream create_stream(Driver& driver) {
  Stream stream = nullptr;
  APR_CUDA(driver, stream_create(&stream, kStreamNonBlocking));
  return {driver, stream};
}
OwnedEvent create_event(Driver& driver, bool timed) {
  Event event = nullptr;
  APR_CUDA(driver, event_create(&event, timed ? kEventDefault : kEventDisableTiming));
  return {driver, event};
}
OwnedModule load_module(Driver& driver, const void* image) {
  Module module = nullptr;
  APR_CUDA(driver, module_load(&module, image));
  return {driver, module};
}
OwnedContext retain_context(Driver& driver, int ordinal, Context& context) {
  Device device = 0;
  APR_CUDA(driver, device_get(&device, ordinal));
  APR_CUDA(driver, context_retain(&context, device));
  OwnedContext owned(driver, device);
  APR_CUDA(driver, context_set(context));
  return owned;
}

}  // namespace apr::engine::cuda
