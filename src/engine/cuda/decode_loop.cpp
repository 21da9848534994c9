#include "decode_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "apr/core/error.h"

namespace apr::engine::cuda {

namespace kc = kernels::cuda;
using B = DeviceBuffers;

namespace {

static_assert(DecodeLoop::kBurst * DecodeLoop::kBursts + 1 <= kRingSize, "a token is overwritten before it is read");

std::size_t written_bytes(const model::Plan& plan) {
  return sizeof(kc::Sequence) + sizeof(kc::Column) +
         sizeof(std::int32_t) * (kMaxEndTokens + kMaxPenaltyWindow + std::size_t{plan.hparams.n_vocab});
}

}  // namespace

DecodeLoop::DecodeLoop(DeviceModel& model, std::uint32_t& n_past)
    : model_(model),
      n_past_(n_past),
      pinned_(allocate_pinned(model.driver(), kBursts * sizeof(Mail) + written_bytes(model.plan()))) {
  for (OwnedEvent& event : arrived_) event = create_event(model.driver());
}

bool DecodeLoop::can_sample(const SamplerOptions& o, std::size_t n_end_tokens) const {
  return (o.temperature == 0 || (o.top_k >= 1 && o.top_k <= 1024)) && o.penalty_window <= kMaxPenaltyWindow &&
         n_end_tokens <= kMaxEndTokens;
}

kc::SampleParams DecodeLoop::sample_params(const DecodeRequest& request) const {
  const SamplerOptions& o = request.options;
  const auto at = [&](B::Region region) { return model_.buffers().at(model_.pool(), region); };
  kc::SampleParams p{};
  p.logits = at(B::Logits);
  p.columns = at(B::Columns);
  p.sequences = at(B::Sequences);
  p.ring = at(B::Ring);
  p.recent = at(B::Recent);
  p.counts = o.penalty_window == 0 ? 0 : at(B::Counts);
  p.end_tokens = at(B::EndTokens);
  p.scratch = at(B::Scratch);
  p.n_vocab = p.logits_stride = static_cast<std::int32_t>(model_.plan().hparams.n_vocab);
  p.n_columns = 1;
  p.n_ctx = static_cast<std::int32_t>(model_.options().n_ctx);
  p.ring_size = kRingSize;
  p.n_end_tokens = static_cast<std::int32_t>(request.end_tokens.size());
  p.penalty_window = static_cast<std::int32_t>(o.penalty_window);
  p.top_k = static_cast<std::int32_t>(o.top_k);
  p.temperature = o.temperature;
  p.top_p = o.top_p;
  p.min_p = o.min_p;
  p.repeat_penalty = o.repeat_penalty;
  p.presence_penalty = o.presence_penalty;
  p.frequency_penalty = o.frequency_penalty;
  return p;
}

/// The only host writes of a decode: from here on the device moves its state on by itself.
void DecodeLoop::write_state(const DecodeRequest& request) {
  auto* at = static_cast<std::byte*>(pinned_.get()) + kBursts * sizeof(Mail);
  const auto send = [&](B::Region to, const void* from, std::size_t n_bytes) {
    std::memcpy(at, from, n_bytes);
    model_.copy_in(to, at, n_bytes);
    at += n_bytes;
  };
  kc::Sequence sequence{};
  sequence.rng = request.state.rng;
  sequence.n_accepted = static_cast<std::uint32_t>(request.state.recent.size());
  sequence.n_left =
      request.n_predict ? static_cast<std::int32_t>(std::min<std::uint32_t>(*request.n_predict, INT32_MAX)) : -1;
  send(B::Sequences, &sequence, sizeof sequence);
  const kc::Column column{0, static_cast<std::int32_t>(request.position) - 1, 0, 0};
  send(B::Columns, &column, sizeof column);
  if (!request.end_tokens.empty()) send(B::EndTokens, request.end_tokens.data(), request.end_tokens.size_bytes());
  if (request.options.penalty_window == 0) return;
  if (!request.state.recent.empty())
    send(B::Recent, request.state.recent.data(), request.state.recent.size() * sizeof(std::int32_t));
  std::vector<std::int32_t> counts(model_.plan().hparams.n_vocab);
  for (const std::int32_t token : request.state.recent) ++counts.at(static_cast<std::size_t>(token));
  send(B::Counts, counts.data(), counts.size() * sizeof(std::int32_t));
}

void DecodeLoop::begin(const DecodeRequest& request) {
  APR_CHECK(can_sample(request.options, request.end_tokens.size()) && request.position > 0);
  model_.enter();
  model_.synchronize();  // the pinned memory may still be read by the loop before
  const kc::SampleParams params = sample_params(request);
  if (!captured_ || std::memcmp(&*captured_, &params, sizeof params) != 0) {
    captured_.reset();
    sample_ = {kc::launch_sample(params), 0, 0, 0, 0};
    step_ = model_.list().body({1, 1});
    const auto head = model_.list().head({1, 1}, 0, 1);
    step_.insert(step_.end(), head.begin(), head.end());
    step_.push_back(sample_);
    if (model_.cuda().graphs) graph_ = model_.capture(step_);
    captured_ = params;
  }
  write_state(request);
  n_sent_ = n_received_ = 0;
  n_read_ = 0;
  rng_ = request.state.rng;
  running_ = true;
  ended_ = false;
  model_.launch({sample_});  // the first token, from the logits of the prompt
  for (std::uint32_t i = 0; i < kBursts; ++i) send_burst(kBurst);
}

void DecodeLoop::send_burst(std::uint32_t n) {
  for (std::uint32_t i = 0; i < n; ++i) {
    if (model_.cuda().graphs) {
      APR_CUDA(model_.driver(), graph_launch(graph_.get(), model_.stream()));
    } else {
      model_.launch(step_);
    }
  }
  Mail& mail = static_cast<Mail*>(pinned_.get())[n_sent_ % kBursts];
  model_.copy_out(&mail.sequence, B::Sequences, sizeof mail.sequence);
  model_.copy_out(&mail.column, B::Columns, sizeof mail.column);
  model_.copy_out(mail.ring, B::Ring, sizeof mail.ring);
  APR_CUDA(model_.driver(), event_record(arrived_[n_sent_ % kBursts].get(), model_.stream()));
  ++n_sent_;
}

void DecodeLoop::require_sound(const Mail& mail) const {
  if (mail.sequence.error == 0) return;
  throw Error(ErrorCode::Inference, "a logit is not a number that can be sampled from")
      .in(fmt::format("logits[{}]", mail.sequence.error_index))
      .want("finite, or -infinity for a banned token")
      .got(fmt::format("error {} of the sampler on the device after {} tokens", mail.sequence.error,
                       mail.sequence.n_produced));
}

std::span<const std::int32_t> DecodeLoop::next() {
  tokens_.clear();
  if (ended_) return {};
  model_.enter();
  const std::size_t slot = n_received_ % kBursts;
  APR_CUDA(model_.driver(), event_synchronize(arrived_[slot].get()));
  const Mail& mail = static_cast<const Mail*>(pinned_.get())[slot];
  ++n_received_;
  for (; n_read_ != mail.sequence.n_produced; ++n_read_) tokens_.push_back(mail.ring[n_read_ % kRingSize]);
  rng_ = mail.sequence.rng;
  require_sound(mail);
  ended_ = mail.column.stopped != 0;
  if (!ended_) send_burst(kBurst);
  return tokens_;
}

std::uint64_t DecodeLoop::end(std::uint32_t n_past) {
  if (!running_) return rng_;
  running_ = false;
  ended_ = true;
  n_past_ = n_past;
  model_.synchronize();
  return rng_;
}

}  // namespace apr::engine::cuda
