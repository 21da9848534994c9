// Threads that run one function together, spinning while there is work and sleeping in between.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace apr::engine {

/// The caller is thread 0. A step of a token takes microseconds, so the barrier spins; a futex would cost more than the
/// step. Waiting longer than a preemption takes, a thread yields instead, so that more threads than cores still work.
class WorkerTeam {
 public:
  explicit WorkerTeam(unsigned n_threads);
  ~WorkerTeam();
  WorkerTeam(const WorkerTeam&) = delete;
  WorkerTeam& operator=(const WorkerTeam&) = delete;

  [[nodiscard]] unsigned size() const noexcept { return n_threads_; }
  /// Runs body(thread) on every thread; returns when all are done. The body must not throw. Where the team fills the
  /// CPUs that this process may use, each thread stays on its own: beside other programs two that spin would else share
  /// one. A smaller team is left to the system, which knows what else runs. The caller is released at the end.
  void run(const std::function<void(unsigned)>& body);
  /// For the body: returns when every thread of the team has called it.
  void barrier() noexcept;

 private:
  void work(unsigned thread);
  std::vector<int> cpus_;  // one for each thread; empty: none is bound
  unsigned n_threads_;
  std::vector<std::thread> workers_;
  const std::function<void(unsigned)>* body_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  alignas(64) std::atomic<std::uint64_t> generation_{0};
  alignas(64) std::atomic<unsigned> arrived_{0};
  alignas(64) std::atomic<std::uint64_t> phase_{0};
  alignas(64) std::atomic<bool> stop_{false};
};

}  // namespace apr::engine
