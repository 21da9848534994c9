// apr profile: how fast a model runs here, how fast it could be, and where the time goes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>

#include "apr/core/text.h"
#include "apr/engine/executor.h"
#include "apr/model/architecture.h"
#include "apr/profile/profile.h"
#include "src/cli/commands.h"
#include "src/cli/device_option.h"
#include "src/cli/json_document.h"
#include "src/cli/options.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

struct ProfileCommand {
  std::string path;
  bool perf_grade = false, exact = false, no_repack = false;
  profile::ProfileOptions options;
  std::uint64_t n_ctx = 0;
  engine::DeviceRequest device = engine::DeviceRequest::Cpu;
  TensorType kv_type = TensorType::F16;
};

Json phase_json(const profile::Phase& phase) {
  Json j;
  j["n_tokens"] = phase.n_tokens;
  j["n_sequences"] = phase.n_sequences;
  j["position"] = phase.position;
  j["passes"] = phase.n_passes;
  j["warmups"] = phase.n_warmups;
  for (const auto& [key, value] : {std::pair{"wall_us", phase.wall_us},
                                   {"wall_p5_us", phase.wall_p5_us},
                                   {"wall_p95_us", phase.wall_p95_us},
                                   {"tokens_per_s", phase.tokens_s},
                                   {"ops_us", phase.ops_us},
                                   {"residual_us", phase.residual_us},
                                   {"bound_us_modelled", phase.bound_us},
                                   {"efficiency", phase.efficiency}})
    put_number(j, key, value);
  j["bricks"] = Json::array();
  for (const profile::BrickRow& b : phase.bricks) {
    Json row;
    row["name"] = b.name;
    row["group"] = b.group;
    row["calls"] = b.n_calls;
    row["bytes"] = b.bytes;
    row["flops"] = b.flops;
    for (const auto& [key, value] : {std::pair{"time_us", b.time_us},
                                     {"share", b.share},
                                     {"gb_per_s", b.gb_s},
                                     {"gflop_per_s", b.gflop_s},
                                     {"bound_us_modelled", b.bound_us},
                                     {"efficiency", b.efficiency}})
      put_number(row, key, value);
    j["bricks"].push_back(std::move(row));
  }
  return j;
}

Json launches_json(const profile::LaunchReport& report) {
  Json j;
  j["replays"] = report.n_replays;
  j["reason"] = report.n_replays == 0 ? Json(report.reason) : Json(nullptr);
  for (const auto& [key, value] : {std::pair{"wall_us", report.wall_us},
                                   {"busy_us", report.busy_us},
                                   {"launch_overhead_us", report.overhead_us},
                                   {"tick_us", report.tick_us}})
    j[key] = report.n_replays == 0 ? Json(nullptr) : Json(value);
  j["kernels"] = Json::array();
  for (const profile::LaunchRow& row : report.rows) {
    Json k{{"name", row.name}, {"kernel", row.kernel}, {"calls", row.n_calls}};
    put_number(k, "time_us", row.time_us);
    j["kernels"].push_back(std::move(k));
  }
  return j;
}

Json report_json(const Context& context, const profile::ProfileReport& r, const engine::ChosenExecutor& chosen,
                 bool perf_grade) {
  Json document = make_document(context, "apr.profile/1");
  document["executor"] = r.executor;
  document["device"] = chosen.device;
  document["device_reason"] = chosen.reason;
  document["machine"] = r.machine;
  document["threads"] = r.roofs.n_threads;
  document["model"] = {{"weight_bytes", r.model_bytes}, {"parameters", r.n_parameters}};
  document["memory"] = {{"mapped_bytes", r.memory.mapped_bytes},
                        {"weights_bytes", r.memory.weights_bytes},
                        {"kv_type", std::string(name(r.memory.kv_type))},
                        {"kv_bytes", r.memory.kv_bytes},
                        {"arena_bytes", r.memory.arena_bytes}};
  Json roofs;
  put_number(roofs, "read_gb_per_s", r.roofs.read_gb_s);
  roofs["read_buffer_bytes"] = r.roofs.read_bytes;
  put_number(roofs, "int8_gop_per_s", r.roofs.int8_gop_s);
  document["roofs"] = std::move(roofs);
  document["prefill"] = phase_json(r.prefill);
  document["decode"] = phase_json(r.decode);
  document["launches"] = launches_json(r.launches);
  document["witness"] = fmt::format("{:016x}", r.witness);
  if (perf_grade) document["grade"] = std::string(1, r.grade);
  document["notes"] = r.notes;
  return document;
}

void append_phase(std::string& out, const Style& style, const profile::Phase& phase) {
  style.append(out, Role::Heading, phase.name == "decode" ? "\nDECODE" : "\nPREFILL");
  out += fmt::format(
      "  {} token{}{} from position {}: {:.1f} tokens/s, {:.3f} ms a pass (median of {}, p5 {:.3f}, p95 {:.3f})\n",
      phase.n_tokens, phase.n_tokens == 1 ? "" : "s", phase.n_sequences == 1 ? "" : ", one of each sequence,",
      phase.position, phase.tokens_s, phase.wall_us / 1e3, phase.n_passes, phase.wall_p5_us / 1e3,
      phase.wall_p95_us / 1e3);
  Table table({{"brick"},
               {"calls", Align::Right},
               {"ms", Align::Right},
               {"share", Align::Right},
               {"GB/s", Align::Right},
               {"GFLOP/s", Align::Right},
               {"bound ms*", Align::Right},
               {"of bound", Align::Right}});
  for (const profile::BrickRow& b : phase.bricks)
    table.add({{b.name, Role::Name},
               {fmt::format("{}", b.n_calls)},
               {fmt::format("{:.3f}", b.time_us / 1e3), Role::Number},
               {fmt::format("{:.1f} %", 100 * b.share)},
               {fmt::format("{:.1f}", b.gb_s)},
               {fmt::format("{:.1f}", b.gflop_s)},
               {fmt::format("{:.3f}", b.bound_us / 1e3), Role::Dim},
               {fmt::format("{:.0f} %", 100 * b.efficiency)}});
  table.add({{"sum of the ops"},
             {""},
             {fmt::format("{:.3f}", phase.ops_us / 1e3)},
             {fmt::format("{:.1f} %", 100 * phase.ops_us / phase.wall_us)}});
  table.add({{"residual (wall - sum)"},
             {""},
             {fmt::format("{:.3f}", phase.residual_us / 1e3)},
             {fmt::format("{:.1f} %", 100 * phase.residual_us / phase.wall_us)}});
  table.append_to(out, style);
}

void append_launches(std::string& out, const Style& style, const profile::LaunchReport& report) {
  style.append(out, Role::Heading, "\nLAUNCHES OF A DECODE PASS");
  if (report.n_replays == 0) {
    out += fmt::format("  not measured: {}\n", report.reason);
    return;
  }
  out += fmt::format(
      "  {} replays of the graph with time stamps: {:.1f} us, {:.1f} of them inside of kernels; stamps tell "
      "{:.3f} us apart\n",
      report.n_replays, report.wall_us, report.busy_us, report.tick_us);
  Table table({{"brick"}, {"kernel"}, {"calls", Align::Right}, {"us", Align::Right}, {"share", Align::Right}});
  const auto share = [&](double us) { return fmt::format("{:.1f} %", 100 * us / report.wall_us); };
  for (const profile::LaunchRow& row : report.rows)
    table.add({{row.name, Role::Name},
               {row.kernel},
               {fmt::format("{}", row.n_calls)},
               {fmt::format("{:.1f}", row.time_us), Role::Number},
               {share(row.time_us)}});
  table.add({{"launch overhead (wall - union)"},
             {""},
             {""},
             {fmt::format("{:.1f}", report.overhead_us)},
             {share(report.overhead_us)}});
  table.append_to(out, style);
}

std::string report_text(const Context& context, const profile::ProfileReport& r, std::string_view device,
                        bool perf_grade) {
  const Style& style = context.style;
  std::string out = fmt::format("{}  {}, {} thread{}, {}\n", style(Role::Title, escaped(context.file->path)),
                                r.executor, r.roofs.n_threads, r.roofs.n_threads == 1 ? "" : "s", escaped(r.machine));
  out += fmt::format("roofs measured here: {:.1f} GB/s ({} buffer), int8 multiply-adds {}\n", r.roofs.read_gb_s,
                     human_bytes(r.roofs.read_bytes),
                     std::isnan(r.roofs.int8_gop_s) ? "not measured" : fmt::format("{:.0f} Gop/s", r.roofs.int8_gop_s));
  append_phase(out, style, r.prefill);
  append_phase(out, style, r.decode);
  if (device == "cuda") append_launches(out, style, r.launches);
  out += style(
      Role::Dim,
      "* modelled: the longer of weight and cache bytes at the read roof and matrix operations at the int8 roof\n");
  for (const std::string& note : r.notes) out += style(Role::Warning, "slow: ") + escaped(note) + "\n";
  if (perf_grade)
    out += fmt::format(
        "\ngrade {}: decode takes {:.2f} times its bound ({:.0f} % of it; A 85, B 70, C 50, D 30). witness {:016x}\n",
        style(Role::Good, std::string(1, r.grade)), r.decode.wall_us / r.decode.bound_us, 100 * r.decode.efficiency,
        r.witness);
  return out;
}

int run_profile(const ProfileCommand& command, Context& context) {
  context.file = FileFacts{command.path, std::nullopt, {}};
  const model::Model model = model::load_model(command.path);
  context.file->size_bytes = model.file->total_bytes();
  context.file->format = format::name(model.file->format);
  context.findings = model.file->findings;
  engine::ExecutorOptions options;
  options.n_threads = context.globals.threads;
  options.n_ctx = static_cast<std::uint32_t>(command.n_ctx);
  options.repack = !command.no_repack;
  options.kv_type = command.kv_type;
  options.n_sequences = static_cast<std::uint32_t>(command.options.n_sequences);
  options.n_batch = std::max(static_cast<std::uint32_t>(command.options.n_prompt), options.n_sequences);
  const engine::ChosenExecutor chosen = choose_executor(model.plan, options, command.device, command.exact, context);
  const profile::ProfileReport report = profile::profile_model(*chosen.executor, command.options);
  model.file->check_intact();
  context.out.write(context.globals.json ? to_text(report_json(context, report, chosen, command.perf_grade))
                                         : report_text(context, report, chosen.device, command.perf_grade));
  return 0;
}

}  // namespace

Run setup_profile(CLI::App& command) {
  auto o = std::make_shared<ProfileCommand>();
  command.add_option("MODEL", o->path, "GGUF, APR or SafeTensors model")->required();
  command.add_flag("--perf-grade", o->perf_grade, "Grade decode by the time that the measured roofs allow");
  auto* device = add_device(command, o->device);
  command.add_flag("--exact", o->exact, "Profile the exact executor instead of the fast one")->excludes(device);
  add_number(
      command, "--prompt", [o](std::uint64_t n) { o->options.n_prompt = static_cast<std::int64_t>(n); }, 1, 4096,
      "Tokens of a prefill pass (128)");
  add_number(
      command, "--depth", [o](std::uint64_t n) { o->options.depth = static_cast<std::int64_t>(n); }, 0, 1U << 20,
      "Tokens in the cache before a decode pass (0)");
  add_number(
      command, "--sequences", [o](std::uint64_t n) { o->options.n_sequences = static_cast<std::int64_t>(n); }, 1, 256,
      "Sequences that a decode pass runs together, one token each (1)");
  add_number(
      command, "--passes", [o](std::uint64_t n) { o->options.n_passes = n; }, 10, 100000,
      "Measured passes after 3 warm-ups; each decode pass runs one token further (10)");
  add_number(
      command, "--prompt-passes", [o](std::uint64_t n) { o->options.n_prompt_passes = n; }, 1, 100000,
      "Measured passes of the prefill, where they shall be other than --passes");
  add_number(
      command, "--ctx", [o](std::uint64_t n) { o->n_ctx = n; }, 1, 1U << 20,
      "Positions of the KV cache (the trained context, at most 4096)");
  add_kv_type(command, o->kv_type)->excludes("--exact");
  command.add_flag("--no-repack", o->no_repack, "Leave the weights in the file and repack them as they run")
      ->excludes("--exact");
  command.footer(
      "  apr profile model.gguf --perf-grade\n"
      "  apr profile model.gguf --depth 2048 --passes 50\n"
      "  apr profile model.gguf --sequences 8\n"
      "  apr profile model.gguf --perf-grade --json | jq '.decode.bricks[] | [.name, .time_us, .efficiency]'");
  return [o](Context& context) { return run_profile(*o, context); };
}

}  // namespace apr::cli
