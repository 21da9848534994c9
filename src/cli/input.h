// Text that a command takes from a file or from standard input.
#pragma once
#include <cstddef>
#include <string>

namespace apr::cli {

/// All of standard input. Throws Usage for more than `max_bytes`, Io when it cannot be read, Interrupted on Ctrl-C.
[[nodiscard]] std::string read_stdin(std::size_t max_bytes);
/// All of a file. Throws Usage for more than `max_bytes`, NotFound for what is no readable file.
[[nodiscard]] std::string read_text_file(const std::string& path, std::size_t max_bytes);

}  // namespace apr::cli
