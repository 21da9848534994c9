// How a failure reaches the user: text on stderr, or the JSON error document on stdout.
#pragma once
#include <string>

#include "src/cli/context.h"

namespace apr::cli {

/// The lines that stderr gets. Everything that came from a file or the command line is escaped.
[[nodiscard]] std::string error_text(const Error& error, const Context& context);
/// Prints the failure in the form that the flags ask for and returns the exit status.
int report_error(const Error& error, Context& context) noexcept;

}  // namespace apr::cli
