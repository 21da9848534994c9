// From logits to a token.
//
// The steps run in this order: penalties, then temperature 0 takes the largest logit; otherwise top-k, top-p, min-p,
// temperature, softmax and one draw. llama.cpp's default chain is penalties, dry, top-n-sigma, top-k, typical, top-p,
// min-p, xtc, temperature: with the samplers that apr lacks switched off (their default), the order is the same.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace apr::engine {

struct SamplerOptions {
  double temperature = 0.8;     // >= 0; 0 = greedy: the largest logit, the smallest id among equals
  std::uint32_t top_k = 40;     // keep the k largest logits; 0 = all
  double top_p = 0.95;          // keep the fewest most probable tokens whose probabilities reach p; (0, 1], 1 = all
  double min_p = 0.05;          // drop what is less probable than min_p times the most probable; [0, 1], 0 = none
  double repeat_penalty = 1;    // > 0; logits of recent tokens: divided by it when positive, multiplied when not (CTRL)
  double presence_penalty = 0;  // subtracted once from the logit of each recent token
  double frequency_penalty = 0;       // subtracted for each time that a recent token occurred
  std::uint32_t penalty_window = 64;  // how many last tokens are recent; 0 = penalties off
  std::uint64_t seed = 0;
};
/// Throws Usage naming the option, its rule and the value (NaN breaks every rule).
void check_options(const SamplerOptions& options);

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);
  /// Tells the sampler of a token that is now part of the text (prompt tokens, too).
  void accept(std::int32_t token);
  /// Draws the next token. Same options, same accepted tokens, same logits: same token, on any machine.
  /// Throws Inference when a logit is NaN or +infinity, or none is finite; -infinity bans a token.
  [[nodiscard]] std::int32_t sample(std::span<const float> logits);

  /// Everything that the next draw depends on, besides the options: for a sampler that runs elsewhere.
  struct State {
    std::uint64_t rng = 0;
    std::vector<std::int32_t> recent;  // the tokens that penalties see, oldest first
  };
  [[nodiscard]] State state() const;
  /// Goes on as if the draws had been made here: the tokens are accepted one by one.
  void set_rng(std::uint64_t rng) noexcept { state_ = rng; }
  [[nodiscard]] const SamplerOptions& options() const noexcept { return options_; }

  struct Candidate {
    std::int32_t token;
    double logit;
  };
  /// What sample() draws from: the tokens left, most probable first, with their probabilities (sum 1).
  struct Distribution {
    std::vector<std::int32_t> tokens;
    std::vector<double> probabilities;
  };
  [[nodiscard]] Distribution distribution(std::span<const float> logits) const;
  /// The logits after penalties, by token.
  [[nodiscard]] std::vector<double> penalised(std::span<const float> logits) const;

 private:
  [[nodiscard]] double next_uniform() noexcept;
  /// Whether penalties change any logit.
  [[nodiscard]] bool penalises() const noexcept;
  [[nodiscard]] static std::optional<std::int32_t> largest(std::span<const float> logits);
  SamplerOptions options_;
  std::uint64_t state_;
  std::vector<std::int32_t> recent_;  // ring of the last penalty_window tokens
  std::size_t next_slot_ = 0;
  std::unordered_map<std::int32_t, std::uint32_t> counts_;  // of the tokens in the ring
};

}  // namespace apr::engine
