// The running launch: fibers, barriers, clocks.
#pragma once
#include <array>
#include <boost/context/fiber.hpp>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "apr/kernels/cuda_emulator.h"
#include "kernels/cuda/emu/fiber_stack.h"
#include "kernels/cuda/emu/memory.h"
#include "kernels/cuda/shim.h"

namespace apr::kernels::cuda {

struct FiberThread {
  enum class Status : std::uint8_t { Ready, AtBarrier, InWarp, Done };
  StackBounds stack, caller_stack;
  boost::context::fiber own, caller;
  FiberThread() = default;
  FiberThread(const FiberThread&) = delete;
  FiberThread& operator=(const FiberThread&) = delete;
  ~FiberThread() { forget_poison(stack); }
  /// Runs the fiber until it yields.
  void enter();
  /// For the fiber: back to whoever entered it.
  void go_back();
  Status status = Status::Done;
  bool begun = false, cancelled = false, waited = false;
  std::uint32_t known_block = 0,
                known_warp = 0;  // accesses of the block (warp) before this time are ordered before ours
  std::uint32_t fence_time = 0, atomic_time = 0;  // of its last fence and last atomic
  std::exception_ptr failure;
  struct Copy {
    emu::Region *to, *from;  // from null: zeros
    std::uintptr_t to_address, from_address;
  };
  std::vector<Copy> copies;  // on their way
};

struct WarpMeeting {
  std::uint32_t arrived = 0;
  emu::Collective kind{};
  std::array<void*, 32> lanes{};
};

/// What a block has made visible (its releases), and up to when it has looked at others' (its acquire).
struct BlockHistory {
  std::vector<std::uint32_t> releases;
  std::uint32_t acquired = 0;
};

struct Emulator::State {
  std::map<std::uintptr_t, std::unique_ptr<emu::Region>> regions;
  emu::Region shared;
  std::vector<std::byte> shared_storage;
  std::vector<std::unique_ptr<FiberThread>> threads;
  std::vector<WarpMeeting> warps;
  std::mt19937_64 random;
  // of the running launch and block:
  const Launch* launch = nullptr;
  Body body = nullptr;
  emu::Ids ids{};
  FiberThread* current = nullptr;
  std::uint32_t clock = 1, run = 0, first_run = 0;  // `run`: number of this block; first_run: of the launch's first
  std::vector<BlockHistory> history;                // by run - first_run
  std::uint32_t n_threads = 0, n_at_barrier = 0;
  std::uint64_t ticks = 0, noted[2] = {};  // what stamps are taken from; of the running block's thread 0

  void run_launch(const Launch& what, Body with, std::uint64_t seed);
  void run_block(std::uint32_t x, std::uint32_t y, std::uint32_t z);
  bool run_warp(std::size_t warp);
  void resume(std::size_t index);
  void run_thread(FiberThread& thread);
  void yield();
  void cancel_all();
  void report_deadlock();
  [[noreturn]] void fail(const std::string& rule, const std::string& field, const std::string& want,
                         const std::string& got) const;
  void check_range(const emu::Region* region, std::uintptr_t address, std::size_t bytes, const char* what);
  void check_waited(const emu::Region& region, const char* what);
  [[nodiscard]] bool ordered(std::uint32_t other_run, std::uint32_t time, int other_thread, bool whole_warp_only,
                             bool any_thread) const;
  void read(emu::Region* region, std::uintptr_t address, std::size_t bytes);
  void write(emu::Region* region, std::uintptr_t address, std::size_t bytes);
};

}  // namespace apr::kernels::cuda
