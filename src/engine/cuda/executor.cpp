// forward_batch() on a device: columns in, launches, logits out.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "apr/core/error.h"
#include "cuda_executor.h"
#include "decode_loop.h"
#include "device_model.h"
#include "src/engine/batch_rows.h"

namespace apr::engine::cuda {
namespace {

namespace kc = kernels::cuda;
using B = DeviceBuffers;

/// In us behind the first launch's entry.
StampedLaunch read_stamps(const PlannedLaunch& launch, std::span<const kc::Stamps> stamps, std::size_t index) {
  const kc::Stamps& s = stamps[index];
  const auto us = [&](std::uint64_t ns) { return static_cast<double>(ns - stamps[0].entered) / 1e3; };
  const kc::KernelInfo& kernel = kc::info(launch.launch.kernel);
  if (s.entered == UINT64_MAX || s.not_left == UINT64_MAX)
    throw Error(ErrorCode::Inference, "a launch left no time stamp").in(std::string(kernel.name));
  return {kernel.name, launch.first_op, launch.n_ops, us(s.entered), us(s.waited), us(~s.not_left)};
}

/// Tells a listener of memory that is not the model's, while it lives.
class StampListener {
 public:
  StampListener(MemoryListener* listener, DevicePtr memory, std::uint64_t n_bytes)
      : listener_(listener), region_{DeviceRegion{"stamps", memory, n_bytes, false}} {
    if (listener_ != nullptr) listener_->taken(region_);
  }
  ~StampListener() {
    if (listener_ != nullptr) listener_->given_back(region_);
  }
  StampListener(const StampListener&) = delete;
  StampListener& operator=(const StampListener&) = delete;

 private:
  MemoryListener* listener_;
  std::array<DeviceRegion, 1> region_;
};

class CudaExecutor final : public Executor {
 public:
  CudaExecutor(const model::Plan& plan, const ExecutorOptions& options, std::shared_ptr<Driver> driver,
               const CudaOptions& cuda)
      : model_(plan, options, std::move(driver), cuda),
        memory_(model_.pool().memory()),
        name_(fmt::format("cuda, {}", model_.info().name)),
        columns_(allocate_pinned(model_.driver(), model_.options().n_batch * sizeof(kc::Column))),
        logits_(allocate_pinned(model_.driver(), logits_bytes(kLogitRows))),
        n_past_(model_.options().n_sequences),
        decode_(model_, n_past_) {}
  ~CudaExecutor() override {
    // Copies in flight end in the pinned memory of this object.
    static_cast<void>(model_.driver().stream_synchronize(model_.stream()));
  }
  CudaExecutor(const CudaExecutor&) = delete;
  CudaExecutor& operator=(const CudaExecutor&) = delete;

  void forward(std::span<const std::int32_t> tokens, std::uint32_t position, LogitsRequest request,
               std::span<float> logits) override {
    const BatchPart part{.sequence = 0, .position = position, .tokens = tokens, .logits = request};
    forward_batch(std::span(&part, 1), logits);
  }
  void forward_batch(std::span<const BatchPart> parts, std::span<float> logits) override;
  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] const MemoryPlan& memory() const noexcept override { return memory_; }
  [[nodiscard]] const ExecutorOptions& options() const noexcept override { return model_.options(); }
  [[nodiscard]] const model::Plan& plan() const noexcept override { return model_.plan(); }
  [[nodiscard]] std::vector<std::string> notes() const override { return model_.notes(); }
  [[nodiscard]] std::optional<DeviceRoofs> measure_device_roofs() override;
  [[nodiscard]] std::vector<StampedReplay> replay_stamped(std::uint64_t n, std::string& reason) override;
  [[nodiscard]] DeviceDecoder* decoder() noexcept override { return &decode_; }
  void set_observer(OpObserver* observer) noexcept override { observer_ = observer; }

 private:
  [[nodiscard]] std::size_t logits_bytes(std::int32_t n_rows) const {
    return static_cast<std::size_t>(n_rows) * model_.plan().hparams.n_vocab * sizeof(float);
  }
  /// The rows of the batch as columns: those whose logits are wanted come last, in their order. What a column computes
  /// does not depend on where it stands.
  void send_columns();
  /// Whether this shape comes again and again, so that a graph is made of it.
  [[nodiscard]] bool recurs(PassShape pass) const;
  /// Runs the launches, from a graph where this shape recurs.
  void run(PassShape pass, const std::vector<PlannedLaunch>& launches);
  void run_observed(PassShape pass, const std::vector<PlannedLaunch>& launches, Clock::time_point start);
  void read_logits(std::int32_t n_rows, std::span<float> to);
  /// Throws for the first launch of the pass that made a value that is not finite.
  [[noreturn]] void report_not_finite(PassShape pass);

  DeviceModel model_;
  MemoryPlan memory_;
  std::string name_;
  OwnedPinned columns_, logits_;
  std::vector<std::uint32_t> n_past_;  // by sequence
  BatchRows batch_;                    // of the running call
  DecodeLoop decode_;
  std::vector<OwnedEvent> events_;  // of observed passes
  std::map<PassShape, OwnedGraphExec> graphs_, observed_graphs_;
  std::optional<PassShape> last_;  // the pass that ran last, to its end
  OpObserver* observer_ = nullptr;
};

void CudaExecutor::send_columns() {
  auto* column = static_cast<kc::Column*>(columns_.get());
  const auto put = [&](const BatchRow& row) {
    *column++ = {row.token, static_cast<std::int32_t>(row.position), static_cast<std::int32_t>(row.sequence), 0};
  };
  const auto& last = batch_.logit_rows;
  for (std::size_t i = 0; i < batch_.rows.size(); ++i)
    if (!std::ranges::binary_search(last, i)) put(batch_.rows[i]);
  for (const std::size_t i : last) put(batch_.rows[i]);
  model_.copy_in(B::Columns, columns_.get(), batch_.rows.size() * sizeof(kc::Column));
}

bool CudaExecutor::recurs(PassShape pass) const {
  return model_.cuda().graphs && (pass.apart || pass.n_columns == static_cast<std::int32_t>(options().n_batch));
}

void CudaExecutor::run(PassShape pass, const std::vector<PlannedLaunch>& launches) {
  if (!recurs(pass)) return model_.launch(launches);
  auto at = graphs_.find(pass);
  if (at == graphs_.end()) at = graphs_.emplace(pass, model_.capture(launches)).first;
  APR_CUDA(model_.driver(), graph_launch(at->second.get(), model_.stream()));
}

/// An event in front of every launch and behind the last, as nodes of a graph where the shape comes again. A launch
/// that only prepares the next is part of the next one's span.
void CudaExecutor::run_observed(PassShape pass, const std::vector<PlannedLaunch>& launches, Clock::time_point start) {
  while (events_.size() < launches.size() + 1) events_.push_back(create_event(model_.driver(), true));
  const auto put = [&](unsigned flags) {
    APR_CUDA(model_.driver(), event_record_flags(events_[0].get(), model_.stream(), flags));
    for (std::size_t i = 0; i < launches.size(); ++i) {
      model_.kernels().launch(launches[i].launch, model_.stream());
      APR_CUDA(model_.driver(), event_record_flags(events_[i + 1].get(), model_.stream(), flags));
    }
  };
  if (recurs(pass)) {
    auto at = observed_graphs_.find(pass);
    if (at == observed_graphs_.end()) {
      OwnedGraphExec graph = capture_graph(model_.driver(), model_.stream(), [&] { put(kEventRecordExternal); });
      at = observed_graphs_.emplace(pass, std::move(graph)).first;
    }
    APR_CUDA(model_.driver(), graph_launch(at->second.get(), model_.stream()));
  } else {
    put(0);
  }
  model_.synchronize();
  const auto stamp = [&](std::size_t event) {
    float milliseconds = 0;
    APR_CUDA(model_.driver(), event_elapsed(&milliseconds, events_[0].get(), events_[event].get()));
    return start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<float, std::milli>(milliseconds));
  };
  auto begin = stamp(0);
  for (std::size_t i = 0; i < launches.size(); ++i) {
    if (launches[i].n_ops == 0) continue;
    const auto end = stamp(i + 1);
    observer_->ops_done(launches[i].first_op, launches[i].n_ops, begin, end);
    begin = end;
  }
}

void CudaExecutor::read_logits(std::int32_t n_rows, std::span<float> to) {
  model_.copy_out(logits_.get(), B::Logits, logits_bytes(n_rows));
  model_.synchronize();
  std::memcpy(to.data(), logits_.get(), to.size_bytes());
}

void CudaExecutor::forward_batch(std::span<const BatchPart> parts, std::span<float> logits) {
  check_batch(plan(), options(), parts, n_past_, logits.size());
  for (const BatchPart& part : parts)
    n_past_[part.sequence] = part.position;  // a failure below leaves the cache valid up to here
  batch_.assign(parts);
  batch_.shape.kv_element_bytes = kv_element_bytes(options().kv_type);
  const PassShape pass{static_cast<std::int32_t>(batch_.shape.n_tokens),
                       static_cast<std::int32_t>(batch_.shape.n_logits), parts.size() == batch_.rows.size(),
                       parts.size() == 1 && model_.cuda().prompts};
  last_.reset();
  const auto start = Clock::now();
  if (observer_ != nullptr) observer_->pass_begin(batch_.shape);
  model_.enter();
  send_columns();
  const std::vector<PlannedLaunch> launches = model_.list().body_and_head(pass);
  if (observer_ != nullptr) {
    run_observed(pass, launches, start);
  } else {
    run(pass, launches);
  }
  const std::int32_t most = model_.buffers().n_logit_rows();
  for (std::int32_t first = 0; first < pass.n_logits; first += most) {
    const std::int32_t n_rows = std::min(most, pass.n_logits - first);
    // Of further rows the time is part of what no op accounts for.
    if (first > 0) model_.launch(model_.list().head(pass, first, n_rows));
    read_logits(n_rows, logits.subspan(static_cast<std::size_t>(first) * plan().hparams.n_vocab,
                                       static_cast<std::size_t>(n_rows) * plan().hparams.n_vocab));
  }
  model_.synchronize();
  if (observer_ != nullptr) observer_->pass_end(start, Clock::now());
  if (!std::ranges::all_of(logits, [](float v) { return std::isfinite(v); })) report_not_finite(pass);
  last_ = pass;
  for (const BatchPart& part : parts) n_past_[part.sequence] += static_cast<std::uint32_t>(part.tokens.size());
}

/// The best of several copies of a buffer far larger than the caches. The one allocation besides the pool; it is given
/// back.
std::optional<DeviceRoofs> CudaExecutor::measure_device_roofs() {
  constexpr int kCopies = 9;
  model_.enter();
  std::size_t free_bytes = 0, total_bytes = 0;
  APR_CUDA(model_.driver(), memory_info(&free_bytes, &total_bytes));
  const std::uint64_t n_bytes = std::min<std::uint64_t>(512ULL << 20, free_bytes / 8);
  if (n_bytes == 0) return std::nullopt;
  const OwnedMemory from = allocate_memory(model_.driver(), n_bytes), to = allocate_memory(model_.driver(), n_bytes);
  const OwnedEvent start = create_event(model_.driver(), true), end = create_event(model_.driver(), true);
  float best_ms = INFINITY;
  for (int i = 0; i < kCopies; ++i) {
    APR_CUDA(model_.driver(), event_record(start.get(), model_.stream()));
    APR_CUDA(model_.driver(), copy_on_device(to.get(), from.get(), n_bytes, model_.stream()));
    APR_CUDA(model_.driver(), event_record(end.get(), model_.stream()));
    model_.synchronize();
    float ms = 0;
    APR_CUDA(model_.driver(), event_elapsed(&ms, start.get(), end.get()));
    best_ms = std::min(best_ms, ms);
  }
  return DeviceRoofs{2 * static_cast<double>(n_bytes) / static_cast<double>(best_ms) / 1e6, n_bytes};
}

/// Kernels, stamps and graph live as long as this call: they are not in the pool.
std::vector<StampedReplay> CudaExecutor::replay_stamped(std::uint64_t n, std::string& reason) {
  Driver& driver = model_.driver();
  if (!last_ || !last_->apart) {
    reason = "the last pass was not one token of each sequence";
    return {};
  }
  if (driver.is_hardware() && kc::stamped_modules().empty()) {
    reason = "this build has no kernels with time stamps (APR_CUDA_STAMPS)";
    return {};
  }
  model_.enter();
  KernelSet kernels(driver, model_.info(), KernelVariant::Stamped);
  kernels.set_early(model_.cuda().early);
  const std::vector<PlannedLaunch> launches = model_.list().body_and_head(*last_);
  std::vector<kc::Stamps> stamps(launches.size());
  const std::size_t n_bytes = stamps.size() * sizeof(kc::Stamps);
  const OwnedMemory memory = allocate_memory(driver, n_bytes);
  const StampListener listening(model_.cuda().listener, memory.get(), n_bytes);
  const OwnedEvent begin = create_event(driver, true), end = create_event(driver, true);
  const OwnedGraphExec graph = capture_graph(driver, model_.stream(), [&] {
    for (std::size_t i = 0; i < launches.size(); ++i)
      kernels.launch(launches[i].launch, model_.stream(), memory.get() + i * sizeof(kc::Stamps));
  });
  std::vector<StampedReplay> replays;
  for (std::uint64_t i = 0; i < n; ++i) {
    APR_CUDA(driver, fill(memory.get(), 0xFF, n_bytes, model_.stream()));
    APR_CUDA(driver, event_record(begin.get(), model_.stream()));
    APR_CUDA(driver, graph_launch(graph.get(), model_.stream()));
    APR_CUDA(driver, event_record(end.get(), model_.stream()));
    APR_CUDA(driver, copy_to_host(stamps.data(), memory.get(), n_bytes, model_.stream()));
    model_.synchronize();
    float milliseconds = 0;
    APR_CUDA(driver, event_elapsed(&milliseconds, begin.get(), end.get()));
    StampedReplay& replay = replays.emplace_back();
    replay.wall_us = 1e3 * static_cast<double>(milliseconds);
    for (std::size_t k = 0; k < launches.size(); ++k) replay.launches.push_back(read_stamps(launches[k], stamps, k));
  }
  return replays;
}

void CudaExecutor::report_not_finite(PassShape pass) {
  const std::vector<PlannedLaunch> launches = model_.list().body_and_head(pass);
  std::string where = "logits";
  for (const PlannedLaunch& l : launches) {
    model_.kernels().launch(l.launch, model_.stream());
    std::vector<float> values(l.out_elements);
    if (values.empty()) continue;
    APR_CUDA(model_.driver(), copy_to_host(values.data(), l.out, values.size() * sizeof(float), model_.stream()));
    model_.synchronize();
    if (std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) continue;
    // One launch runs several ops: they are named from the first to the last.
    const auto& ops = plan().ops;
    where = plan().op_name(ops[l.first_op]);
    for (std::size_t i = l.first_op + 1; i < l.first_op + l.n_ops; ++i)
      where += fmt::format("+{}", model::name(ops[i].brick));
    break;
  }
  const auto [first, last] = std::ranges::minmax(batch_.rows, {}, &BatchRow::position);
  throw Error(ErrorCode::Inference, "a computed value is not finite")
      .in(where)
      .want("finite numbers")
      .got(fmt::format("NaN or infinity at positions {} to {}", first.position, last.position))
      .help("the weights of this layer may be damaged: `apr qa` and `apr diag` look at their values");
}

}  // namespace

std::unique_ptr<Executor> make_cuda_executor(const model::Plan& plan, const ExecutorOptions& options,
                                             std::shared_ptr<Driver> driver, const CudaOptions& cuda) {
  return std::make_unique<CudaExecutor>(plan, options, std::move(driver), cuda);
}

}  // namespace apr::engine::cuda
