#include "src/engine/fast/fast_executor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace apr::engine {

using model::kNone;
using model::Op;
using model::OpKind;
using model::RowSet;

FastExecutor::FastExecutor(const model::Plan& plan, const ExecutorOptions& options)
    : plan_(plan), options_(resolved(plan, options)), table_(kernels::active()), ops_(table_.ops), weights_(plan, ops_, options.repack),
      name_(fmt::format("fast {}", table_.isa)) {
  for (const Op& op : plan.ops)
    if (op.kind == OpKind::Attention && op.head_dim > 512)
      throw Error(ErrorCode::Unsupported, "the fast path runs heads of at most 512 elements")
          .in("head_dim").got(std::to_string(op.head_dim)).help("--exact runs any head size");
  steps_ = make_schedule(plan, weights_);
  plan_memory();
  require_fits(memory_, options_.n_ctx, options_.memory_limit_bytes);
  allocate();
  ThreadPool pool(options_.n_threads);
  weights_.load(pool);
  team_ = std::make_unique<WorkerTeam>(options_.n_threads);
}

void FastExecutor::plan_memory() {
  const auto n_batch = static_cast<std::int64_t>(options_.n_batch);
  std::int64_t floats = 0;
  for (const model::Value& value : plan_.values) {
    value_offsets_.push_back(floats);
    floats += (value.width * n_batch + 15) / 16 * 16;
  }
  const auto width = [&](std::int32_t value) { return value == kNone ? 0 : plan_.values[static_cast<std::size_t>(value)].width; };
  for (const Step& step : steps_) {
    widest_ = std::max(widest_, width(step.quantize));
    widest_transposed_ = std::max(widest_transposed_, width(step.transpose));
  }
  const std::int64_t quantized_bytes = n_batch * (widest_ + widest_ / 32 * 8 + widest_ / 16 * 2 + widest_transposed_ * 4);
  memory_.mapped_bytes = weights_.mapped_bytes();
  memory_.weights_bytes = weights_.arena_bytes();
  memory_.kv_bytes = std::uint64_t{4} * plan_.hparams.n_layers * plan_.hparams.n_kv_heads *
                     static_cast<std::uint64_t>(padded_head(plan_.hparams.head_dim) * cache_positions());
  memory_.arena_bytes = static_cast<std::uint64_t>(floats * 4 + quantized_bytes + weights_.scratch_floats() * 4 * options_.n_threads);
}

void FastExecutor::allocate() {
  const auto n_batch = static_cast<std::size_t>(options_.n_batch), widest = static_cast<std::size_t>(widest_);
  values_.resize(static_cast<std::size_t>(value_offsets_.empty() ? 0 : value_offsets_.back() + plan_.values.back().width * options_.n_batch));
  q_.resize(n_batch * widest);
  q_scale_.resize(n_batch * widest / 32);
  q_sum_.resize(n_batch * widest / 32);
  q_sums16_.resize(n_batch * widest / 16);
  transposed_.resize(n_batch * static_cast<std::size_t>(widest_transposed_));
  for (const Step& step : steps_) most_ops_ = std::max(most_ops_, step.count);
  counters_ = std::vector<Counter>(3 * most_ops_ * options_.n_threads);
  keys_.resize(memory_.kv_bytes / 4);
  cache_values_.resize(memory_.kv_bytes / 4);
  cos_.resize(plan_.ropes.size());
  sin_.resize(plan_.ropes.size());
  scratch_.assign(options_.n_threads, std::vector<float>(static_cast<std::size_t>(weights_.scratch_floats())));
}

void FastExecutor::make_rope_tables(const Pass& pass) {
  for (std::size_t r = 0; r < plan_.ropes.size(); ++r) {
    const auto& frequencies = plan_.ropes[r].inverse_freq;
    cos_[r].resize(static_cast<std::size_t>(pass.n_tokens) * frequencies.size());
    sin_[r].resize(cos_[r].size());
    for (std::size_t t = 0, at = 0; t < static_cast<std::size_t>(pass.n_tokens); ++t)
      for (const double frequency : frequencies) {
        const double angle = static_cast<double>(pass.position + static_cast<std::int64_t>(t)) * frequency;
        cos_[r][at] = static_cast<float>(std::cos(angle));
        sin_[r][at++] = static_cast<float>(std::sin(angle));
      }
  }
}

void FastExecutor::forward(std::span<const std::int32_t> tokens, std::uint32_t position, LogitsRequest request,
                           std::span<float> logits) {
  check_forward(plan_, options_, tokens, position, n_past_, request, logits.size());
  const auto begin = Clock::now();
  Pass pass{};
  pass.tokens = tokens.data();
  pass.n_tokens = static_cast<std::int64_t>(tokens.size());
  pass.position = position;
  pass.wants_logits = request != LogitsRequest::None;
  pass.n_logits = request == LogitsRequest::All ? pass.n_tokens : (pass.wants_logits ? 1 : 0);
  pass.observer = observer_;
  pass.first_logit_op = plan_.ops.size();
  for (std::size_t i = plan_.ops.size(); i > 0; --i)
    if (plan_.ops[i - 1].rows == RowSet::Logits || plan_.ops[i - 1].kind == OpKind::SelectRows) pass.first_logit_op = i - 1;
  if (observer_ != nullptr)
    observer_->pass_begin({.n_tokens = pass.n_tokens, .position = pass.position, .n_logits = pass.n_logits, .kv_element_bytes = 2});
  make_rope_tables(pass);
  run_team([&](unsigned thread) { run_pass(pass, thread); });
  n_past_ = position + static_cast<std::uint32_t>(tokens.size());
  if (pass.wants_logits) {
    const std::size_t n = static_cast<std::size_t>(pass.n_logits) * plan_.hparams.n_vocab;
    const float* result = row(plan_.logits, 0);
    // Magnitudes compare as integers; NaN and infinity are the largest.
    std::int32_t largest = 0;
    for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::bit_cast<std::int32_t>(result[i]) & 0x7FFFFFFF);
    if (largest >= 0x7F800000) report_not_finite(pass);
    std::copy_n(result, n, logits.data());
  }
  if (observer_ != nullptr) observer_->pass_end(begin, Clock::now());
}

void FastExecutor::run_team(const std::function<void(unsigned)>& body) {
  for (Counter& c : counters_) c.next.store(0, std::memory_order_relaxed);
  team_->run(body);
}

/// A step of few elements runs on thread 0, and the one behind it, too: shared out it would cost more in barriers.
bool FastExecutor::alone(const Step& step, const Pass& pass) const {
  constexpr std::int64_t kFewElements = 4096;
  for (std::size_t i = step.first; i < step.first + step.count; ++i) {
    const Op& op = plan_.ops[i];
    if (op.kind == OpKind::MatMul || op.kind == OpKind::Attention || rows_of(op, pass) * std::max(op.n_in, op.n_out) > kFewElements)
      return false;
  }
  return true;
}

void FastExecutor::run_pass(const Pass& pass, unsigned thread) {
  const Worker all{thread, team_->size()}, one{0, 1};
  std::size_t turn = 0;
  bool apart = false;  // thread 0 has run steps that the others have not waited for
  for (const Step& step : steps_) {
    if (!pass.wants_logits && step.first >= pass.first_logit_op) return;
    const auto begin = thread == 0 && pass.observer != nullptr ? Clock::now() : Clock::time_point{};
    const bool prepares = step.quantize != kNone || (step.transpose != kNone && rows_of(plan_.ops[step.first], pass) > 1);
    if (alone(step, pass)) {
      for (std::size_t i = step.first; thread == 0 && i < step.first + step.count; ++i) run_op(plan_.ops[i], pass, one, nullptr);
      apart = true;
    } else {
      if (prepares && !apart) prepare(step, pass, all);
      if (prepares && apart && thread == 0) prepare(step, pass, one);
      if (prepares || apart) team_->barrier();
      run_step(step, turn++, pass, thread);
      team_->barrier();
      apart = false;
    }
    if (thread == 0 && pass.observer != nullptr) pass.observer->ops_done(step.first, step.count, begin, Clock::now());
  }
}

void FastExecutor::run_step(const Step& step, std::size_t turn, const Pass& pass, unsigned thread) {
  for (std::size_t i = 0; i < most_ops_; ++i) counters(turn + 1, i)[thread].next.store(0, std::memory_order_relaxed);
  for (std::size_t i = 0; i < step.count; ++i)
    run_op(plan_.ops[step.first + i], pass, {thread, team_->size()}, counters(turn, i));
}

void FastExecutor::prepare(const Step& step, const Pass& pass, Worker w) {
  const std::int64_t n_rows = rows_of(plan_.ops[step.first], pass);
  if (step.quantize != kNone) quantize_rows(step.quantize, n_rows, w);
  if (step.transpose != kNone && n_rows > 1) transpose_rows(step.transpose, n_rows, w);
}

/// Runs the pass again, which gives the same numbers, and looks at every op's output.
void FastExecutor::report_not_finite(Pass pass) {
  std::atomic<std::size_t> culprit{plan_.ops.size()};
  pass.observer = nullptr;
  run_team([&](unsigned thread) {
    std::size_t turn = 0;
    for (const Step& step : steps_) {
      prepare(step, pass, {thread, team_->size()});
      team_->barrier();
      run_step(step, turn++, pass, thread);
      team_->barrier();
      for (std::size_t i = step.first; thread == 0 && i < step.first + step.count && culprit == plan_.ops.size(); ++i) {
        const Op& op = plan_.ops[i];
        if (op.out == kNone) continue;
        const float* out = row(op.out, 0);
        if (!std::all_of(out, out + rows_of(op, pass) * op.n_out, [](float v) { return std::isfinite(v); })) culprit = i;
      }
      team_->barrier();
    }
  });
  const std::size_t index = culprit;
  Error error(ErrorCode::Inference, "the model computed a value that is not finite");
  if (index < plan_.ops.size()) error.field = plan_.op_name(plan_.ops[index]);
  error.expected = "finite numbers";
  error.found = "a NaN or an infinity";
  error.hint = "apr hex FILE --tensor shows whether the weights are damaged";
  throw error;
}

std::unique_ptr<Executor> make_fast_executor(const model::Plan& plan, const ExecutorOptions& options) {
  return std::make_unique<FastExecutor>(plan, options);
}

}  // namespace apr::engine
