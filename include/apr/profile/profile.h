// How fast a model runs here, how fast it could be, and where the time goes. Plain structs; nothing is printed.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apr/engine/executor.h"
#include "apr/model/plan.h"

namespace apr::profile {

/// What this machine can do at most with the threads of the run; both measured, seconds before the passes.
struct Roofs {
  double read_gb_s = 0;          // best of several plain reads of a buffer larger than the caches
  std::uint64_t read_bytes = 0;  // size of that buffer
  double int8_gop_s = 0;         // multiply-adds of int8 on registers, 2 operations each; NaN: not measured (a GPU)
  unsigned n_threads = 0;
};
[[nodiscard]] Roofs measure_roofs(unsigned n_threads);

/// One step of the model, over all layers: what it took and what it moved.
struct BrickRow {
  std::string name;  // a row of bricks.def; several joined by "+" where the executor runs them as one
  std::string group;
  std::uint64_t n_calls = 0;  // per pass
  double time_us = 0;         // median over the passes of the sum of its calls
  double share = 0;           // of the pass
  std::uint64_t bytes = 0;    // per pass, as ops.def counts them
  std::uint64_t flops = 0;
  double gb_s = 0;  // bytes / time_us
  double gflop_s = 0;
  double bound_us = 0;    // modelled: the longer of bytes at read_gb_s and matrix FLOPs at int8_gop_s
  double efficiency = 0;  // bound_us / time_us
};

struct Phase {
  std::string name;              // "prefill", "decode"
  std::int64_t n_tokens = 0;     // of one pass
  std::int64_t position = 0;     // of its first token
  std::int64_t n_sequences = 1;  // that share the tokens
  std::uint64_t n_passes = 0, n_warmups = 0;
  double wall_us = 0, wall_p5_us = 0, wall_p95_us = 0;  // of a pass: median and percentiles
  double tokens_s = 0;                                  // n_tokens / wall_us
  double ops_us = 0;                                    // median over the passes of the sum of the spans of its ops
  double residual_us = 0;                               // median of (wall - sum): what no op accounts for
  double bound_us = 0;                                  // modelled: sum of the bounds of the bricks
  double efficiency = 0;                                // bound_us / wall_us
  std::vector<BrickRow> bricks;                         // longest first
};

/// Grade of an efficiency: A from 0.85, B from 0.70, C from 0.50, D from 0.30, else F.
[[nodiscard]] char grade_of(double efficiency) noexcept;

struct ProfileOptions {
  std::int64_t n_prompt = 128;   // tokens of a prefill pass
  std::int64_t depth = 0;        // positions filled before the first decode pass; pass i runs at position depth + i
  std::int64_t n_sequences = 1;  // that a decode pass runs together, one token each, all at the same depth
  std::uint64_t n_passes = 10;   // at least 10
  std::uint64_t n_prompt_passes = 0;  // of the prefill; 0: n_passes
  std::uint64_t n_warmups = 3;
};

/// The launches of a step of the model in a replayed graph, by time stamps inside the kernels.
struct LaunchRow {
  std::string name;  // bricks of the ops that end with it, joined by "+"; those of the launch that it prepares
  std::string kernel;
  std::uint64_t n_calls = 0;  // of a replay
  double time_us = 0;         // from the end of its wait for earlier launches to its last exit: summed, median
};
struct LaunchReport {
  std::uint64_t n_replays = 0;  // 0: there are none, for this reason
  std::string reason;
  double wall_us = 0;           // of a replay, between events in front of the graph and behind it: median
  double busy_us = 0;           // covered by at least one launch: median
  double overhead_us = 0;       // wall less what is covered, of the same replay: median
  double tick_us = 0;           // the shortest time between two stamps that differ: what they can resolve at best
  std::vector<LaunchRow> rows;  // longest first
};
struct Interval {
  double begin, end;
};
/// Length of the union. Throws Inference where an end lies before its begin, or one of them is no number.
[[nodiscard]] double covered(std::vector<Interval> intervals);
/// Sums of replays of the same launches.
[[nodiscard]] LaunchReport report_launches(const model::Plan& plan, const std::vector<engine::StampedReplay>& replays);

struct ProfileReport {
  std::string executor;  // "fast avx512_vnni"
  std::string machine;   // CPU brand
  std::uint64_t model_bytes = 0, n_parameters = 0;
  Roofs roofs;
  engine::MemoryPlan memory;
  Phase prefill, decode;
  LaunchReport launches;           // of decode passes
  char grade = 'F';                // of decode
  std::uint64_t witness = 0;       // hash of the decode logits: equal for equal numerics
  std::vector<std::string> notes;  // weights without a fast path
};

/// Runs and measures. The tokens are a fixed pseudo-random sequence: no text is needed to time a pass.
/// The executor must keep n_sequences sequences. Throws Usage (fewer passes than 10, more tokens than the context) and
/// whatever the executor throws.
[[nodiscard]] ProfileReport profile_model(engine::Executor& executor, const ProfileOptions& options);

}  // namespace apr::profile
