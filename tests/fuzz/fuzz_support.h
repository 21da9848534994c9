// Shared by the fuzz targets: bytes as a file that can be opened by name, and a look at everything that was read.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "apr/core/error.h"
#include "apr/format/model_file.h"

namespace apr::fuzz {

/// A file in memory with a name in /proc, so that the readers map it as they map any other.
class MemoryFile {
 public:
  MemoryFile();
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  void fill(std::span<const std::uint8_t> bytes);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  int fd_;
  std::string path_;
};

/// Aborts with the text: a broken promise that is no memory error.
[[noreturn]] void broken(const std::string& promise);

/// Opens, and aborts when a promise of open_model() does not hold: an error that is not InvalidFormat, a report
/// without file or with a place outside of it, a readable tensor that cannot be read, a region outside of its file.
[[nodiscard]] std::optional<format::ModelFile> open_and_check(const std::string& path);

}  // namespace apr::fuzz
