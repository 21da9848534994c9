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

  /// `n_past`: positions that the cache holds, of the executor; end() sets it.
  DecodeLoop(DeviceModel& model, std::uint32_t& n_past);
  [[nodiscard]] bool can_sample(const SamplerOptions& options, std::size_t n_end_tokens) const override;
  void begin(const DecodeRequest& request) override;
  [[nodiscard]] std::span<const std::int32_t> next() override;
  std::uint64_t end(std::uint32_t n_past) override;

 private:
  /// What the device tells the host behind a burst.
  struct Mail {
    kernels::cuda::Sequence sequence;
    kernels::cuda::Column column;
    std::int32_t ring[kRingSize];
  };
  [[nodiscard]] kernels::cuda::SampleParams sample_params(const DecodeRequest& request) const;
  void write_state(const DecodeRequest& request);
  /// Launches `n` tokens and asks for the mail behind them.
  void send_burst(std::uint32_t n);
  void require_sound(const Mail& mail) const;

  DeviceModel& model_;
  std::uint32_t& n_past_;
  OwnedPinned pinned_;  // Mail per burst, then what begin() writes
  std::array<OwnedEvent, kBursts> arrived_;
  std::optional<kernels::cuda::SampleParams> captured_;  // what graph_ samples with
  PlannedLaunch sample_;
  OwnedGraphExec graph_;
  std::vector<PlannedLaunch> step_;
  std::vector<std::int32_t> tokens_;           // of the last next()
  std::uint64_t n_sent_ = 0, n_received_ = 0;  // bursts
  std::uint32_t n_read_ = 0;                   // tokens taken from the ring
  std::uint64_t rng_ = 0;
  bool running_ = false, ended_ = true;
};

}  // namespace apr::engine::cuda
