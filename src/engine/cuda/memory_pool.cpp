#include "memory_pool.h"

#include <fmt/format.h>

#include <algorithm>

#include "apr/core/error.h"
#include "apr/core/text.h"

namespace apr::engine::cuda {

std::size_t MemoryPool::plan(MemoryUse use, std::uint64_t n_bytes) {
  APR_CHECK(memory_.get() == 0);
  const std::uint64_t room = (n_bytes + kAlignment - 1) / kAlignment * kAlignment;
  regions_.push_back({n_bytes_, n_bytes});
  n_bytes_ += room;
  (use == MemoryUse::Weights   ? by_use_.weights_bytes
   : use == MemoryUse::KvCache ? by_use_.kv_bytes
                               : by_use_.arena_bytes) += room;
  return regions_.size() - 1;
}

void MemoryPool::take(Driver& driver, const DeviceInfo& device, std::uint32_t n_ctx, std::uint64_t limit_bytes,
                      const std::function<std::string(std::uint64_t)>& advice) {
  std::size_t free_bytes = 0, total_bytes = 0;
  APR_CUDA(driver, memory_info(&free_bytes, &total_bytes));
  const std::uint64_t headroom = std::min<std::uint64_t>(kHeadroomBytes, total_bytes / 16);
  const std::uint64_t usable = free_bytes > headroom ? free_bytes - headroom : 0;
  const std::uint64_t limit = limit_bytes == 0 ? usable : std::min(usable, limit_bytes);
  if (n_bytes_ > limit) {
    throw Error(ErrorCode::ModelLoad, "the model does not fit into the memory of the device")
        .in(device.name)
        .want(fmt::format("at most {} ({} bytes): {} free of {}, {} left to the driver", human_bytes(limit), limit,
                          human_bytes(free_bytes), human_bytes(total_bytes), human_bytes(headroom)))
        .got(fmt::format("{} ({} bytes): {}", human_bytes(n_bytes_), n_bytes_, engine::describe(by_use_, n_ctx)))
        .help((advice ? advice(limit) : "") + "--device cpu uses the memory of the machine");
  }
  memory_ = allocate_memory(driver, std::max<std::uint64_t>(n_bytes_, kAlignment));
}

DevicePtr MemoryPool::address(std::size_t region) const {
  APR_CHECK(memory_.get() != 0);
  return memory_.get() + regions_.at(region).offset;
}

}  // namespace apr::engine::cuda
