// Bytes of a file on their way to the device: copied into pinned memory here while the slot before is still travelling.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device.h"

namespace apr::engine::cuda {

class StagingRing {
 public:
  static constexpr std::size_t kSlots = 2;

  /// `device_slots` is device memory of kSlots * slot_bytes.
  StagingRing(Driver& driver, Stream stream, DevicePtr device_slots, std::uint64_t slot_bytes);
  [[nodiscard]] std::uint64_t slot_bytes() const noexcept { return slot_bytes_; }
  /// Puts the copy of `bytes` (at most slot_bytes) into the stream and returns where they will be. They stay there for
  /// work that is put into the same stream before the call after the next.
  DevicePtr push(std::span<const std::byte> bytes);
  /// Puts the copy of `bytes` to `to` into the stream, in as many slots as it takes.
  void copy(DevicePtr to, std::span<const std::byte> bytes);

 private:
  /// The pinned memory of the next slot, once its last copy is over.
  std::byte* next_slot();
  Driver& driver_;
  Stream stream_;
  DevicePtr device_slots_;
  std::uint64_t slot_bytes_;
  OwnedPinned pinned_;
  std::array<OwnedEvent, kSlots> copied_;
  std::array<bool, kSlots> in_use_{};
  std::size_t slot_ = kSlots - 1;
};

}  // namespace apr::engine::cuda
