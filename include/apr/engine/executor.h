// Running a plan. Two executors share this interface: the exact one (reference, simple, slow) and the fast one.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/tensor_type.h"
#include "apr/engine/sampler.h"
#include "apr/model/plan.h"

namespace apr::engine {

enum class LogitsRequest : std::uint8_t { None, Last, All };

/// Tokens of one sequence in a batch: they stand at its positions `position`, `position` + 1, ...
struct BatchPart {
  std::uint32_t sequence = 0;
  std::uint32_t position = 0;
  std::span<const std::int32_t> tokens;
  LogitsRequest logits = LogitsRequest::Last;
  /// Rows of logits that it gets.
  [[nodiscard]] std::size_t n_logits() const noexcept {
    return logits == LogitsRequest::All ? tokens.size() : logits == LogitsRequest::Last ? 1 : 0;
  }
};

using Clock = std::chrono::steady_clock;

/// Told what an executor did. Called on the thread that called forward(), between ops: it must be quick.
class OpObserver {
 public:
  virtual ~OpObserver() = default;
  /// Before the first op of a forward() call.
  virtual void pass_begin(const model::Batch& batch) noexcept = 0;
  /// `count` ops of the plan from index `first` on ran between the stamps. An executor that fuses neighbours reports
  /// them as one span; every op of the plan is in exactly one span of a pass, in order (when no logits are wanted, the
  /// ops of RowSet::Logits and the SelectRows before them do not run and are in none).
  virtual void ops_done(std::size_t first, std::size_t count, Clock::time_point begin,
                        Clock::time_point end) noexcept = 0;
  /// After the last op; the stamps span the whole call.
  virtual void pass_end(Clock::time_point begin, Clock::time_point end) noexcept = 0;
};

/// What an executor needs, known before anything is allocated.
struct MemoryPlan {
  std::uint64_t mapped_bytes = 0;   // weights used where the file has them (page cache, not counted as new)
  std::uint64_t weights_bytes = 0;  // weights converted or repacked into own memory
  std::uint64_t kv_bytes = 0;       // keys and values for n_ctx positions of each sequence
  std::uint64_t arena_bytes = 0;    // values of one batch, scratch of the threads included
  std::uint32_t n_sequences = 1;
  TensorType kv_type = TensorType::F32;
  [[nodiscard]] std::uint64_t allocated_bytes() const noexcept { return weights_bytes + kv_bytes + arena_bytes; }
};
/// "weights 93.8 MiB mapped, KV cache 90.0 MiB (2048 tokens), ..."
[[nodiscard]] std::string describe(const MemoryPlan& memory, std::uint32_t n_ctx);
/// MemAvailable of /proc/meminfo; the maximum of the type where it cannot be read.
[[nodiscard]] std::uint64_t available_memory();
/// Throws ModelLoad with all the numbers when the plan does not fit into `limit_bytes`.
void require_fits(const MemoryPlan& memory, std::uint32_t n_ctx, std::uint64_t limit_bytes);

struct ExecutorOptions {
  std::uint32_t n_ctx = 0;               // positions of a sequence; 0: the trained context, at most kDefaultContext
  std::uint32_t n_batch = 256;           // most tokens of one call, of all sequences together
  unsigned n_threads = 0;                // 0: available_cpus()
  std::uint64_t memory_limit_bytes = 0;  // 0: available_memory()
  bool two_terms = true;          // fast executor: head and value projection take activations of 16 bits; false: of 8
  bool repack = true;             // fast executor: weights in own memory; false: made from the file as they run
  std::uint32_t n_sequences = 1;  // sequences with a KV cache of their own
  TensorType kv_type = TensorType::F16;  // fast executor and CUDA: elements of the KV cache, F16 or Q8_0
};
inline constexpr std::uint32_t kDefaultContext = 4096;
/// Of a cache of this type, scales included.
[[nodiscard]] constexpr double kv_element_bytes(TensorType type) noexcept {
  return type == TensorType::Q8_0 ? 34.0 / 32 : type == TensorType::F16 ? 2 : 4;
}
/// The options with every 0 replaced. Throws Usage for a context above the trained one of the model, or of no token,
/// and for another type of cache than those two.
[[nodiscard]] ExecutorOptions resolved(const model::Plan& plan, ExecutorOptions options);

/// What the device of an executor can do at most, measured on it now.
struct DeviceRoofs {
  double read_gb_s = 0;  // of a copy on the device, reads and writes counted
  std::uint64_t read_bytes = 0;
};

/// A launch of a pass, and when it ran: on one clock, all its blocks together.
struct StampedLaunch {
  std::string_view kernel;
  std::size_t first_op = 0, n_ops = 0;  // of the plan; 0: it prepares the next one
  double entered_us = 0;                // first entry
  double waited_us = 0;                 // first end of the wait for earlier launches
  double left_us = 0;                   // last exit
};
struct StampedReplay {
  double wall_us = 0;  // between events in front of the graph and behind it
  std::vector<StampedLaunch> launches;
};

/// What a decode loop on a device starts a sequence from: the logits that the last forward_batch() left there.
struct DecodeRequest {
  SamplerOptions options;
  Sampler::State state;
  std::span<const std::int32_t> end_tokens;
  std::optional<std::uint32_t> n_predict;  // most tokens; nothing: until an end token or the context is full
  std::uint32_t position = 0;              // of the first token that will be run
  std::uint32_t sequence = 0;
};
struct DecodedToken {
  std::uint32_t sequence;
  std::int32_t token;
};

/// Sampling and decoding without the host: tokens are read behind, several at a time.
class DeviceDecoder {
 public:
  virtual ~DeviceDecoder() = default;
  /// Whether the device samples with these options as the host's Sampler does, token for token.
  [[nodiscard]] virtual bool can_sample(const SamplerOptions& options, std::size_t n_end_tokens) const = 0;
  /// Sequences that decode together at most.
  [[nodiscard]] virtual std::size_t most_sequences() const noexcept = 0;
  /// Starts 1 .. most_sequences() sequences, each once. The last forward_batch() must have given one row of logits for
  /// each, that of its last token, in this order.
  virtual void begin(std::span<const DecodeRequest> requests) = 0;
  /// Waits for tokens: those that became known since the last call, an end token included, of each sequence in order.
  /// Empty: all have ended. Throws Inference when a logit cannot be sampled from.
  [[nodiscard]] virtual std::span<const DecodedToken> next() = 0;
  /// Ends the loop. Of what it computed for each request, the positions below its `n_past` stay; what is in flight
  /// beyond is discarded. Returns the states of the random numbers.
  virtual std::vector<std::uint64_t> end(std::span<const std::uint32_t> n_past) = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;
  /// Runs `tokens` (1 .. n_batch of them) at positions `position` .. of sequence 0; positions below must have been run
  /// before, those from `position` on are overwritten: to go back, call it with a smaller position.
  /// `logits` gets n_vocab floats for Last, tokens.size() * n_vocab for All, nothing for None.
  /// Throws Usage (position, token id or buffer out of range) and Inference when a logit, or for None a key or value of
  /// the last layer, is not finite: the message names the op and layer that first made a NaN or an infinity.
  virtual void forward(std::span<const std::int32_t> tokens, std::uint32_t position, LogitsRequest request,
                       std::span<float> logits) = 0;
  /// The same for several sequences, each in one part at most, in one pass over the weights. `logits` gets the rows of
  /// the parts one behind the other. A sequence gets the bits that it gets alone. After a failure no part counts as
  /// run. Executors that keep one sequence (n_sequences is 1) take one part, of sequence 0.
  virtual void forward_batch(std::span<const BatchPart> parts, std::span<float> logits);
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;  // "exact", "fast avx2", ...
  [[nodiscard]] virtual const MemoryPlan& memory() const noexcept = 0;
  [[nodiscard]] virtual const ExecutorOptions& options() const noexcept = 0;
  [[nodiscard]] virtual const model::Plan& plan() const noexcept = 0;
  /// What runs slower than it could, and why: one line for each weight without a fast path.
  [[nodiscard]] virtual std::vector<std::string> notes() const { return {}; }
  /// Nothing where the executor runs on the CPU.
  [[nodiscard]] virtual std::optional<DeviceRoofs> measure_device_roofs() { return std::nullopt; }
  /// Runs the last pass, one token of each of its sequences, `n` times more, each launch with time stamps: the same
  /// positions and values. Nothing with the reason where there are no launches, or none with stamps in this build.
  [[nodiscard]] virtual std::vector<StampedReplay> replay_stamped(std::uint64_t n, std::string& reason);
  /// Null where sampling happens on the host.
  [[nodiscard]] virtual DeviceDecoder* decoder() noexcept { return nullptr; }
  /// Null takes it away. Not owned.
  virtual void set_observer(OpObserver* observer) noexcept = 0;
};

/// Values f32, sums in double, weights dequantised row by row as they are used, KV cache f32. The arithmetic of a row
/// does not depend on threads or on how a prompt is cut: the same logits, bit for bit, for any of them. The plan must
/// outlive it. Throws ModelLoad when it does not fit into memory.
[[nodiscard]] std::unique_ptr<Executor> make_exact_executor(const model::Plan& plan, const ExecutorOptions& options);

/// Weights repacked for the active instruction set, activations in int8 with a scale per 32, KV cache f16 or q8_0. The
/// same logits, bit for bit, for any number of threads, any cut of a prompt and any instruction set. The plan must
/// outlive it. Throws ModelLoad when it does not fit into memory, Unsupported for a head size that the kernels lack.
[[nodiscard]] std::unique_ptr<Executor> make_fast_executor(const model::Plan& plan, const ExecutorOptions& options);

/// Checks the arguments of forward_batch(); for executors. `n_past`: the positions that were run, by sequence.
void check_batch(const model::Plan& plan, const ExecutorOptions& options, std::span<const BatchPart> parts,
                 std::span<const std::uint32_t> n_past, std::size_t n_logits);

}  // namespace apr::engine
