// The panel kernels on one core, every type and instruction set: decode from memory and from the cache as GB/s of
// weights, prefill as GOP/s (2 per multiply-add, activations already quantised), repacking as GB/s of the file's bytes
// beside a plain copy. Run with --benchmark_filter=Q4_K; APR_AHEAD: bytes that decode from memory asks ahead for.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "apr/core/tensor_type.h"
#include "apr/kernels/dispatch.h"
#include "apr/kernels/ops.h"

namespace {

using namespace apr::kernels;
using apr::TensorType;

constexpr std::int64_t kCols = 2048, kTokens = 512;
constexpr std::uint64_t kMemoryBytes = std::uint64_t{640} << 20;  // more than a last-level cache holds

/// A matrix of random bytes with sound scales, repacked, and the activations of kTokens tokens.
class Fixture {
 public:
  Fixture(const OpKernels& ops, TensorType type, std::uint64_t wanted_bytes)
      : ops_(ops), panel_(ops.panel[static_cast<std::size_t>(type)]) {
    panel_bytes_ = static_cast<std::uint64_t>(kCols / panel_.unit_cols * panel_.unit_bytes);
    n_panels_ = std::max<std::uint64_t>(1, wanted_bytes / panel_bytes_);
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(kCols * ops.lanes));
    for (float& v : values) v = normal(random);
    const apr::TypeInfo& info = *apr::find_type(type);
    rows_.resize(values.size() / info.block_elements * info.block_bytes);
    quantizer(type)(values.data(), rows_.data(), static_cast<std::int64_t>(values.size() / info.block_elements));
    panels_.resize(n_panels_ * panel_bytes_ + 8192);
    repack(0);
    for (std::uint64_t p = 1; p < n_panels_; ++p)
      std::memcpy(panels_.data() + p * panel_bytes_, panels_.data(), panel_bytes_);
    x_.resize(static_cast<std::size_t>(kCols * kTokens));
    for (float& v : x_) v = normal(random);
    q_.resize(x_.size());
    d_.resize(x_.size() / 32);
    s_.resize(x_.size() / 32);
    sums_.resize(x_.size() / 16);
    out_.resize(static_cast<std::size_t>(kTokens * ops.lanes));
  }
  /// The activations as blocks of `width`.
  void quantize(int width) {
    for (std::int64_t t = 0; t < kTokens; ++t) {
      const std::int64_t at = t / width * width * (kCols / 32) + t % width;
      ops_.quantize_activation(x_.data() + t * kCols, kCols / 32, width, q_.data() + at * 32, d_.data() + at,
                               s_.data() + at, sums_.data() + at * 2);
    }
  }
  void multiply(std::uint64_t p, std::int64_t t, int width) {
    Activation a{x_.data(), q_.data(), d_.data(), s_.data(), sums_.data(), kCols};
    if (const char* ahead = std::getenv("APR_AHEAD")) a.ahead = std::atol(ahead);
    panel_.multiply(panels_.data() + p * panel_bytes_, &a, t, width, width, ops_.lanes, out_.data() + t * ops_.lanes,
                    ops_.lanes);
    benchmark::DoNotOptimize(out_.data());
  }
  void repack(std::uint64_t p) {
    panel_.repack(rows_.data(), static_cast<std::int64_t>(rows_.size()) / ops_.lanes, ops_.lanes, kCols,
                  panels_.data() + p * panel_bytes_);
  }
  [[nodiscard]] std::uint64_t row_bytes() const { return rows_.size(); }
  [[nodiscard]] std::uint64_t n_panels() const { return n_panels_; }
  [[nodiscard]] std::uint64_t bytes() const { return n_panels_ * panel_bytes_; }

 private:
  const OpKernels& ops_;
  const PanelKernels& panel_;
  std::uint64_t panel_bytes_ = 0, n_panels_ = 0;
  std::vector<std::uint8_t> rows_, panels_;
  std::vector<float> x_, d_, s_, out_;
  std::vector<std::int8_t> q_;
  std::vector<std::int16_t> sums_;
};

void decode(benchmark::State& state, const OpKernels& ops, TensorType type, std::uint64_t wanted_bytes) {
  Fixture fixture(ops, type, wanted_bytes);
  fixture.quantize(1);
  for (auto _ : state)
    for (std::uint64_t p = 0; p < fixture.n_panels(); ++p) fixture.multiply(p, 0, 1);
  state.SetBytesProcessed(static_cast<std::int64_t>(fixture.bytes()) * state.iterations());
}

/// Some sequences together: weights from memory, each read once for `width` tokens.
void decode_together(benchmark::State& state, const OpKernels& ops, TensorType type, int width) {
  Fixture fixture(ops, type, kMemoryBytes);
  fixture.quantize(width);
  for (auto _ : state)
    for (std::uint64_t p = 0; p < fixture.n_panels(); ++p) fixture.multiply(p, 0, width);
  state.SetBytesProcessed(static_cast<std::int64_t>(fixture.bytes()) * state.iterations());
  state.counters["GOP/s"] = benchmark::Counter(2.0 * kCols * width * static_cast<double>(fixture.n_panels()) *
                                                   ops.lanes * static_cast<double>(state.iterations()) / 1e9,
                                               benchmark::Counter::kIsRate);
}

void prefill(benchmark::State& state, const OpKernels& ops, TensorType type) {
  Fixture fixture(ops, type, 128 << 10);
  const int width = block_width(kTokens, ops.block_cols);
  fixture.quantize(width);
  for (auto _ : state)
    for (std::int64_t t = 0; t < kTokens; t += width)
      for (std::uint64_t p = 0; p < fixture.n_panels(); ++p) fixture.multiply(p, t, width);
  const double flops = 2.0 * kCols * kTokens * static_cast<double>(fixture.n_panels()) * ops.lanes;
  state.counters["GOP/s"] =
      benchmark::Counter(flops * static_cast<double>(state.iterations()) / 1e9, benchmark::Counter::kIsRate);
}

/// One panel's rows, out of the cache, to panels in memory; in the second case copied as they are.
void repack(benchmark::State& state, const OpKernels& ops, TensorType type, bool copies) {
  Fixture fixture(ops, type, std::uint64_t{256} << 20);
  std::vector<std::uint8_t> from(fixture.bytes(), 1), to(fixture.bytes(), 2);
  for (auto _ : state)
    for (std::uint64_t p = 0; p < fixture.n_panels(); ++p)
      if (copies)
        std::memcpy(&to[p * fixture.row_bytes()], &from[p * fixture.row_bytes()], fixture.row_bytes());
      else
        fixture.repack(p);
  state.SetBytesProcessed(static_cast<std::int64_t>(fixture.row_bytes() * fixture.n_panels()) * state.iterations());
}

const bool kRegistered = [] {
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here || isa.name == "scalar") continue;
    const OpKernels& ops = isa.table->ops;
    for (const apr::TypeInfo& info : apr::tensor_types()) {
      const auto id = static_cast<std::size_t>(info.type);
      if (id >= n_panel_types || ops.panel[id].unit_cols == 0 || quantizer(info.type) == nullptr) continue;
      const std::string name = std::string(apr::name(info.type)) + "/" + std::string(isa.name);
      benchmark::RegisterBenchmark(("panel_decode_memory/" + name).c_str(), decode, ops, info.type, kMemoryBytes)
          ->UseRealTime();
      benchmark::RegisterBenchmark(("panel_decode_cache/" + name).c_str(), decode, ops, info.type,
                                   std::uint64_t{256} << 10)
          ->UseRealTime();
      for (int width = 2; width <= std::min(8, ops.block_cols); width *= 2)
        benchmark::RegisterBenchmark(("panel_together_" + std::to_string(width) + "/" + name).c_str(), decode_together,
                                     ops, info.type, width)
            ->UseRealTime();
      benchmark::RegisterBenchmark(("panel_prefill/" + name).c_str(), prefill, ops, info.type)->UseRealTime();
      benchmark::RegisterBenchmark(("panel_repack/" + name).c_str(), repack, ops, info.type, false)->UseRealTime();
      benchmark::RegisterBenchmark(("panel_copy/" + name).c_str(), repack, ops, info.type, true)->UseRealTime();
    }
  }
  return true;
}();

}  // namespace
