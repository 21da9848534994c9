// Opens a model that a test made from bytes, and asks what was found wrong with it.
#pragma once
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "apr/core/error.h"
#include "apr/format/model_file.h"
#include "tests/support/json_builder.h"

namespace apr::test {

/// What became of an attempt to open: a model, or the failure.
struct Opened {
  std::optional<format::ModelFile> model;
  std::optional<Error> error;
  [[nodiscard]] const Finding* find(std::string_view rule) const {
    if (model)
      for (const Finding& finding : model->findings)
        if (finding.rule == rule) return &finding;
    return nullptr;
  }
  /// Rules and messages of everything found, for the output of a failing test.
  [[nodiscard]] std::string all() const {
    if (error) return std::string("thrown: ") + error->what();
    std::string text;
    for (const Finding& f : model->findings)
      text += "\n  " + std::string(name(f.severity)) + " " + f.rule + ": " + to_error(f).what();
    return text.empty() ? "no finding" : text;
  }
};

inline Opened open_path(const std::string& path, const format::OpenOptions& options = {}) {
  Opened result;
  try {
    result.model = format::open_model(path, options);
  } catch (const Error& failure) {
    result.error = failure;
  }
  return result;
}

inline Opened open_bytes(const std::string& bytes, const format::OpenOptions& options = {}) {
  const TempFolder folder;  // the mapping outlives the name
  return open_path(folder.write("model.bin", bytes), options);
}

/// A finding of that rule and severity with its place. Expected and found must say something, too.
inline testing::AssertionResult has_finding(const Opened& opened, Severity severity, std::string_view rule,
                                            std::uint64_t offset, std::string_view field) {
  const Finding* finding = opened.find(rule);
  if (finding == nullptr) return testing::AssertionFailure() << "no finding " << rule << "; there is: " << opened.all();
  if (finding->severity != severity || finding->offset != offset || finding->field != field || finding->file.empty())
    return testing::AssertionFailure() << rule << " should be " << name(severity) << " at " << offset << " in " << field
                                       << "; it is " << name(finding->severity) << ": " << to_error(*finding).what();
  return testing::AssertionSuccess();
}

/// Rejected: at least this error; the model itself may be looked at but is not sound.
inline testing::AssertionResult rejected(const Opened& opened, std::string_view rule, std::uint64_t offset,
                                         std::string_view field) {
  auto result = has_finding(opened, Severity::Error, rule, offset, field);
  if (result && !opened.model->has_errors()) return testing::AssertionFailure() << "has_errors() is false";
  return result;
}
/// Accepted with this warning and without any error.
inline testing::AssertionResult warned(const Opened& opened, std::string_view rule, std::uint64_t offset,
                                       std::string_view field) {
  auto result = has_finding(opened, Severity::Warning, rule, offset, field);
  if (result && opened.model->has_errors()) return testing::AssertionFailure() << "there is an error: " << opened.all();
  return result;
}
/// Accepted, and nothing worth a word.
inline testing::AssertionResult clean(const Opened& opened) {
  if (opened.error || !opened.model->findings.empty()) return testing::AssertionFailure() << opened.all();
  return testing::AssertionSuccess();
}

}  // namespace apr::test
