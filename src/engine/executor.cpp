#include "apr/engine/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "apr/core/error.h"
#include "apr/core/text.h"
#include "apr/core/thread_pool.h"

namespace apr::engine {

std::string describe(const MemoryPlan& memory, std::uint32_t n_ctx) {
  const std::string sequences = memory.n_sequences == 1 ? "" : fmt::format("{} x ", memory.n_sequences);
  return fmt::format("weights {} mapped, {} converted; KV cache {} in {} for {}{} tokens; working memory {}",
                     human_bytes(memory.mapped_bytes), human_bytes(memory.weights_bytes), human_bytes(memory.kv_bytes),
                     name(memory.kv_type), sequences, grouped(n_ctx), human_bytes(memory.arena_bytes));
}

std::uint64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  std::uint64_t kib = 0;
  while (file >> key >> kib) {
    std::getline(file, unit);
    if (key == "MemAvailable:") return kib * 1024;
  }
  return std::numeric_limits<std::uint64_t>::max();
}

void require_fits(const MemoryPlan& memory, std::uint32_t n_ctx, std::uint64_t limit_bytes) {
  if (memory.allocated_bytes() <= limit_bytes) return;
  throw Error(ErrorCode::ModelLoad, "the model does not fit into memory")
      .want(fmt::format("at most {} ({} bytes)", human_bytes(limit_bytes), limit_bytes))
      .got(fmt::format("{} ({} bytes): {}", human_bytes(memory.allocated_bytes()), memory.allocated_bytes(),
                       describe(memory, n_ctx)))
      .help("a smaller context (--ctx) needs a smaller KV cache");
}

ExecutorOptions resolved(const model::Plan& plan, ExecutorOptions options) {
  const std::uint32_t trained = plan.hparams.n_context;
  if (options.n_ctx == 0) options.n_ctx = trained == 0 ? kDefaultContext : std::min(trained, kDefaultContext);
  if (trained != 0 && options.n_ctx > trained) {
    throw Error(ErrorCode::Usage, "the context is longer than the model was trained for")
        .in("--ctx")
        .want(fmt::format("at most {}", trained))
        .got(fmt::format("{}", options.n_ctx));
  }
  if (options.kv_type != TensorType::F16 && options.kv_type != TensorType::Q8_0) {
    throw Error(ErrorCode::Usage, "no KV cache of this type")
        .in("--kv-type")
        .want("f16 or q8_0")
        .got(std::string(name(options.kv_type)));
  }
  options.n_sequences = std::max(options.n_sequences, 1U);
  const std::uint64_t positions = std::uint64_t{options.n_ctx} * options.n_sequences;
  options.n_batch = std::max(1U, static_cast<std::uint32_t>(std::min<std::uint64_t>(options.n_batch, positions)));
  if (options.n_threads == 0) options.n_threads = available_cpus();
  if (options.memory_limit_bytes == 0) options.memory_limit_bytes = available_memory();
  return options;
}

void check_batch(const model::Plan& plan, const ExecutorOptions& options, std::span<const BatchPart> parts,
                 std::span<const std::uint32_t> n_past, std::size_t n_logits) {
  const auto refuse = [](std::string message, std::string field, std::string expected, std::uint64_t found) {
    return Error(ErrorCode::Usage, std::move(message))
        .in(std::move(field))
        .want(std::move(expected))
        .got(fmt::format("{}", found));
  };
  std::uint64_t n_tokens = 0, n_rows = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const BatchPart& part = parts[i];
    n_tokens += part.tokens.size();
    n_rows += part.n_logits();
    if (part.sequence >= n_past.size()) {
      throw refuse("there is no such sequence", "sequence", fmt::format("at most {}", n_past.size() - 1),
                   part.sequence);
    }
    for (const BatchPart& other : parts.first(i)) {
      if (other.sequence != part.sequence) continue;
      throw refuse("a sequence is in two parts of a batch", "sequence", "each once", part.sequence);
    }
  }
  const auto empty = std::ranges::find_if(parts, [](const BatchPart& part) { return part.tokens.empty(); });
  if (parts.empty() || empty != parts.end() || n_tokens > options.n_batch) {
    throw refuse("wrong number of tokens for one run", "tokens", fmt::format("1 to {}", options.n_batch),
                 empty != parts.end() ? 0 : n_tokens);
  }
  for (const BatchPart& part : parts) {
    const std::uint32_t past = n_past[part.sequence];
    if (part.position > past) {
      throw refuse("the positions before have not been run", "position", fmt::format("at most {}", past),
                   part.position);
    }
    if (part.tokens.size() > options.n_ctx - part.position) {
      throw refuse("the context is full", "tokens", fmt::format("at most {} more", options.n_ctx - part.position),
                   part.tokens.size());
    }
    for (const std::int32_t token : part.tokens) {
      if (token >= 0 && static_cast<std::uint32_t>(token) < plan.hparams.n_vocab) continue;
      throw Error(ErrorCode::Usage, "a token id is outside the vocabulary")
          .in("tokens")
          .want(fmt::format("0 to {}", plan.hparams.n_vocab - 1))
          .got(fmt::format("{}", token));
    }
  }
  if (n_logits != n_rows * plan.hparams.n_vocab) {
    throw refuse("wrong size of the buffer for logits", "logits", fmt::format("{}", n_rows * plan.hparams.n_vocab),
                 n_logits);
  }
}

std::vector<StampedReplay> Executor::replay_stamped(std::uint64_t, std::string& reason) {
  reason = "the executor launches no kernels";
  return {};
}

void Executor::forward_batch(std::span<const BatchPart> parts, std::span<float> logits) {
  if (parts.size() != 1 || parts[0].sequence != 0) {
    throw Error(ErrorCode::Unsupported, fmt::format("the executor {} runs one sequence", name())).in("sequence");
  }
  forward(parts[0].tokens, parts[0].position, parts[0].logits, logits);
}

}  // namespace apr::engine
