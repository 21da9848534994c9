// Whole-file scans beside a plain read of the same file, warm page cache. Every round opens and maps the file anew.
//   APR_BENCH_FILE=big.gguf apr_bench --benchmark_filter=scan --benchmark_repetitions=5
//   --benchmark_enable_random_interleaving=true
// "read" is pread in pieces of 1 MiB on all threads; "map" reads each mapped byte once. "mapped/...": the file was
// mapped before, so that no page has to be. Bytes/s are of the file's size.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "apr/core/thread_pool.h"
#include "apr/inspect/damage.h"
#include "apr/inspect/distribution.h"
#include "apr/inspect/manifest.h"
#include "apr/kernels/dispatch.h"

namespace {

using namespace apr;

constexpr std::uint64_t kPieceBytes = 1U << 20;
std::string file_path;

std::uint64_t read_loop(const std::string& path, ThreadPool& pool) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const auto size = static_cast<std::uint64_t>(::lseek(fd, 0, SEEK_END));
  std::atomic<std::uint64_t> total{0}, next{0};
  pool.parallel_for(pool.size(), [&](std::uint64_t) {
    const auto buffer = std::make_unique<std::byte[]>(kPieceBytes);
    for (;;) {
      const std::uint64_t at = next.fetch_add(kPieceBytes);
      if (at >= size) return;
      const ssize_t n = ::pread(fd, buffer.get(), kPieceBytes, static_cast<off_t>(at));
      benchmark::DoNotOptimize(buffer.get());
      if (n > 0) total += static_cast<std::uint64_t>(n);
    }
  });
  ::close(fd);
  return total;
}

std::uint64_t touch(std::span<const std::byte> bytes, ThreadPool& pool) {
  std::atomic<std::uint64_t> sum{0};
  pool.parallel_for(bytes.size() / kPieceBytes, [&](std::uint64_t i) {
    sum ^= kernels::active().ops.read_all(reinterpret_cast<const std::uint8_t*>(bytes.data() + i * kPieceBytes),
                                          kPieceBytes, 0);
  });
  benchmark::DoNotOptimize(sum.load());
  return bytes.size();
}

/// The model of file_path, mapped by the first who asks: its pages stay.
const format::ModelFile& mapped() {
  static const format::ModelFile model = format::open_model(file_path);
  return model;
}

template <class Scan>
void run(benchmark::State& state, const Scan& scan) {
  ThreadPool pool;
  std::uint64_t bytes = 0;
  for (auto _ : state) bytes += scan(pool);
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

const int registered = [] {
  const char* path = std::getenv("APR_BENCH_FILE");
  if (path == nullptr) return 0;
  file_path = path;
  const auto add = [](const char* name, std::uint64_t (*scan)(ThreadPool&)) {
    benchmark::RegisterBenchmark(name, [scan](benchmark::State& s) { run(s, scan); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  add("scan/read", [](ThreadPool& pool) { return read_loop(file_path, pool); });
  add("scan/map", [](ThreadPool& pool) { return touch(MappedFile(file_path).bytes(), pool); });
  add("scan/mapped/map", [](ThreadPool& pool) { return touch(mapped().files[0]->bytes(), pool); });
  add("scan/mapped/entropy", [](ThreadPool& pool) {
    benchmark::DoNotOptimize(inspect::entropy_report(mapped(), pool.size(), {}));
    return mapped().total_bytes();
  });
  add("scan/mapped/damage", [](ThreadPool& pool) {
    benchmark::DoNotOptimize(inspect::damage_report(mapped(), pool.size(), {}));
    return mapped().total_bytes();
  });
  add("scan/entropy", [](ThreadPool& pool) {
    const format::ModelFile model = format::open_model(file_path);
    benchmark::DoNotOptimize(inspect::entropy_report(model, pool.size(), {}));
    return model.total_bytes();
  });
  add("scan/damage", [](ThreadPool& pool) {
    const format::ModelFile model = format::open_model(file_path);
    benchmark::DoNotOptimize(inspect::damage_report(model, pool.size(), {}));
    return model.total_bytes();
  });
  add("scan/stats", [](ThreadPool& pool) {
    const format::ModelFile model = format::open_model(file_path);
    std::vector<std::size_t> tensors(model.tensors.size());
    std::iota(tensors.begin(), tensors.end(), std::size_t{0});
    benchmark::DoNotOptimize(inspect::distributions(model, tensors, {pool.size(), 0, {}}));
    return model.total_bytes();
  });
  add("scan/manifest", [](ThreadPool& pool) {
    const format::ModelFile model = format::open_model(file_path);
    benchmark::DoNotOptimize(inspect::build_manifest(model, pool.size(), {}));
    return model.total_bytes();
  });
  return 0;
}();

}  // namespace
