// The fast CPU executor: repacked weights, int8 activations, an f16 cache, one team of spinning threads.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "apr/core/error.h"
#include "apr/core/thread_pool.h"
#include "apr/engine/executor.h"
#include "apr/kernels/dispatch.h"
#include "src/engine/fast/fast_weights.h"
#include "src/engine/fast/schedule.h"
#include "src/engine/fast/worker_team.h"

namespace apr::engine {
namespace {

using model::kNone;
using model::Op;
using model::OpKind;
using model::RowSet;

/// Items [begin, end) of `count` that a thread of a team takes.
struct Share {
  std::int64_t begin, end;
};
Share share_of(std::int64_t count, unsigned thread, unsigned n_threads) {
  return {count * thread / n_threads, count * (thread + 1) / n_threads};
}

/// Elements of a head in the cache: the kernels read whole vectors of 16; the padding stays zero.
std::int64_t padded_head(std::int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

class FastExecutor final : public Executor {
 public:
  FastExecutor(const model::Plan& plan, const ExecutorOptions& options)
      : plan_(plan), options_(resolved(plan, options)), table_(kernels::active()), ops_(table_.ops), weights_(plan, ops_),
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

  void forward(std::span<const std::int32_t> tokens, std::uint32_t position, LogitsRequest request,
               std::span<float> logits) override;
  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] const MemoryPlan& memory() const noexcept override { return memory_; }
  [[nodiscard]] const ExecutorOptions& options() const noexcept override { return options_; }
  [[nodiscard]] const model::Plan& plan() const noexcept override { return plan_; }
  [[nodiscard]] std::vector<std::string> notes() const override { return weights_.notes(); }
  void set_observer(OpObserver* observer) noexcept override { observer_ = observer; }

 private:
  /// One forward() call, as every thread sees it.
  struct Pass {
    const std::int32_t* tokens;
    std::int64_t n_tokens, position, n_logits;
    bool wants_logits;
    std::size_t first_logit_op;
    OpObserver* observer;
  };

  void plan_memory();
  void allocate();
  void make_rope_tables(const Pass& pass);
  void run_pass(const Pass& pass, unsigned thread);
  void run_op(const Op& op, const Pass& pass, unsigned thread);
  void quantize_rows(std::int32_t value, std::int64_t n_rows, unsigned thread);
  void mat_mul(const Op& op, std::int64_t n_rows, unsigned thread);
  void attention(const Op& op, const Pass& pass, unsigned thread);
  void rope(const Op& op, const Pass& pass, unsigned thread);
  void store_kv(const Op& op, const Pass& pass, unsigned thread);
  void embed(const Op& op, const Pass& pass, unsigned thread);
  void rms_norm(const Op& op, std::int64_t n_rows, unsigned thread);
  [[noreturn]] void report_not_finite(Pass pass);
  [[nodiscard]] std::int64_t rows_of(const Op& op, const Pass& pass) const {
    return op.rows == RowSet::Logits ? pass.n_logits : pass.n_tokens;
  }
  [[nodiscard]] float* row(std::int32_t value, std::int64_t r) {
    const auto index = static_cast<std::size_t>(value);
    return values_.data() + value_offsets_[index] + r * plan_.values[index].width;
  }
  [[nodiscard]] kernels::KvHead kv_head(std::int32_t layer, std::int64_t head, std::int64_t head_dim) const {
    const std::int64_t stride = padded_head(head_dim);
    const auto at = (static_cast<std::int64_t>(layer) * plan_.hparams.n_kv_heads + head) * options_.n_ctx * stride;
    return {keys_.data() + at, cache_values_.data() + at, stride};
  }

  const model::Plan& plan_;
  ExecutorOptions options_;
  const kernels::KernelTable& table_;
  const kernels::OpKernels& ops_;
  FastWeights weights_;
  std::string name_;
  std::vector<Step> steps_;
  MemoryPlan memory_;
  std::unique_ptr<WorkerTeam> team_;
  OpObserver* observer_ = nullptr;
  std::uint32_t n_past_ = 0;

  std::vector<float> values_;
  std::vector<std::int64_t> value_offsets_;
  std::int64_t widest_ = 0;  // of the values that are quantised
  std::vector<std::int8_t> q_;
  std::vector<float> q_scale_, q_sum_;
  std::vector<std::int16_t> q_sums16_;
  std::vector<std::uint16_t> keys_, cache_values_;  // [layer][kv head][position][head_dim], f16
  std::vector<std::vector<float>> cos_, sin_;       // per rope: [token][n_rot / 2]
  std::vector<std::vector<float>> scratch_;         // per thread
};

void FastExecutor::plan_memory() {
  const auto n_batch = static_cast<std::int64_t>(options_.n_batch);
  std::int64_t floats = 0;
  for (const model::Value& value : plan_.values) {
    value_offsets_.push_back(floats);
    floats += (value.width * n_batch + 15) / 16 * 16;
  }
  for (const Step& step : steps_)
    if (step.quantize != kNone) widest_ = std::max(widest_, plan_.values[static_cast<std::size_t>(step.quantize)].width);
  const std::int64_t quantized_bytes = n_batch * (widest_ + widest_ / 32 * 8 + widest_ / 16 * 2);
  memory_.mapped_bytes = weights_.mapped_bytes();
  memory_.weights_bytes = weights_.arena_bytes();
  memory_.kv_bytes = std::uint64_t{4} * plan_.hparams.n_layers * plan_.hparams.n_kv_heads *
                     static_cast<std::uint64_t>(padded_head(plan_.hparams.head_dim)) * options_.n_ctx;
  memory_.arena_bytes = static_cast<std::uint64_t>(floats * 4 + quantized_bytes + weights_.scratch_floats() * 4 * options_.n_threads);
}

void FastExecutor::allocate() {
  const auto n_batch = static_cast<std::size_t>(options_.n_batch), widest = static_cast<std::size_t>(widest_);
  values_.resize(static_cast<std::size_t>(value_offsets_.empty() ? 0 : value_offsets_.back() + plan_.values.back().width * options_.n_batch));
  q_.resize(n_batch * widest);
  q_scale_.resize(n_batch * widest / 32);
  q_sum_.resize(n_batch * widest / 32);
  q_sums16_.resize(n_batch * widest / 16);
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
  team_->run([&](unsigned thread) { run_pass(pass, thread); });
  n_past_ = position + static_cast<std::uint32_t>(tokens.size());
  if (pass.wants_logits) {
    const std::size_t n = static_cast<std::size_t>(pass.n_logits) * plan_.hparams.n_vocab;
    const float* result = row(plan_.logits, 0);
    // A sum that meets a NaN or an infinity times zero is NaN: one test for all of them.
    float poison = 0;
    for (std::size_t i = 0; i < n; ++i) poison += result[i] * 0.0F;
    if (std::isnan(poison)) report_not_finite(pass);
    std::copy_n(result, n, logits.data());
  }
  if (observer_ != nullptr) observer_->pass_end(begin, Clock::now());
}

void FastExecutor::run_pass(const Pass& pass, unsigned thread) {
  for (const Step& step : steps_) {
    if (!pass.wants_logits && step.first >= pass.first_logit_op) return;
    const auto begin = thread == 0 && pass.observer != nullptr ? Clock::now() : Clock::time_point{};
    if (step.quantize != kNone) {
      quantize_rows(step.quantize, rows_of(plan_.ops[step.first], pass), thread);
      team_->barrier();
    }
    for (std::size_t i = step.first; i < step.first + step.count; ++i) run_op(plan_.ops[i], pass, thread);
    team_->barrier();
    if (thread == 0 && pass.observer != nullptr) pass.observer->ops_done(step.first, step.count, begin, Clock::now());
  }
}

void FastExecutor::run_op(const Op& op, const Pass& pass, unsigned thread) {
  const std::int64_t n_rows = rows_of(op, pass);
  const auto by_elements = [&](auto&& kernel) {  // values of one width: the batch is one run of elements
    const Share s = share_of(n_rows * op.n_out, thread, team_->size());
    if (s.begin < s.end) kernel(row(op.in, 0) + s.begin, row(op.in2, 0) + s.begin, s.end - s.begin, row(op.out, 0) + s.begin);
  };
  switch (op.kind) {
    case OpKind::Embed: return embed(op, pass, thread);
    case OpKind::RmsNorm: return rms_norm(op, n_rows, thread);
    case OpKind::MatMul: return mat_mul(op, n_rows, thread);
    case OpKind::Rope: return rope(op, pass, thread);
    case OpKind::StoreKv: return store_kv(op, pass, thread);
    case OpKind::Attention: return attention(op, pass, thread);
    case OpKind::Add: return by_elements(ops_.add);
    case OpKind::SiluMul: return by_elements(ops_.silu_mul);
    case OpKind::GeluMul: return by_elements(ops_.gelu_mul);
    case OpKind::SelectRows:
      // Source and target rows of a thread may overlap with another's only when something moves: one thread does it.
      if (thread == 0 && (op.in != op.out || pass.n_logits != pass.n_tokens))
        std::memmove(row(op.out, 0), row(op.in, pass.n_tokens - pass.n_logits),
                     static_cast<std::size_t>(pass.n_logits * op.n_out) * sizeof(float));
      return;
  }
  throw Error(ErrorCode::Internal, fmt::format("the fast executor does not know the op {}", model::name(op.kind)));
}

void FastExecutor::embed(const Op& op, const Pass& pass, unsigned thread) {
  const model::Weight& weight = plan_.weights[static_cast<std::size_t>(op.weight)];
  const TypeInfo& type = *find_type(weight.type);
  const kernels::DequantizeFn dequantize = kernels::dequantizer(weight.type);
  std::vector<float> padded(static_cast<std::size_t>(weight.row_stride));
  for (std::int64_t t = thread; t < pass.n_tokens; t += team_->size()) {
    dequantize(weight.bytes.data() + static_cast<std::uint64_t>(pass.tokens[t]) * weight.row_bytes(), padded.data(),
               weight.row_stride / type.block_elements);
    float* out = row(op.out, t);
    for (std::int64_t i = 0; i < op.n_out; ++i) out[i] = (padded[static_cast<std::size_t>(i)] + weight.plus) * op.scale;
  }
}

void FastExecutor::rms_norm(const Op& op, std::int64_t n_rows, unsigned thread) {
  const std::int64_t width = op.n_heads > 0 ? op.head_dim : op.n_in, per_row = op.n_in / width;
  const Share s = share_of(n_rows * per_row, thread, team_->size());
  for (std::int64_t i = s.begin; i < s.end; ++i)
    ops_.rms_norm(row(op.in, 0) + i * width, weights_.vector(op.weight), 0.0F, op.eps, width, row(op.out, 0) + i * width);
}

void FastExecutor::quantize_rows(std::int32_t value, std::int64_t n_rows, unsigned thread) {
  const std::int64_t width = plan_.values[static_cast<std::size_t>(value)].width;
  const Share s = share_of(n_rows * (width / 32), thread, team_->size());
  if (s.begin < s.end)
    ops_.quantize_activation(row(value, 0) + s.begin * 32, (s.end - s.begin) * 32, q_.data() + s.begin * 32,
                             q_scale_.data() + s.begin, q_sum_.data() + s.begin, q_sums16_.data() + s.begin * 2);
}

void FastExecutor::mat_mul(const Op& op, std::int64_t n_rows, unsigned thread) {
  const FastMatrix& m = weights_.matrix(op.weight);
  const kernels::Activation x{row(op.in, 0), q_.data(), q_scale_.data(), q_sum_.data(), q_sums16_.data(), op.n_in};
  const float* bias = weights_.vector(op.bias);
  const Share s = share_of(m.n_panels, thread, team_->size());
  for (std::int64_t p = s.begin; p < s.end; ++p) {
    const std::int64_t first = p * ops_.lanes;
    const int n = static_cast<int>(std::min<std::int64_t>(ops_.lanes, op.n_out - first));
    const std::uint8_t* panel = nullptr;
    if (m.repacked) {
      panel = weights_.panel(m, p);
    } else {
      weights_.dequantize_panel(m, p, scratch_[thread].data());
      panel = reinterpret_cast<const std::uint8_t*>(scratch_[thread].data());
    }
    float* out = row(op.out, 0) + first;
    m.kernel->multiply(panel, &x, n_rows, n, out, op.n_out);
    for (std::int64_t t = 0; bias != nullptr && t < n_rows; ++t)
      for (int r = 0; r < n; ++r) out[t * op.n_out + r] += bias[first + r];
  }
}

void FastExecutor::rope(const Op& op, const Pass& pass, unsigned thread) {
  const auto index = static_cast<std::size_t>(op.rope);
  const model::Rope& rope = plan_.ropes[index];
  const std::int64_t half = rope.n_rot / 2;
  const bool adjacent = rope.layout == model::RopeLayout::Adjacent;
  const Share s = share_of(pass.n_tokens * op.n_heads, thread, team_->size());
  for (std::int64_t i = s.begin; i < s.end; ++i) {
    const float* in = row(op.in, 0) + i * op.head_dim;
    float* out = row(op.out, 0) + i * op.head_dim;
    const float* cosine = cos_[index].data() + i / op.n_heads * half;
    const float* sine = sin_[index].data() + i / op.n_heads * half;
    for (std::int64_t k = 0; k < half; ++k) {
      const std::int64_t a = adjacent ? 2 * k : k, b = adjacent ? a + 1 : k + half;
      const float x = in[a], y = in[b];
      out[a] = x * cosine[k] - y * sine[k];
      out[b] = x * sine[k] + y * cosine[k];
    }
    if (in != out) std::copy(in + rope.n_rot, in + op.head_dim, out + rope.n_rot);
  }
}

void FastExecutor::store_kv(const Op& op, const Pass& pass, unsigned thread) {
  const Share s = share_of(pass.n_tokens * op.n_kv_heads, thread, team_->size());
  for (std::int64_t i = s.begin; i < s.end; ++i) {
    const kernels::KvHead head = kv_head(op.layer, i % op.n_kv_heads, op.head_dim);
    const std::int64_t at = (pass.position + i / op.n_kv_heads) * head.stride;
    ops_.store_f16(row(op.in, 0) + i * op.head_dim, op.head_dim, const_cast<std::uint16_t*>(head.keys) + at);
    ops_.store_f16(row(op.in2, 0) + i * op.head_dim, op.head_dim, const_cast<std::uint16_t*>(head.values) + at);
  }
}

void FastExecutor::attention(const Op& op, const Pass& pass, unsigned thread) {
  const std::int64_t group = op.n_heads / op.n_kv_heads;
  // Later tokens cost more: threads take turns, a head's group together so that its keys stay in the cache.
  for (std::int64_t i = thread; i < pass.n_tokens * op.n_kv_heads; i += team_->size()) {
    const std::int64_t t = i / op.n_kv_heads, kv = i % op.n_kv_heads, end = pass.position + t + 1;
    const std::int64_t begin = op.window > 0 ? std::max<std::int64_t>(0, end - op.window) : 0;
    const kernels::KvHead head = kv_head(op.layer, kv, op.head_dim);
    for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h)
      ops_.attention(row(op.in, t) + h * op.head_dim, &head, begin, end, op.head_dim, op.scale, row(op.out, t) + h * op.head_dim);
  }
}

/// Runs the pass again, which gives the same numbers, and looks at every op's output.
void FastExecutor::report_not_finite(Pass pass) {
  std::atomic<std::size_t> culprit{plan_.ops.size()};
  pass.observer = nullptr;
  team_->run([&](unsigned thread) {
    for (const Step& step : steps_) {
      if (step.quantize != kNone) {
        quantize_rows(step.quantize, rows_of(plan_.ops[step.first], pass), thread);
        team_->barrier();
      }
      for (std::size_t i = step.first; i < step.first + step.count; ++i) run_op(plan_.ops[i], pass, thread);
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

}  // namespace

std::unique_ptr<Executor> make_fast_executor(const model::Plan& plan, const ExecutorOptions& options) {
  return std::make_unique<FastExecutor>(plan, options);
}

}  // namespace apr::engine
