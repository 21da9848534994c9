#include "src/cli/findings_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "src/cli/hex_text_parts.h"

namespace apr::cli {
namespace {

Role severity_role(Severity severity) {
  return severity == Severity::Error ? Role::Bad : severity == Severity::Warning ? Role::Warning : Role::Dim;
}

}  // namespace

void append_findings(std::string& out, const Style& style, const std::vector<Finding>& findings) {
  if (findings.empty()) return;
  const auto count = [&](Severity s) {
    return static_cast<std::uint64_t>(
        std::count_if(findings.begin(), findings.end(), [s](const Finding& f) { return f.severity == s; }));
  };
  append_heading(out, style, "FINDINGS",
                 fmt::format("{}, {}", plural(count(Severity::Error), "error", "errors"),
                             plural(count(Severity::Warning), "warning", "warnings")));
  for (const Finding& f : findings) {
    out += "  ";
    style.append(out, severity_role(f.severity), fmt::format("{:<7}", name(f.severity)));
    out += "  ";
    style.append(out, Role::Offset, f.offset ? offset_text(*f.offset) : "-         ");
    out += "  " + escaped(f.message) + '\n';
    const auto detail = [&](std::string_view label, std::string_view text) {
      if (text.empty()) return;
      out += std::string(23, ' ');
      style.append(out, Role::Dim, fmt::format("{:<9}", label));
      out += escaped(text, 200) + '\n';
    };
    detail("field", f.field);
    detail("tensor", f.tensor);
    detail("expected", f.expected);
    detail("found", f.found);
    detail("hint", f.hint);
    detail("rule", f.rule);
  }
}

}  // namespace apr::cli
