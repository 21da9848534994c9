// One conversation with a model: prompt tokens in, generated tokens out. The file to read first in this folder.
//
// A Session owns no model: it feeds an Executor (executor.h), which runs the model's Plan, and asks a Sampler
// (sampler.h) for each next token. Text is not its business: it speaks token ids, and the caller knows the tokenizer.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "apr/engine/executor.h"
#include "apr/engine/sampler.h"

namespace apr::engine {

enum class FinishReason : std::uint8_t {
  EndOfGeneration,  // the model produced one of the end tokens
  Length,           // n_predict tokens were generated
  ContextFull,      // no position of the context is left
  Stopped,          // the callback said so
  Interrupted,      // Ctrl-C
};
[[nodiscard]] std::string_view name(FinishReason reason) noexcept;  // "end_of_generation", "length", ...

struct GenerateOptions {
  std::optional<std::uint32_t>
      n_predict;                         // most tokens to generate; nothing: until an end token or the context is full
  std::vector<std::int32_t> end_tokens;  // ids that end the generation; not part of the result
};

/// Wall times of one generate(). Rates are null where nothing was timed.
struct Timings {
  std::uint32_t n_prompt = 0;   // prompt tokens run (those kept from before not counted)
  double prompt_s = 0;          // from the start until the logits of the last prompt token
  double first_token_s = 0;     // from the start until the first token was sampled
  std::uint32_t n_decoded = 0;  // tokens run one by one after the first
  double decode_s = 0;          // of those runs, sampling included
  [[nodiscard]] std::optional<double> prompt_rate() const noexcept;  // tokens per second
  [[nodiscard]] std::optional<double> decode_rate() const noexcept;
};

struct Generated {
  std::vector<std::int32_t> tokens;
  FinishReason reason = FinishReason::Length;
  Timings timings;
};

class Session {
 public:
  /// The executor must outlive the session.
  Session(Executor& executor, const SamplerOptions& sampler);

  /// Runs `prompt` behind what the context already holds, in pieces of at most n_batch tokens, then samples and runs
  /// one token after the other. `on_token` sees each as soon as it is known; returning false stops. Ctrl-C
  /// (apr::interrupted) is polled between pieces and tokens and ends it with what there is. Throws Usage (empty prompt,
  /// an id outside the vocabulary, a prompt longer than the context left, with the numbers) and Inference (logits that
  /// are not finite).
  Generated generate(std::span<const std::int32_t> prompt, const GenerateOptions& options,
                     const std::function<bool(std::int32_t)>& on_token = {});

  /// Positions in use.
  [[nodiscard]] std::uint32_t n_past() const noexcept { return n_past_; }
  /// Forgets everything from position `n` on.
  void rewind(std::uint32_t n);

 private:
  /// Runs the prompt; false when interrupted.
  bool prefill(std::span<const std::int32_t> prompt);
  void generate_on_device(DeviceDecoder& decoder, Clock::time_point start, const GenerateOptions& options,
                          const std::function<bool(std::int32_t)>& on_token, Generated& out);
  Executor& executor_;
  Sampler sampler_;
  std::vector<float> logits_;  // of the last token
  std::uint32_t n_past_ = 0;
};

}  // namespace apr::engine
