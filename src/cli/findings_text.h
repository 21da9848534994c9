// Findings as text, for every command that opens a file.
#pragma once
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "src/cli/style.h"

namespace apr::cli {

/// A heading with counts, then each finding with its offset and what is known of it; of one rule the first
/// three and a count. Nothing when there are none.
void append_findings(std::string& out, const Style& style, const std::vector<Finding>& findings);

}  // namespace apr::cli
