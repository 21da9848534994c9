// The program: parse, apply the global flags, run one command, report.
#pragma once

namespace apr::cli {

/// main() of apr. Never throws; the result is the process exit status.
int run_main(int argc, char** argv) noexcept;

}  // namespace apr::cli
