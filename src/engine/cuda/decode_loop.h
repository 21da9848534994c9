// Decoding without the host: one graph a token, its last kernel samples and moves the state on, the host reads the ring
// of tokens behind.
#pragma once
#include <array>
#include <optional>
#include <vector>

#include "device_model.h"

namespace apr::engine::cuda {

class DecodeLoop final : public DeviceDecoder {
 public:
  static constexpr std::uint32_t kBurst = 8, kBursts = 2;  // up to 16 tokens in flight

  /// `n_past`: positions that the cache of each sequence holds, of the executor; end() sets those that ran.
  DecodeLoop(DeviceModel& model, std::vector<std::uint32_t>& n_past);
  [[nodiscard]] bool can_sample(const SamplerOptions& options, std::size_t n_end_tokens) const override;
  [[nodiscard]] std::size_t most_sequences() const noexcept override { return model_.buffers().most_decoded(); }
  void begin(std::span<const DecodeRequest> requests) override;
  [[nodiscard]] std::span<const DecodedToken> next() override;
  std::vector<std::uint64_t> end(std::span<const std::uint32_t> n_past) override;

 private:
  /// One sequence, a column of every pass.
  struct Running {
    std::uint32_t sequence;
    std::uint32_t n_read = 0;  // tokens taken from the ring
    std::uint64_t rng;
  };
  /// What the device tells the host behind a burst: columns as they stand, sequences and rings by slot.
  struct Mail {
    kernels::cuda::Column* columns;
    kernels::cuda::Sequence* sequences;
    std::int32_t* rings;
  };
  [[nodiscard]] Mail mail(std::uint64_t burst) const;
  [[nodiscard]] std::size_t mail_bytes() const;
  /// Of column `index` and as many behind it as sample alike.
  [[nodiscard]] kernels::cuda::SampleParams sample_params(const DecodeRequest& request, std::size_t index) const;
  [[nodiscard]] std::vector<kernels::cuda::SampleParams> plan_sampling(std::span<const DecodeRequest> requests) const;
  void write_state(std::span<const DecodeRequest> requests);
  /// Launches `n` tokens and asks for the mail behind them.
  void send_burst(std::uint32_t n);
  static void require_sound(const kernels::cuda::Sequence& sequence);

  DeviceModel& model_;
  std::vector<std::uint32_t>& n_past_;
  OwnedPinned pinned_;  // mail of each burst, then what begin() writes
  std::array<OwnedEvent, kBursts> arrived_;
  std::vector<kernels::cuda::SampleParams> captured_;  // what graph_ samples with
  std::vector<PlannedLaunch> sample_, step_;
  OwnedGraphExec graph_;
  std::vector<Running> running_;
  std::vector<DecodedToken> tokens_;           // of the last next()
  std::uint64_t n_sent_ = 0, n_received_ = 0;  // bursts
  bool ended_ = true;
};

}  // namespace apr::engine::cuda
