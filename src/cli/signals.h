// Ctrl-C: the first one asks the running command to stop, the second one ends the process at once.
#pragma once

namespace apr::cli {

/// SIGINT and SIGTERM set apr::interrupted; a second one removes unfinished outputs and exits with status 130.
/// SIGPIPE is ignored, so that a broken pipe is a failed write with a message (exit 7).
void install_signal_handlers();

}  // namespace apr::cli
