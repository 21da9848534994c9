// Gates that run the model: load, determinism, throughput.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <fstream>

#include "apr/core/file.h"
#include "apr/core/text.h"
#include "apr/core/thread_pool.h"
#include "apr/engine/session.h"
#include "gate.h"

namespace apr::qa {
namespace {

constexpr double kMemorySlack = 1.2;                  // allocators round up
constexpr std::uint64_t kMemoryConstant = 64u << 20;  // stacks, tables, the threads' own memory

/// Memory of this process that is no file's (RssAnon of /proc/self/status); nothing where it cannot be read.
std::optional<std::uint64_t> anonymous_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("RssAnon:")) continue;
    const std::size_t digit = line.find_first_of("0123456789"), end = line.find(' ', digit);
    if (digit == std::string::npos) return std::nullopt;
    const auto kib = parse_u64(std::string_view(line).substr(digit, end - digit));
    return kib ? std::optional(*kib * 1024) : std::nullopt;
  }
  return std::nullopt;
}

/// Ids that need no tokenizer: a fixed sequence (Lehmer generator modulo 2^31 - 1, Park and Miller 1988).
std::vector<std::int32_t> drawn_tokens(std::uint32_t n_vocab, std::size_t count) {
  std::vector<std::int32_t> tokens;
  std::uint64_t state = 20231;
  while (tokens.size() < count) {
    state = state * 48271 % 2147483647;
    tokens.push_back(static_cast<std::int32_t>(state % n_vocab));
  }
  return tokens;
}

/// Logits of every position, the prompt cut into pieces of at most `piece` tokens. Filled with NaN before.
std::vector<float> logits_of(engine::Executor& executor, std::span<const std::int32_t> tokens, std::size_t piece) {
  const std::size_t n_vocab = executor.plan().hparams.n_vocab;
  std::vector<float> logits(tokens.size() * n_vocab, NAN);
  piece = std::min<std::size_t>(piece, executor.options().n_batch);
  for (std::size_t at = 0; at < tokens.size(); at += piece) {
    check_interrupted();
    const auto part = tokens.subspan(at, std::min(piece, tokens.size() - at));
    executor.forward(part, static_cast<std::uint32_t>(at), engine::LogitsRequest::All,
                     std::span(logits).subspan(at * n_vocab, part.size() * n_vocab));
  }
  return logits;
}

/// Counts the logits compared, and names the first that differs in a bit.
void compare_bits(GateRun& run, const std::vector<float>& expected, const std::vector<float>& got, std::size_t n_vocab,
                  const std::string& what) {
  run.compared(expected.size());
  const auto differs = [](float a, float b) {
    return std::bit_cast<std::uint32_t>(a) != std::bit_cast<std::uint32_t>(b);
  };
  std::uint64_t n = 0;
  std::size_t first = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!differs(expected[i], got[i]) && std::isfinite(got[i])) continue;
    if (n++ == 0) first = i;
  }
  if (n == 0) return;
  Finding& finding = run.fail("qa.determinism.bits", "logits differ between runs: " + what);
  finding.field = fmt::format("position {}, token {}", first / n_vocab, first % n_vocab);
  finding.expected = fmt::format("{:a}", expected[first]);
  finding.found = fmt::format("{:a}; {} of {} logits differ", got[first], n, expected.size());
}

}  // namespace

void run_gate_Load(GateRun& run) {
  run.of("memory figures");
  if (std::string line = run.subject.lacks_plan(); !line.empty()) return run.skip(std::move(line));
  const auto before = anonymous_memory();
  const auto start = std::chrono::steady_clock::now();
  const auto& step = run.subject.executor();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  run.compared();  // planned against free memory: the executor refuses what does not fit
  if (step.error) {
    run.fail("qa.load.executor", *step.error);
    return;
  }
  const engine::Executor& executor = **step.value;
  const std::uint64_t planned = executor.memory().allocated_bytes();
  run.measure("load", seconds, "s");
  run.measure("planned_memory", static_cast<double>(planned), "bytes");
  if (const auto after = anonymous_memory(); before && after) {
    const std::uint64_t grown = *after > *before ? *after - *before : 0;
    const auto allowed = static_cast<std::uint64_t>(static_cast<double>(planned) * kMemorySlack) + kMemoryConstant;
    run.measure("memory_taken", static_cast<double>(grown), "bytes");
    run.compared();
    if (grown > allowed) {
      Finding& finding = run.fail("qa.load.memory", "loading takes more memory than was planned");
      finding.expected = fmt::format("at most {} (planned {}, plus {:.0f} % and {})", human_bytes(allowed),
                                     human_bytes(planned), 100 * (kMemorySlack - 1), human_bytes(kMemoryConstant));
      finding.found = human_bytes(grown);
    }
  }
  for (const std::string& note : executor.notes()) run.add(Severity::Info, "qa.load.slow", note);
  run.note(fmt::format("{} in {:.2f} s: {}", executor.name(), seconds,
                       engine::describe(executor.memory(), executor.options().n_ctx)));
}

void run_gate_Determinism(GateRun& run) {
  run.of("logits, bit for bit");
  if (std::string line = run.subject.lacks_executor(); !line.empty()) return run.skip(std::move(line));
  constexpr std::size_t kTokens = 32;
  constexpr std::size_t kPiece = 7;  // divides no power of two
  std::vector<float> expected;
  std::size_t n_vocab = 0, n_tokens = 0;
  unsigned n_threads = 0;
  std::vector<std::int32_t> tokens;
  {
    engine::Executor& executor = **run.subject.executor().value;
    n_vocab = executor.plan().hparams.n_vocab;
    n_threads = executor.options().n_threads;
    n_tokens = std::min<std::size_t>(kTokens, executor.options().n_ctx);
    tokens = drawn_tokens(static_cast<std::uint32_t>(n_vocab), n_tokens);
    expected = logits_of(executor, tokens, n_tokens);
    compare_bits(run, expected, logits_of(executor, tokens, n_tokens), n_vocab, "the same run again");
    compare_bits(run, expected, logits_of(executor, tokens, kPiece), n_vocab,
                 fmt::format("the prompt cut into pieces of {}", kPiece));
    compare_bits(run, expected, logits_of(executor, tokens, 1), n_vocab, "one token at a time");
  }
  const unsigned others = n_threads == 1 ? 2 : 1;
  run.subject.drop_executor();
  {
    const auto executor = run.subject.make_executor(others);
    compare_bits(run, expected, logits_of(*executor, tokens, n_tokens), n_vocab,
                 fmt::format("{} threads instead of {}", others, n_threads));
  }
  run.note(fmt::format("{} positions: again, in pieces of {}, one by one, and with {} instead of {} threads", n_tokens,
                       kPiece, others, n_threads));
}

void run_gate_Throughput(GateRun& run) {
  run.of("rates");
  if (std::string line = run.subject.lacks_executor(); !line.empty()) return run.skip(std::move(line));
  engine::Executor& executor = **run.subject.executor().value;
  constexpr std::uint32_t kPrompt = 128, kDecoded = 32;
  constexpr int kRounds = 3;
  const std::uint32_t n_ctx = executor.options().n_ctx;
  const std::uint32_t n_prompt = std::max(1U, std::min(kPrompt, n_ctx / 2)),
                      n_decoded = std::min(kDecoded, n_ctx - n_prompt);
  const auto prompt = drawn_tokens(executor.plan().hparams.n_vocab, n_prompt);
  engine::SamplerOptions greedy;
  greedy.temperature = 0;
  std::vector<double> prompt_rates, decode_rates;
  for (int round = 0; round <= kRounds; ++round) {  // the first warms up
    const auto out = engine::Session(executor, greedy).generate(prompt, {.n_predict = n_decoded + 1, .end_tokens = {}});
    check_interrupted();
    if (round == 0 || !out.timings.decode_rate() || !out.timings.prompt_rate()) continue;
    prompt_rates.push_back(*out.timings.prompt_rate());
    decode_rates.push_back(*out.timings.decode_rate());
  }
  if (decode_rates.empty()) return run.skip(fmt::format("a context of {} tokens is too short to time decoding", n_ctx));
  std::sort(prompt_rates.begin(), prompt_rates.end());
  std::sort(decode_rates.begin(), decode_rates.end());
  const double prompt_rate = prompt_rates[prompt_rates.size() / 2], rate = decode_rates[decode_rates.size() / 2];
  run.measure("decode", rate, "tokens/s");
  run.measure("prefill", prompt_rate, "tokens/s");
  const std::string measured = fmt::format(
      "decode {:.1f} tokens/s ({:.1f} to {:.1f}), prefill {:.1f}; {} rounds, {} threads", rate, decode_rates.front(),
      decode_rates.back(), prompt_rate, decode_rates.size(), executor.options().n_threads);
  const auto& wanted = run.subject.options().min_tokens_per_s;
  if (!wanted) return run.skip("measured, not judged (no --assert-tps): " + measured);
  run.compared();
  run.measure("threshold", *wanted, "tokens/s");
  if (!(rate >= *wanted)) {
    Finding& finding = run.fail("qa.throughput.decode", "decoding is slower than asked for");
    finding.expected = fmt::format("at least {} tokens/s", *wanted);
    finding.found = measured;
  }
  run.note(measured);
}

}  // namespace apr::qa
