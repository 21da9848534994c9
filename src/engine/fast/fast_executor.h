// The fast CPU executor: repacked weights, int8 activations, an f16 cache, one team of spinning threads.
// fast_executor.cpp: memory and passes; fast_ops.cpp: what a thread does for each op.
#pragma once
#include <fmt/format.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apr/core/error.h"
#include "apr/core/thread_pool.h"
#include "apr/engine/executor.h"
#include "apr/kernels/dispatch.h"
#include "src/engine/batch_rows.h"
#include "src/engine/fast/fast_weights.h"
#include "src/engine/fast/schedule.h"
#include "src/engine/fast/worker_team.h"

namespace apr::engine {

/// Items [begin, end) of `count` that a thread of a team takes.
struct Share {
  std::int64_t begin, end;
};
/// Who runs an op: thread `thread` of `n_threads` that share it.
struct Worker {
  unsigned thread, n_threads;
};
[[nodiscard]] inline Share share_of(std::int64_t count, Worker w) {
  return {count * w.thread / w.n_threads, count * (w.thread + 1) / w.n_threads};
}

/// Most rows of a batch whose attention is shared out by segments, too.
inline constexpr std::int64_t kSplitRows = 8;

/// Elements of a head in the cache: the kernels read whole vectors of 16.
[[nodiscard]] inline std::int64_t padded_head(std::int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

class FastExecutor final : public Executor {
 public:
  FastExecutor(const model::Plan& plan, const ExecutorOptions& options);

  void forward(std::span<const std::int32_t> tokens, std::uint32_t position, LogitsRequest request,
               std::span<float> logits) override {
    const BatchPart part{.sequence = 0, .position = position, .tokens = tokens, .logits = request};
    forward_batch(std::span(&part, 1), logits);
  }
  void forward_batch(std::span<const BatchPart> parts, std::span<float> logits) override;
  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] const MemoryPlan& memory() const noexcept override { return memory_; }
  [[nodiscard]] const ExecutorOptions& options() const noexcept override { return options_; }
  [[nodiscard]] const model::Plan& plan() const noexcept override { return plan_; }
  [[nodiscard]] std::vector<std::string> notes() const override { return weights_.notes(); }
  void set_observer(OpObserver* observer) noexcept override { observer_ = observer; }

 private:
  /// One call, as every thread sees it.
  struct Pass {
    std::int64_t n_tokens, n_logits;
    std::size_t end_op;  // where ops begin that only logits need, when none are wanted
    OpObserver* observer;
  };
  /// Rows [begin, end) of the batch whose attention runs together: tokens of one sequence.
  struct Tile {
    std::int64_t begin, end;
  };
  /// Attention rows of a tile and one group of heads, and what they see.
  struct AttentionJob {
    Tile tile;
    std::int64_t kv_head, first, last;
    [[nodiscard]] std::int64_t first_segment() const { return first / kernels::attention_segment; }
    [[nodiscard]] std::int64_t n_segments() const {
      return (last - 1) / kernels::attention_segment + 1 - first_segment();
    }
  };

  /// How much of a thread's share of an op is taken. A thread takes its own share piece by piece, then what the others
  /// have left.
  struct alignas(64) Counter {
    std::atomic<std::int64_t> next{0};
  };

  void plan_memory();
  void allocate();
  void choose_ahead();
  void make_rope_tables();
  void make_tiles();
  /// The first value that is not finite is looked for in the logits, or where none are wanted in the last keys and
  /// values.
  [[nodiscard]] bool all_finite(const Pass& pass) const;
  void run_team(const std::function<void(unsigned)>& body);
  void run_pass(const Pass& pass, unsigned thread);
  /// The ops of a step; `turn` counts the steps that all threads run together.
  void run_step(const Step& step, std::size_t turn, const Pass& pass, unsigned thread);
  [[nodiscard]] bool alone(const Step& step, const Pass& pass) const;
  void prepare(const Step& step, const Pass& pass, Worker w);
  void run_op(const model::Op& op, const Pass& pass, Worker w, Counter* work);
  void quantize_rows(std::int32_t value, bool remainder, std::int64_t n_rows, Worker w);
  void transpose_rows(std::int32_t value, std::int64_t n_rows, Worker w);
  void mat_mul(const model::Op& op, std::int64_t n_rows, Worker w, Counter* work);
  void mat_mul_panels(const model::Op& op, std::int64_t n_rows, Share panels, Worker w);
  void attention(const model::Op& op, Worker w, Counter* work);
  void attention_by_segments(const model::Op& op, Counter* work);
  [[nodiscard]] AttentionJob attention_job(const model::Op& op, std::int64_t index) const;
  /// Runs the rows of a job, of all segments or (a part each) of one.
  void run_attention(const model::Op& op, const AttentionJob& job, std::int64_t segment);
  [[nodiscard]] std::int64_t part_floats() const;
  /// Where a row's parts stand, by segment from the first that it sees on.
  [[nodiscard]] float* parts_of(std::int64_t row, std::int64_t head) {
    return parts_.data() +
           (row * plan_.hparams.n_heads + head) * n_segments() * kernels::attention_part_floats(plan_.hparams.head_dim);
  }
  void rope(const model::Op& op, std::int64_t n_rows, Worker w);
  void store_kv(const model::Op& op, std::int64_t n_rows, Worker w);
  void embed(const model::Op& op, std::int64_t n_rows, Worker w);
  void select_rows(const model::Op& op);
  void rms_norm(const model::Op& op, std::int64_t n_rows, Worker w);
  [[noreturn]] void report_not_finite(Pass pass);
  [[nodiscard]] std::int64_t rows_of(const model::Op& op, const Pass& pass) const {
    return op.rows == model::RowSet::Logits ? pass.n_logits : pass.n_tokens;
  }
  [[nodiscard]] float* row(std::int32_t value, std::int64_t r) {
    return const_cast<float*>(std::as_const(*this).row(value, r));
  }
  [[nodiscard]] const float* row(std::int32_t value, std::int64_t r) const {
    const auto index = static_cast<std::size_t>(value);
    return values_.data() + value_offsets_[index] + r * plan_.values[index].width;
  }
  [[nodiscard]] kernels::KvHead kv_head(std::uint32_t sequence, std::int32_t layer, std::int64_t head) const;
  [[nodiscard]] const kernels::KvKernels& kv() const {
    return ops_.kv[options_.kv_type == TensorType::Q8_0 ? kernels::kv_q8_0 : kernels::kv_f16];
  }

  /// Segments of a full context.
  [[nodiscard]] std::int64_t n_segments() const {
    return (cache_positions() + kernels::attention_segment - 1) / kernels::attention_segment;
  }
  [[nodiscard]] std::int64_t cache_positions() const {
    return (static_cast<std::int64_t>(options_.n_ctx) + kernels::attention_chunk - 1) / kernels::attention_chunk *
           kernels::attention_chunk;
  }
  /// The counters of op `i` of a step, by thread. Three sets take turns, so that a thread can clear its counters of the
  /// next turn in this one: nobody uses that set any more, and a barrier comes before its next use.
  [[nodiscard]] Counter* counters(std::size_t turn, std::size_t i) {
    return counters_.data() + (turn % 3 * most_ops_ + i) * team_->size();
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
  std::int64_t ahead_ = 4096;          // kernels::Activation::ahead of one token
  std::vector<std::uint32_t> n_past_;  // by sequence
  BatchRows batch_;                    // of the running call
  std::vector<Tile> tiles_;

  std::vector<float> values_;
  std::vector<std::int64_t> value_offsets_;
  std::int64_t widest_ = 0;            // of the values that are quantised
  std::int64_t widest_remainder_ = 0;  // of those that some op takes in two terms
  std::int64_t widest_transposed_ = 0;
  std::vector<float> transposed_;
  std::size_t most_ops_ = 1;  // of a step
  std::vector<Counter> counters_;
  /// One term of the quantised rows, as kernels::Activation has them.
  struct Term {
    std::vector<std::int8_t> q;
    std::vector<float> scale, sum;
    std::vector<std::int16_t> sums16;
    void resize(std::size_t n) { q.resize(n), scale.resize(n / 32), sum.resize(n / 32), sums16.resize(n / 16); }
  };
  Term rounded_, remainder_;
  [[nodiscard]] static kernels::Activation activation(const Term& t, const float* x, std::int64_t n_cols) {
    return {x, t.q.data(), t.scale.data(), t.sum.data(), t.sums16.data(), n_cols};
  }
  std::unique_ptr<std::uint8_t[], void (*)(std::uint8_t*)> cache_memory_;
  std::uint8_t* cache_ = nullptr;              // [sequence][layer][kv head] as kv_head() cuts it
  std::uint64_t head_bytes_ = 0;               // of the cache
  std::vector<float> parts_;                   // of attention shared out by segments
  std::vector<Counter> segments_done_;         // by job
  std::vector<std::vector<float>> cos_, sin_;  // per rope: [token][n_rot / 2]
  std::vector<std::vector<float>> scratch_;    // per thread
};

}  // namespace apr::engine
