#include "src/cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "apr/core/error.h"

namespace apr::cli {
namespace {

constexpr std::size_t kFlushAt = 1U << 20;  // keeps a long stream at a megabyte; every header report stays one write

/// Writes everything, or returns errno.
int write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

}  // namespace

void Output::write(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= kFlushAt) flush();
}

void Output::flush() {
  const int failure = write_all(STDOUT_FILENO, buffer_);
  buffer_.clear();
  if (failure != 0) throw Error(ErrorCode::Io, "cannot write to standard output").got(std::strerror(failure));
}

void write_stderr(std::string_view text) noexcept { static_cast<void>(write_all(STDERR_FILENO, text)); }

}  // namespace apr::cli
