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

enum class Speculate : std::uint8_t { Off, Ngram };

struct GenerateOptions {
  std::optional<std::uint32_t>
      n_predict;                         // most tokens to generate; nothing: until an end token or the context is full
  std::vector<std::int32_t> end_tokens;  // ids that end the generation; not part of the result
  /// Ngram: what followed earlier in the text is run together with the next token, and kept as far as the sampler
  /// chooses the same. Never changes a token where an executor gives the same bits for any cut of its input (exact and
  /// fast do).
  Speculate speculate = Speculate::Off;
};

/// Wall times of one generate(). Rates are null where nothing was timed.
struct Timings {
  std::uint32_t n_prompt = 0;                   // prompt tokens run (those kept from before not counted)
  std::uint32_t n_kept = 0;                     // prompt tokens that the context held already
  double prompt_s = 0;                          // from the start until the logits of the last prompt token
  double first_token_s = 0;                     // from the start until the first token was sampled
  std::uint32_t n_decoded = 0;                  // tokens run after the first, one by one unless drafts were accepted
  double decode_s = 0;                          // of those runs, sampling included
  std::uint32_t n_passes = 0;                   // runs of the model for them
  std::uint32_t n_drafted = 0, n_accepted = 0;  // tokens that speculation proposed, and of those the ones that stood
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

  /// generate() for a whole conversation, prompt caching included: of what the context holds, the longest common
  /// beginning stays, the rest is forgotten, and only the tokens behind it are run (always the last). Sampling starts
  /// anew. So the tokens are those of a new Session for the same conversation. The executors keep every position of
  /// every layer, also of layers with a sliding window, so going back needs nothing that is gone.
  Generated respond(std::span<const std::int32_t> conversation, const GenerateOptions& options,
                    const std::function<bool(std::int32_t)>& on_token = {});

  /// Positions in use.
  [[nodiscard]] std::uint32_t n_past() const noexcept { return static_cast<std::uint32_t>(text_.size()); }
  /// Forgets everything from position `n` on.
  void rewind(std::uint32_t n);

 private:
  /// Runs the prompt; false when interrupted.
  bool prefill(std::span<const std::int32_t> prompt);
  void generate_on_device(DeviceDecoder& decoder, Clock::time_point start, const GenerateOptions& options,
                          const std::function<bool(std::int32_t)>& on_token, Generated& out);
  /// Runs `token` behind the context, with a draft where there is one; or, when a draft has it, takes what is there.
  void decode(std::int32_t token, const GenerateOptions& options, Generated& out);
  /// Of the last token of the context.
  [[nodiscard]] std::span<const float> logits() const;
  Executor& executor_;
  Sampler sampler_;
  std::vector<std::int32_t> text_;   // the tokens at the positions in use
  std::vector<float> logits_;        // rows: of the last token that was run, then of each token drafted behind it
  std::vector<std::int32_t> draft_;  // run, but not yet part of the text
  std::size_t n_accepted_ = 0;       // of the draft
  std::size_t draft_length_ = 0;     // that the next draft may have
};

}  // namespace apr::engine
