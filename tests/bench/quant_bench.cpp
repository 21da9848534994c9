// Dequantise and quantise throughput of every type on every instruction set that runs here.
//   apr_bench --benchmark_filter='quantize/Q4_K'
// "weights/s" counts elements; bytes/s counts the f32 side and the block side together.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "apr/kernels/dispatch.h"

namespace {

using namespace apr;
using namespace apr::kernels;

constexpr std::int64_t kElements = 1 << 16;  // 256 KiB of f32: in the L2 cache, so that the kernel is what is measured

/// Near-Gaussian values; the same for every type.
std::vector<float> values() {
  std::vector<float> x(kElements);
  std::uint64_t state = 1;
  for (float& v : x) {
    std::int32_t sum = -2 * 65535;
    state = state * 6364136223846793005u + 1442695040888963407u;
    for (int k = 0; k < 4; ++k) sum += static_cast<std::int32_t>((state >> (16 * k)) & 0xFFFF);
    v = std::ldexp(static_cast<float>(sum), -20);
  }
  return x;
}

void set_rates(benchmark::State& state, const TypeInfo& type) {
  const std::int64_t bytes = kElements * 4 + kElements / type.block_elements * type.block_bytes;
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["weights"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kElements), benchmark::Counter::kIsRate);
}

void dequantize(benchmark::State& state, const TypeInfo& type, const QuantKernels& kernels) {
  const std::int64_t n_blocks = kElements / type.block_elements;
  std::vector<std::byte> blocks(static_cast<std::size_t>(n_blocks) * type.block_bytes);
  std::vector<float> out(kElements);
  if (kernels.quantize != nullptr) kernels.quantize(values().data(), blocks.data(), n_blocks);
  for (auto _ : state) {
    kernels.dequantize(blocks.data(), out.data(), n_blocks);
    benchmark::DoNotOptimize(out.data());
  }
  set_rates(state, type);
}

void quantize(benchmark::State& state, const TypeInfo& type, const QuantKernels& kernels) {
  const std::int64_t n_blocks = kElements / type.block_elements;
  const std::vector<float> x = values();
  std::vector<std::byte> blocks(static_cast<std::size_t>(n_blocks) * type.block_bytes);
  for (auto _ : state) {
    kernels.quantize(x.data(), blocks.data(), n_blocks);
    benchmark::DoNotOptimize(blocks.data());
  }
  set_rates(state, type);
}

const int registered = [] {
  for (const TypeInfo& type : tensor_types()) {
    if (static_cast<int>(type.type) >= n_ggml_types || type.status != TypeStatus::Live) continue;
    for (const IsaVariant& isa : isa_variants()) {
      if (!isa.runs_here) continue;
      const QuantKernels kernels = isa.table->quant[static_cast<int>(type.type)];
      const std::string suffix = std::string(type.name) + "/" + std::string(isa.name);
      benchmark::RegisterBenchmark(("dequantize/" + suffix).c_str(),
                                   [&type, kernels](benchmark::State& s) { dequantize(s, type, kernels); });
      if (kernels.quantize == nullptr) continue;
      benchmark::RegisterBenchmark(("quantize/" + suffix).c_str(),
                                   [&type, kernels](benchmark::State& s) { quantize(s, type, kernels); });
    }
  }
  return 0;
}();

}  // namespace
