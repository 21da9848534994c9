#include "decode_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "apr/core/error.h"

namespace apr::engine::cuda {

namespace kc = kernels::cuda;
using B = DeviceBuffers;

namespace {

static_assert(DecodeLoop::kBurst * DecodeLoop::kBursts + 1 <= kRingSize, "a token is overwritten before it is read");

/// Of the pinned memory that begin() writes for one sequence.
std::size_t written_bytes(const model::Plan& plan) {
  return sizeof(kc::Sequence) + sizeof(kc::Column) +
         sizeof(std::int32_t) * (kMaxEndTokens + kMaxPenaltyWindow + std::size_t{plan.hparams.n_vocab});
}

/// Whether one launch can sample for both.
bool sample_alike(const DecodeRequest& a, const DecodeRequest& b) {
  const auto values = [](const SamplerOptions& o) {
    return std::tuple(o.temperature, o.top_k, o.top_p, o.min_p, o.repeat_penalty, o.presence_penalty,
                      o.frequency_penalty, o.penalty_window);
  };
  return values(a.options) == values(b.options) && std::ranges::equal(a.end_tokens, b.end_tokens);
}

}  // namespace

DecodeLoop::DecodeLoop(DeviceModel& model, std::vector<std::uint32_t>& n_past)
    : model_(model),
      n_past_(n_past),
      pinned_(allocate_pinned(model.driver(),
                              kBursts * mail_bytes() + model.buffers().most_decoded() * written_bytes(model.plan()))) {
  for (OwnedEvent& event : arrived_) event = create_event(model.driver());
}

bool DecodeLoop::can_sample(const SamplerOptions& o, std::size_t n_end_tokens) const {
  return (o.temperature == 0 || (o.top_k >= 1 && o.top_k <= 1024)) && o.penalty_window <= kMaxPenaltyWindow &&
         n_end_tokens <= kMaxEndTokens;
}

std::size_t DecodeLoop::mail_bytes() const {
  return most_sequences() * sizeof(kc::Column) +
         model_.options().n_sequences * (sizeof(kc::Sequence) + kRingSize * sizeof(std::int32_t));
}

DecodeLoop::Mail DecodeLoop::mail(std::uint64_t burst) const {
  auto* at = static_cast<std::byte*>(pinned_.get()) + burst % kBursts * mail_bytes();
  Mail m{};
  m.sequences = reinterpret_cast<kc::Sequence*>(at);
  m.columns = reinterpret_cast<kc::Column*>(m.sequences + model_.options().n_sequences);
  m.rings = reinterpret_cast<std::int32_t*>(m.columns + most_sequences());
  return m;
}

kc::SampleParams DecodeLoop::sample_params(const DecodeRequest& request, std::size_t index) const {
  const SamplerOptions& o = request.options;
  const auto at = [&](B::Region region) { return model_.buffers().at(model_.pool(), region); };
  const std::uint64_t n_vocab = model_.plan().hparams.n_vocab;
  kc::SampleParams p{};
  p.logits = at(B::Logits) + index * n_vocab * sizeof(float);
  p.columns = at(B::Columns) + index * sizeof(kc::Column);
  p.sequences = at(B::Sequences);
  p.ring = at(B::Ring);
  p.recent = at(B::Recent);
  p.counts = o.penalty_window == 0 ? 0 : at(B::Counts);
  p.end_tokens = at(B::EndTokens) + index * kMaxEndTokens * sizeof(std::int32_t);
  p.scratch = at(B::Scratch) + index * kc::sample_scratch_elements(static_cast<std::int32_t>(n_vocab)) * 8;
  p.n_vocab = p.logits_stride = static_cast<std::int32_t>(n_vocab);
  p.n_columns = 1;
  p.n_ctx = static_cast<std::int32_t>(model_.options().n_ctx);
  p.ring_size = kRingSize;
  p.n_end_tokens = static_cast<std::int32_t>(request.end_tokens.size());
  p.penalty_window = static_cast<std::int32_t>(o.penalty_window);
  p.recent_stride = kMaxPenaltyWindow;
  p.top_k = static_cast<std::int32_t>(o.top_k);
  p.temperature = o.temperature;
  p.top_p = o.top_p;
  p.min_p = o.min_p;
  p.repeat_penalty = o.repeat_penalty;
  p.presence_penalty = o.presence_penalty;
  p.frequency_penalty = o.frequency_penalty;
  return p;
}

/// A launch for each run of neighbours that sample alike.
std::vector<kc::SampleParams> DecodeLoop::plan_sampling(std::span<const DecodeRequest> requests) const {
  std::vector<kc::SampleParams> out;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (i > 0 && sample_alike(requests[i - 1], requests[i]))
      ++out.back().n_columns;
    else
      out.push_back(sample_params(requests[i], i));
  }
  return out;
}

/// The only host writes of a decode: from here on the device moves its state on by itself.
void DecodeLoop::write_state(std::span<const DecodeRequest> requests) {
  auto* at = static_cast<std::byte*>(pinned_.get()) + kBursts * mail_bytes();
  const auto send = [&](B::Region to, std::size_t index, std::size_t stride, const void* from, std::size_t n_bytes) {
    if (n_bytes == 0) return;
    std::memcpy(at, from, n_bytes);
    model_.copy_in(to, at, n_bytes, index * stride);
    at += n_bytes;
  };
  const std::size_t n_vocab = model_.plan().hparams.n_vocab;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const DecodeRequest& r = requests[i];
    kc::Sequence sequence{};
    sequence.rng = r.state.rng;
    sequence.n_accepted = static_cast<std::uint32_t>(r.state.recent.size());
    sequence.n_left = r.n_predict ? static_cast<std::int32_t>(std::min<std::uint32_t>(*r.n_predict, INT32_MAX)) : -1;
    send(B::Sequences, r.sequence, sizeof sequence, &sequence, sizeof sequence);
    const kc::Column column{0, static_cast<std::int32_t>(r.position) - 1, static_cast<std::int32_t>(r.sequence), 0};
    send(B::Columns, i, sizeof column, &column, sizeof column);
    send(B::EndTokens, i, kMaxEndTokens * sizeof(std::int32_t), r.end_tokens.data(), r.end_tokens.size_bytes());
    if (r.options.penalty_window == 0) continue;
    send(B::Recent, r.sequence, kMaxPenaltyWindow * sizeof(std::int32_t), r.state.recent.data(),
         r.state.recent.size() * sizeof(std::int32_t));
    std::vector<std::int32_t> counts(n_vocab);
    for (const std::int32_t token : r.state.recent) ++counts.at(static_cast<std::size_t>(token));
    send(B::Counts, r.sequence, n_vocab * sizeof(std::int32_t), counts.data(), n_vocab * sizeof(std::int32_t));
  }
}

void DecodeLoop::begin(std::span<const DecodeRequest> requests) {
  APR_CHECK(!requests.empty() && requests.size() <= most_sequences());
  for (const DecodeRequest& r : requests)
    APR_CHECK(can_sample(r.options, r.end_tokens.size()) && r.position > 0 && r.sequence < n_past_.size());
  model_.enter();
  model_.synchronize();  // the pinned memory may still be read by the loop before
  const auto params = plan_sampling(requests);
  const auto same = [](const kc::SampleParams& a, const kc::SampleParams& b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
  };
  if (!std::ranges::equal(captured_, params, same)) {
    captured_.clear();
    sample_.clear();
    for (const kc::SampleParams& p : params) sample_.push_back({kc::launch_sample(p), 0, 0, 0, 0});
    const auto n = static_cast<std::int32_t>(requests.size());
    step_ = model_.list().body_and_head({n, n});
    step_.insert(step_.end(), sample_.begin(), sample_.end());
    if (model_.cuda().graphs) graph_ = model_.capture(step_);
    captured_ = params;
  }
  write_state(requests);
  running_.clear();
  for (const DecodeRequest& r : requests) running_.push_back({.sequence = r.sequence, .rng = r.state.rng});
  n_sent_ = n_received_ = 0;
  ended_ = false;
  model_.launch(sample_);  // the first tokens, from the logits of the prompts
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
  const Mail to = mail(n_sent_);
  const std::size_t slots = model_.options().n_sequences;
  model_.copy_out(to.sequences, B::Sequences, slots * sizeof *to.sequences);
  model_.copy_out(to.columns, B::Columns, running_.size() * sizeof *to.columns);
  model_.copy_out(to.rings, B::Ring, slots * kRingSize * sizeof *to.rings);
  APR_CUDA(model_.driver(), event_record(arrived_[n_sent_ % kBursts].get(), model_.stream()));
  ++n_sent_;
}

void DecodeLoop::require_sound(const kc::Sequence& sequence) {
  if (sequence.error == 0) return;
  throw Error(ErrorCode::Inference, "a logit is not a number that can be sampled from")
      .in(fmt::format("logits[{}]", sequence.error_index))
      .want("finite, or -infinity for a banned token")
      .got(fmt::format("error {} of the sampler on the device after {} tokens", sequence.error, sequence.n_produced));
}

std::span<const DecodedToken> DecodeLoop::next() {
  tokens_.clear();
  if (ended_) return {};
  model_.enter();
  APR_CUDA(model_.driver(), event_synchronize(arrived_[n_received_ % kBursts].get()));
  const Mail from = mail(n_received_++);
  ended_ = true;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Running& r = running_[i];
    const kc::Sequence& sequence = from.sequences[r.sequence];
    for (; r.n_read != sequence.n_produced; ++r.n_read)
      tokens_.push_back({r.sequence, from.rings[r.sequence * kRingSize + r.n_read % kRingSize]});
    r.rng = sequence.rng;
    require_sound(sequence);
    ended_ = ended_ && from.columns[i].stopped != 0;
  }
  if (!ended_) send_burst(kBurst);
  return tokens_;
}

std::vector<std::uint64_t> DecodeLoop::end(std::span<const std::uint32_t> n_past) {
  APR_CHECK(n_past.size() == running_.size());
  std::vector<std::uint64_t> rng;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    n_past_[running_[i].sequence] = n_past[i];
    rng.push_back(running_[i].rng);
  }
  ended_ = true;
  model_.synchronize();
  return rng;
}

}  // namespace apr::engine::cuda
