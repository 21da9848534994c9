// apr hex: what a model file holds. The modes are hex_modes.def; each is a hex_MODE.cpp. Here: the flags that they
// share, which modes and flags go together, opening the file, and putting reports together.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include "src/cli/commands.h"
#include "src/cli/findings_text.h"
#include "src/cli/hex_modes.h"
#include "src/cli/options.h"

namespace apr::cli {
namespace {

constexpr const char* kModeGroup = "Mode (default: summary and first tensor)";

/// A mode as this command line has it.
struct ModeFlag {
  HexModeRun run;
  bool chosen = false;
  std::string value;
};

struct FlagOwners {
  CLI::Option* option;
  std::vector<std::size_t> modes;
};

struct HexCommand {
  HexShared shared;
  std::vector<ModeFlag> modes;     // as hex_modes()
  std::vector<FlagOwners> owners;  // every flag that is no mode's and not FILE
};

/// What the error document says about a file that may not open.
FileFacts facts_of(const std::string& path) {
  std::error_code failed;
  FileFacts facts{path, std::nullopt, {}};
  if (std::filesystem::is_regular_file(path, failed))
    if (const auto size = std::filesystem::file_size(path, failed); !failed) facts.size_bytes = size;
  return facts;
}

/// A file that is no model can still be looked at: the refusal says how.
format::ModelFile open(const HexShared& shared) {
  try {
    return format::open_model(shared.path, {.verify_data = shared.verify});
  } catch (Error& error) {
    if (error.code == ErrorCode::InvalidFormat)
      error.hint += fmt::format("{}apr hex FILE --raw shows its bytes", error.hint.empty() ? "" : "; ");
    throw;
  }
}

std::vector<std::size_t> chosen_modes(const HexCommand& command) {
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < command.modes.size(); ++i)
    if (command.modes[i].chosen) chosen.push_back(i);
  if (chosen.empty()) chosen.push_back(hex_mode_index(command.shared.tensor ? "tensor" : "summary"));
  return chosen;
}

void check(const HexCommand& command, std::span<const std::size_t> chosen) {
  std::vector<HexModifier> given;
  for (const FlagOwners& flag : command.owners)
    if (flag.option->count() > 0) given.push_back({flag.option->get_name(), flag.modes});
  check_hex_modes(chosen, given);
  if (command.shared.all && command.shared.limit)
    throw Error(ErrorCode::Usage, "--limit and --all exclude each other").help("--all is no limit");
}

/// Runs the reports and prints them as one text or one document: alone under its own schema, several as members of one.
int run_reports(const HexCommand& command, std::span<const std::size_t> chosen, const format::ModelFile& model,
                Context& context) {
  std::string text;
  Json members = Json::object();
  int status = 0;
  for (const std::size_t i : chosen) {
    HexRun run{command.shared, context, &model, command.modes[i].value, i == chosen.front(), {}, Json::object()};
    const int mode_status = command.modes[i].run(run);
    if (status == 0) status = mode_status;
    text += run.text;
    if (chosen.size() == 1)
      members = std::move(run.json);
    else
      members[std::string(hex_modes()[i].name)] = std::move(run.json);
  }
  if (context.globals.json) {
    const std::string_view name = chosen.size() == 1 ? hex_modes()[chosen.front()].name : "combined";
    Json document = make_document(context, fmt::format("apr.hex.{}/1", name));
    document.update(members);
    text = to_text(document);
  } else {
    append_findings(text, context.style, context.findings);
  }
  model.check_intact();
  context.out.write(text);
  return model.has_errors() ? exit_status(ErrorCode::InvalidFormat) : status;
}

int run_hex(const HexCommand& command, Context& context) {
  const HexShared& shared = command.shared;
  const std::vector<std::size_t> chosen = chosen_modes(command);
  check(command, chosen);
  context.file = facts_of(shared.path);
  if (hex_modes()[chosen.front()].kind == HexKind::Bytes) {
    const ModeFlag& mode = command.modes[chosen.front()];
    HexRun run{shared, context, nullptr, mode.value, true, {}, Json::object()};
    return mode.run(run);
  }
  const format::ModelFile model = open(shared);
  context.file->size_bytes = model.total_bytes();
  context.file->format = format::name(model.format);
  context.findings = model.findings;
  spdlog::info("{}: {}, {} tensors, {} findings", shared.path, format::name(model.format), model.tensors.size(),
               model.findings.size());
  if (shared.verify && model.format != format::Format::Apr)
    throw Error(ErrorCode::ValidationFailed,
                fmt::format("{} stores no checksum: there is nothing to verify", format::name(model.format)))
        .at(shared.path)
        .in("--verify");
  return run_reports(command, chosen, model, context);
}

/// The flags that more than one mode takes.
void add_shared(CLI::App& app, HexCommand& command) {
  HexShared& s = command.shared;
  const auto shared = [&command](CLI::Option* option) {
    FlagOwners owners{option, {}};
    for (std::size_t i = 0; i < hex_modes().size(); ++i)
      if (hex_modes()[i].takes(option->get_name())) owners.modes.push_back(i);
    APR_CHECK(!owners.modes.empty());
    command.owners.push_back(std::move(owners));
    return option;
  };
  shared(app.add_option_function<std::string>(
                "--tensor", [&s](const std::string& name) { s.tensor = name; },
                "Tensors by exact name or glob; without a mode: their blocks and values")
             ->type_name("NAME|GLOB"))
      ->group(kModeGroup);
  shared(app.add_option_function<std::string>(
                "--role", [&s](const std::string& role) { s.role = role; },
                "Tensors of a role: a name with its layer number as *, or a part of it (ffn_up)")
             ->type_name("ROLE"));
  shared(add_number(
      app, "--limit", [&s](std::uint64_t n) { s.limit = n; }, 1, UINT64_MAX,
      "How many are shown: --raw bytes (256), --tensor values (64), --blocks elements (32), --at weights (8), --header "
      "elements of an array (4), --list and --stats rows"));
  shared(app.add_flag("--all", s.all, "Cut nothing: all tensors, values, elements, bytes"));
  shared(app.add_flag("--verify", s.verify, "Also verify the checksum over the whole file (APR)"));
}

void add_mode(CLI::App& app, HexCommand& command, std::size_t i) {
  const HexMode& row = hex_modes()[i];
  ModeFlag& mode = command.modes[i];
  if (!row.flag.empty() && row.value.empty())
    app.add_flag(std::string(row.flag), mode.chosen, std::string(row.help))->group(kModeGroup);
  else if (!row.flag.empty())
    app.add_option_function<std::string>(
           std::string(row.flag),
           [&mode](const std::string& value) {
             mode.chosen = true;
             mode.value = value;
           },
           std::string(row.help))
        ->type_name(std::string(row.value))
        ->group(kModeGroup);
}

}  // namespace

Run setup_hex(CLI::App& app) {
  auto command = std::make_shared<HexCommand>();
  command->modes.resize(hex_modes().size());
  app.add_option_function<std::string>(
         "FILE", [command](const std::string& path) { command->shared.path = path == "-" ? "/dev/stdin" : path; },
         "GGUF, APR or SafeTensors file, a shard, an index or a directory; --raw: any file; -: a redirected file")
      ->required();
  for (std::size_t i = 0; i < hex_modes().size(); ++i) add_mode(app, *command, i);
  add_shared(app, *command);
  for (std::size_t i = 0; i < hex_modes().size(); ++i) {
    HexFlags flags(app, fmt::format("With {}", hex_mode_shown(i)));
    command->modes[i].run = hex_modes()[i].setup(flags);
    for (CLI::Option* option : flags.owned()) command->owners.push_back({option, {i}});
  }
  app.footer(
      "  apr hex model.gguf                              what is this file?\n"
      "  apr hex model.gguf --list --json | jq '.tensors[].name'\n"
      "  apr hex model.apr --header --verify             header, metadata, both checksums\n"
      "  apr hex model.safetensors --tensor '*norm*' --limit 8\n"
      "  apr hex any.file --raw --offset 0x1000 --width 32 --limit 512");
  return [command](Context& context) { return run_hex(*command, context); };
}

}  // namespace apr::cli
