#include "apr/engine/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "apr/core/error.h"
#include "apr/core/file.h"
#include "src/engine/ngram.h"

namespace apr::engine {
namespace {

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::optional<double> rate(std::uint32_t count, double seconds) {
  return count > 0 && seconds > 0 ? std::optional(count / seconds) : std::nullopt;
}

}  // namespace

std::string_view name(FinishReason reason) noexcept {
  constexpr std::string_view kNames[] = {"end_of_generation", "length", "context_full", "stopped", "interrupted"};
  return kNames[static_cast<std::size_t>(reason)];
}

std::optional<double> Timings::prompt_rate() const noexcept { return rate(n_prompt, prompt_s); }
std::optional<double> Timings::decode_rate() const noexcept { return rate(n_decoded, decode_s); }

Session::Session(Executor& executor, const SamplerOptions& sampler)
    : executor_(executor), sampler_(sampler), logits_(executor.plan().hparams.n_vocab) {}

void Session::rewind(std::uint32_t n) {
  if (n < text_.size()) text_.resize(n);
}

std::span<const float> Session::logits() const {
  const std::size_t n_vocab = executor_.plan().hparams.n_vocab;
  return std::span(logits_).subspan(n_accepted_ * n_vocab, n_vocab);
}

void Session::decode(std::int32_t token, const GenerateOptions& options, Generated& out) {
  // Together with its token a draft fills blocks of 2, 4, 8 or 16 tokens, as the kernels take them.
  constexpr std::size_t kShortest = 1, kFirst = 3, kLongest = 15;
  ++out.timings.n_decoded;
  text_.push_back(token);
  if (n_accepted_ < draft_.size() && draft_[n_accepted_] == token) {
    ++n_accepted_;
    ++out.timings.n_accepted;
    return;
  }
  const std::uint32_t position = n_past() - 1;
  std::vector<std::int32_t> run = {token};
  if (options.speculate == Speculate::Ngram) {
    if (draft_length_ == 0) draft_length_ = kFirst;
    if (!draft_.empty() && n_accepted_ == draft_.size()) draft_length_ = std::min(2 * draft_length_ + 1, kLongest);
    if (!draft_.empty() && n_accepted_ == 0) draft_length_ = std::max(draft_length_ / 2, kShortest);
    std::size_t most = std::min<std::size_t>(draft_length_, executor_.options().n_ctx - n_past());
    most = std::min<std::size_t>(most, executor_.options().n_batch - 1);
    if (options.n_predict) most = std::min(most, *options.n_predict - out.tokens.size() - 1);
    std::ranges::copy(ngram_draft(text_, most), std::back_inserter(run));
  }
  draft_.assign(run.begin() + 1, run.end());
  n_accepted_ = 0;
  logits_.resize(run.size() * executor_.plan().hparams.n_vocab);
  text_.pop_back();  // a run that fails leaves the text as it was
  executor_.forward(run, position, run.size() == 1 ? LogitsRequest::Last : LogitsRequest::All, logits_);
  text_.push_back(token);
  ++out.timings.n_passes;
  out.timings.n_drafted += static_cast<std::uint32_t>(draft_.size());
}

bool Session::prefill(std::span<const std::int32_t> prompt) {
  const std::size_t piece = executor_.options().n_batch;
  draft_.clear();
  n_accepted_ = draft_length_ = 0;
  logits_.resize(executor_.plan().hparams.n_vocab);
  for (std::size_t at = 0; at < prompt.size(); at += piece) {
    if (interrupted.load()) return false;
    const auto tokens = prompt.subspan(at, std::min(piece, prompt.size() - at));
    const bool last = at + tokens.size() == prompt.size();
    executor_.forward(tokens, n_past(), last ? LogitsRequest::Last : LogitsRequest::None,
                      last ? std::span(logits_) : std::span<float>());
    text_.insert(text_.end(), tokens.begin(), tokens.end());
  }
  for (const std::int32_t token : prompt) sampler_.accept(token);
  return true;
}

Generated Session::generate(std::span<const std::int32_t> prompt, const GenerateOptions& options,
                            const std::function<bool(std::int32_t)>& on_token) {
  const std::uint32_t n_ctx = executor_.options().n_ctx;
  if (prompt.empty()) throw Error(ErrorCode::Usage, "there is no prompt").want("at least one token").got("0");
  if (prompt.size() > n_ctx - n_past()) {
    throw Error(ErrorCode::Usage, "the prompt is longer than the context")
        .want(fmt::format("at most {} tokens (context {}, {} in use)", n_ctx - n_past(), n_ctx, n_past()))
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
      options.speculate == Speculate::Off && decoder != nullptr &&
      decoder->can_sample(sampler_.options(), options.end_tokens.size())) {
    generate_on_device(*decoder, start, options, on_token, out);
    return out;
  }
  for (auto decode_start = start;;) {
    if (options.n_predict && out.tokens.size() >= *options.n_predict) return out;
    if (interrupted.load()) {
      out.reason = FinishReason::Interrupted;
      return out;
    }
    const std::int32_t next = sampler_.sample(logits());
    if (out.tokens.empty()) {
      out.timings.first_token_s = seconds_since(start);
      decode_start = Clock::now();
    } else {
      out.timings.decode_s = seconds_since(decode_start);
    }
    if (std::ranges::find(options.end_tokens, next) != options.end_tokens.end()) {
      out.reason = FinishReason::EndOfGeneration;
      return out;
    }
    sampler_.accept(next);
    out.tokens.push_back(next);
    if (on_token && !on_token(next)) {
      out.reason = FinishReason::Stopped;
      return out;
    }
    if (n_past() >= n_ctx) {
      out.reason = FinishReason::ContextFull;
      return out;
    }
    if (options.n_predict && out.tokens.size() >= *options.n_predict) return out;  // its logits would go unused
    decode(next, options, out);
    out.timings.decode_s = seconds_since(decode_start);
  }
}

Generated Session::respond(std::span<const std::int32_t> conversation, const GenerateOptions& options,
                           const std::function<bool(std::int32_t)>& on_token) {
  const auto shared = static_cast<std::size_t>(std::ranges::mismatch(conversation, text_).in1 - conversation.begin());
  const std::size_t kept = conversation.empty() ? 0 : std::min(shared, conversation.size() - 1);
  rewind(static_cast<std::uint32_t>(kept));
  sampler_ = Sampler(sampler_.options());
  for (const std::int32_t token : conversation.first(kept)) sampler_.accept(token);
  Generated out = generate(conversation.subspan(kept), options, on_token);
  out.timings.n_kept = static_cast<std::uint32_t>(kept);
  return out;
}

/// The same steps with the tokens read behind: what the device computed after the one that ends it is discarded.
void Session::generate_on_device(DeviceDecoder& decoder, Clock::time_point start, const GenerateOptions& options,
                                 const std::function<bool(std::int32_t)>& on_token, Generated& out) {
  const std::uint32_t n_ctx = executor_.options().n_ctx;
  const auto full = [&] { return options.n_predict && out.tokens.size() >= *options.n_predict; };
  if (full()) return;
  const DecodeRequest request{sampler_.options(), sampler_.state(), options.end_tokens, options.n_predict, n_past()};
  decoder.begin(std::span(&request, 1));
  auto decode_start = start;
  for (bool going = true; going;) {
    const std::span<const DecodedToken> burst = decoder.next();
    APR_CHECK(!burst.empty());  // one of the reasons below came first
    if (out.tokens.empty()) {
      out.timings.first_token_s = seconds_since(start);
      decode_start = Clock::now();
    } else {
      out.timings.decode_s = seconds_since(decode_start);
    }
    for (const DecodedToken& made : burst) {
      const std::int32_t token = made.token;
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
      if (n_past() >= n_ctx) {
        out.reason = FinishReason::ContextFull;
        break;
      }
      if (full()) break;
      text_.push_back(token);
      ++out.timings.n_decoded;
      ++out.timings.n_passes;
      going = true;
    }
  }
  const std::uint32_t kept = n_past();
  sampler_.set_rng(decoder.end(std::span(&kept, 1)).front());
}

}  // namespace apr::engine
