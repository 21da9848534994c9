#include "apr/core/error.h"

#include <fmt/format.h>

namespace apr {

int exit_status(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::Internal: return 1;
    case ErrorCode::Usage: return 2;
    case ErrorCode::NotFound: return 3;
    case ErrorCode::InvalidFormat: return 4;
    case ErrorCode::ValidationFailed: return 5;
    case ErrorCode::ModelLoad: return 6;
    case ErrorCode::Io: return 7;
    case ErrorCode::Inference: return 8;
    case ErrorCode::Unsupported: return 9;
    case ErrorCode::Network: return 10;
    case ErrorCode::Interrupted: return 130;
  }
  return 1;
}

std::string_view name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::Internal: return "internal";
    case ErrorCode::Usage: return "usage";
    case ErrorCode::NotFound: return "not_found";
    case ErrorCode::InvalidFormat: return "invalid_format";
    case ErrorCode::ValidationFailed: return "validation_failed";
    case ErrorCode::ModelLoad: return "model_load";
    case ErrorCode::Io: return "io";
    case ErrorCode::Inference: return "inference";
    case ErrorCode::Unsupported: return "unsupported";
    case ErrorCode::Network: return "network";
    case ErrorCode::Interrupted: return "interrupted";
  }
  return "internal";
}

std::string_view name(Severity severity) noexcept {
  switch (severity) {
    case Severity::Info: return "info";
    case Severity::Warning: return "warning";
    case Severity::Error: return "error";
  }
  return "error";
}

Error&& Error::at(std::string_view path) && {
  file = path;
  return std::move(*this);
}
Error&& Error::at(std::string_view path, std::uint64_t byte_offset) && {
  file = path;
  offset = byte_offset;
  return std::move(*this);
}
Error&& Error::in(std::string field_name) && {
  field = std::move(field_name);
  return std::move(*this);
}
Error&& Error::want(std::string text) && {
  expected = std::move(text);
  return std::move(*this);
}
Error&& Error::got(std::string text) && {
  found = std::move(text);
  return std::move(*this);
}
Error&& Error::help(std::string text) && {
  hint = std::move(text);
  return std::move(*this);
}

const char* Error::what() const noexcept {
  try {
    std::string line;
    if (!file.empty()) line += file + ": ";
    if (offset) line += fmt::format("offset {} (0x{:x}): ", *offset, *offset);
    if (!field.empty()) line += field + ": ";
    line += message;
    if (!expected.empty()) line += "; expected " + expected;
    if (!found.empty()) line += "; found " + found;
    if (!hint.empty()) line += " (" + hint + ")";
    what_ = std::move(line);
    return what_.c_str();
  } catch (...) {
    return message.c_str();
  }
}

Error to_error(const Finding& finding, ErrorCode code) {
  Error error(code, finding.message);
  error.file = finding.file;
  error.offset = finding.offset;
  error.field = finding.field;
  error.expected = finding.expected;
  error.found = finding.found;
  error.hint = finding.hint;
  return error;
}

void check_failed(const char* condition, const char* file, int line) {
  throw Error(ErrorCode::Internal, fmt::format("broken assumption: {} ({}:{})", condition, file, line))
      .help("this is a bug in apr; please report it with the command line");
}

}  // namespace apr
