// Checked memory of the emulator: buffers, and who touched each byte when.
//
// Time is one counter that every barrier, warp operation, fence and atomic moves on. An access is ordered behind
// another thread's when a barrier of both came between: of the block, of the warp, or (between blocks) a fence and an
// atomic of the one and later an atomic and a fence of the other. Two accesses to one byte, one of them a write, that
// are not ordered are a race, whatever order the emulator happened to run them in.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "apr/kernels/cuda_emulator.h"

namespace apr::kernels::cuda::emu {

/// The last write and the last reads of one byte. `run` numbers blocks over all launches; 0: never.
struct Shadow {
  std::uint32_t write_run = 0, write_time = 0, read_run = 0, read_time = 0;
  std::uint16_t writer = 0, reader = 0;  // thread of the block
  bool many_readers = false, many_reading_warps = false, many_reading_blocks = false;
};

struct Region {
  std::string name;
  std::uintptr_t base = 0;
  std::size_t bytes = 0;
  MemoryKind kind = MemoryKind::Mutable;
  bool shared = false;
  std::vector<Shadow> shadow;  // of mutable memory, from its first use on
};

}  // namespace apr::kernels::cuda::emu
