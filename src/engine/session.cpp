#include "apr/engine/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "apr/core/error.h"
#include "apr/core/file.h"

namespace apr::engine {
namespace {

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::optional<double> rate(std::uint32_t count, double seconds) {
  return count > 0 && seconds > 0 ? std::optional(count / seconds) : std::nullopt;
}

}  // namespace

std::string_view name(FinishReason reason) noexcept {
  constexpr std::string_view kNames[] = {"end_of_generation", "length", "context_full", "stopped", "interrupted"};
  return kNames[static_cast<std::size_t>(reason)];
}

std::optional<double> Timings::prompt_rate() const noexcept {
  return rate(n_prompt, prompt_s);
}
std::optional<double> Timings::decode_rate() const noexcept {
  return rate(n_decoded, decode_s);
}

Session::Session(Executor& executor, const SamplerOptions& sampler)
    : executor_(executor), sampler_(sampler), logits_(executor.plan().hparams.n_vocab) {}

void Session::rewind(std::uint32_t n) {
  n_past_ = std::min(n_past_, n);
}

bool Session::prefill(std::span<const std::int32_t> prompt) {
  const std::size_t piece = executor_.options().n_batch;
  for (std::size_t at = 0; at < prompt.size(); at += piece) {
    if (interrupted.load()) return false;
    const auto tokens = prompt.subspan(at, std::min(piece, prompt.size() - at));
    const bool last = at + tokens.size() == prompt.size();
    executor_.forward(tokens, n_past_, last ? LogitsRequest::Last : LogitsRequest::None, last ? std::span(logits_) : std::span<float>());
    n_past_ += static_cast<std::uint32_t>(tokens.size());
  }
  for (const std::int32_t token : prompt) sampler_.accept(token);
  return true;
}

Generated Session::generate(std::span<const std::int32_t> prompt, const GenerateOptions& options,
                            const std::function<bool(std::int32_t)>& on_token) {
  const std::uint32_t n_ctx = executor_.options().n_ctx;
  if (prompt.empty()) throw Error(ErrorCode::Usage, "there is no prompt").want("at least one token").got("0");
  if (prompt.size() > n_ctx - n_past_) {
    throw Error(ErrorCode::Usage, "the prompt is longer than the context")
        .want(fmt::format("at most {} tokens (context {}, {} in use)", n_ctx - n_past_, n_ctx, n_past_))
        .got(fmt::format("{} tokens", prompt.size()))
        .help("a longer context: --ctx, up to what the model was trained for");
  }
  Generated out;
  const auto start = Clock::now();
  if (!prefill(prompt)) {
    out.reason = FinishReason::Interrupted;
    return out;
  }
  out.timings.n_prompt = static_cast<std::uint32_t>(prompt.size());
  out.timings.prompt_s = seconds_since(start);
  if (DeviceDecoder* decoder = executor_.decoder();
      decoder != nullptr && decoder->can_sample(sampler_.options(), options.end_tokens.size())) {
    generate_on_device(*decoder, start, options, on_token, out);
    return out;
  }
  for (auto decode_start = start;;) {
    if (options.n_predict && out.tokens.size() >= *options.n_predict) return out;
    if (interrupted.load()) {
      out.reason = FinishReason::Interrupted;
      return out;
    }
    const std::array<std::int32_t, 1> next = {sampler_.sample(logits_)};
    if (out.tokens.empty()) {
      out.timings.first_token_s = seconds_since(start);
      decode_start = Clock::now();
    } else {
      out.timings.decode_s = seconds_since(decode_start);
    }
    if (std::ranges::find(options.end_tokens, next[0]) != options.end_tokens.end()) {
      out.reason = FinishReason::EndOfGeneration;
      return out;
    }
    sampler_.accept(next[0]);
    out.tokens.push_back(next[0]);
    if (on_token && !on_token(next[0])) {
      out.reason = FinishReason::Stopped;
      return out;
    }
    if (n_past_ >= n_ctx) {
      out.reason = FinishReason::ContextFull;
      return out;
    }
    if (options.n_predict && out.tokens.size() >= *options.n_predict) return out;  // its logits would go unused
    executor_.forward(next, n_past_, LogitsRequest::Last, logits_);
    ++n_past_;
    ++out.timings.n_decoded;
    out.timings.decode_s = seconds_since(decode_start);
  }
}

/// The same steps with the tokens read behind: what the device computed after the one that ends it is discarded.
void Session::generate_on_device(DeviceDecoder& decoder, Clock::time_point start, const GenerateOptions& options,
                                 const std::function<bool(std::int32_t)>& on_token, Generated& out) {
  const std::uint32_t n_ctx = executor_.options().n_ctx;
  const auto full = [&] { return options.n_predict && out.tokens.size() >= *options.n_predict; };
  if (full()) return;
  decoder.begin({sampler_.options(), sampler_.state(), options.end_tokens, options.n_predict, n_past_});
  auto decode_start = start;
  for (bool going = true; going;) {
    const std::span<const std::int32_t> burst = decoder.next();
    APR_CHECK(!burst.empty());  // one of the reasons below came first
    if (out.tokens.empty()) {
      out.timings.first_token_s = seconds_since(start);
      decode_start = Clock::now();
    } else {
      out.timings.decode_s = seconds_since(decode_start);
    }
    for (const std::int32_t token : burst) {
      going = false;
      if (interrupted.load()) {
        out.reason = FinishReason::Interrupted;
        break;
      }
      if (std::ranges::find(options.end_tokens, token) != options.end_tokens.end()) {
        out.reason = FinishReason::EndOfGeneration;
        break;
      }
      sampler_.accept(token);
      out.tokens.push_back(token);
      if (on_token && !on_token(token)) {
        out.reason = FinishReason::Stopped;
        break;
      }
      if (n_past_ >= n_ctx) {
        out.reason = FinishReason::ContextFull;
        break;
      }
      if (full()) break;
      ++n_past_;
      ++out.timings.n_decoded;
      going = true;
    }
  }
  sampler_.set_rng(decoder.end(n_past_));
}

}  // namespace apr::engine
