// The reference: walks the plan op by op, each row of each value by the functions of exact_ops.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "apr/core/error.h"
#include "apr/core/thread_pool.h"
#include "apr/engine/executor.h"
#include "apr/kernels/dispatch.h"
#include "batch_rows.h"
#include "exact_ops.h"

namespace apr::engine {
namespace {

using model::kNone;
using model::Op;
using model::OpKind;
using model::Plan;
using model::RowSet;
using model::Weight;

/// Row `row` of a weight as f32.
void read_row(const Weight& weight, std::int64_t row, std::span<float> out) {
  const auto first = static_cast<std::uint64_t>(row) * static_cast<std::uint64_t>(weight.row_stride);
  const bool decoded = kernels::decode(weight.type, weight.bytes, first, out);
  APR_CHECK(decoded);  // the shape and the type were checked when the plan was built
  if (weight.plus != 0) {
    for (float& element : out) element += weight.plus;
  }
}

MemoryPlan plan_memory(const Plan& plan, const ExecutorOptions& options) {
  const auto floats = [](std::uint64_t n) { return n * sizeof(float); };
  MemoryPlan memory;
  memory.mapped_bytes = plan.weight_bytes();
  memory.n_sequences = options.n_sequences;
  memory.kv_bytes =
      floats(2ull * options.n_sequences * plan.hparams.n_layers * options.n_ctx * plan.hparams.kv_width());
  const auto widest_row = std::max({plan.hparams.n_embd, plan.hparams.n_ffn, plan.hparams.q_width()});
  memory.arena_bytes = floats(static_cast<std::uint64_t>(plan.row_elements()) * options.n_batch) +
                       options.n_threads * (floats(widest_row) + sizeof(double) * options.n_ctx);
  return memory;
}

class ExactExecutor final : public Executor {
 public:
  ExactExecutor(const Plan& plan, const ExecutorOptions& options)
      : plan_(plan),
        options_(resolved(plan, options)),
        memory_(plan_memory(plan, options_)),
        pool_(options_.n_threads) {
    require_fits(memory_, options_.n_ctx, options_.memory_limit_bytes);
    for (const model::Value& value : plan_.values) {
      values_.emplace_back(static_cast<std::size_t>(value.width) * options_.n_batch);
    }
    const std::size_t per_layer = std::size_t{options_.n_ctx} * plan_.hparams.kv_width();
    const std::size_t n_caches = std::size_t{options_.n_sequences} * plan_.hparams.n_layers;
    keys_.assign(n_caches, std::vector<float>(per_layer));
    cached_values_.assign(n_caches, std::vector<float>(per_layer));
    n_past_.assign(options_.n_sequences, 0);
  }

  void forward(std::span<const std::int32_t> tokens, std::uint32_t position, LogitsRequest request,
               std::span<float> logits) override {
    const BatchPart part{.sequence = 0, .position = position, .tokens = tokens, .logits = request};
    forward_batch(std::span(&part, 1), logits);
  }
  void forward_batch(std::span<const BatchPart> parts, std::span<float> logits) override;

  [[nodiscard]] std::string_view name() const noexcept override { return "exact"; }
  [[nodiscard]] const MemoryPlan& memory() const noexcept override { return memory_; }
  [[nodiscard]] const ExecutorOptions& options() const noexcept override { return options_; }
  [[nodiscard]] const Plan& plan() const noexcept override { return plan_; }
  void set_observer(OpObserver* observer) noexcept override { observer_ = observer; }

 private:
  void run(const Op& op);
  void embed(const Op& op);
  void rms_norm(const Op& op);
  void mat_mul(const Op& op);
  void rope(const Op& op);
  void store_kv(const Op& op);
  void attention(const Op& op);
  void elementwise(const Op& op);
  void select_rows(const Op& op);
  void require_finite(const Op& op) const;

  [[nodiscard]] std::size_t n_rows(const Op& op) const {
    return op.rows == RowSet::Tokens ? batch_.rows.size() : batch_.logit_rows.size();
  }
  /// Of keys_ and cached_values_.
  [[nodiscard]] std::size_t cache_of(const Op& op, std::size_t row) const {
    return std::size_t{batch_.rows[row].sequence} * plan_.hparams.n_layers + static_cast<std::size_t>(op.layer);
  }
  [[nodiscard]] std::span<float> row(std::int32_t value, std::size_t index) {
    const auto width = static_cast<std::size_t>(plan_.values[static_cast<std::size_t>(value)].width);
    return std::span(values_[static_cast<std::size_t>(value)]).subspan(index * width, width);
  }
  [[nodiscard]] const Weight& weight(std::int32_t index) const {
    return plan_.weights[static_cast<std::size_t>(index)];
  }

  const Plan& plan_;
  ExecutorOptions options_;
  MemoryPlan memory_;
  ThreadPool pool_;
  std::vector<std::vector<float>> values_;                // by index of Plan::values
  std::vector<std::vector<float>> keys_, cached_values_;  // by sequence and layer: n_ctx rows of kv_width
  OpObserver* observer_ = nullptr;
  std::vector<std::uint32_t> n_past_;  // by sequence
  BatchRows batch_;                    // of the running call
};

void ExactExecutor::forward_batch(std::span<const BatchPart> parts, std::span<float> logits) {
  check_batch(plan_, options_, parts, n_past_, logits.size());
  batch_.assign(parts);
  for (const BatchPart& part : parts)
    n_past_[part.sequence] = part.position;  // a failure leaves the cache valid up to here
  const auto start = Clock::now();
  batch_.shape.kv_element_bytes = sizeof(float);
  if (observer_ != nullptr) observer_->pass_begin(batch_.shape);
  for (std::size_t i = 0; i < plan_.ops.size(); ++i) {
    const Op& op = plan_.ops[i];
    if (batch_.logit_rows.empty() && (op.rows == RowSet::Logits || op.kind == OpKind::SelectRows)) continue;
    const auto begin = Clock::now();
    run(op);
    require_finite(op);
    if (observer_ != nullptr) observer_->ops_done(i, 1, begin, Clock::now());
  }
  if (observer_ != nullptr) observer_->pass_end(start, Clock::now());
  for (const BatchPart& part : parts) n_past_[part.sequence] += static_cast<std::uint32_t>(part.tokens.size());
  const std::vector<float>& result = values_[static_cast<std::size_t>(plan_.logits)];
  std::copy_n(result.begin(), logits.size(), logits.begin());
}

void ExactExecutor::run(const Op& op) {
  switch (op.kind) {
    case OpKind::Embed: return embed(op);
    case OpKind::RmsNorm: return rms_norm(op);
    case OpKind::MatMul: return mat_mul(op);
    case OpKind::Rope: return rope(op);
    case OpKind::StoreKv: return store_kv(op);
    case OpKind::Attention: return attention(op);
    case OpKind::Add:
    case OpKind::SiluMul:
    case OpKind::GeluMul: return elementwise(op);
    case OpKind::SelectRows: return select_rows(op);
  }
}

void ExactExecutor::embed(const Op& op) {
  for (std::size_t r = 0; r < n_rows(op); ++r) {
    const std::span<float> out = row(op.out, r);
    read_row(weight(op.weight), batch_.rows[r].token, out);
    for (float& element : out) element *= op.scale;
  }
}

void ExactExecutor::rms_norm(const Op& op) {
  const std::size_t group = static_cast<std::size_t>(op.n_heads > 0 ? op.head_dim : op.n_in);
  std::vector<float> factors(group);
  read_row(weight(op.weight), 0, factors);
  for (std::size_t r = 0; r < n_rows(op); ++r) {
    const std::span<float> in = row(op.in, r), out = row(op.out, r);
    for (std::size_t at = 0; at < in.size(); at += group) {
      exact::rms_norm(in.subspan(at, group), factors, op.eps, out.subspan(at, group));
    }
  }
}

/// A block of weight rows is one piece of work: each row is dequantised once and multiplied with every row of `in`.
void ExactExecutor::mat_mul(const Op& op) {
  constexpr std::int64_t kRowsPerTask = 16;
  const Weight& matrix = weight(op.weight);
  std::vector<float> bias;
  if (op.bias != kNone) {
    bias.resize(static_cast<std::size_t>(op.n_out));
    read_row(weight(op.bias), 0, bias);
  }
  const std::size_t rows = n_rows(op);
  const auto n_tasks = static_cast<std::uint64_t>((op.n_out + kRowsPerTask - 1) / kRowsPerTask);
  pool_.parallel_for(n_tasks, [&](std::uint64_t task) {
    std::vector<float> factors(static_cast<std::size_t>(op.n_in));
    const std::int64_t first = static_cast<std::int64_t>(task) * kRowsPerTask;
    for (std::int64_t o = first; o < std::min(first + kRowsPerTask, op.n_out); ++o) {
      const auto column = static_cast<std::size_t>(o);
      read_row(matrix, o, factors);
      for (std::size_t r = 0; r < rows; ++r) {
        const double sum = exact::dot(factors.data(), row(op.in, r).data(), op.n_in);
        row(op.out, r)[column] = static_cast<float>(bias.empty() ? sum : sum + static_cast<double>(bias[column]));
      }
    }
  });
}

void ExactExecutor::rope(const Op& op) {
  const model::Rope& rope = plan_.ropes[static_cast<std::size_t>(op.rope)];
  for (std::size_t r = 0; r < n_rows(op); ++r) {
    exact::rope(row(op.out, r), op.head_dim, rope, batch_.rows[r].position);
  }
}

void ExactExecutor::store_kv(const Op& op) {
  for (std::size_t r = 0; r < n_rows(op); ++r) {
    const std::span<const float> key = row(op.in, r), value = row(op.in2, r);
    const auto at = static_cast<std::ptrdiff_t>(batch_.rows[r].position * key.size());
    std::copy(key.begin(), key.end(), keys_[cache_of(op, r)].begin() + at);
    std::copy(value.begin(), value.end(), cached_values_[cache_of(op, r)].begin() + at);
  }
}

void ExactExecutor::attention(const Op& op) {
  const auto n_heads = static_cast<std::size_t>(op.n_heads);
  const exact::AttentionShape shape{op.n_heads, op.n_kv_heads, op.head_dim, op.window, op.scale};
  pool_.parallel_for(n_rows(op) * n_heads, [&](std::uint64_t task) {
    const std::size_t r = task / n_heads, head = task % n_heads;
    const std::uint32_t position = batch_.rows[r].position;
    const std::size_t offset = head * static_cast<std::size_t>(op.head_dim);
    std::vector<double> scores(position + 1);
    exact::attention_head(shape, static_cast<std::int32_t>(head), position, row(op.in, r).data() + offset,
                          keys_[cache_of(op, r)].data(), cached_values_[cache_of(op, r)].data(), scores,
                          row(op.out, r).data() + offset);
  });
}

void ExactExecutor::elementwise(const Op& op) {
  for (std::size_t r = 0; r < n_rows(op); ++r) {
    const std::span<const float> a = row(op.in, r), b = row(op.in2, r);
    const std::span<float> out = row(op.out, r);
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = op.kind == OpKind::Add       ? a[i] + b[i]
               : op.kind == OpKind::SiluMul ? exact::silu_mul(a[i], b[i])
                                            : exact::gelu_mul(a[i], b[i]);
    }
  }
}

void ExactExecutor::select_rows(const Op& op) {
  for (std::size_t r = 0; r < batch_.logit_rows.size(); ++r)  // rising, so none is overwritten before it is read
    std::ranges::copy(row(op.in, batch_.logit_rows[r]), row(op.out, r).begin());
}

void ExactExecutor::require_finite(const Op& op) const {
  if (op.out == kNone) return;
  const std::vector<float>& values = values_[static_cast<std::size_t>(op.out)];
  const auto width = static_cast<std::size_t>(plan_.values[static_cast<std::size_t>(op.out)].width);
  const bool selected = op.kind == OpKind::SelectRows || op.rows == RowSet::Logits;
  const std::size_t count = (selected ? batch_.logit_rows.size() : batch_.rows.size()) * width;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::isfinite(values[i])) continue;
    const std::size_t row = selected ? batch_.logit_rows[i / width] : i / width;
    throw Error(ErrorCode::Inference, "a computed value is not finite")
        .in(plan_.op_name(op))
        .want("finite numbers")
        .got(fmt::format("{} in element {} at position {}", values[i], i % width, batch_.rows[row].position))
        .help("the weights of this layer may be damaged: `apr qa` and `apr diag` look at their values");
  }
}

}  // namespace

std::unique_ptr<Executor> make_exact_executor(const Plan& plan, const ExecutorOptions& options) {
  return std::make_unique<ExactExecutor>(plan, options);
}

}  // namespace apr::engine
