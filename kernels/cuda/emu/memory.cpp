// Bounds, alignment and races of every access.
#include "kernels/cuda/emu/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "kernels/cuda/emu/machine.h"

namespace apr::kernels::cuda {

void Emulator::State::check_range(const emu::Region* region, std::uintptr_t address, std::size_t bytes,
                                  const char* what) {
  if (region == nullptr) fail(fmt::format("{} through a null pointer", what), "null", "memory", "null");
  const std::uintptr_t offset = address - region->base;  // wraps below the base: then it is huge
  if (offset > region->bytes || bytes > region->bytes - offset) {
    fail(fmt::format("{} outside of its buffer", what), region->name, fmt::format("below {} bytes", region->bytes),
         fmt::format("{} bytes at {}", bytes, static_cast<std::int64_t>(offset)));
  }
  const std::size_t alignment = std::size_t{1} << std::countr_zero(bytes);
  if (address % std::min<std::size_t>(alignment, 16) != 0) {
    fail(fmt::format("{} is not aligned", what), region->name, fmt::format("a multiple of {}", alignment),
         fmt::format("{}", offset));
  }
}

void Emulator::State::check_waited(const emu::Region& region, const char* what) {
  if (!launch->early || region.shared || region.kind == MemoryKind::Constant || current->waited) return;
  fail(fmt::format("{} of memory of earlier launches before the wait for them", what), region.name,
       "after wait_early()", "before");
}

/// Whether an access at `time` by `other_thread` of block `other_run` happened before what the running thread does now.
/// `any_thread`: several threads are meant; `whole_warp_only`: all of the warp of other_thread.
bool Emulator::State::ordered(std::uint32_t other_run, std::uint32_t time, int other_thread, bool whole_warp_only,
                              bool any_thread) const {
  if (other_run < first_run) return true;
  if (other_run != run) {
    const std::uint32_t acquired = history[run - first_run].acquired;
    const auto& releases = history[other_run - first_run].releases;
    return std::ranges::any_of(releases, [&](std::uint32_t at) { return time < at && at < acquired; });
  }
  if (time < current->known_block) return true;
  if (any_thread && !whole_warp_only) return false;
  if (!any_thread && other_thread == ids.thread) return true;
  return other_thread / 32 == ids.thread / 32 && time < current->known_warp;
}

void Emulator::State::read(emu::Region* region, std::uintptr_t address, std::size_t bytes) {
  check_range(region, address, bytes, "a read");
  check_waited(*region, "a read");
  if (region->kind == MemoryKind::Constant && !region->shared) return;
  if (region->shadow.size() != region->bytes) region->shadow.resize(region->bytes);
  const std::uint32_t oldest = region->shared ? run : first_run;  // shared memory is new for every block
  for (std::size_t i = address - region->base; bytes > 0; ++i, --bytes) {
    emu::Shadow& at = region->shadow[i];
    if (region->shared && at.write_run != run) {
      fail("a read of shared memory that nobody wrote", region->name, "written", fmt::format("byte {}", i));
    }
    if (at.write_run >= oldest && !ordered(at.write_run, at.write_time, at.writer, false, false)) {
      fail("a race: a read of what another thread wrote without a barrier between", region->name, "a barrier",
           fmt::format("byte {}, written by thread {}", i, at.writer));
    }
    const auto self = static_cast<std::uint16_t>(ids.thread);
    if (at.read_run < oldest || (!at.many_reading_blocks && ordered(at.read_run, at.read_time, at.reader,
                                                                    !at.many_reading_warps, at.many_readers))) {
      at.many_readers = at.many_reading_warps = at.many_reading_blocks = false;  // those reads are ordered before us
    } else {
      if (at.read_run != run) at.many_reading_blocks = true;
      if (at.reader != self) at.many_readers = true;
      if (at.reader / 32 != self / 32) at.many_reading_warps = true;
    }
    at.read_run = run;
    at.read_time = clock;
    at.reader = self;
  }
}

void Emulator::State::write(emu::Region* region, std::uintptr_t address, std::size_t bytes) {
  check_range(region, address, bytes, "a write");
  check_waited(*region, "a write");
  if (region->kind == MemoryKind::Constant && !region->shared) {
    fail("a write to constant memory", region->name, "no write", "a write");
  }
  if (region->shadow.size() != region->bytes) region->shadow.resize(region->bytes);
  const std::uint32_t oldest = region->shared ? run : first_run;  // shared memory is new for every block
  for (std::size_t i = address - region->base; bytes > 0; ++i, --bytes) {
    emu::Shadow& at = region->shadow[i];
    if (at.write_run >= oldest && !ordered(at.write_run, at.write_time, at.writer, false, false)) {
      fail("a race: two threads write one place without a barrier between", region->name, "a barrier",
           fmt::format("byte {}, written by thread {}", i, at.writer));
    }
    if (at.read_run >= oldest && (at.many_reading_blocks || !ordered(at.read_run, at.read_time, at.reader,
                                                                     !at.many_reading_warps, at.many_readers))) {
      fail("a race: a write to what another thread reads without a barrier between", region->name, "a barrier",
           fmt::format("byte {}, read by thread {}", i, at.reader));
    }
    at.write_run = run;
    at.write_time = clock;
    at.writer = static_cast<std::uint16_t>(ids.thread);
  }
}

float half_to_float(std::uint32_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent == 31) return as_float(sign | 0x7F800000u | fraction << 13);
  if (exponent != 0) return as_float(sign | (exponent + 112) << 23 | fraction << 13);
  const float value = static_cast<float>(fraction) * 0x1p-24F;
  return sign != 0 ? -value : value;
}

std::uint32_t float_to_half(float x) {
  const std::uint32_t bits = as_bits(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return sign | 0x7FFFu;
  if (magnitude >= 0x477FF000u) return sign | 0x7C00u;  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {                        // subnormal: in units of 2^-24
    const auto units = static_cast<std::uint32_t>(std::nearbyint(as_float(magnitude) * 0x1p24F));
    return sign | units;
  }
  const std::uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1);
  return sign | ((rounded - 0x38000000u) >> 13);
}

}  // namespace apr::kernels::cuda
