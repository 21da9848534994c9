// Standard output, buffered; a write that fails is an error, never silence.
#pragma once
#include <string>
#include <string_view>

namespace apr::cli {

class Output {
 public:
  /// Appends to the buffer; flushes by itself when the buffer has grown large.
  void write(std::string_view text);
  /// Writes the buffer out. Throws Io when standard output is closed, full or a broken pipe.
  void flush();
  /// Drops what was not flushed (an error document replaces it).
  void discard() noexcept { buffer_.clear(); }

 private:
  std::string buffer_;
};

/// Writes to stderr as one piece, ignoring failures: there is no other place to report them.
void write_stderr(std::string_view text) noexcept;

}  // namespace apr::cli
