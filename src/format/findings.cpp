#include <fmt/format.h>

#include <algorithm>

#include "src/format/readers.h"

namespace apr::format {

FindingBuilder& FindingBuilder::at(std::uint64_t offset) {
  if (finding_ != nullptr) finding_->offset = offset;
  return *this;
}
FindingBuilder& FindingBuilder::in(std::string field) {
  if (finding_ != nullptr) finding_->field = std::move(field);
  return *this;
}
FindingBuilder& FindingBuilder::tensor(std::string_view name) {
  if (finding_ != nullptr) finding_->tensor = name;
  return *this;
}
FindingBuilder& FindingBuilder::want(std::string text) {
  if (finding_ != nullptr) finding_->expected = std::move(text);
  return *this;
}
FindingBuilder& FindingBuilder::got(std::string text) {
  if (finding_ != nullptr) finding_->found = std::move(text);
  return *this;
}
FindingBuilder& FindingBuilder::help(std::string text) {
  if (finding_ != nullptr) finding_->hint = std::move(text);
  return *this;
}
FindingBuilder& FindingBuilder::file(std::string_view path) {
  if (finding_ != nullptr) finding_->file = path;
  return *this;
}

FindingBuilder Findings::add(Severity severity, std::string_view rule, std::string_view message) {
  if (severity == Severity::Error) has_errors_ = true;
  Count& count = counts_[std::string(rule)];
  count.severity = std::max(count.severity, severity);
  if (++count.n > kMaxPerRule) return FindingBuilder(nullptr);
  Finding& finding = findings_.emplace_back();
  finding.rule = rule;
  finding.severity = severity;
  finding.message = message;
  finding.file = file_;
  return FindingBuilder(&finding);
}

std::vector<Finding> Findings::take() {
  std::vector<std::string> capped;
  for (const auto& [rule, count] : counts_)
    if (count.n > kMaxPerRule) capped.push_back(rule);
  std::sort(capped.begin(), capped.end());
  for (const std::string& rule : capped) {
    const Count& count = counts_[rule];
    Finding& finding = findings_.emplace_back();
    finding.rule = rule;
    finding.severity = count.severity;
    finding.message = fmt::format("{} more findings of this rule, not shown", count.n - kMaxPerRule);
    finding.file = file_;
  }
  counts_.clear();
  return std::move(findings_);
}

}  // namespace apr::format
