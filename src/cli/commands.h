// The command table: commands.def joined with the setup function of each command.
#pragma once
#include <span>
#include <string_view>

#include "src/cli/context.h"

namespace CLI {
class App;
}

namespace apr::cli {

/// Adds the options of one subcommand (and its examples, as the footer) and returns what runs it. The options live in a
/// shared_ptr that the returned function holds.
#define APR_COMMAND(name, group, summary) Run setup_##name(CLI::App& command);
#include "src/cli/commands.def"
#undef APR_COMMAND

struct Command {
  std::string_view name;
  std::string_view group;
  std::string_view summary;
  Run (*setup)(CLI::App& command);
};

/// Every row of commands.def, in its order.
[[nodiscard]] std::span<const Command> commands();

}  // namespace apr::cli
