#include <chrono>
#include <memory>

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apr/convert/synth.h"
#include "apr/core/text.h"
#include "src/cli/commands.h"
#include "src/cli/json_document.h"
#include "src/cli/options.h"
#include "src/cli/progress.h"

namespace apr::cli {
namespace {

using format::Format;

struct SynthCommand {
  convert::SynthOptions options;
  std::optional<Format> format;      // --format
  std::optional<std::string> quant;  // --quant
};

template <class Row>
std::vector<std::string_view> names_of(std::span<const Row> rows) {
  std::vector<std::string_view> names;
  for (const Row& row : rows) names.push_back(row.name);
  return names;
}

// What the name of the output says when --format does not.
Format format_by_name(std::string_view path) {
  if (path.ends_with(".apr")) return Format::Apr;
  if (path.ends_with(".safetensors") || path.ends_with('/')) return Format::SafeTensors;
  return Format::Gguf;
}

Json json_report(const Context& context, const convert::SynthOptions& options, const convert::SynthReport& report,
                 double elapsed_s) {
  Json document = make_document(context, "apr.synth/1");
  document["preset"] = options.preset;
  document["quant"] = options.quant;
  document["seed"] = options.seed;
  document["tensors"] = report.n_tensors;
  document["parameters"] = report.n_parameters;
  document["tensors_by_type"] = report.tensors_by_type;
  document["files"] = Json::array();
  for (const std::string& file : report.files) document["files"].push_back(to_valid_utf8(file));
  put_number(document, "elapsed_s", elapsed_s);
  return document;
}

std::string text_report(const convert::SynthOptions& options, const convert::SynthReport& report, double elapsed_s) {
  std::string types;
  for (const auto& [type, count] : report.tensors_by_type)
    types += fmt::format("{}{} {}", types.empty() ? "" : ", ", count, type);
  std::string text = fmt::format("{}: {} of drawn weights ({} {}, seed {})\n", escaped(report.files.front()),
                                 human_count(report.n_parameters), options.preset, options.quant, options.seed);
  text += fmt::format("{} in {} tensors: {}\n", human_bytes(report.model_bytes), report.n_tensors, types);
  text += fmt::format("{:.1f} s, {}/s\n", elapsed_s,
                      human_bytes(static_cast<std::uint64_t>(static_cast<double>(report.model_bytes) / elapsed_s)));
  for (std::size_t i = 1; i < report.files.size(); ++i) text += "beside it: " + escaped(report.files[i]) + "\n";
  return text;
}

int run_synth(const SynthCommand& command, Context& context) {
  convert::SynthOptions options = command.options;
  options.format = command.format.value_or(format_by_name(options.path));
  options.quant = command.quant.value_or(options.format == Format::SafeTensors ? "bf16" : "q4_k_m");
  options.n_threads = context.globals.threads;
  context.file = FileFacts{options.path, {}, std::string(format::name(options.format))};

  Progress progress(context, "synth " + options.preset, Progress::Unit::Bytes);
  options.progress = progress.callback();
  const auto start = std::chrono::steady_clock::now();
  const convert::SynthReport report = convert::synth(options);
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  context.file->path = report.files.front();
  context.file->size_bytes = report.model_bytes;
  context.out.write(context.globals.json ? to_text(json_report(context, options, report, elapsed_s))
                                         : text_report(options, report, elapsed_s));
  return 0;
}

}  // namespace

Run setup_synth(CLI::App& command) {
  auto synth = std::make_shared<SynthCommand>();
  command.add_option("OUT", synth->options.path, "The file to write, or a directory for SafeTensors")->required();
  const auto presets = convert::synth_presets();
  add_choice(
      command, "--preset", names_of(presets),
      [synth, presets](std::size_t i) { synth->options.preset = presets[i].name; }, "Whose shapes the model has")
      ->required();
  const auto quants = convert::synth_quants();
  add_choice(
      command, "--quant", names_of(quants), [synth, quants](std::size_t i) { synth->quant = quants[i].name; },
      "Types of the tensors [q4_k_m; bf16 for SafeTensors]");
  const std::vector<Format> formats{Format::Gguf, Format::Apr, Format::SafeTensors};
  add_choice(
      command, "--format", {"gguf", "apr", "safetensors"},
      [synth, formats](std::size_t i) { synth->format = formats[i]; }, "Format of OUT [by its name, else gguf]");
  add_number(
      command, "--seed", [synth](std::uint64_t seed) { synth->options.seed = seed; }, 0, UINT64_MAX,
      "Same seed, same bytes, on any machine [1]");
  command.add_flag("--force", synth->options.force, "Replace OUT when it exists");
  command.footer(
      "  apr synth tiny.gguf --preset tiny\n"
      "  apr synth big.gguf --preset qwen2.5-7b --quant q4_k_m\n"
      "  apr synth model/ --preset qwen3-0.6b --quant bf16 --format safetensors");
  return [synth](Context& context) { return run_synth(*synth, context); };
}

}  // namespace apr::cli
