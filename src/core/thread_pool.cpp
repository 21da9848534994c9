#include "apr/core/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "apr/core/error.h"

namespace apr {
namespace {

/// CPUs that the cgroup's quota allows (cgroup v2 cpu.max "quota period"), or a large number.
unsigned cgroup_cpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return ~0U;
  const double cpus = std::strtod(quota.c_str(), nullptr) / period;
  return cpus >= 1 ? static_cast<unsigned>(std::min(cpus + 0.5, 4096.0)) : 1U;
}

}  // namespace

unsigned available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int counted = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1U, std::min(static_cast<unsigned>(counted), cgroup_cpus()));
}

struct ThreadPool::Impl {
  std::mutex mutex;
  std::condition_variable work_ready, work_done;
  std::vector<std::thread> workers;
  const std::function<void(std::uint64_t)>* body = nullptr;
  std::uint64_t count = 0;
  std::atomic<std::uint64_t> next{0};
  std::uint64_t generation = 0;
  unsigned busy = 0;
  bool stop = false;
  std::exception_ptr failure;

  /// Takes indices until none is left. A failure empties the loop and is kept for the caller.
  void drain() {
    for (;;) {
      const std::uint64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      try {
        (*body)(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next.store(count, std::memory_order_relaxed);
      }
    }
  }

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        work_ready.wait(lock, [&] { return stop || generation != seen; });
        if (stop) return;
        seen = generation;
      }
      drain();
      const std::lock_guard lock(mutex);
      if (--busy == 0) work_done.notify_one();
    }
  }
};

ThreadPool::ThreadPool(unsigned n_threads) : impl_(std::make_unique<Impl>()) {
  APR_CHECK(n_threads >= 1);
  for (unsigned i = 1; i < n_threads; ++i) impl_->workers.emplace_back([this] { impl_->work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->work_ready.notify_all();
  for (std::thread& worker : impl_->workers) worker.join();
}

unsigned ThreadPool::size() const noexcept { return static_cast<unsigned>(impl_->workers.size()) + 1; }

void ThreadPool::parallel_for(std::uint64_t count, const std::function<void(std::uint64_t)>& body) {
  Impl& pool = *impl_;
  {
    const std::lock_guard lock(pool.mutex);
    APR_CHECK(pool.busy == 0);
    pool.body = &body;
    pool.count = count;
    pool.next = 0;
    pool.failure = nullptr;
    pool.busy = static_cast<unsigned>(pool.workers.size());
    ++pool.generation;
  }
  pool.work_ready.notify_all();
  pool.drain();
  std::unique_lock lock(pool.mutex);
  pool.work_done.wait(lock, [&] { return pool.busy == 0; });
  if (pool.failure) std::rethrow_exception(std::exchange(pool.failure, nullptr));
}

}  // namespace apr
