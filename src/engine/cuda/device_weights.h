// The weights of a plan in device memory: matrices as tiles, repacked by the device from the rows of the file; norms
// and biases as f32.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "apr/kernels/cuda_kernels.h"
#include "apr/model/plan.h"
#include "fused_ops.h"
#include "kernel_set.h"
#include "memory_pool.h"
#include "staging_ring.h"

namespace apr::engine::cuda {

class DeviceWeights {
 public:
  DeviceWeights(const model::Plan& plan, const std::vector<FusedOp>& ops);
  /// Adds a region for each weight.
  void plan(MemoryPool& pool);
  /// Bytes of a staging slot: 16 rows of every matrix fit.
  [[nodiscard]] std::uint64_t slot_bytes() const noexcept { return slot_bytes_; }
  /// Puts the copies and the repacking of everything into the stream of the ring.
  void load(const MemoryPool& pool, KernelSet& kernels, StagingRing& ring, Stream stream);

  /// A matrix as the kernels take it; `out_offset` of its first output.
  [[nodiscard]] kernels::cuda::Matrix matrix(const MemoryPool& pool, const model::Op& op,
                                             std::int32_t out_offset) const;
  /// Address of a norm or bias; 0 for kNone.
  [[nodiscard]] DevicePtr vector(const MemoryPool& pool, std::int32_t weight) const;
  /// The type of a matrix on the device.
  [[nodiscard]] TensorType type(std::int32_t weight) const {
    return entries_.at(static_cast<std::size_t>(weight)).type;
  }
  /// Numbers of the regions, to name them: by index of Plan::weights; nothing where a weight is not used.
  [[nodiscard]] std::optional<std::size_t> region(std::size_t weight) const;
  /// One line for each matrix without a layout of its own on the device.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  enum class Form : std::uint8_t { Unused, Vector, Matrix };
  struct Entry {
    Form form = Form::Unused;
    TensorType type = TensorType::Unknown;  // of a matrix on the device
    std::uint64_t row_bytes = 0;            // of a row as it is sent
    std::size_t region = 0;
  };
  void load_vector(const model::Weight& weight, DevicePtr to, StagingRing& ring) const;
  void load_matrix(const model::Weight& weight, const Entry& entry, DevicePtr tiles, KernelSet& kernels,
                   StagingRing& ring, Stream stream) const;

  const model::Plan& plan_;
  std::vector<Entry> entries_;  // by index of Plan::weights
  std::vector<std::string> notes_;
  std::uint64_t slot_bytes_ = 4ULL << 20;
};

}  // namespace apr::engine::cuda
