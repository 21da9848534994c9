// The printers of a qa report: text, JSON, JUnit XML and Markdown of the same verdicts.
#pragma once
#include <string>

#include "apr/qa/qa.h"
#include "src/cli/context.h"
#include "src/cli/json_document.h"

namespace apr::cli {

[[nodiscard]] std::string qa_text(const Context& context, const qa::QaReport& report);
[[nodiscard]] Json qa_json(const Context& context, const qa::QaReport& report);
/// One test case a gate. A required gate that was skipped is a failure.
[[nodiscard]] std::string qa_junit(const Context& context, const qa::QaReport& report);
[[nodiscard]] std::string qa_markdown(const Context& context, const qa::QaReport& report);

}  // namespace apr::cli
