#include "src/engine/fast/fast_executor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>

#include "apr/core/huge_pages.h"

namespace apr::engine {

using model::kNone;
using model::Op;
using model::OpKind;
using model::RowSet;

FastExecutor::FastExecutor(const model::Plan& plan, const ExecutorOptions& options)
    : plan_(plan),
      options_(resolved(plan, options)),
      table_(kernels::active()),
      ops_(table_.ops),
      weights_(plan, ops_, options.repack),
      name_(fmt::format("fast {}", table_.isa)),
      cache_memory_(nullptr, [](std::uint8_t* p) { std::free(p); }) {
  for (const Op& op : plan.ops)
    if (op.kind == OpKind::Attention && op.head_dim > 512)
      throw Error(ErrorCode::Unsupported, "the fast path runs heads of at most 512 elements")
          .in("head_dim")
          .got(std::to_string(op.head_dim))
          .help("--exact runs any head size");
  steps_ = make_schedule(plan, weights_, options_.two_terms);
  plan_memory();
  require_fits(memory_, options_.n_ctx, options_.memory_limit_bytes);
  allocate();
  ThreadPool pool(options_.n_threads);
  weights_.load(pool);
  team_ = std::make_unique<WorkerTeam>(options_.n_threads);
  choose_ahead();
}

/// How far ahead a machine likes to be asked for weights is tried out: one token over pieces of them, each read once.
/// Small models keep the default, because their pieces may stand in a cache. No bit of a result depends on it.
void FastExecutor::choose_ahead() {
  constexpr std::int64_t kAhead[] = {4096, 0, 1024, 8192};  // the first unless another is clearly better
  constexpr std::size_t kCandidates = std::size(kAhead), kRounds = 3, kPieceBytes = 6 << 20;
  struct Panel {
    const FastMatrix* matrix;
    std::int64_t index;
  };
  std::vector<Panel> panels;
  std::vector<std::size_t> pieces = {0};  // where they begin, and the end of the last
  std::uint64_t bytes = 0;
  for (const FastMatrix& m : weights_.matrices())
    for (std::int64_t i = 0; m.repacked && i < m.n_panels && pieces.size() <= kCandidates * kRounds; ++i) {
      panels.push_back({&m, i});
      bytes += m.panel_bytes;
      if (bytes >= pieces.size() * kPieceBytes) pieces.push_back(panels.size());
    }
  if (pieces.size() <= kCandidates * kRounds) return;
  double best[kCandidates];
  std::fill(std::begin(best), std::end(best), std::numeric_limits<double>::infinity());
  for (std::size_t piece = 0; piece < kCandidates * kRounds; ++piece) {
    const auto begin = Clock::now();
    team_->run([&](unsigned thread) {
      const auto first = static_cast<std::int64_t>(pieces[piece]), last = static_cast<std::int64_t>(pieces[piece + 1]);
      const Share share = share_of(last - first, {thread, team_->size()});
      float out[kernels::max_lanes];
      for (std::int64_t i = first + share.begin; i < first + share.end; ++i) {
        const auto [m, index] = panels[static_cast<std::size_t>(i)];
        kernels::Activation zeros = activation(rounded_, row(0, 0), m->weight->n_cols);
        zeros.ahead = kAhead[piece % kCandidates];
        m->kernel->multiply(weights_.panel(*m, index), &zeros, 0, 1, 1, ops_.lanes, out, ops_.lanes);
      }
    });
    double& least = best[piece % kCandidates];
    least = std::min(least, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  constexpr double kClearly = 0.97;
  const auto* most = std::min_element(std::begin(best), std::end(best));
  if (*most < kClearly * best[0]) ahead_ = kAhead[most - std::begin(best)];
}

void FastExecutor::plan_memory() {
  const auto n_batch = static_cast<std::int64_t>(options_.n_batch);
  std::int64_t floats = 0;
  for (const model::Value& value : plan_.values) {
    value_offsets_.push_back(floats);
    floats += (value.width * n_batch + 15) / 16 * 16;
  }
  const auto width = [&](std::int32_t value) {
    return value == kNone ? 0 : plan_.values[static_cast<std::size_t>(value)].width;
  };
  for (const Step& step : steps_) {
    widest_ = std::max(widest_, width(step.quantize));
    if (step.remainder) widest_remainder_ = std::max(widest_remainder_, width(step.quantize));
    widest_transposed_ = std::max(widest_transposed_, width(step.transpose));
  }
  const std::int64_t room = kernels::block_room(n_batch, ops_.block_cols);
  const auto term_bytes = [&](std::int64_t widest) { return room * (widest + widest / 32 * 8 + widest / 16 * 2); };
  const std::int64_t quantized_bytes =
      term_bytes(widest_) + term_bytes(widest_remainder_) + room * widest_transposed_ * 4;
  memory_.mapped_bytes = weights_.mapped_bytes();
  memory_.weights_bytes = weights_.arena_bytes();
  memory_.n_sequences = options_.n_sequences;
  memory_.kv_type = options_.kv_type;
  const std::int64_t stride = padded_head(plan_.hparams.head_dim);
  const std::int64_t row_bytes =
      options_.kv_type == TensorType::Q8_0 ? stride + 2 * kernels::kv_groups(stride) : 2 * stride;
  head_bytes_ = static_cast<std::uint64_t>(2 * row_bytes * cache_positions());
  memory_.kv_bytes = head_bytes_ * options_.n_sequences * plan_.hparams.n_layers * plan_.hparams.n_kv_heads;
  memory_.arena_bytes = static_cast<std::uint64_t>((floats + part_floats()) * 4 + quantized_bytes +
                                                   weights_.scratch_floats() * 4 * options_.n_threads);
}

std::int64_t FastExecutor::part_floats() const {
  return std::min<std::int64_t>(options_.n_batch, kSplitRows) * plan_.hparams.n_heads * n_segments() *
         kernels::attention_part_floats(plan_.hparams.head_dim);
}

/// A head's keys, values, and scales of each, one behind the other.
kernels::KvHead FastExecutor::kv_head(std::uint32_t sequence, std::int32_t layer, std::int64_t head) const {
  const std::uint64_t index = (std::uint64_t{sequence} * plan_.hparams.n_layers + static_cast<std::uint64_t>(layer)) *
                                  plan_.hparams.n_kv_heads +
                              static_cast<std::uint64_t>(head);
  const std::int64_t stride = padded_head(plan_.hparams.head_dim), positions = cache_positions();
  const std::int64_t bytes = positions * stride * (options_.kv_type == TensorType::Q8_0 ? 1 : 2);
  std::uint8_t* keys = cache_ + index * head_bytes_;
  auto* scales = reinterpret_cast<std::uint16_t*>(keys + 2 * bytes);
  return {keys, keys + bytes, scales, scales + positions * kernels::kv_groups(stride), stride};
}

void FastExecutor::allocate() {
  const auto room = static_cast<std::size_t>(kernels::block_room(options_.n_batch, ops_.block_cols));
  values_.resize(static_cast<std::size_t>(
      value_offsets_.empty() ? 0 : value_offsets_.back() + plan_.values.back().width * options_.n_batch));
  rounded_.resize(room * static_cast<std::size_t>(widest_));
  remainder_.resize(room * static_cast<std::size_t>(widest_remainder_));
  transposed_.resize(room * static_cast<std::size_t>(widest_transposed_));
  for (const Step& step : steps_) most_ops_ = std::max(most_ops_, step.count);
  counters_ = std::vector<Counter>(3 * most_ops_ * options_.n_threads);
  parts_.resize(static_cast<std::size_t>(part_floats()));
  segments_done_ = std::vector<Counter>(static_cast<std::size_t>(kSplitRows * plan_.hparams.n_kv_heads));
  // From the system, which gives zeros when a page is touched: a context costs what is used of it.
  cache_memory_.reset(static_cast<std::uint8_t*>(std::calloc(memory_.kv_bytes + huge_page_bytes, 1)));
  if (!cache_memory_)
    throw Error(ErrorCode::ModelLoad, fmt::format("cannot allocate {} bytes for the KV cache", memory_.kv_bytes));
  const auto address = reinterpret_cast<std::uintptr_t>(cache_memory_.get());
  cache_ = cache_memory_.get() + ((address + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes - address);
  n_past_.assign(options_.n_sequences, 0);
  cos_.resize(plan_.ropes.size());
  sin_.resize(plan_.ropes.size());
  scratch_.assign(options_.n_threads, std::vector<float>(static_cast<std::size_t>(weights_.scratch_floats())));
}

void FastExecutor::make_rope_tables() {
  for (std::size_t r = 0; r < plan_.ropes.size(); ++r) {
    const auto& frequencies = plan_.ropes[r].inverse_freq;
    cos_[r].resize(batch_.rows.size() * frequencies.size());
    sin_[r].resize(cos_[r].size());
    std::size_t at = 0;
    for (const BatchRow& row : batch_.rows)
      for (const double frequency : frequencies) {
        const double angle = row.position * frequency;
        cos_[r][at] = static_cast<float>(std::cos(angle));
        sin_[r][at++] = static_cast<float>(std::sin(angle));
      }
  }
}

/// Tokens of one sequence that stand together, as many as the attention kernel takes with all heads of a group.
void FastExecutor::make_tiles() {
  const std::int64_t group = plan_.hparams.n_heads / plan_.hparams.n_kv_heads,
                     n_rows = static_cast<std::int64_t>(batch_.rows.size());
  const std::int64_t most = std::max<std::int64_t>(1, kernels::max_attention_rows / group);
  tiles_.clear();
  for (std::int64_t t = 0; t < n_rows; ++t) {
    const bool joins =
        !tiles_.empty() && t - tiles_.back().begin < most &&
        batch_.rows[static_cast<std::size_t>(t)].sequence == batch_.rows[static_cast<std::size_t>(t - 1)].sequence;
    if (joins)
      tiles_.back().end = t + 1;
    else
      tiles_.push_back({t, t + 1});
  }
}

void FastExecutor::forward_batch(std::span<const BatchPart> parts, std::span<float> logits) {
  check_batch(plan_, options_, parts, n_past_, logits.size());
  const auto begin = Clock::now();
  batch_.assign(parts);
  for (const BatchPart& part : parts)
    n_past_[part.sequence] = part.position;  // a failure leaves the cache valid up to here
  Pass pass{batch_.shape.n_tokens, batch_.shape.n_logits, plan_.ops.size(), observer_};
  for (std::size_t i = plan_.ops.size(); pass.n_logits == 0 && i > 0; --i)
    if (plan_.ops[i - 1].rows == RowSet::Logits || plan_.ops[i - 1].kind == OpKind::SelectRows) pass.end_op = i - 1;
  batch_.shape.kv_element_bytes = kv_element_bytes(options_.kv_type);
  if (observer_ != nullptr) observer_->pass_begin(batch_.shape);
  make_rope_tables();
  make_tiles();
  run_team([&](unsigned thread) { run_pass(pass, thread); });
  if (!all_finite(pass)) report_not_finite(pass);
  if (pass.n_logits > 0) std::copy_n(row(plan_.logits, 0), logits.size(), logits.data());
  for (const BatchPart& part : parts) n_past_[part.sequence] += static_cast<std::uint32_t>(part.tokens.size());
  if (observer_ != nullptr) observer_->pass_end(begin, Clock::now());
}

bool FastExecutor::all_finite(const Pass& pass) const {
  const auto finite = [this](std::int32_t value, std::int64_t n_rows) {
    const float* first = row(value, 0);
    const std::int64_t n = n_rows * plan_.values[static_cast<std::size_t>(value)].width;
    std::int32_t largest = 0;  // magnitudes compare as integers; NaN and infinity are the largest
    for (std::int64_t i = 0; i < n; ++i)
      largest = std::max(largest, std::bit_cast<std::int32_t>(first[i]) & 0x7FFFFFFF);
    return largest < 0x7F800000;
  };
  if (pass.n_logits > 0) return finite(plan_.logits, pass.n_logits);
  for (std::size_t i = pass.end_op; i > 0; --i)
    if (const Op& op = plan_.ops[i - 1]; op.kind == OpKind::StoreKv)
      return finite(op.in, pass.n_tokens) && finite(op.in2, pass.n_tokens);
  return true;
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
    if (op.kind == OpKind::MatMul || op.kind == OpKind::Attention ||
        rows_of(op, pass) * std::max(op.n_in, op.n_out) > kFewElements)
      return false;
  }
  return true;
}

void FastExecutor::run_pass(const Pass& pass, unsigned thread) {
  const Worker all{thread, team_->size()}, one{0, 1};
  std::size_t turn = 0;
  bool apart = false;  // thread 0 has run steps that the others have not waited for
  for (const Step& step : steps_) {
    if (step.first >= pass.end_op) return;
    const auto begin = thread == 0 && pass.observer != nullptr ? Clock::now() : Clock::time_point{};
    const bool prepares =
        step.quantize != kNone || (step.transpose != kNone && rows_of(plan_.ops[step.first], pass) > 1);
    if (alone(step, pass)) {
      for (std::size_t i = step.first; thread == 0 && i < step.first + step.count; ++i)
        run_op(plan_.ops[i], pass, one, nullptr);
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
  if (step.quantize != kNone) quantize_rows(step.quantize, step.remainder, n_rows, w);
  if (step.transpose != kNone && n_rows > 1) transpose_rows(step.transpose, n_rows, w);
}

/// Runs the pass again, which gives the same numbers, and looks at every op's output.
void FastExecutor::report_not_finite(Pass pass) {
  std::atomic<std::size_t> culprit{plan_.ops.size()};
  pass.observer = nullptr;
  run_team([&](unsigned thread) {
    std::size_t turn = 0;
    for (const Step& step : steps_) {
      if (step.first >= pass.end_op) return;
      prepare(step, pass, {thread, team_->size()});
      team_->barrier();
      run_step(step, turn++, pass, thread);
      team_->barrier();
      for (std::size_t i = step.first; thread == 0 && i < step.first + step.count && culprit == plan_.ops.size(); ++i) {
        const Op& op = plan_.ops[i];
        if (op.out == kNone) continue;
        const float* out = row(op.out, 0);
        if (!std::all_of(out, out + rows_of(op, pass) * op.n_out, [](float v) { return std::isfinite(v); }))
          culprit = i;
      }
      team_->barrier();
    }
  });
  const std::size_t index = culprit;
  Error error(ErrorCode::Inference, "the model computed a value that is not finite");
  if (index < plan_.ops.size()) error.field = plan_.op_name(plan_.ops[index]);
  error.expected = "finite numbers";
  error.found = "a NaN or an infinity";
  error.hint = "apr qa FILE --only values looks at every weight; apr hex FILE --tensor shows one";
  throw error;
}

std::unique_ptr<Executor> make_fast_executor(const model::Plan& plan, const ExecutorOptions& options) {
  return std::make_unique<FastExecutor>(plan, options);
}

}  // namespace apr::engine
