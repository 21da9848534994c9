#include "src/cli/qa_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "src/cli/findings_text.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using qa::GateResult;
using qa::QaReport;
using qa::Verdict;

std::string_view name_of(const GateResult& result) { return qa::gates()[static_cast<std::size_t>(result.gate)].name; }

Role role_of(const GateResult& result) {
  if (result.verdict == Verdict::Pass) return Role::Good;
  return result.good() ? Role::Dim : Role::Bad;
}

/// "7 pass, 1 fail, 2 skip": the kinds that occur.
std::string tally(const QaReport& report) {
  std::string out;
  for (const Verdict v : {Verdict::Pass, Verdict::Fail, Verdict::Error, Verdict::Skip})
    if (report.count(v) > 0 || v == Verdict::Pass)
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", report.count(v), qa::name(v));
  return out;
}

std::string comparisons(const GateResult& result) {
  return result.n_compared == 0 ? std::string() : fmt::format("{} {}", grouped(result.n_compared), result.compared);
}

std::string message_of(const GateResult& result) {
  return (result.verdict == Verdict::Skip && result.required ? "required, and skipped: " : "") + result.message;
}

/// Text for XML 1.0, which has no form for most control characters: those were escaped before.
std::string xml(std::string_view text) {
  std::string out;
  for (const char c : escaped(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string markdown_cell(std::string_view text) {
  std::string out;
  for (const char c : escaped(text)) {
    if (c == '|' || c == '`' || c == '*' || c == '_' || c == '<' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string findings_lines(const GateResult& result) {
  std::string out;
  for (const Finding& finding : result.findings)
    out += fmt::format("{}: {}: {}\n", name(finding.severity), finding.rule, to_error(finding).what());
  return out;
}

}  // namespace

std::string qa_text(const Context& context, const QaReport& report) {
  const Style& style = context.style;
  std::string out = fmt::format("{}  {}{}\n", style(Role::Title, escaped(context.file->path)),
                                report.format.empty() ? "not opened" : report.format,
                                report.size_bytes ? ", " + human_bytes(*report.size_bytes) : "");
  Table table({{"gate"},
               {"verdict"},
               {"seconds", Align::Right},
               {"compared", Align::Left, 46},
               {"what was found", Align::Left, 90}});
  for (const GateResult& result : report.gates)
    table.add({{std::string(name_of(result)), Role::Name},
               {std::string(qa::name(result.verdict)), role_of(result)},
               {result.verdict == Verdict::Skip && result.seconds < 0.01 ? "" : fmt::format("{:.2f}", result.seconds)},
               {comparisons(result), Role::Dim},
               {escaped(message_of(result))}});
  table.append_to(out, style);
  append_findings(out, style, context.findings);
  out +=
      fmt::format("\n{}  {}\n", style(report.passed() ? Role::Good : Role::Bad, report.passed() ? "PASSED" : "FAILED"),
                  tally(report));
  return out;
}

Json qa_json(const Context& context, const QaReport& report) {
  Json document = make_document(context, "apr.qa/1");
  document["passed"] = report.passed();
  Json counts;
  for (const Verdict v : {Verdict::Pass, Verdict::Fail, Verdict::Skip, Verdict::Error})
    counts[std::string(qa::name(v))] = report.count(v);
  document["counts"] = std::move(counts);
  document["executor"] = report.executor.empty() ? Json(nullptr) : Json(report.executor);
  document["chat_template"] = report.chat_template.empty() ? Json(nullptr) : Json(report.chat_template);
  document["gates"] = Json::array();
  for (const GateResult& result : report.gates) {
    Json gate;
    gate["name"] = std::string(name_of(result));
    gate["verdict"] = std::string(qa::name(result.verdict));
    gate["required"] = result.required;
    put_text(gate, "message", result.message);
    gate["compared"] = result.n_compared;
    gate["compared_what"] = result.compared;
    put_number(gate, "seconds", result.seconds);
    gate["measured"] = Json::array();
    for (const qa::Measurement& m : result.measured) {
      Json measured;
      measured["name"] = m.name;
      put_number(measured, "value", m.value);
      measured["unit"] = m.unit;
      gate["measured"].push_back(std::move(measured));
    }
    gate["rules"] = Json::array();  // of the findings of this gate; the findings stand in the document's list
    for (const Finding& finding : result.findings) gate["rules"].push_back(finding.rule);
    document["gates"].push_back(std::move(gate));
  }
  return document;
}

std::string qa_junit(const Context& context, const QaReport& report) {
  std::string cases;
  std::size_t n_failures = 0;
  double seconds = 0;
  for (const GateResult& result : report.gates) {
    seconds += result.seconds;
    cases += fmt::format("    <testcase classname=\"apr.qa\" name=\"{}\" time=\"{:.3f}\">\n", name_of(result),
                         result.seconds);
    const std::string message = xml(message_of(result));
    if (result.verdict == Verdict::Error) {
      cases += fmt::format("      <error message=\"{}\">{}</error>\n", message, xml(findings_lines(result)));
    } else if (!result.good()) {
      ++n_failures;
      cases += fmt::format("      <failure message=\"{}\">{}</failure>\n", message, xml(findings_lines(result)));
    } else if (result.verdict == Verdict::Skip) {
      cases += fmt::format("      <skipped message=\"{}\"/>\n", message);
    } else {
      cases += fmt::format("      <system-out>{}: {}</system-out>\n", xml(comparisons(result)), message);
    }
    cases += "    </testcase>\n";
  }
  const std::size_t n_skipped =
      static_cast<std::size_t>(std::count_if(report.gates.begin(), report.gates.end(), [](const GateResult& g) {
        return g.verdict == Verdict::Skip && g.good();
      }));
  const std::string counts =
      fmt::format("tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3f}\"", report.gates.size(),
                  n_failures, report.count(Verdict::Error), n_skipped, seconds);
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {}>\n  <testsuite name=\"apr qa {}\" {}>\n{}  "
      "</testsuite>\n</testsuites>\n",
      counts, xml(context.file->path), counts, cases);
}

std::string qa_markdown(const Context& context, const QaReport& report) {
  std::string out =
      fmt::format("## apr qa: {}\n\n**{}**: {}\n\n| Gate | Verdict | Compared | What was found |\n|---|---|---|---|\n",
                  markdown_cell(context.file->path), report.passed() ? "passed" : "failed", tally(report));
  for (const GateResult& result : report.gates)
    out += fmt::format("| {} | {} | {} | {} |\n", name_of(result), qa::name(result.verdict), comparisons(result),
                       markdown_cell(message_of(result)));
  return out;
}

}  // namespace apr::cli
