// Everything that only a GPU can show, in one run: see run.sh. Prints a table, writes JSON.
//
// usage: gpu_bench --json FILE [--small] [--dry] [--soak TOKENS] NAME=MODEL...
// --small runs every step in small: for compute-sanitizer. --dry is that on an emulated driver with plain loops for
// kernels: the steps are tried, and every time is null.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/session.h"
#include "apr/model/architecture.h"
#include "apr/profile/profile.h"
#include "src/engine/cuda/cuda_executor.h"
#include "src/engine/cuda/kernel_set.h"
#include "tests/support/cuda_reference_kernels.h"

namespace apr::test {
namespace {

using namespace engine;
using namespace engine::cuda;
using Json = nlohmann::json;

struct Options {
  bool dry = false, small = false;
  std::uint64_t soak_tokens = 100000;
  std::string json;
  std::vector<std::pair<std::string, std::string>> models;
};

class Bench {
 public:
  explicit Bench(Options options) : o_(std::move(options)) {
    report_["schema"] = "apr.gpu_bench/1";
    report_["dry"] = o_.dry;
    report_["small"] = o_.small;
    if (o_.dry) report_["times_reason"] = "dry run: nothing was measured";
  }

  int run() {
    driver_ = make_driver();
    std::string reason;
    const auto device = find_device(*driver_, 0, reason);
    if (!device) throw Error(ErrorCode::Unsupported, "CUDA cannot be used: " + reason);
    device_ = *device;
    report_["device"] = describe(device_);
    report_["driver_version"] = device_.driver_version;
    say("{}", describe(device_));
    {
      Context context = nullptr;
      const OwnedContext owned = retain_context(*driver_, 0, context);
      KernelSet kernels(*driver_, device_);
      const OwnedStream stream = create_stream(*driver_);
      copies(stream.get());
      operations(kernels, stream.get());
      launches(kernels, stream.get());
      products(kernels, stream.get());
    }
    for (const auto& [name, path] : o_.models) whole_model(name, path);
    report_["failures"] = n_failures_;
    std::ofstream(o_.json) << report_.dump(2) << '\n';
    say("{} failure{}", n_failures_, n_failures_ == 1 ? "" : "s");
    return n_failures_ == 0 && n_checks_ > 0 ? 0 : 5;
  }

 private:
  template <class... A>
  static void say(fmt::format_string<A...> text, A&&... arguments) {
    fmt::print("{}\n", fmt::format(text, std::forward<A>(arguments)...));
    std::fflush(stdout);
  }
  void check(bool holds, const std::string& what) {
    ++n_checks_;
    if (holds) return;
    ++n_failures_;
    say("FAILED: {}", what);
    report_["failed"].push_back(what);
  }
  /// A measured number; on an emulated driver no time means anything.
  [[nodiscard]] Json measured(double value) const {
    if (!o_.dry) return value;
    return nullptr;
  }
  [[nodiscard]] std::string shown(double value, const char* unit) const {
    return o_.dry ? "not measured (dry run)" : fmt::format("{:.2f} {}", value, unit);
  }
  [[nodiscard]] std::shared_ptr<Driver> make_driver() const {
    if (o_.dry) return std::make_shared<EmulatedDriver>(std::make_unique<ReferenceKernels>());
    std::string reason;
    std::shared_ptr<Driver> driver = load_driver(reason);
    if (driver == nullptr) throw Error(ErrorCode::Unsupported, "CUDA cannot be used: " + reason);
    return driver;
  }

  /// Median time of one call of `work` in ms, of `n` between events, after two that are not timed.
  template <class Work>
  double median_ms(Stream stream, int n, const Work& work) {
    const OwnedEvent start = create_event(*driver_, true), end = create_event(*driver_, true);
    std::vector<double> times;
    for (int i = -2; i < n; ++i) {
      APR_CUDA(*driver_, event_record(start.get(), stream));
      work(i + 2);
      APR_CUDA(*driver_, event_record(end.get(), stream));
      APR_CUDA(*driver_, event_synchronize(end.get()));
      float ms = 0;
      APR_CUDA(*driver_, event_elapsed(&ms, start.get(), end.get()));
      if (i >= 0) times.push_back(static_cast<double>(ms));
    }
    std::nth_element(times.begin(), times.begin() + n / 2, times.end());
    return times[static_cast<std::size_t>(n / 2)];
  }

  /// Read and write bandwidth of a copy on the device: the roof of everything below.
  void copies(Stream stream) {
    const std::uint64_t bytes = o_.small ? 1 << 20 : 1ULL << 30;
    const OwnedMemory from = allocate_memory(*driver_, bytes), to = allocate_memory(*driver_, bytes);
    APR_CUDA(*driver_, fill(from.get(), 1, bytes, stream));
    const double ms =
        median_ms(stream, 9, [&](int) { APR_CUDA(*driver_, copy_on_device(to.get(), from.get(), bytes, stream)); });
    copy_gb_s_ = 2 * static_cast<double>(bytes) / ms / 1e6;
    report_["copy_gb_per_s"] = measured(copy_gb_s_);
    say("copy of {} bytes: {}", bytes, shown(copy_gb_s_, "GB/s read and written"));
  }

  /// Every type: repacked on the device, times one column and several, against sums in double.
  void operations(KernelSet& kernels, Stream stream) {
    for (const TensorType type :
         {TensorType::Q4_K, TensorType::Q5_K, TensorType::Q6_K, TensorType::Q8_0, TensorType::Q4_0, TensorType::Q5_0,
          TensorType::Q4_1, TensorType::Q5_1, TensorType::F16, TensorType::BF16, TensorType::F32}) {
      for (const std::int32_t n_columns : {1, 5, 8, 13}) {
        const double error = product_error(kernels, stream, type, n_columns);
        check(error < 1e-6, fmt::format("{} times {} columns: NMSE {:.2e}", name(type), n_columns, error));
        report_["operations"].push_back({{"type", name(type)}, {"columns", n_columns}, {"nmse", error}});
      }
    }
    say("products of 11 types with 1, 5, 8 and 13 columns compared with sums in double");
  }
  double product_error(KernelSet& kernels, Stream stream, TensorType type, std::int32_t n_columns) {
    constexpr std::int32_t kRows = 77, kCols = 768;
    const TypeInfo& layout = *find_type(type);
    std::vector<float> weights(std::size_t{kRows} * kCols), x(static_cast<std::size_t>(n_columns) * kCols);
    std::uint32_t state = 7;
    for (std::vector<float>* values : {&weights, &x})
      for (float& v : *values)
        v = static_cast<float>(static_cast<std::int32_t>(state = state * 1664525 + 1013904223)) / 2147483648.0F;
    std::vector<std::byte> rows(weights.size() / layout.block_elements * layout.block_bytes);
    apr::kernels::quantizer(type)(weights.data(), rows.data(),
                                  static_cast<std::int64_t>(weights.size() / layout.block_elements));
    apr::kernels::dequantizer(type)(rows.data(), weights.data(),
                                    static_cast<std::int64_t>(weights.size() / layout.block_elements));
    const std::uint64_t columns = static_cast<std::uint64_t>(n_columns), n_in = columns * kCols;
    const OwnedMemory raw = allocate_memory(*driver_, rows.size()),
                      tiles = allocate_memory(*driver_, kernels::cuda::tiles_bytes(type, kRows, kCols));
    const OwnedMemory in = allocate_memory(*driver_, n_in * 4), out = allocate_memory(*driver_, columns * kRows * 4);
    const OwnedMemory q = allocate_memory(*driver_, n_in), d = allocate_memory(*driver_, n_in / 8),
                      sums = allocate_memory(*driver_, n_in / 8), kept = allocate_memory(*driver_, n_in * 4);
    APR_CUDA(*driver_, copy_to_device(raw.get(), rows.data(), rows.size(), stream));
    APR_CUDA(*driver_, copy_to_device(in.get(), x.data(), n_in * 4, stream));
    kernels::cuda::RepackParams repack{raw.get(),
                                       tiles.get(),
                                       static_cast<std::int64_t>(rows.size()) / kRows,
                                       static_cast<std::int32_t>(type),
                                       kRows,
                                       kCols,
                                       0};
    kernels.launch(kernels::cuda::launch_repack(repack), stream);
    kernels::cuda::PrepareParams prepare{
        in.get(), 0, {q.get(), d.get(), sums.get(), kept.get(), kCols, 0}, kCols, kCols, n_columns, 0};
    kernels.launch(kernels::cuda::launch_prepare(prepare), stream);
    kernels::cuda::LinearParams p{};
    p.n_matrices = 1;
    p.matrix[0] = {tiles.get(), 0, static_cast<std::int32_t>(type), kRows, 0, 0};
    p.ready = prepare.out;
    p.n_cols = p.x_stride = kCols;
    p.n_columns = n_columns;
    p.out = out.get();
    p.out_stride = kRows;
    kernels.launch(kernels::cuda::launch_linear(p, kernels.shape()), stream);
    std::vector<float> got(columns * kRows, NAN);
    APR_CUDA(*driver_, copy_to_host(got.data(), out.get(), got.size() * 4, stream));
    APR_CUDA(*driver_, stream_synchronize(stream));
    const bool plain = type == TensorType::F16 || type == TensorType::BF16 || type == TensorType::F32;
    double error = 0, power = 0;
    for (std::size_t c = 0; c < columns; ++c) {
      std::vector<double> a(x.begin() + static_cast<std::ptrdiff_t>(c * kCols),
                            x.begin() + static_cast<std::ptrdiff_t>((c + 1) * kCols));
      for (std::size_t group = 0; !plain && group < kCols; group += 32) {
        double largest = 0;
        for (std::size_t i = group; i < group + 32; ++i) largest = std::max(largest, std::abs(a[i]));
        const double step = static_cast<double>(static_cast<float>(largest) / 127.0F);
        for (std::size_t i = group; i < group + 32; ++i) a[i] = step * std::nearbyint(a[i] / step);
      }
      for (std::size_t r = 0; r < kRows; ++r) {
        double sum = 0;
        for (std::size_t i = 0; i < kCols; ++i) sum += a[i] * static_cast<double>(weights[r * kCols + i]);
        error += std::pow(sum - static_cast<double>(got[c * kRows + r]), 2);
        power += sum * sum;
      }
    }
    return error / power;
  }

  /// The cost of a launch that does next to nothing, in chains as long as those of a token.
  void launches(KernelSet& kernels, Stream stream) {
    constexpr int kChain = 142;
    const OwnedMemory memory = allocate_memory(*driver_, 1 << 16);
    APR_CUDA(*driver_, fill(memory.get(), 0, 1 << 16, stream));
    kernels::cuda::PrepareParams p{};
    p.x = memory.get();
    p.out = {memory.get() + 8192, memory.get() + 16384, memory.get() + 24576, 0, 256, 0};
    p.n_cols = p.x_stride = 32;
    p.n_columns = 1;
    const auto chain = [&] {
      for (int i = 0; i < kChain; ++i) kernels.launch(kernels::cuda::launch_prepare(p), stream);
    };
    for (const bool early : {true, false}) {
      kernels.set_early(early);
      const OwnedGraphExec graph = capture_graph(*driver_, stream, chain);
      const double graph_us =
          1e3 / kChain * median_ms(stream, 21, [&](int) { APR_CUDA(*driver_, graph_launch(graph.get(), stream)); });
      const double plain_us = 1e3 / kChain * median_ms(stream, 21, [&](int) { chain(); });
      const std::string name = early ? "early" : "plain";
      report_["launch"][name] = {{"graph_us", measured(graph_us)}, {"stream_us", measured(plain_us)}};
      say("launch, {}: {} in a graph, {} in a stream", name, shown(graph_us, "us"), shown(plain_us, "us"));
    }
    kernels.set_early(true);
  }

  /// Matrices of a 7B model times one column. Copies are rotated so that no cache serves them.
  void products(KernelSet& kernels, Stream stream) {
    const std::pair<int, int> shapes[] = {{3584, 3584}, {4608, 3584}, {18944, 3584}, {3584, 18944}, {152064, 3584}};
    for (const TensorType type : {TensorType::Q4_K, TensorType::Q6_K, TensorType::Q8_0, TensorType::F16}) {
      for (auto [rows, cols] : shapes) {
        if (o_.small) rows = 48, cols = 256;
        const std::uint64_t bytes = kernels::cuda::tiles_bytes(type, rows, cols);
        const std::uint64_t n_copies = o_.small ? 2 : std::max<std::uint64_t>(2, (400ULL << 20) / bytes + 1);
        const OwnedMemory tiles = allocate_memory(*driver_, bytes * n_copies);
        const OwnedMemory in = allocate_memory(*driver_, static_cast<std::uint64_t>(cols) * 4),
                          out = allocate_memory(*driver_, static_cast<std::uint64_t>(rows) * 4);
        APR_CUDA(*driver_, fill(tiles.get(), 0x22, bytes * n_copies, stream));
        APR_CUDA(*driver_, fill(in.get(), 0x3C, static_cast<std::uint64_t>(cols) * 4, stream));
        kernels::cuda::LinearParams p{};
        p.n_matrices = p.n_columns = 1;
        p.matrix[0] = {0, 0, static_cast<std::int32_t>(type), rows, 0, 0};
        p.x = in.get();
        p.n_cols = p.x_stride = cols;
        p.input = kernels::cuda::LinearInput::Plain;
        p.output = kernels::cuda::LinearOutput::Store;
        p.out = out.get();
        p.out_stride = rows;
        constexpr int kBatch = 8;  // launches between two events
        const double ms = median_ms(stream, 15, [&](int i) {
          for (int k = 0; k < kBatch; ++k) {
            p.matrix[0].tiles = tiles.get() + static_cast<std::uint64_t>(i * kBatch + k) % n_copies * bytes;
            kernels.launch(kernels::cuda::launch_linear(p, kernels.shape()), stream);
          }
        });
        const double gb_s = static_cast<double>(bytes) * kBatch / ms / 1e6;
        report_["products"].push_back({{"type", name(type)},
                                       {"rows", rows},
                                       {"cols", cols},
                                       {"bytes", bytes},
                                       {"gb_per_s", measured(gb_s)},
                                       {"of_copy", measured(gb_s / copy_gb_s_)}});
        say("{:5} {:6} x {:5}: {}, {}", name(type), rows, cols, shown(gb_s, "GB/s"),
            shown(100 * gb_s / copy_gb_s_, "% of the copy"));
        if (o_.small) break;
      }
    }
  }

  [[nodiscard]] static std::vector<std::int32_t> tokens_of(std::size_t n, std::uint32_t n_vocab) {
    std::vector<std::int32_t> out;
    std::uint64_t state = 1;
    while (out.size() < n) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      out.push_back(static_cast<std::int32_t>((state >> 33) % n_vocab));
    }
    return out;
  }
  static void prefill(Executor& executor, std::span<const std::int32_t> tokens, std::uint32_t position,
                      std::span<float> logits) {
    const std::size_t piece = executor.options().n_batch;
    for (std::size_t at = 0; at < tokens.size(); at += piece) {
      const auto part = tokens.subspan(at, std::min(piece, tokens.size() - at));
      const bool last = at + part.size() == tokens.size();
      executor.forward(part, position + static_cast<std::uint32_t>(at),
                       last ? LogitsRequest::Last : LogitsRequest::None, last ? logits : std::span<float>{});
    }
  }
  /// `n` greedy tokens behind `position`; the time from the second burst on.
  struct Decoded {
    std::vector<std::int32_t> tokens;
    double ms_per_token = 0;
  };
  static Decoded decode(Executor& executor, std::uint32_t position, std::uint32_t n, std::uint32_t n_sequences = 1) {
    DeviceDecoder& decoder = *executor.decoder();
    const SamplerOptions greedy{.temperature = 0, .penalty_window = 0};
    std::vector<DecodeRequest> requests;
    for (std::uint32_t s = 0; s < n_sequences; ++s) requests.push_back({greedy, {}, {}, n, position, s});
    decoder.begin(requests);
    Decoded out;
    Clock::time_point start{};
    std::size_t timed_from = 0;
    while (out.tokens.size() < std::size_t{n} * n_sequences) {
      const auto burst = decoder.next();
      if (burst.empty()) break;
      for (const DecodedToken& made : burst) out.tokens.push_back(made.token);
      if (timed_from == 0) {
        start = Clock::now();
        timed_from = out.tokens.size();
      }
    }
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    out.ms_per_token = ms / static_cast<double>(std::max<std::size_t>(1, out.tokens.size() - timed_from));
    static_cast<void>(decoder.end(std::vector<std::uint32_t>(n_sequences, position)));
    return out;
  }

  void whole_model(const std::string& name, const std::string& path) {
    const model::Model model = model::load_model(path);
    const std::uint32_t most = o_.small ? 96 : std::min(model.plan.hparams.n_context, 17000U);
    const ExecutorOptions options{.n_ctx = most, .n_batch = o_.small ? 16U : 512U};
    Json& row = report_["models"][name];
    row["weight_bytes"] = model.plan.weight_bytes();
    same_as_cpu(name, model, row);
    const auto start = Clock::now();
    const auto executor = make_cuda_executor(model.plan, options, driver_);
    row["load_s"] = measured(std::chrono::duration<double>(Clock::now() - start).count());
    speeds(name, *executor, model, row);
    stamps(name, *executor, row);
    sequences(name, model, row);
    soak(name, model, row);
  }

  /// Mean squared difference.
  static double mse(std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    return sum / static_cast<double>(a.size());
  }

  /// Greedy tokens and logits of a short text, beside the CPU's. Both engines round activations to 8 bits and differ in
  /// the last bits before that, so a rounding may fall to either side: neither is the other's truth. The exact executor
  /// is the judge: CUDA's error may be at most twice the CPU's, and where the tokens part, the two must be a near tie
  /// in the exact logits, closer than six times the CPU's own root mean square error.
  void same_as_cpu(const std::string& name, const model::Model& model, Json& row) {
    const std::uint32_t n = o_.small ? 16 : 64;
    const auto prompt = tokens_of(11, model.plan.hparams.n_vocab);
    const ExecutorOptions options{.n_ctx = 128, .n_batch = 16, .two_terms = false};
    std::vector<float> truth(model.plan.hparams.n_vocab), expected(truth.size()), got(truth.size());
    const auto exact = make_exact_executor(model.plan, options);
    const auto cpu = make_fast_executor(model.plan, options);
    const auto cuda = make_cuda_executor(model.plan, options, driver_);
    prefill(*exact, prompt, 0, truth);
    prefill(*cpu, prompt, 0, expected);
    prefill(*cuda, prompt, 0, got);
    const double power = mse(truth, std::vector<float>(truth.size())), cpu_error = mse(expected, truth),
                 error = mse(got, truth);
    row["logits_nmse"] = error / power;
    row["logits_nmse_cpu"] = cpu_error / power;
    check(error <= 2 * cpu_error, fmt::format("{}: logits are off by NMSE {:.2e}, the CPU's by {:.2e}", name,
                                              error / power, cpu_error / power));
    const SamplerOptions greedy{.temperature = 0, .penalty_window = 0};
    const auto tokens = Session(*cpu, greedy).generate(prompt, {.n_predict = n, .end_tokens = {}}).tokens;
    const auto ours = decode(*cuda, 11, n).tokens;
    const auto same = static_cast<std::size_t>(std::ranges::mismatch(tokens, ours).in1 - tokens.begin());
    row["tokens_equal_to_cpu"] = same;
    check(ours.size() == n && tokens.size() == n, fmt::format("{}: {} of {} tokens", name, ours.size(), n));
    std::string parting;
    if (same < std::min(tokens.size(), ours.size())) {
      prefill(*exact, std::span(tokens).first(same), static_cast<std::uint32_t>(prompt.size()), truth);
      const double gap = std::abs(static_cast<double>(truth[static_cast<std::size_t>(tokens[same])]) -
                                  static_cast<double>(truth[static_cast<std::size_t>(ours[same])]));
      const double most = 6 * std::sqrt(cpu_error);
      row["parting_gap"] = gap;
      parting = fmt::format(", then a gap of {:.2g} in the exact logits", gap);
      check(gap <= most, fmt::format("{}: token {} differs from the CPU's over a gap of {:.2g}, allowed {:.2g}", name,
                                     same, gap, most));
    }
    say("{}: {} of {} tokens as on the CPU{}; NMSE of the logits {:.2e}, of the CPU's {:.2e}", name, same, n, parting,
        error / power, cpu_error / power);
  }

  void speeds(const std::string& name, Executor& executor, const model::Model& model, Json& row) {
    const std::uint32_t n_ctx = executor.options().n_ctx,
                        n_tokens = o_.small ? 17 : 129;  // the first, and whole bursts
    const auto tokens = tokens_of(n_ctx, model.plan.hparams.n_vocab);
    std::vector<float> logits(model.plan.hparams.n_vocab);
    const double bytes = static_cast<double>(model.plan.weight_bytes());
    for (const std::uint32_t depth :
         o_.small ? std::vector<std::uint32_t>{1, 32} : std::vector<std::uint32_t>{1, 4096, 16384}) {
      if (depth + n_tokens > n_ctx) continue;
      prefill(executor, std::span(tokens).first(depth), 0, logits);
      std::vector<double> times;
      std::vector<std::int32_t> first;
      for (int i = 0; i < 5; ++i) {
        prefill(executor, std::span(tokens).subspan(depth - 1, 1), depth - 1, logits);
        const Decoded out = decode(executor, depth, n_tokens);
        if (i == 0) first = out.tokens;
        check(out.tokens == first && out.tokens.size() == n_tokens,
              fmt::format("{}: run {} at depth {} made other tokens", name, i, depth));
        times.push_back(out.ms_per_token);
      }
      std::ranges::sort(times);
      const double ms = times[2];
      row["decode"].push_back({{"depth", depth},
                               {"ms_per_token", measured(ms)},
                               {"tokens_per_s", measured(1e3 / ms)},
                               {"weights_gb_per_s", measured(bytes / ms / 1e6)},
                               {"of_copy", measured(bytes / ms / 1e6 / copy_gb_s_)}});
      say("{}: decode at depth {}: {}, {}", name, depth, shown(1e3 / ms, "tokens/s"),
          shown(100 * bytes / ms / 1e6 / copy_gb_s_, "% of the copy"));
    }
    for (const std::uint32_t n :
         o_.small ? std::vector<std::uint32_t>{32} : std::vector<std::uint32_t>{512, 2048, 8192}) {
      if (n > n_ctx) continue;
      std::vector<double> times;
      for (int i = 0; i < 3; ++i) {
        const auto start = Clock::now();
        prefill(executor, std::span(tokens).first(n), 0, logits);
        times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
      }
      std::ranges::sort(times);
      row["prefill"].push_back({{"tokens", n}, {"s", measured(times[1])}, {"tokens_per_s", measured(n / times[1])}});
      say("{}: prefill of {}: {}", name, n, shown(n / times[1], "tokens/s"));
    }
  }

  /// Where the time of a replayed decode graph goes: inside of kernels, and between them.
  void stamps(const std::string& name, Executor& executor, Json& row) {
    const std::uint32_t depth = o_.small ? 8 : 512;
    const auto tokens = tokens_of(depth + 1, executor.plan().hparams.n_vocab);
    std::vector<float> logits(executor.plan().hparams.n_vocab);
    prefill(executor, std::span(tokens).first(depth), 0, logits);
    executor.forward(std::span(tokens).last(1), depth, LogitsRequest::Last, logits);
    std::string reason;
    const auto report = profile::report_launches(executor.plan(), executor.replay_stamped(o_.small ? 3 : 101, reason));
    row["stamps"] = {{"replays", report.n_replays},         {"reason", reason},
                     {"launches", report.rows.size()},      {"wall_us", measured(report.wall_us)},
                     {"busy_us", measured(report.busy_us)}, {"launch_overhead_us", measured(report.overhead_us)},
                     {"tick_us", measured(report.tick_us)}};
    if (report.n_replays == 0) return say("{}: no time stamps: {}", name, reason);
    say("{}: a replay of {}, launch overhead {}, stamps tell {} apart", name, shown(report.wall_us, "us"),
        shown(100 * report.overhead_us / report.wall_us, "%"), shown(report.tick_us, "us"));
    for (const profile::LaunchRow& of : report.rows)
      say("{}:   {:40} {:12} {} in {} calls", name, of.name, of.kernel, shown(of.time_us, "us"), of.n_calls);
  }

  /// Sequences that decode together: each makes the tokens that it makes alone, for little more than the time of one.
  void sequences(const std::string& name, const model::Model& model, Json& row) {
    constexpr std::uint32_t kMost = 8;
    const std::uint32_t start = 8, n_tokens = o_.small ? 17 : 129;
    const auto executor =
        make_cuda_executor(model.plan, {.n_ctx = start + n_tokens + 1, .n_batch = 16, .n_sequences = kMost}, driver_);
    const auto tokens = tokens_of(start, model.plan.hparams.n_vocab);
    std::vector<float> logits(std::size_t{kMost} * model.plan.hparams.n_vocab);
    std::vector<std::int32_t> alone;
    for (const std::uint32_t n : {1U, 2U, 4U, kMost}) {
      std::vector<BatchPart> last;
      for (std::uint32_t s = 0; s < n; ++s) {
        const BatchPart part{s, 0, std::span(tokens).first(start - 1), LogitsRequest::None};
        executor->forward_batch(std::span(&part, 1), {});
        last.push_back({s, start - 1, std::span(tokens).last(1), LogitsRequest::Last});
      }
      executor->forward_batch(last, std::span(logits).first(n * model.plan.hparams.n_vocab));
      const Decoded out = decode(*executor, start, n_tokens, n);
      if (n == 1) alone = out.tokens;
      check(out.tokens.size() == std::size_t{n} * n_tokens, fmt::format("{}: {} sequences ended early", name, n));
      std::map<std::int32_t, std::size_t> count, expected;
      for (const std::int32_t token : out.tokens) ++count[token];
      for (const std::int32_t token : alone) expected[token] += n;
      check(count == expected, fmt::format("{}: {} sequences made other tokens than one", name, n));
      const double ms = out.ms_per_token;
      row["sequences"].push_back({{"sequences", n}, {"tokens_per_s", measured(1e3 / ms)}});
      say("{}: {} sequences together: {}", name, n, shown(1e3 / ms, "tokens/s"));
    }
  }

  /// The same tokens, and the same bits of the last logits, from the graph with early launches, the graph without, and
  /// launches one by one.
  void soak(const std::string& name, const model::Model& model, Json& row) {
    const std::uint32_t n_ctx = o_.small ? 48 : std::min(model.plan.hparams.n_context, 2048U), start = 8;
    const auto prompt = tokens_of(start, model.plan.hparams.n_vocab);
    const std::uint64_t rounds = std::max<std::uint64_t>(1, (o_.small ? 64 : o_.soak_tokens) / (n_ctx - start));
    std::vector<std::int32_t> tokens[3];
    std::vector<float> logits[3];
    for (int mode = 0; mode < 3; ++mode) {
      const auto executor = make_cuda_executor(model.plan, {.n_ctx = n_ctx, .n_batch = 16}, driver_,
                                               {.listener = nullptr, .graphs = mode < 2, .early = mode == 0});
      logits[mode].resize(model.plan.hparams.n_vocab);
      // Early launches are what can race: they get most of the tokens.
      for (std::uint64_t round = 0; round < (mode == 0 ? rounds : 1); ++round) {
        prefill(*executor, prompt, 0, logits[mode]);
        const auto made = decode(*executor, start, n_ctx - start).tokens;
        if (round == 0) tokens[mode] = made;
        check(made == tokens[mode], fmt::format("{}: round {} of mode {} made other tokens", name, round, mode));
      }
      const std::int32_t last = tokens[mode].at(tokens[mode].size() / 2);
      executor->forward(std::span(&last, 1), start, LogitsRequest::Last, logits[mode]);
    }
    for (int mode = 1; mode < 3; ++mode) {
      check(tokens[mode] == tokens[0], fmt::format("{}: tokens of mode {} differ from the early graph's", name, mode));
      check(std::memcmp(logits[mode].data(), logits[0].data(), logits[0].size() * sizeof(float)) == 0,
            fmt::format("{}: logits of mode {} differ from the early graph's", name, mode));
    }
    row["soak_tokens"] = rounds * (n_ctx - start);
    say("{}: {} tokens, the same bits from early graph, plain graph and single launches", name,
        rounds * (n_ctx - start));
  }

  Options o_;
  std::shared_ptr<Driver> driver_;
  DeviceInfo device_;
  Json report_;
  double copy_gb_s_ = 0;
  std::uint64_t n_checks_ = 0, n_failures_ = 0;
};

Options parse(std::span<char*> arguments) {
  Options o;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string text = arguments[i];
    const auto equals = text.find('=');
    if (text == "--dry" || text == "--small") {
      o.small = true;
      o.dry = o.dry || text == "--dry";
    } else if (text == "--json" && i + 1 < arguments.size()) {
      o.json = arguments[++i];
    } else if (text == "--soak" && i + 1 < arguments.size()) {
      o.soak_tokens = std::stoull(arguments[++i]);
    } else if (equals != std::string::npos && !text.starts_with("--")) {
      o.models.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    } else {
      throw Error(ErrorCode::Usage, "gpu_bench --json FILE [--small] [--dry] [--soak TOKENS] NAME=MODEL...").got(text);
    }
  }
  if (o.json.empty() || o.models.empty())
    throw Error(ErrorCode::Usage, "gpu_bench --json FILE [--small] [--dry] [--soak TOKENS] NAME=MODEL...");
  return o;
}

}  // namespace
}  // namespace apr::test

int main(int argc, char** argv) {
  try {
    return apr::test::Bench(apr::test::parse({argv, static_cast<std::size_t>(argc)})).run();
  } catch (const apr::Error& error) {
    fmt::print(stderr, "gpu_bench: {}\n", error.what());
    return apr::exit_status(error.code);
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpu_bench: {}\n", error.what());
    return 1;
  }
}
