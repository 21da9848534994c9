#include "staging_ring.h"

#include <algorithm>
#include <cstring>

#include "apr/core/error.h"

namespace apr::engine::cuda {

StagingRing::StagingRing(Driver& driver, Stream stream, DevicePtr device_slots, std::uint64_t slot_bytes)
    : driver_(driver),
      stream_(stream),
      device_slots_(device_slots),
      slot_bytes_(slot_bytes),
      pinned_(allocate_pinned(driver, kSlots * slot_bytes)) {
  for (OwnedEvent& event : copied_) event = create_event(driver);
}

std::byte* StagingRing::next_slot() {
  slot_ = (slot_ + 1) % kSlots;
  if (in_use_[slot_]) APR_CUDA(driver_, event_synchronize(copied_[slot_].get()));
  in_use_[slot_] = true;
  return static_cast<std::byte*>(pinned_.get()) + slot_ * slot_bytes_;
}

DevicePtr StagingRing::push(std::span<const std::byte> bytes) {
  APR_CHECK(!bytes.empty() && bytes.size() <= slot_bytes_);
  std::byte* pinned = next_slot();
  std::memcpy(pinned, bytes.data(), bytes.size());
  const DevicePtr to = device_slots_ + slot_ * slot_bytes_;
  APR_CUDA(driver_, copy_to_device(to, pinned, bytes.size(), stream_));
  APR_CUDA(driver_, event_record(copied_[slot_].get(), stream_));
  return to;
}

void StagingRing::copy(DevicePtr to, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t n = std::min<std::size_t>(bytes.size(), slot_bytes_);
    std::byte* pinned = next_slot();
    std::memcpy(pinned, bytes.data(), n);
    APR_CUDA(driver_, copy_to_device(to, pinned, n, stream_));
    APR_CUDA(driver_, event_record(copied_[slot_].get(), stream_));
    to += n;
    bytes = bytes.subspan(n);
  }
}

}  // namespace apr::engine::cuda
