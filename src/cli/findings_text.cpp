#include "src/cli/findings_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apr/core/text.h"
#include "src/cli/hex_text_parts.h"

namespace apr::cli {
namespace {

constexpr std::uint64_t kShownPerRule = 3;  // one fault often repeats for every tensor behind it
constexpr std::size_t kDetailChars = 200;

Role severity_role(Severity severity) {
  return severity == Severity::Error ? Role::Bad : severity == Severity::Warning ? Role::Warning : Role::Dim;
}

/// A finding about the file as a whole: it says something that no other one does.
bool is_general(const Finding& f) { return !f.offset && f.field.empty() && f.tensor.empty(); }

void append_finding(std::string& out, const Style& style, const Finding& f, bool with_file) {
  out += "  ";
  style.append(out, severity_role(f.severity), fmt::format("{:<7}", name(f.severity)));
  out += "  ";
  style.append(out, Role::Offset, f.offset ? offset_text(*f.offset) : "-         ");
  out += "  " + escaped(f.message) + '\n';
  const auto detail = [&](std::string_view label, std::string_view text) {
    if (text.empty()) return;
    out += std::string(23, ' ');
    style.append(out, Role::Dim, fmt::format("{:<9}", label));
    out += escaped(text, kDetailChars) + '\n';
  };
  if (with_file) detail("file", f.file);
  detail("field", f.field);
  detail("tensor", f.tensor);
  detail("expected", f.expected);
  detail("found", f.found);
  detail("hint", f.hint);
  detail("rule", f.rule);
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
  const bool several_files =
      std::any_of(findings.begin(), findings.end(), [&](const Finding& f) { return f.file != findings.front().file; });
  std::map<std::string_view, std::uint64_t> per_rule;
  for (const Finding& f : findings)
    if (++per_rule[f.rule] <= kShownPerRule || is_general(f)) append_finding(out, style, f, several_files);
  for (const auto& [rule, n] : per_rule)
    if (n > kShownPerRule) style.append(out, Role::Dim, fmt::format("  of {}: --json lists {}\n", escaped(rule), n));
}

}  // namespace apr::cli
