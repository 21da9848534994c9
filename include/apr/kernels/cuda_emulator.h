// Runs a Launch on the host: the same kernel source, every thread a fiber, every access checked. For tests.
//
// Memory that a kernel may touch is registered first. An access outside, a shared or global location that two threads
// use without a barrier between them (one of them writing), a read of shared memory that nobody wrote, a barrier or
// warp operation that part of its threads never reach, a read of what an earlier launch wrote before the wait for it:
// each is an Error (Internal) that names kernel, block, thread and buffer.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "apr/kernels/cuda_kernels.h"

namespace apr::kernels::cuda {

enum class MemoryKind : std::uint8_t {
  Constant,  // written by nobody while launches run (weights, tables): may be read before the wait
  Mutable,
};

struct EmulatorOptions {
  std::uint64_t seed = 0;  // permutes the order of blocks, of warps between barriers and of lanes
};

class Emulator {
 public:
  Emulator();
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  /// Registers host memory under a name. Not owned; must not overlap another.
  void add(std::string name, void* memory, std::size_t bytes, MemoryKind kind);
  void remove(const void* memory);
  /// Makes memory Constant or Mutable; e.g. after the repack kernels have written the weights.
  void set_kind(const void* memory, MemoryKind kind);

  /// Runs one launch to its end.
  void run(const Launch& launch, const EmulatorOptions& options = {});
  /// Runs another body in place of the kernel's own, for tests of the emulator.
  using Body = void (*)(const void* params);
  void run(const Launch& launch, Body body, const EmulatorOptions& options = {});

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace apr::kernels::cuda
