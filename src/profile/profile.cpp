#include "apr/profile/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <string>

#include "apr/core/cpu_info.h"
#include "apr/core/error.h"
#include "apr/core/file.h"
#include "src/profile/brick_profiler.h"
#include "src/profile/statistics.h"

namespace apr::profile {
namespace {

using model::Op;
using model::OpKind;

struct Gathered {
  std::string group;
  std::uint64_t n_calls = 0, bytes = 0, flops = 0;
  double bound_us = 0;
  std::vector<double> time_us;  // one sum per pass
};

/// The time below which the span cannot run on this machine if it reads its operands from memory: modelled.
double bound_of(const model::OpCost& cost, OpKind kind, const Roofs& roofs) {
  const double memory_us = static_cast<double>(cost.weight_bytes + cost.kv_bytes) / roofs.read_gb_s / 1e3;
  const double compute_us = kind == OpKind::MatMul ? static_cast<double>(cost.flops) / roofs.int8_gop_s / 1e3 : 0;
  return std::max(memory_us, compute_us);
}

std::map<std::string, Gathered> gather(const model::Plan& plan, const std::vector<BrickProfiler::Pass>& passes,
                                       const Roofs& roofs) {
  std::map<std::string, Gathered> rows;
  for (std::size_t p = 0; p < passes.size(); ++p)
    for (const auto& span : passes[p].spans) {
      Gathered& row = rows[span_name(plan, span.first, span.count)];
      row.time_us.resize(passes.size(), 0.0);
      row.time_us[p] += span.time_us;
      if (p != 0) continue;
      ++row.n_calls;
      row.group = model::group(plan.ops[span.first].brick);
      for (std::size_t i = span.first; i < span.first + span.count; ++i) {
        const model::OpCost cost = plan.cost(plan.ops[i], passes[p].batch);
        row.bytes += cost.bytes();
        row.flops += cost.flops;
        row.bound_us += bound_of(cost, plan.ops[i].kind, roofs);
      }
    }
  return rows;
}

Phase summarize(std::string name, const model::Plan& plan, const std::vector<BrickProfiler::Pass>& passes,
                const Roofs& roofs) {
  Phase phase;
  phase.name = std::move(name);
  APR_CHECK(!passes.empty());
  phase.n_tokens = passes.front().batch.n_tokens;
  phase.position = passes.front().batch.position;
  phase.n_sequences = passes.front().batch.n_sequences;
  phase.n_passes = passes.size();
  std::vector<double> wall, ops, residual;
  for (const auto& pass : passes) {
    double sum = 0;
    for (const auto& span : pass.spans) sum += span.time_us;
    wall.push_back(pass.wall_us);
    ops.push_back(sum);
    residual.push_back(pass.wall_us - sum);
  }
  phase.wall_us = median(wall);
  phase.wall_p5_us = percentile(wall, 0.05);
  phase.wall_p95_us = percentile(wall, 0.95);
  phase.tokens_s = static_cast<double>(phase.n_tokens) / phase.wall_us * 1e6;
  phase.ops_us = median(ops);
  phase.residual_us = median(residual);
  for (auto& [key, row] : gather(plan, passes, roofs)) {
    BrickRow brick{key, row.group, row.n_calls, median(row.time_us), 0, row.bytes, row.flops, 0, 0, row.bound_us, 0};
    brick.share = brick.time_us / phase.wall_us;
    brick.gb_s = static_cast<double>(brick.bytes) / brick.time_us / 1e3;
    brick.gflop_s = static_cast<double>(brick.flops) / brick.time_us / 1e3;
    brick.efficiency = brick.bound_us / brick.time_us;
    phase.bound_us += brick.bound_us;
    phase.bricks.push_back(std::move(brick));
  }
  std::sort(phase.bricks.begin(), phase.bricks.end(),
            [](const BrickRow& a, const BrickRow& b) { return a.time_us > b.time_us; });
  phase.efficiency = phase.bound_us / phase.wall_us;
  return phase;
}

/// Token ids in a fixed pseudo-random order (a linear congruential generator of full period 2^64, Knuth's MMIX).
std::vector<std::int32_t> sample_tokens(std::int64_t n, std::uint32_t n_vocab) {
  std::vector<std::int32_t> tokens;
  std::uint64_t state = 1;
  for (std::int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    tokens.push_back(static_cast<std::int32_t>((state >> 33) % n_vocab));
  }
  return tokens;
}

/// FNV-1a over the bits of the logits.
std::uint64_t hash_of(const std::vector<float>& values) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const float v : values)
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ ((std::bit_cast<std::uint32_t>(v) >> shift) & 0xFF)) * 1099511628211ULL;
  return hash;
}

void check_options(const engine::Executor& executor, const ProfileOptions& o) {
  if (o.n_passes < 10)
    throw Error(ErrorCode::Usage, "a median of fewer than 10 passes says little")
        .in("passes")
        .want("at least 10")
        .got(std::to_string(o.n_passes));
  const auto n_ctx = static_cast<std::int64_t>(executor.options().n_ctx);
  if (o.n_prompt < 1 || o.n_prompt > n_ctx || o.depth < 0 || o.depth + static_cast<std::int64_t>(o.n_passes) > n_ctx)
    throw Error(ErrorCode::Usage, "prompt, and depth with the decode passes behind it, must fit into the context")
        .want(fmt::format("at most {} tokens", n_ctx))
        .got(fmt::format("prompt {}, depth {}, {} passes", o.n_prompt, o.depth, o.n_passes));
}

/// Feeds tokens [0, n) from position 0 of a sequence on, in batches.
void prefill(engine::Executor& executor, std::uint32_t sequence, std::span<const std::int32_t> tokens) {
  const std::size_t batch = executor.options().n_batch;
  for (std::size_t at = 0; at < tokens.size(); at += batch) {
    check_interrupted();
    const engine::BatchPart part{sequence, static_cast<std::uint32_t>(at),
                                 tokens.subspan(at, std::min(batch, tokens.size() - at)), engine::LogitsRequest::None};
    executor.forward_batch(std::span(&part, 1), {});
  }
}

}  // namespace

char grade_of(double efficiency) noexcept {
  if (efficiency >= 0.85) return 'A';
  if (efficiency >= 0.70) return 'B';
  if (efficiency >= 0.50) return 'C';
  return efficiency >= 0.30 ? 'D' : 'F';
}

ProfileReport profile_model(engine::Executor& executor, const ProfileOptions& options) {
  check_options(executor, options);
  const model::Plan& plan = executor.plan();
  ProfileReport report;
  report.executor = executor.name();
  report.machine = cpu_info().brand;
  report.memory = executor.memory();
  report.notes = executor.notes();
  for (const model::Weight& weight : plan.weights)
    report.n_parameters += static_cast<std::uint64_t>(weight.n_rows * weight.n_cols);
  report.model_bytes = plan.weight_bytes();
  if (const auto device = executor.measure_device_roofs()) {
    report.machine = executor.name();
    report.roofs = {device->read_gb_s, device->read_bytes, NAN,
                    1};  // its int8 peak is not measured: bounds are of memory alone
  } else {
    report.roofs = measure_roofs(executor.options().n_threads);
  }

  // One pass is one forward(): a prompt longer than a batch is timed by its first batch.
  const std::int64_t n_prompt = std::min<std::int64_t>(options.n_prompt, executor.options().n_batch);
  const auto n_decoded = static_cast<std::int64_t>(options.n_passes);
  const auto tokens = sample_tokens(std::max(n_prompt, options.depth + n_decoded), plan.hparams.n_vocab);
  const auto n_sequences = static_cast<std::uint32_t>(options.n_sequences);
  std::vector<float> logits(std::size_t{plan.hparams.n_vocab} * n_sequences);
  std::vector<engine::BatchPart> parts;
  // Measured pass i runs `width` tokens of each of `n` sequences at position first + i * stride; the warm-ups run where
  // the first one does.
  const auto run = [&](std::uint32_t n, std::int64_t first, std::int64_t stride, std::int64_t width,
                       std::uint64_t n_passes, const char* phase_name) {
    BrickProfiler profiler;
    profiler.reserve(n_passes, plan.ops.size());
    for (std::uint64_t i = 0; i < options.n_warmups + n_passes; ++i) {
      check_interrupted();
      const std::int64_t position =
          first + (i < options.n_warmups ? 0 : static_cast<std::int64_t>(i - options.n_warmups) * stride);
      executor.set_observer(i < options.n_warmups ? nullptr : &profiler);
      const auto text = std::span(tokens).subspan(static_cast<std::size_t>(position), static_cast<std::size_t>(width));
      parts.clear();
      for (std::uint32_t s = 0; s < n; ++s)
        parts.push_back({s, static_cast<std::uint32_t>(position), text, engine::LogitsRequest::Last});
      executor.forward_batch(parts, std::span(logits).first(std::size_t{n} * plan.hparams.n_vocab));
    }
    executor.set_observer(nullptr);
    Phase phase = summarize(phase_name, plan, profiler.passes(), report.roofs);
    phase.n_warmups = options.n_warmups;
    return phase;
  };
  report.prefill =
      run(1, 0, 0, n_prompt, options.n_prompt_passes == 0 ? options.n_passes : options.n_prompt_passes, "prefill");
  for (std::uint32_t s = 0; s < n_sequences; ++s)
    prefill(executor, s, std::span(tokens).first(static_cast<std::size_t>(options.depth)));
  report.decode = run(n_sequences, options.depth, 1, 1, options.n_passes, "decode");
  std::string reason;
  report.launches = report_launches(plan, executor.replay_stamped(options.n_passes, reason));
  report.launches.reason = std::move(reason);
  logits.resize(plan.hparams.n_vocab);  // of the first sequence: all ran the same tokens
  report.witness = hash_of(logits);
  report.grade = grade_of(report.decode.efficiency);
  return report;
}

}  // namespace apr::profile
