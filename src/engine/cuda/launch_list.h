// The launches of one pass: what a graph is captured from.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "device_weights.h"

namespace apr::engine::cuda {

/// Longest burst of tokens that the host leaves unread, and the ring that they wait in.
inline constexpr std::int32_t kRingSize = 64, kMaxEndTokens = 64, kMaxPenaltyWindow = 4096, kLogitRows = 8;
/// Columns that are computed as one is, with the same bits; and those of one launch of the attention over splits.
inline constexpr std::int32_t kAttentionColumns = 8;

struct PassShape {
  std::int32_t n_columns = 1;
  std::int32_t n_logits = 1;  // the last n_logits columns; 0: the cache is filled and nothing else
  bool apart = true;          // every column is of another sequence
  bool prompt = false;        // all are of one sequence, at consecutive positions, and kernels for prompts are allowed
  /// Whether the kernels for prompts run it. What they compute is as good, but other bits: where more logits are wanted
  /// (a draft is checked against what one column after the other would give) they do not.
  [[nodiscard]] bool is_prompt() const noexcept { return prompt && n_columns > kAttentionColumns && n_logits <= 1; }
  friend bool operator==(const PassShape&, const PassShape&) = default;
  friend auto operator<=>(const PassShape&, const PassShape&) = default;
};

struct PlannedLaunch {
  kernels::cuda::Launch launch;
  std::size_t first_op = 0, n_ops = 0;  // ops of the plan that end with it; 0: it prepares the next
  DevicePtr out = 0;                    // f32 rows that it makes, 0 where it makes none
  std::uint64_t out_elements = 0;
};

/// Where the values of a pass live. Addresses are those of the pool, once it is taken.
class DeviceBuffers {
 public:
  DeviceBuffers(const model::Plan& plan, const ExecutorOptions& options, const kernels::cuda::DeviceShape& shape,
                std::uint64_t slot_bytes);
  void plan(MemoryPool& pool);
  /// Fills what must be zero at first, and the tables of the rotations.
  void load(Driver& driver, const MemoryPool& pool, StagingRing& ring, Stream stream) const;

  enum Region : std::size_t {
    X,
    Y,
    Qkv,
    Logits,
    Columns,
    Sequences,
    Ring,
    Recent,
    Counts,
    EndTokens,
    Scratch,
    Partial,
    Tickets,
    Staging,
    InputQ,
    InputD,
    InputS,
    InputX,
    AttendedQ,
    AttendedD,
    AttendedS,
    AttendedX,
    GatedQ,
    GatedD,
    GatedS,
    GatedX,
    kRegions
  };
  [[nodiscard]] static const char* name(Region region) noexcept;
  [[nodiscard]] DevicePtr at(const MemoryPool& pool, Region region) const { return pool.address(regions_.at(region)); }
  [[nodiscard]] std::size_t region(Region region) const { return regions_.at(region); }
  /// Activations of columns from `first` on.
  [[nodiscard]] kernels::cuda::Activations activations(const MemoryPool& pool, Region q, std::int32_t width,
                                                       std::int32_t first) const;
  /// Addresses of a layer's cache; scales are 0 where it has none.
  struct Cache {
    DevicePtr keys = 0, values = 0, key_scales = 0, value_scales = 0;
  };
  [[nodiscard]] Cache cache(const MemoryPool& pool, std::int32_t layer) const;
  [[nodiscard]] DevicePtr rope_coarse(const MemoryPool& pool, std::int32_t rope) const;
  [[nodiscard]] DevicePtr rope_fine(const MemoryPool& pool, std::int32_t rope) const;
  /// Every region that is not a weight, with its name.
  [[nodiscard]] std::vector<std::pair<std::string, std::size_t>> named_regions() const;
  [[nodiscard]] std::int32_t n_splits() const noexcept { return n_splits_; }
  [[nodiscard]] std::int32_t n_logit_rows() const noexcept { return n_logit_rows_; }
  /// Sequences that a decode loop runs together at most: of each there is a row of logits.
  [[nodiscard]] std::size_t most_decoded() const noexcept {
    return std::min<std::size_t>(n_sequences_, static_cast<std::size_t>(n_logit_rows_));
  }

 private:
  const model::Plan& plan_;
  std::uint32_t n_ctx_, n_batch_, n_sequences_;
  TensorType kv_type_;
  std::uint64_t slot_bytes_;
  std::int32_t n_splits_, n_logit_rows_;
  std::vector<std::size_t> regions_;
  std::vector<std::size_t> keys_, values_, key_scales_, value_scales_;  // by layer; scales of q8_0 alone
  std::vector<std::size_t> coarse_, fine_;                              // by index of Plan::ropes
};

/// Everything up to the head, and the head.
class LaunchList {
 public:
  LaunchList(const model::Plan& plan, const std::vector<FusedOp>& ops, const DeviceWeights& weights,
             const DeviceBuffers& buffers, const MemoryPool& pool, const kernels::cuda::DeviceShape& shape,
             const ExecutorOptions& options)
      : plan_(plan), ops_(ops), weights_(weights), buffers_(buffers), pool_(pool), shape_(shape), options_(options) {}

  /// Embedding and layers. Without logits, what only they need is left out.
  [[nodiscard]] std::vector<PlannedLaunch> body(PassShape pass) const;
  /// Logits of `n_rows` (at most kLogitRows) of the wanted rows, from the `first`th on, to the front of Logits.
  [[nodiscard]] std::vector<PlannedLaunch> head(PassShape pass, std::int32_t first, std::int32_t n_rows) const;
  /// Both, with the first of the wanted rows: as many as Logits holds.
  [[nodiscard]] std::vector<PlannedLaunch> body_and_head(PassShape pass) const;

 private:
  class Builder;
  const model::Plan& plan_;
  const std::vector<FusedOp>& ops_;
  const DeviceWeights& weights_;
  const DeviceBuffers& buffers_;
  const MemoryPool& pool_;
  kernels::cuda::DeviceShape shape_;
  const ExecutorOptions& options_;
};

}  // namespace apr::engine::cuda
