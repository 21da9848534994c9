#include "src/cli/app.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string_view>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include "apr/core/file.h"
#include "apr/core/thread_pool.h"
#include "apr/kernels/dispatch.h"
#include "src/cli/commands.h"
#include "src/cli/json_document.h"
#include "src/cli/options.h"
#include "src/cli/report_error.h"
#include "src/cli/signals.h"
#include "src/cli/usage.h"
#include "src/cli/version.h"

namespace apr::cli {
namespace {

constexpr unsigned kMaxThreads = 1024;  // more is a typing error on any machine

bool environment_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

bool colour_wanted(ColorMode mode, int fd) {
  if (mode != ColorMode::Auto) return mode == ColorMode::Always;
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && !environment_set("NO_COLOR") && !(term != nullptr && std::strcmp(term, "dumb") == 0);
}

/// Flags that decide how even a refused command line is answered; read before parsing, which may fail before them.
void peek_flags(int argc, char** argv, Globals& globals) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--") break;
    globals.json = globals.json || arg == "--json";
    globals.quiet = globals.quiet || arg == "-q" || arg == "--quiet";
    if (arg == "--color=always" || (arg == "always" && std::string_view(argv[i - 1]) == "--color"))
      globals.color = ColorMode::Always;
    if (arg == "--color=never" || (arg == "never" && std::string_view(argv[i - 1]) == "--color"))
      globals.color = ColorMode::Never;
  }
}

struct Parsed {
  bool version = false;
  std::string isa;
};

void add_global_options(CLI::App& app, Globals& globals, Parsed& parsed) {
  app.set_help_flag("-h,--help", "This text, or the help of a command");
  app.add_flag("--version", parsed.version, "Version, commit, compiler, instruction sets, CUDA; then exit");
  app.add_flag("--json", globals.json, "One JSON document is all of stdout, errors too");
  add_enum(app, "--color", globals.color,
           {{"auto", ColorMode::Auto}, {"always", ColorMode::Always}, {"never", ColorMode::Never}},
           "Colour of text; auto: on a terminal, unless NO_COLOR is set");
  auto* quiet = app.add_flag("-q,--quiet", globals.quiet, "No progress and no hints");
  app.add_flag("-v,--verbose", globals.verbosity, "Log what happens to stderr; twice for more")->excludes(quiet);
  add_number(
      app, "--threads", [&globals](std::uint64_t n) { globals.threads = static_cast<unsigned>(n); }, 1, kMaxThreads,
      "Threads for parallel work; default: the CPUs that this process may use");
  app.add_option("--isa", parsed.isa, "Use this instruction set (see --version) instead of the best; also APR_ISA")
      ->type_name("NAME");
}

void start_log(const Globals& globals) {
  auto log = spdlog::stderr_color_mt("apr");
  log->set_pattern("%^%l%$: %v");
  log->set_level(globals.quiet            ? spdlog::level::err
                 : globals.verbosity == 0 ? spdlog::level::warn
                 : globals.verbosity == 1 ? spdlog::level::info
                                          : spdlog::level::debug);
  spdlog::set_default_logger(std::move(log));
}

void apply_isa(const std::string& flag) {
  const char* variable = std::getenv("APR_ISA");
  try {
    if (!flag.empty()) return kernels::force_isa(flag);
    if (variable != nullptr && *variable != '\0') kernels::force_isa(variable);
  } catch (Error& error) {
    if (error.field.empty()) error.field = flag.empty() ? "APR_ISA" : "--isa";
    throw;
  }
  spdlog::info("instruction set: {}", kernels::active().isa);
}

int print_version(Context& context) {
  const VersionReport report = version_report();
  if (context.globals.json) {
    Json document = make_document(context, "apr.version/1");
    append_version(document, report);
    context.out.write(to_text(document));
  } else {
    context.out.write(version_text(report));
  }
  return 0;
}

int print_help(const CLI::App& app, Context& context) {
  const auto chosen = app.get_subcommands();
  if (context.globals.json) {
    const Style plain(false);
    Json document = make_document(context, "apr.help/1");
    append_help(document, chosen.empty() ? program_help(app, plain) : command_help(*chosen.front(), plain));
    context.out.write(to_text(document));
  } else {
    context.out.write(chosen.empty() ? program_help(app, context.style) : command_help(*chosen.front(), context.style));
  }
  return 0;
}

int no_command(const CLI::App& app, Context& context) {
  if (context.globals.json) throw Error(ErrorCode::Usage, "no command").help("apr --help lists the commands");
  write_stderr(program_help(app, context.error_style));
  return exit_status(ErrorCode::Usage);
}

void set_styles(Context& context) {
  context.style = Style(!context.globals.json && colour_wanted(context.globals.color, STDOUT_FILENO));
  context.error_style = Style(colour_wanted(context.globals.color, STDERR_FILENO));
}

int run(int argc, char** argv, Context& context) {
  peek_flags(argc, argv, context.globals);
  set_styles(context);
  context.globals.threads = available_cpus();

  CLI::App app("apr", "apr");
  app.fallthrough();
  app.require_subcommand(0, 1);
  Parsed parsed;
  add_global_options(app, context.globals, parsed);
  std::map<const CLI::App*, Run> runs;
  for (const Command& row : commands()) {
    CLI::App* command = app.add_subcommand(std::string(row.name), std::string(row.summary));
    command->option_defaults()->always_capture_default(false);
    runs[command] = row.setup(*command);
  }
  const auto note_command = [&] {
    const auto chosen = app.get_subcommands();
    if (!chosen.empty()) context.command = chosen.front()->get_name();
  };
  try {
    check_option_values(app, argc, argv);
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    note_command();
    return print_help(app, context);
  } catch (const CLI::ParseError& refusal) {
    note_command();
    if (app.get_option("--version")->count() > 0) return print_version(context);  // `apr hex --version` needs no FILE
    throw usage_error(app, refusal);
  } catch (const Error&) {  // thrown by the value of an option
    note_command();
    throw;
  }
  note_command();
  set_styles(context);
  start_log(context.globals);
  const auto chosen = app.get_subcommands();
  apply_isa(parsed.isa);
  if (parsed.version) return print_version(context);
  return chosen.empty() ? no_command(app, context) : runs.at(chosen.front())(context);
}

}  // namespace

int run_main(int argc, char** argv) noexcept {
  Context context;
  try {
    install_signal_handlers();
    const int status = run(argc, argv, context);
    context.out.flush();
    return status;
  } catch (const Error& error) {
    remove_unfinished_outputs();
    return report_error(error, context);
  } catch (const std::bad_alloc&) {
    return report_error(Error(ErrorCode::Internal, "out of memory"), context);
  } catch (const std::exception& failure) {
    return report_error(Error(ErrorCode::Internal, failure.what()).help("this is a bug in apr; please report it"),
                        context);
  }
}

}  // namespace apr::cli
