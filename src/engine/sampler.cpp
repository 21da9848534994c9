#include "apr/engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "apr/core/error.h"

namespace apr::engine {
namespace {

using Candidate = Sampler::Candidate;

/// Most probable first; the smaller id among equals, so that the order is one and the same everywhere.
bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

/// Probabilities of candidates sorted by before().
std::vector<double> softmax(const std::vector<Candidate>& candidates, double temperature) {
  std::vector<double> out;
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    out.push_back(std::exp((candidate.logit - candidates.front().logit) / temperature));
    sum += out.back();
  }
  for (double& p : out) p /= sum;
  return out;
}

void keep_top_k(std::vector<Candidate>& candidates, std::uint32_t k) {
  if (k == 0 || k >= candidates.size()) {
    std::sort(candidates.begin(), candidates.end(), before);
    return;
  }
  std::partial_sort(candidates.begin(), candidates.begin() + k, candidates.end(), before);
  candidates.resize(k);
}

void keep_top_p(std::vector<Candidate>& candidates, double p) {
  if (p >= 1) return;
  const std::vector<double> probabilities = softmax(candidates, 1);
  double sum = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    sum += probabilities[i];
    if (sum >= p) {
      candidates.resize(i + 1);
      return;
    }
  }
}

void keep_min_p(std::vector<Candidate>& candidates, double min_p) {
  if (min_p <= 0) return;
  const double lowest = candidates.front().logit + std::log(min_p);  // same test as on probabilities, without a sum
  std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.logit < lowest; });
}

}  // namespace

void check_options(const SamplerOptions& o) {
  const auto require = [](bool holds, const char* field, const char* expected, double found) {
    if (holds) return;
    throw Error(ErrorCode::Usage, "a sampling option is out of range")
        .in(field)
        .want(expected)
        .got(fmt::format("{}", found));
  };
  const auto finite = [](double v) { return std::isfinite(v); };
  require(o.temperature >= 0 && finite(o.temperature), "temperature", "a finite number, 0 or more", o.temperature);
  require(o.top_p > 0 && o.top_p <= 1, "top_p", "above 0 and at most 1", o.top_p);
  require(o.min_p >= 0 && o.min_p <= 1, "min_p", "0 to 1", o.min_p);
  require(o.repeat_penalty > 0 && finite(o.repeat_penalty), "repeat_penalty", "a finite number above 0",
          o.repeat_penalty);
  require(finite(o.presence_penalty), "presence_penalty", "a finite number", o.presence_penalty);
  require(finite(o.frequency_penalty), "frequency_penalty", "a finite number", o.frequency_penalty);
  constexpr std::uint32_t kMaxWindow = 1u << 20;
  require(o.penalty_window <= kMaxWindow, "penalty_window", "at most 1048576", o.penalty_window);
}

Sampler::Sampler(const SamplerOptions& options) : options_(options), state_(options.seed) { check_options(options); }

void Sampler::accept(std::int32_t token) {
  if (options_.penalty_window == 0) return;
  if (recent_.size() < options_.penalty_window) {
    recent_.push_back(token);
  } else {
    std::int32_t& oldest = recent_[next_slot_];
    if (const auto at = counts_.find(oldest); --at->second == 0) counts_.erase(at);
    oldest = token;
    next_slot_ = (next_slot_ + 1) % recent_.size();
  }
  ++counts_[token];
}

Sampler::State Sampler::state() const {
  State out{state_, {}};
  for (std::size_t i = 0; i < recent_.size(); ++i) out.recent.push_back(recent_[(next_slot_ + i) % recent_.size()]);
  return out;
}

std::vector<double> Sampler::penalised(std::span<const float> logits) const {
  std::vector<double> out(logits.begin(), logits.end());
  bool any_finite = false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (std::isnan(out[i]) || out[i] == std::numeric_limits<double>::infinity()) {
      throw Error(ErrorCode::Inference, "a logit is not a number that can be sampled from")
          .in(fmt::format("logits[{}]", i))
          .want("finite, or -infinity for a banned token")
          .got(fmt::format("{}", out[i]));
    }
    any_finite = any_finite || std::isfinite(out[i]);
  }
  if (!any_finite) throw Error(ErrorCode::Inference, "no token is left to sample from").in("logits");
  for (const auto& [token, count] : counts_) {
    if (token < 0 || static_cast<std::size_t>(token) >= out.size()) continue;
    double& logit = out[static_cast<std::size_t>(token)];
    logit = logit > 0 ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
    logit -= options_.presence_penalty + count * options_.frequency_penalty;
  }
  return out;
}

bool Sampler::penalises() const noexcept {
  return !counts_.empty() &&
         (options_.repeat_penalty != 1 || options_.presence_penalty != 0 || options_.frequency_penalty != 0);
}

/// The largest logit of a vocabulary read in place; nothing where it holds one that penalised() refuses, or none
/// finite.
std::optional<std::int32_t> Sampler::largest(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float most = -kInfinity;
  std::int32_t token = -1;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] < kInfinity)) return std::nullopt;
    if (logits[i] > most) most = logits[i], token = static_cast<std::int32_t>(i);
  }
  return token < 0 ? std::nullopt : std::optional(token);
}

Sampler::Distribution Sampler::distribution(std::span<const float> logits) const {
  if (options_.temperature == 0 && !penalises())
    if (const auto best = largest(logits)) return {{*best}, {1.0}};
  const std::vector<double> adjusted = penalised(logits);
  std::vector<Candidate> candidates;
  candidates.reserve(adjusted.size());
  for (std::size_t i = 0; i < adjusted.size(); ++i) {
    if (std::isfinite(adjusted[i])) candidates.push_back({static_cast<std::int32_t>(i), adjusted[i]});
  }
  if (options_.temperature == 0) {
    const auto best = std::min_element(candidates.begin(), candidates.end(), before);
    return {{best->token}, {1.0}};
  }
  keep_top_k(candidates, options_.top_k);
  keep_top_p(candidates, options_.top_p);
  keep_min_p(candidates, options_.min_p);
  Distribution out;
  out.probabilities = softmax(candidates, options_.temperature);
  for (const Candidate& candidate : candidates) out.tokens.push_back(candidate.token);
  return out;
}

std::int32_t Sampler::sample(std::span<const float> logits) {
  const Distribution choices = distribution(logits);
  if (choices.tokens.size() == 1) return choices.tokens.front();
  const double drawn = next_uniform();
  double sum = 0;
  for (std::size_t i = 0; i < choices.tokens.size(); ++i) {
    sum += choices.probabilities[i];
    if (drawn < sum) return choices.tokens[i];
  }
  return choices.tokens.back();  // rounding left the sum below 1
}

/// SplitMix64 (Steele, Lea, Flood 2014), its upper 53 bits as a number in [0, 1).
double Sampler::next_uniform() noexcept {
  state_ += 0x9E3779B97F4A7C15ull;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1.0p-53;
}

}  // namespace apr::engine
