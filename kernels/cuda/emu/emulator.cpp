// Runs blocks one after the other in an order drawn from the seed; a block is fibers that meet at barriers.
#include "apr/kernels/cuda_emulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "apr/core/error.h"
#include "kernels/cuda/emu/bodies.h"
#include "kernels/cuda/emu/machine.h"

namespace apr::kernels::cuda {
namespace {

using Status = FiberThread::Status;

thread_local Emulator::State* machine = nullptr;

struct Cancelled {};

constexpr std::size_t kStackBytes = 256 * 1024;

template <class T>
std::vector<T> permutation(T n, std::mt19937_64& random) {
  std::vector<T> order(n);
  std::iota(order.begin(), order.end(), T{0});
  std::ranges::shuffle(order, random);
  return order;
}

}  // namespace

// ---- fibers ----

void FiberThread::enter() {
  void* const frames = leave(stack);
  own = std::move(own).resume();
  static_cast<void>(arrive(frames));
}

void FiberThread::go_back() {
  void* const frames = leave(caller_stack);
  caller = std::move(caller).resume();
  caller_stack = arrive(frames);
}

void Emulator::State::yield() {
  FiberThread& self = *current;
  self.go_back();
  if (self.cancelled) throw Cancelled{};
}

/// A fiber serves one thread after the other: it is made once and runs a body each time it is resumed from Done.
void Emulator::State::run_thread(FiberThread& thread) {
  thread.begun = true;
  try {
    body(launch->params.data());
    if (launch->early && !thread.waited) {
      fail("a thread of an early launch ended without waiting for the launches before it", "wait_early()", "a call",
           "none");
    }
    if (!thread.copies.empty()) {
      fail("a thread ended without waiting for its copies", "await_copies()", "none on their way",
           fmt::format("{}", thread.copies.size()));
    }
  } catch (const boost::context::detail::forced_unwind&) {
    throw;
  } catch (const Cancelled&) {
  } catch (...) {
    thread.failure = std::current_exception();
  }
  thread.status = Status::Done;
}

void Emulator::State::resume(std::size_t index) {
  FiberThread& thread = *threads[index];
  current = &thread;
  ids.thread = static_cast<int>(index);
  if (!thread.own) {
    thread.own = boost::context::fiber(std::allocator_arg, NotedStack(kStackBytes, thread.stack),
                                       [this, &thread](boost::context::fiber&& from) {
                                         thread.caller_stack = arrive(nullptr);
                                         thread.caller = std::move(from);
                                         for (;;) {
                                           run_thread(thread);
                                           thread.go_back();
                                         }
                                         return boost::context::fiber{};
                                       });
  }
  thread.enter();
  current = nullptr;
  if (thread.failure) {
    const std::exception_ptr failure = std::exchange(thread.failure, nullptr);
    cancel_all();
    std::rethrow_exception(failure);
  }
}

/// Unwinds the fibers that are in the middle of a body.
void Emulator::State::cancel_all() {
  for (std::size_t i = 0; i < n_threads; ++i) {
    FiberThread& thread = *threads[i];
    if (thread.status == Status::Done || !thread.begun) continue;
    thread.cancelled = true;
    current = &thread;
    thread.enter();
    thread.failure = nullptr;
  }
  current = nullptr;
}

void Emulator::State::fail(const std::string& rule, const std::string& field, const std::string& want,
                           const std::string& got) const {
  throw Error(ErrorCode::Internal, rule)
      .in(fmt::format("kernel {}, block ({}, {}, {}), thread {}: {}", info(launch->kernel).name, ids.block[0],
                      ids.block[1], ids.block[2], ids.thread, field))
      .want(want)
      .got(got);
}

/// Runs the lanes of a warp until none can go on; sometimes it leaves off earlier. False when nothing moved.
bool Emulator::State::run_warp(std::size_t warp) {
  bool moved = false;
  for (bool any = true; any;) {
    any = false;
    const std::size_t first = warp * 32, n = std::min<std::size_t>(32, n_threads - first);
    const std::size_t start = random() % n;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t index = first + (start + i) % n;
      if (threads[index]->status != Status::Ready) continue;
      resume(index);
      any = moved = true;
    }
    if (any && random() % 16 == 0) return true;
  }
  return moved;
}

void Emulator::State::run_block(std::uint32_t x, std::uint32_t y, std::uint32_t z) {
  ids = {0,
         {static_cast<int>(x), static_cast<int>(y), static_cast<int>(z)},
         {static_cast<int>(launch->grid[0]), static_cast<int>(launch->grid[1]), static_cast<int>(launch->grid[2])},
         static_cast<int>(launch->block)};
  n_threads = launch->block;
  n_at_barrier = 0;
  std::ranges::fill(shared_storage, std::byte{0xFF});
  const std::size_t n_warps = (n_threads + 31) / 32;
  warps.assign(n_warps, {});
  while (threads.size() < n_threads) threads.push_back(std::make_unique<FiberThread>());
  ++clock;
  for (std::size_t i = 0; i < n_threads; ++i) {
    FiberThread& thread = *threads[i];
    thread.status = Status::Ready;
    thread.begun = thread.cancelled = thread.waited = false;
    thread.known_block = thread.known_warp = thread.fence_time = thread.atomic_time = 0;
    thread.copies.clear();
  }
  for (;;) {
    bool moved = false;
    for (const std::size_t warp : permutation(n_warps, random)) moved = run_warp(warp) || moved;
    const auto done = std::count_if(threads.begin(), threads.begin() + n_threads,
                                    [](const auto& thread) { return thread->status == Status::Done; });
    if (done == static_cast<std::ptrdiff_t>(n_threads)) return;
    if (!moved) report_deadlock();
  }
}

void Emulator::State::report_deadlock() {
  for (std::size_t i = 0; i < n_threads; ++i) {
    if (threads[i]->status == Status::Done) continue;
    const bool barrier = threads[i]->status == Status::AtBarrier;
    const std::uint32_t here =
        barrier ? n_at_barrier : static_cast<std::uint32_t>(std::popcount(warps[i / 32].arrived));
    cancel_all();
    ids.thread = static_cast<int>(i);
    fail("a barrier is never completed", barrier ? "sync()" : "warp operation",
         fmt::format("{} threads", barrier ? n_threads : 32u), fmt::format("{} threads", here));
  }
}

void Emulator::State::run_launch(const Launch& what, Body with, std::uint64_t seed) {
  launch = &what;
  body = with;
  random.seed(seed);
  shared_storage.resize(what.shared_bytes);
  shared.name = "shared memory";
  shared.base = reinterpret_cast<std::uintptr_t>(shared_storage.data());
  shared.bytes = what.shared_bytes;
  shared.shared = true;
  shared.shadow.resize(what.shared_bytes);
  const std::uint32_t n_blocks = what.grid[0] * what.grid[1] * what.grid[2];
  first_run = run + 1;
  history.assign(n_blocks, {});
  for (const std::uint32_t block : permutation(n_blocks, random)) {
    ++run;
    run_block(block % what.grid[0], block / what.grid[0] % what.grid[1], block / what.grid[0] / what.grid[1]);
  }
}

// ---- what kernels call ----

namespace emu {

const Ids& ids() { return machine->ids; }
Region* shared_region() { return &machine->shared; }
std::uintptr_t shared_base() { return machine->shared.base; }
Region* find_region(std::uintptr_t address) {
  const auto after = machine->regions.upper_bound(address);
  if (after != machine->regions.begin()) {
    Region* region = std::prev(after)->second.get();
    if (address - region->base <= region->bytes) return region;
  }
  machine->fail("a pointer belongs to no registered memory", "global()", "an address that add() knows",
                fmt::format("{:#x}", address));
}

void block_barrier() {
  Emulator::State& m = *machine;
  if (++m.n_at_barrier == m.n_threads) {
    m.n_at_barrier = 0;
    ++m.clock;
    for (std::size_t i = 0; i < m.n_threads; ++i) {
      FiberThread& thread = *m.threads[i];
      thread.status = Status::Ready;
      thread.known_block = thread.known_warp = m.clock;
    }
    return;
  }
  m.current->status = Status::AtBarrier;
  m.yield();
}

void collective(Collective kind, void* lane_data, void (*combine)(void** lanes)) {
  Emulator::State& m = *machine;
  const auto lane = static_cast<std::size_t>(m.ids.thread % 32);
  const auto first = static_cast<std::size_t>(m.ids.thread) - lane;
  WarpMeeting& meeting = m.warps[first / 32];
  if (meeting.arrived != 0 && meeting.kind != kind) {
    m.fail("lanes of one warp meet in different operations", "warp operation",
           fmt::format("{}", static_cast<int>(meeting.kind)), fmt::format("{}", static_cast<int>(kind)));
  }
  meeting.kind = kind;
  meeting.lanes[lane] = lane_data;
  meeting.arrived |= 1u << lane;
  if (meeting.arrived != 0xFFFFFFFFu) {
    m.current->status = Status::InWarp;
    m.yield();
    return;
  }
  meeting.arrived = 0;
  combine(meeting.lanes.data());
  ++m.clock;
  for (std::size_t i = first; i < first + 32; ++i) {
    m.threads[i]->status = Status::Ready;
    // Only a warp barrier orders memory; a shuffle or a matrix product does not.
    if (kind == Collective::Sync) m.threads[i]->known_warp = m.clock;
  }
}

void dependency_wait() {
  machine->current->waited = true;
  note_time(1, tick());
}
std::uint64_t tick() { return ++machine->ticks; }
std::uint64_t& noted_tick(int which) { return machine->noted[which]; }
void atomic_lowest(Region* region, std::uintptr_t address, std::uint64_t value) {
  machine->check_range(region, address, sizeof value, "an atomic");
  machine->check_waited(*region, "an atomic");
  std::uint64_t old = 0;
  std::memcpy(&old, reinterpret_cast<const void*>(address), sizeof old);
  if (value < old) std::memcpy(reinterpret_cast<void*>(address), &value, sizeof value);
}

void memory_fence() {
  Emulator::State& m = *machine;
  FiberThread& thread = *m.current;
  thread.fence_time = ++m.clock;
  BlockHistory& history = m.history[m.run - m.first_run];
  if (thread.atomic_time != 0) history.acquired = std::max(history.acquired, thread.atomic_time);
}

std::uint32_t atomic_add(Region* region, std::uintptr_t address, std::uint32_t value) {
  Emulator::State& m = *machine;
  m.check_range(region, address, sizeof value, "an atomic");
  m.check_waited(*region, "an atomic");
  FiberThread& thread = *m.current;
  // What the fence covered (times below it) can be seen by whoever does a later atomic.
  if (thread.fence_time != 0) m.history[m.run - m.first_run].releases.push_back(thread.fence_time);
  thread.atomic_time = ++m.clock;
  std::uint32_t old = 0;
  std::memcpy(&old, reinterpret_cast<const void*>(address), sizeof old);
  const std::uint32_t sum = old + value;
  std::memcpy(reinterpret_cast<void*>(address), &sum, sizeof sum);
  return old;
}

void start_copy(Region* to, std::uintptr_t to_address, Region* from, std::uintptr_t from_address) {
  Emulator::State& m = *machine;
  if (from != nullptr) {
    m.check_range(from, from_address, sizeof(Word4), "a copy");
    m.check_waited(*from, "a copy");
  }
  m.write(to, to_address, sizeof(Word4));
  std::memset(reinterpret_cast<void*>(to_address), 0xFF, sizeof(Word4));
  m.current->copies.push_back({to, from, to_address, from_address});
}

void finish_copies() {
  Emulator::State& m = *machine;
  for (const FiberThread::Copy& copy : m.current->copies) {
    m.write(copy.to, copy.to_address, sizeof(Word4));
    if (copy.from == nullptr) {
      std::memset(reinterpret_cast<void*>(copy.to_address), 0, sizeof(Word4));
      continue;
    }
    m.read(copy.from, copy.from_address, sizeof(Word4));
    std::memcpy(reinterpret_cast<void*>(copy.to_address), reinterpret_cast<const void*>(copy.from_address),
                sizeof(Word4));
  }
  m.current->copies.clear();
}

void on_read(Region* region, std::uintptr_t address, std::size_t bytes) { machine->read(region, address, bytes); }
void on_write(Region* region, std::uintptr_t address, std::size_t bytes) { machine->write(region, address, bytes); }
void on_prefetch(Region* region, std::uintptr_t address) { machine->check_range(region, address, 1, "a prefetch"); }

}  // namespace emu

// ---- the public side ----

Emulator::Emulator() : state_(std::make_unique<State>()) {}
Emulator::~Emulator() = default;

void Emulator::add(std::string name, void* memory, std::size_t bytes, MemoryKind kind) {
  const auto base = reinterpret_cast<std::uintptr_t>(memory);
  const auto after = state_->regions.lower_bound(base);
  APR_CHECK(after == state_->regions.end() || base + bytes <= after->first);
  APR_CHECK(after == state_->regions.begin() ||
            std::prev(after)->second->base + std::prev(after)->second->bytes <= base);
  auto region = std::make_unique<emu::Region>();
  region->name = std::move(name);
  region->base = base;
  region->bytes = bytes;
  region->kind = kind;
  state_->regions.emplace(base, std::move(region));
}

void Emulator::remove(const void* memory) {
  APR_CHECK(state_->regions.erase(reinterpret_cast<std::uintptr_t>(memory)) == 1);
}

void Emulator::set_kind(const void* memory, MemoryKind kind) {
  const auto at = state_->regions.find(reinterpret_cast<std::uintptr_t>(memory));
  APR_CHECK(at != state_->regions.end());
  at->second->kind = kind;
}

void Emulator::run(const Launch& launch, const EmulatorOptions& options) {
  const bool stamped = launch.params_bytes == info(launch.kernel).params_bytes + sizeof(Address);
  run(launch, stamped ? emu::stamped_body(launch.kernel) : emu::body(launch.kernel), options);
}

void Emulator::run(const Launch& launch, Body body, const EmulatorOptions& options) {
  APR_CHECK(launch.params_bytes == info(launch.kernel).params_bytes ||
            launch.params_bytes == info(launch.kernel).params_bytes + sizeof(Address));
  APR_CHECK(launch.block > 0 && launch.block <= 1024 && launch.block % 32 == 0);
  State* const before = std::exchange(machine, state_.get());
  try {
    state_->run_launch(launch, body, options.seed);
  } catch (...) {
    machine = before;
    throw;
  }
  machine = before;
}

}  // namespace apr::kernels::cuda
