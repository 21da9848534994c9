#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/core/huge_pages.h"
#include "apr/core/thread_pool.h"
#include "apr/kernels/dispatch.h"
#include "apr/profile/profile.h"

namespace apr::profile {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

constexpr std::uint64_t kReadBytes = 512ULL << 20;  // larger than any last-level cache of today
constexpr int kRounds = 7;

}  // namespace

Roofs measure_roofs(unsigned n_threads) {
  Roofs roofs;
  roofs.n_threads = n_threads;
  roofs.read_bytes = std::min(kReadBytes, engine::available_memory() / 4) / (64 * n_threads) * (64 * n_threads);
  const kernels::OpKernels& ops = kernels::active().ops;
  const std::uint64_t part = roofs.read_bytes / n_threads;
  // On huge pages, as the weights stand.
  const std::unique_ptr<std::uint8_t[], void (*)(void*)> buffer(
      static_cast<std::uint8_t*>(
          std::aligned_alloc(huge_page_bytes, (roofs.read_bytes / huge_page_bytes + 1) * huge_page_bytes)),
      std::free);
  if (!buffer) throw Error(ErrorCode::Io, fmt::format("cannot allocate {} bytes to read", roofs.read_bytes));
  prefer_huge_pages(buffer.get(), roofs.read_bytes);
  ThreadPool pool(n_threads);
  // First touch by the thread that will read it; a page never written would be one zero page of the kernel.
  pool.parallel_for(n_threads, [&](std::uint64_t t) {
    std::fill_n(buffer.get() + t * part, part, static_cast<std::uint8_t>(t + 1));
  });
  std::atomic<std::uint64_t> sink{0};
  for (int round = 0; round < kRounds; ++round) {
    check_interrupted();
    const auto begin = Clock::now();
    const std::int64_t ahead = round % 2 == 0 ? 4096 : 0;  // one machine reads faster so, another by itself
    pool.parallel_for(n_threads, [&](std::uint64_t t) {
      sink ^= ops.read_all(buffer.get() + t * part, static_cast<std::int64_t>(part), ahead);
    });
    roofs.read_gb_s = std::max(roofs.read_gb_s, static_cast<double>(part * n_threads) / seconds_since(begin) / 1e9);
  }
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<std::int64_t> done{0};
    const auto begin = Clock::now();
    pool.parallel_for(n_threads, [&](std::uint64_t) { done += ops.peak_int8(1 << 20); });
    roofs.int8_gop_s = std::max(roofs.int8_gop_s, static_cast<double>(done.load()) / seconds_since(begin) / 1e9);
  }
  return roofs;
}

}  // namespace apr::profile
