// apr qa: is a model fit for release? Ten gates, each of which compares something and can fail.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <ctime>
#include <memory>

#include <CLI/CLI.hpp>

#include "apr/core/file.h"
#include "apr/core/text.h"
#include "apr/qa/qa.h"
#include "src/cli/commands.h"
#include "src/cli/device_option.h"
#include "src/cli/options.h"
#include "src/cli/progress.h"
#include "src/cli/qa_report.h"

namespace apr::cli {
namespace {

struct QaCommand {
  std::string path, junit, markdown;
  bool exact = false;
  qa::QaOptions options;
};

void write_report(const std::string& path, const std::string& text) {
  if (path.empty()) return;
  OutputFile file(path);
  file.write(text);
  file.commit();
}

int run_qa(const QaCommand& command, Context& context) {
  context.file = FileFacts{command.path, std::nullopt, {}};
  qa::QaOptions options = command.options;
  options.n_threads = context.globals.threads;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  options.local_time = static_cast<std::int64_t>(now) + local.tm_gmtoff;
  if (command.exact) options.make_executor = engine::make_exact_executor;
  Progress progress(context, "qa: values", Progress::Unit::Bytes);
  options.progress = progress.callback();
  options.starting = [](const qa::GateInfo& gate) { spdlog::info("gate {}: {}", gate.name, gate.compares); };
  const qa::QaReport report = qa::run_gates(command.path, options);
  context.file->size_bytes = report.size_bytes;
  context.file->format = report.format;
  for (const qa::GateResult& gate : report.gates)
    context.findings.insert(context.findings.end(), gate.findings.begin(), gate.findings.end());
  write_report(command.junit, qa_junit(context, report));
  write_report(command.markdown, qa_markdown(context, report));
  context.out.write(context.globals.json ? to_text(qa_json(context, report)) : qa_text(context, report));
  return report.passed() ? 0 : exit_status(ErrorCode::ValidationFailed);
}

std::string gate_names() {
  std::string names;
  for (const qa::GateInfo& gate : qa::gates()) names += (names.empty() ? "" : ", ") + std::string(gate.name);
  return names;
}

}  // namespace

Run setup_qa(CLI::App& command) {
  auto o = std::make_shared<QaCommand>();
  command.add_option("MODEL", o->path, "GGUF, APR or SafeTensors model")->required();
  const auto add_gates = [&](const char* flag, std::vector<std::string>& names, const std::string& description) {
    command.add_option(flag, names, description)->type_name("GATE")->allow_extra_args(false);
  };
  add_gates("--only", o->options.only, "Run this gate (may be given again): " + gate_names());
  add_gates("--skip", o->options.skip, "Leave this gate out (may be given again)");
  add_gates("--require", o->options.require, "Fail when this gate is skipped (may be given again)");
  add_real(
      command, "--assert-tps", [o](double v) { o->options.min_tokens_per_s = v; }, 1e-3, 1e9,
      "Fail when decoding is slower than X tokens per second");
  command.add_option("--junit", o->junit, "Also write the verdicts as JUnit XML")->type_name("FILE");
  command.add_option("--markdown", o->markdown, "Also write the verdicts as a Markdown table")->type_name("FILE");
  add_number(
      command, "--ctx", [o](std::uint64_t n) { o->options.n_ctx = static_cast<std::uint32_t>(n); }, 1, 1U << 20,
      "Positions of the KV cache (the trained context, at most 4096)");
  auto* kv_type = add_kv_type(command, o->options.kv_type);
  command.add_flag("--exact", o->exact, "Judge the exact executor instead of the fast one")->excludes(kv_type);
  command.footer(
      "  apr qa model.gguf\n"
      "  apr qa model.gguf --only values --only tensors\n"
      "  apr qa model.gguf --require template --assert-tps 20 --junit qa.xml\n"
      "  apr qa model.gguf --json | jq '.gates[] | [.name, .verdict, .compared]'");
  return [o](Context& context) { return run_qa(*o, context); };
}

}  // namespace apr::cli
