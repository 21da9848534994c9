// A pool of worker threads for data-parallel loops.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace apr {

/// Number of CPUs this process may use (affinity mask and cgroup quota counted), at least 1.
[[nodiscard]] unsigned available_cpus();

class ThreadPool {
 public:
  /// `n_threads` counts the caller: 1 makes no thread.
  explicit ThreadPool(unsigned n_threads = available_cpus());
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  [[nodiscard]] unsigned size() const noexcept;
  /// Runs body(i) for every i in [0, count), each exactly once, on all threads; returns when all are done.
  /// The first exception is rethrown here after the others have stopped. Not reentrant.
  void parallel_for(std::uint64_t count, const std::function<void(std::uint64_t)>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apr
