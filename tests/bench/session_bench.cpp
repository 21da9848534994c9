// What prompt caching saves: the time to the first token of a second turn, with what the first left in the cache and
// without. Environment: APR_BENCH_MODEL, a model that runs. 512 tokens of a first turn, 64 more in the second.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apr/engine/session.h"
#include "apr/model/architecture.h"

namespace {

using namespace apr;

void second_turn(benchmark::State& state, const std::string& path, bool kept) {
  constexpr std::size_t kFirst = 512, kSecond = kFirst + 64;
  const model::Model model = model::load_model(path);
  const auto executor = engine::make_fast_executor(model.plan, {.n_ctx = kSecond + 1});
  std::vector<std::int32_t> conversation;
  for (std::size_t i = 0; i < kSecond; ++i)
    conversation.push_back(static_cast<std::int32_t>((i * 7919 + 13) % model.plan.hparams.n_vocab));
  const auto turn = [&](engine::Session& session, std::size_t n) {
    return session.respond(std::span(conversation).first(n), {.n_predict = 1, .end_tokens = {}});
  };
  for (auto _ : state) {
    state.PauseTiming();
    engine::Session session(*executor, {.temperature = 0});
    if (kept) turn(session, kFirst);
    state.ResumeTiming();
    const engine::Generated answer = turn(session, kSecond);
    if (answer.timings.n_kept != (kept ? kFirst : 0)) return state.SkipWithError("another part of the text was kept");
  }
}

const int kRegistered = [] {
  if (const char* path = std::getenv("APR_BENCH_MODEL"))
    for (const bool kept : {true, false})
      benchmark::RegisterBenchmark(
          kept ? "session/second_turn/kept" : "session/second_turn/anew",
          [path = std::string(path), kept](benchmark::State& s) { second_turn(s, path, kept); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
  return 0;
}();

}  // namespace
