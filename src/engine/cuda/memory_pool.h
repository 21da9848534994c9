// All device memory of a model: planned region by region, taken as one block at load, given back as one.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apr/engine/executor.h"
#include "device.h"

namespace apr::engine::cuda {

enum class MemoryUse : std::uint8_t { Weights, KvCache, Working };

class MemoryPool {
 public:
  static constexpr std::uint64_t kAlignment = 256;
  /// What stays free for the driver: its module, graphs and printf buffers.
  static constexpr std::uint64_t kHeadroomBytes = 256ULL << 20;

  /// Adds a region; returns its number. Only before take(). Regions of 0 bytes have an address, too.
  std::size_t plan(MemoryUse use, std::uint64_t n_bytes);
  void set_cache(TensorType type, std::uint32_t n_sequences) noexcept {
    by_use_.kv_type = type;
    by_use_.n_sequences = n_sequences;
  }
  /// Bytes planned so far, alignment included.
  [[nodiscard]] std::uint64_t planned_bytes() const noexcept { return n_bytes_; }
  /// The same by use; nothing is mapped.
  [[nodiscard]] MemoryPlan memory() const noexcept { return by_use_; }
  /// Takes the memory. Throws ModelLoad with all the numbers when it is more than `limit_bytes` or what is free on the
  /// device less kHeadroomBytes; nothing is taken then. `advice`: what would fit into so many bytes.
  void take(Driver& driver, const DeviceInfo& device, std::uint32_t n_ctx, std::uint64_t limit_bytes,
            const std::function<std::string(std::uint64_t)>& advice = {});
  [[nodiscard]] DevicePtr address(std::size_t region) const;
  [[nodiscard]] std::uint64_t n_bytes(std::size_t region) const { return regions_.at(region).n_bytes; }

 private:
  struct Region {
    std::uint64_t offset, n_bytes;
  };
  std::vector<Region> regions_;
  std::uint64_t n_bytes_ = 0;
  MemoryPlan by_use_{.kv_type = TensorType::F16};
  OwnedMemory memory_;
};

}  // namespace apr::engine::cuda
