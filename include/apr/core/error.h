// The one exception type of apr. Thrown where work must stop; caught in main, at a thread's entry and per HTTP request.
#pragma once
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

namespace apr {

/// What went wrong, as a class of failure. Each code has one process exit status (exit_status()).
enum class ErrorCode {
  Internal,          // 1: a bug in apr
  Usage,             // 2: the command line is wrong
  NotFound,          // 3: no such file, or not a regular readable file
  InvalidFormat,     // 4: the bytes break the rules of their format
  ValidationFailed,  // 5: a gate failed, or there was nothing to compare
  ModelLoad,         // 6: a sound file that cannot be loaded as a model
  Io,                // 7: reading or writing failed
  Inference,         // 8: running the model failed
  Unsupported,       // 9: not in this build, or not on this machine
  Network,           // 10: a transfer failed
  Interrupted,       // 130: Ctrl-C
};

/// Process exit status of a failure class.
[[nodiscard]] int exit_status(ErrorCode code) noexcept;
/// Stable snake_case name of a code, as it stands in JSON.
[[nodiscard]] std::string_view name(ErrorCode code) noexcept;

/// A failure with its place in the file. Build it fluently:
///   throw Error(ErrorCode::InvalidFormat, "string runs past the end of the file")
///       .at(path, offset).in("metadata[3].key.length").want("at most 120 bytes").got("4294967295");
class Error : public std::exception {
 public:
  Error(ErrorCode failure, std::string text) : code(failure), message(std::move(text)) {}

  ErrorCode code;
  std::string message;                  // the rule that was broken, one line
  std::string file;                     // path, empty when no file is concerned
  std::optional<std::uint64_t> offset;  // byte offset in `file`
  std::string field;                    // e.g. "tensor[12].offset"
  std::string expected;
  std::string found;
  std::string hint;  // what the user can do

  Error&& at(std::string_view path) &&;
  Error&& at(std::string_view path, std::uint64_t byte_offset) &&;
  Error&& in(std::string field_name) &&;
  Error&& want(std::string text) &&;
  Error&& got(std::string text) &&;
  Error&& help(std::string text) &&;

  /// One line with every part that is set; unescaped (the printer escapes).
  [[nodiscard]] const char* what() const noexcept override;

 private:
  mutable std::string what_;
};

enum class Severity { Info, Warning, Error };
[[nodiscard]] std::string_view name(Severity severity) noexcept;

/// Something noteworthy or wrong in a file. A value, not a failure: readers collect findings and go on where that is
/// safe.
struct Finding {
  std::string rule;  // stable id, e.g. "gguf.tensor.offset.aligned"
  Severity severity = Severity::Error;
  std::string message;                  // one line
  std::optional<std::uint64_t> offset;  // byte offset in `file`
  std::string file;
  std::string field;
  std::string tensor;
  std::string expected;
  std::string found;
  std::string hint;
};

/// The failure that a finding of severity Error becomes when the caller needs a sound file.
[[nodiscard]] Error to_error(const Finding& finding, ErrorCode code = ErrorCode::InvalidFormat);

/// For programmer errors only; unreachable from any input. Throws ErrorCode::Internal.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
#define APR_CHECK(condition)                                               \
  do {                                                                     \
    if (!(condition)) ::apr::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)

}  // namespace apr
