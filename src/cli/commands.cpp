#include "src/cli/commands.h"

namespace apr::cli {
namespace {
constexpr Command kCommands[] = {
#define APR_COMMAND(name, group, summary) {#name, group, summary, setup_##name},
#include "src/cli/commands.def"
#undef APR_COMMAND
};
}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace apr::cli
