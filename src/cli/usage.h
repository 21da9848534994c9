// Help texts, and what the command line parser's refusals become.
#pragma once
#include <string>

#include <CLI/CLI.hpp>

#include "apr/core/error.h"
#include "src/cli/json_document.h"

namespace apr::cli {

/// `apr --help`: groups of commands, global options, exit codes.
[[nodiscard]] std::string program_help(const CLI::App& app, const Style& style);
/// `apr CMD --help`: usage, what it does, its options by group, global options, examples.
[[nodiscard]] std::string command_help(const CLI::App& command, const Style& style);
/// The command table and exit codes as JSON (for `--help --json`).
void append_help(Json& document, const std::string& text);

/// Refuses an option that takes a value where the next word is missing or is itself an option: CLI11 would take
/// `--tensor --json` for a tensor of the name "--json".
void check_option_values(const CLI::App& app, int argc, const char* const* argv);

/// What to say about a command line that CLI11 refused: an unknown flag or command with the nearest name, or its own
/// words.
[[nodiscard]] Error usage_error(const CLI::App& app, const CLI::ParseError& refusal);

}  // namespace apr::cli
