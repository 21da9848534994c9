#include "src/cli/signals.h"

#include <signal.h>
#include <unistd.h>

#include "apr/core/error.h"
#include "apr/core/file.h"

namespace apr::cli {
namespace {

constexpr int kInterruptedStatus = 130;  // exit_status(ErrorCode::Interrupted), as a constant for the handler

extern "C" void on_stop_signal(int) {
  if (interrupted.exchange(true)) {
    remove_unfinished_outputs();
    _exit(kInterruptedStatus);
  }
}

}  // namespace

void install_signal_handlers() {
  struct sigaction stop = {};
  stop.sa_handler = on_stop_signal;
  sigemptyset(&stop.sa_mask);
  sigaction(SIGINT, &stop, nullptr);
  sigaction(SIGTERM, &stop, nullptr);
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigemptyset(&ignore.sa_mask);
  sigaction(SIGPIPE, &ignore, nullptr);
}

}  // namespace apr::cli
