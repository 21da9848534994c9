#include "src/engine/fast/worker_team.h"

#include <sched.h>

#include <chrono>

namespace apr::engine {
namespace {

inline void pause_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Spins until `ready`; after about 20 us it lets other threads run in between.
template <class Ready>
void spin_until(Ready ready) noexcept {
  for (unsigned i = 0; !ready(); ++i) {
    if (i < 1000)
      pause_cpu();
    else
      std::this_thread::yield();
  }
}

/// The CPUs that this thread may use; empty where there are more than a mask holds.
std::vector<int> allowed_cpus() {
  cpu_set_t mask;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &mask)) cpus.push_back(cpu);
  return cpus;
}

/// A wish: where the system refuses, the thread stays free.
void stay_on(const std::vector<int>& cpus) noexcept {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (const int cpu : cpus) CPU_SET(static_cast<std::size_t>(cpu), &mask);
  sched_setaffinity(0, sizeof mask, &mask);
}

/// Between two tokens a worker spins this long before it sleeps: sampling and printing take less.
constexpr std::chrono::microseconds kAwake{200};

}  // namespace

WorkerTeam::WorkerTeam(unsigned n_threads) : cpus_(allowed_cpus()), n_threads_(n_threads) {
  if (cpus_.size() != n_threads || n_threads == 1) cpus_.clear();
  for (unsigned i = 1; i < n_threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

WorkerTeam::~WorkerTeam() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void WorkerTeam::work(unsigned thread) {
  if (!cpus_.empty()) stay_on({cpus_[thread]});
  for (std::uint64_t seen = 0;;) {
    const auto has_work = [&] { return stop_.load(std::memory_order_relaxed) || generation_.load() != seen; };
    const auto asleep_at = std::chrono::steady_clock::now() + kAwake;
    while (!has_work() && std::chrono::steady_clock::now() < asleep_at) pause_cpu();
    if (!has_work()) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, has_work);
    }
    if (stop_) return;
    seen = generation_.load(std::memory_order_acquire);
    (*body_)(thread);
    barrier();
  }
}

void WorkerTeam::run(const std::function<void(unsigned)>& body) {
  {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  const bool bound = !cpus_.empty() && allowed_cpus() == cpus_;  // unless someone has moved the caller since
  if (bound) stay_on({cpus_[0]});
  body(0);
  barrier();
  if (bound) stay_on(cpus_);
}

void WorkerTeam::barrier() noexcept {
  const std::uint64_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == n_threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  spin_until([&] { return phase_.load(std::memory_order_acquire) != phase; });
}

}  // namespace apr::engine
