// Files: a read-only mapping that survives truncation, and an output that appears whole or not at all.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace apr {

/// A regular file mapped read-only.
/// When the file shrinks while mapped, pages past its new end read as zero instead of raising SIGBUS and the mapping is
/// marked; check_intact() then throws. A command calls it after the last read and before it prints a result.
/// Throws NotFound (missing, FIFO, directory, device, unreadable, symlink loop: with the reason) or Io.
class MappedFile {
 public:
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, static_cast<std::size_t>(size_)}; }
  /// Throws Io when the file has become shorter, or was modified, since it was opened.
  void check_intact() const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  int fd_ = -1;
  int slot_ = -1;  // index in the table that the SIGBUS handler reads
  std::int64_t mtime_ns_ = 0;
};

/// Gives the memory of whole pages inside a range of a MappedFile back to the system; reading them again reads the file
/// again. Does nothing for memory that is no MappedFile's.
void release_pages(std::span<const std::byte> bytes) noexcept;

/// Writes PATH.tmp-PID beside PATH and renames it into place on commit(). Without commit(), and on a signal that calls
/// remove_unfinished_outputs(), the temporary file is removed: no half file ever stands under the final name.
/// Throws Io with the system's reason (disk full, permission) and the byte offset reached.
class OutputFile {
 public:
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void write_zeros(std::uint64_t count);
  /// Overwrites bytes already written (a header patched at the end).
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// CRC-32 (IEEE) of every byte written so far, in file order. Flushes and reads the file back.
  [[nodiscard]] std::uint32_t crc32_of_file();
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Flushes and renames into place. Atomic against the process dying, not against the machine losing power (no fsync).
  void commit();

 private:
  void flush();
  std::string path_, temp_path_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t buffered_ = 0;
  std::uint64_t offset_ = 0;
  int fd_ = -1;
  int slot_ = -1;
};

/// Removes the temporary files of every open OutputFile. Async-signal-safe.
void remove_unfinished_outputs() noexcept;

/// Set by the signal handler of the program; long loops poll it through check_interrupted().
extern std::atomic<bool> interrupted;
/// Throws Interrupted when Ctrl-C was pressed.
void check_interrupted();

}  // namespace apr
