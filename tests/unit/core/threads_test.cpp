#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "apr/core/cpu_info.h"
#include "apr/core/thread_pool.h"

namespace apr {
namespace {

TEST(ThreadPool, EveryIndexOnceOnAnyNumberOfThreads) {
  for (const unsigned n_threads : {1U, 2U, 7U}) {
    ThreadPool pool(n_threads);
    EXPECT_EQ(pool.size(), n_threads);
    for (const std::uint64_t count : {0ULL, 1ULL, 1000ULL}) {
      std::vector<std::atomic<int>> hits(count);
      pool.parallel_for(count, [&](std::uint64_t i) { ++hits[i]; });
      for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1);
    }
  }
}

TEST(ThreadPool, AFailureReachesTheCallerAndThePoolLives) {
  ThreadPool pool(3);
  EXPECT_THROW(pool.parallel_for(100,
                                 [](std::uint64_t i) {
                                   if (i == 50) throw std::runtime_error("50");
                                 }),
               std::runtime_error);
  std::atomic<int> sum = 0;
  pool.parallel_for(10, [&](std::uint64_t i) { sum += static_cast<int>(i); });
  EXPECT_EQ(sum.load(), 45);
}

TEST(Cpu, WhatTheRegistersNeedIsSavedByTheSystem) {
  EXPECT_GE(available_cpus(), 1U);
  const CpuInfo& cpu = cpu_info();
  EXPECT_FALSE(cpu.brand.empty());
  EXPECT_TRUE(!cpu.avx2 || cpu.os_saves_ymm);
  EXPECT_TRUE(!cpu.avx512f || cpu.os_saves_zmm);
#if defined(__x86_64__)
  EXPECT_EQ(cpu.avx2, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(cpu.fma, __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(cpu.avx512vnni, __builtin_cpu_supports("avx512vnni") != 0);
#endif
}

}  // namespace
}  // namespace apr
