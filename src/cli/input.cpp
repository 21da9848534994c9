#include "src/cli/input.h"

#include <fmt/format.h>
#include <unistd.h>

#include "apr/core/error.h"
#include "apr/core/file.h"

namespace apr::cli {
namespace {

Error too_long(std::size_t max_bytes) {
  return Error(ErrorCode::Usage, "the text is too long").want(fmt::format("at most {} bytes", max_bytes));
}

}  // namespace

std::string read_stdin(std::size_t max_bytes) {
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n < 0) {
      check_interrupted();
      throw Error(ErrorCode::Io, "standard input cannot be read");
    }
    if (n == 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > max_bytes) throw too_long(max_bytes).in("standard input").got("more");
  }
}

std::string read_text_file(const std::string& path, std::size_t max_bytes) {
  const MappedFile file(path);
  if (file.size() > max_bytes) throw too_long(max_bytes).at(path).got(fmt::format("{}", file.size()));
  std::string text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  file.check_intact();
  return text;
}

}  // namespace apr::cli
