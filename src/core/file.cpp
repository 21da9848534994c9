#include "apr/core/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>

#include "apr/core/checked.h"
#include "apr/core/error.h"
#include "apr/core/hash.h"

namespace apr {

std::atomic<bool> interrupted{false};

void check_interrupted() {
  if (interrupted.load(std::memory_order_relaxed)) throw Error(ErrorCode::Interrupted, "interrupted");
}

namespace {

// ---- mappings that the SIGBUS handler knows. Fixed size: a signal handler may not allocate. ----

struct Mapping {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> used{false};
  std::atomic<bool> truncated{false};
};
constexpr std::size_t kMaxMappings = 4096;  // shards of one model plus a second model to compare with
std::array<Mapping, kMaxMappings> mappings;
std::uintptr_t page_size = 4096;
struct sigaction previous_sigbus;

/// A read past the end of a file that shrank: put a zero page there, note it, and let the read go on.
void on_sigbus(int signal_number, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (Mapping& m : mappings) {
    if (!m.used.load(std::memory_order_acquire)) continue;
    if (address < m.begin.load(std::memory_order_relaxed) || address >= m.end.load(std::memory_order_relaxed)) continue;
    void* page = reinterpret_cast<void*>(address & ~(page_size - 1));
    const int saved_errno = errno;
    void* zeros = mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = saved_errno;
    if (zeros == MAP_FAILED) break;
    m.truncated.store(true, std::memory_order_relaxed);
    return;
  }
  if ((previous_sigbus.sa_flags & SA_SIGINFO) != 0 && previous_sigbus.sa_sigaction != nullptr)
    return previous_sigbus.sa_sigaction(signal_number, info, context);
  ::signal(SIGBUS, SIG_DFL);  // not ours: die as without the handler when the instruction is run again
}

void install_sigbus_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    page_size = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    struct sigaction action {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_sigbus);
  });
}

int claim_mapping(std::uintptr_t begin, std::uintptr_t length) {
  for (std::size_t i = 0; i < kMaxMappings; ++i) {
    bool expected = false;
    if (!mappings[i].used.compare_exchange_strong(expected, true)) continue;
    mappings[i].truncated = false;
    mappings[i].begin = begin;
    mappings[i].end = begin + length;
    return static_cast<int>(i);
  }
  return -1;
}

void release_mapping(int slot) {
  if (slot < 0) return;
  Mapping& m = mappings[static_cast<std::size_t>(slot)];
  m.begin = 0;
  m.end = 0;
  m.used.store(false, std::memory_order_release);
}

std::int64_t mtime_ns(const struct stat& status) {
  return static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO (named pipe)";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  if (S_ISSOCK(mode)) return "a socket";
  return "a special file";
}

constexpr const char* kNoPipe = "a pipe cannot be read at any place: save it, or redirect a file (/dev/stdin < FILE)";

Error not_found(const std::string& path, int error) {
  Error failure(ErrorCode::NotFound, fmt::format("cannot open the file: {}", std::strerror(error)));
  failure.file = path;
  if (path == "-") failure.hint = kNoPipe;
  return failure;
}

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  if (path_.empty()) throw Error(ErrorCode::NotFound, "the path is empty");
  if (path_.find('\0') != std::string::npos) throw Error(ErrorCode::NotFound, "the path holds a NUL byte").at(path_);
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) throw not_found(path_, errno);
  try {
    struct stat status {};
    if (fstat(fd_, &status) != 0) throw Error(ErrorCode::Io, std::strerror(errno)).at(path_);
    if (!S_ISREG(status.st_mode))
      throw Error(ErrorCode::NotFound, "not a regular file")
          .at(path_)
          .want("a regular file")
          .got(kind_of(status.st_mode))
          .help(S_ISFIFO(status.st_mode) ? kNoPipe : "");
    size_ = static_cast<std::uint64_t>(status.st_size);
    mtime_ns_ = mtime_ns(status);
    if (size_ == 0) return;
    install_sigbus_handler();
    void* address = mmap(nullptr, static_cast<std::size_t>(size_), PROT_READ, MAP_PRIVATE, fd_, 0);
    if (address == MAP_FAILED)
      throw Error(ErrorCode::Io, fmt::format("cannot map the file: {}", std::strerror(errno))).at(path_);
    data_ = static_cast<const std::byte*>(address);
    const auto length = checked_align(size_, page_size).value_or(size_);
    slot_ = claim_mapping(reinterpret_cast<std::uintptr_t>(address), static_cast<std::uintptr_t>(length));
    if (slot_ < 0) {
      munmap(address, static_cast<std::size_t>(size_));
      throw Error(ErrorCode::Io, fmt::format("more than {} files are open at once", kMaxMappings)).at(path_);
    }
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

namespace {

constexpr std::size_t kLargeMapping = 64U << 20;

/// Unmapping walks over every page that was read, and shuts all others out: 15 of the 56 ms that reading 800 MB takes.
/// Here two threads give the pages of a half each back before.
void drop_pages(std::byte* data, std::size_t size) noexcept {
  const std::size_t half = size / 2 / page_size * page_size;
  try {
    const std::jthread other([=] { madvise(data + half, size - half, MADV_DONTNEED); });
    madvise(data, half, MADV_DONTNEED);
  } catch (const std::system_error&) {  // no thread: munmap does it all
  }
}

}  // namespace

MappedFile::~MappedFile() {
  // The slot is released after the unmapping would let another thread reuse the addresses: so before it.
  release_mapping(slot_);
  if (data_ != nullptr) {
    auto* data = const_cast<std::byte*>(data_);
    if (size_ >= kLargeMapping) drop_pages(data, static_cast<std::size_t>(size_));
    munmap(data, static_cast<std::size_t>(size_));
  }
  if (fd_ >= 0) ::close(fd_);
}

void MappedFile::check_intact() const {
  struct stat status {};
  if (fstat(fd_, &status) != 0) throw Error(ErrorCode::Io, std::strerror(errno)).at(path_);
  const auto now = static_cast<std::uint64_t>(status.st_size);
  const bool cut = slot_ >= 0 && mappings[static_cast<std::size_t>(slot_)].truncated.load();
  if (now < size_ || cut)
    throw Error(ErrorCode::Io, "the file became shorter while it was read")
        .at(path_, now)
        .want(fmt::format("{} bytes", size_))
        .got(fmt::format("{} bytes", now))
        .help("read it again when whatever writes it has finished");
  if (now != size_ || mtime_ns(status) != mtime_ns_)
    throw Error(ErrorCode::Io, "the file changed while it was read")
        .at(path_)
        .help("read it again when whatever writes it has finished");
}

void release_pages(std::span<const std::byte> bytes) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  const auto end = begin + bytes.size();
  for (const Mapping& m : mappings) {
    if (!m.used.load(std::memory_order_acquire) || begin < m.begin.load() || end > m.end.load()) continue;
    const std::uintptr_t first = (begin + page_size - 1) & ~(page_size - 1), last = end & ~(page_size - 1);
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
    return;
  }
}

// ---- output ----

namespace {

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::size_t kMaxOutputs = 64;
struct Unfinished {
  std::atomic<bool> used{false};
  std::array<char, 4096> path{};
};
std::array<Unfinished, kMaxOutputs> unfinished;

int claim_output(const std::string& path) {
  if (path.size() >= sizeof(Unfinished::path)) return -1;
  for (std::size_t i = 0; i < kMaxOutputs; ++i) {
    if (unfinished[i].used.load()) continue;
    std::memcpy(unfinished[i].path.data(), path.c_str(), path.size() + 1);
    unfinished[i].used.store(true);
    return static_cast<int>(i);
  }
  return -1;
}

std::mutex claim_mutex;

[[noreturn]] void write_failed(const std::string& path, std::uint64_t offset, int error) {
  Error failure(ErrorCode::Io, fmt::format("cannot write: {}", std::strerror(error)));
  failure.file = path;
  failure.offset = offset;
  if (error == ENOSPC || error == EDQUOT) failure.hint = "free some space; nothing was left under the final name";
  throw failure;
}

}  // namespace

void remove_unfinished_outputs() noexcept {
  for (Unfinished& entry : unfinished)
    if (entry.used.load()) ::unlink(entry.path.data());
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    throw Error(ErrorCode::Io, "cannot write here")
        .at(path_)
        .want("a regular file or a new name")
        .got(kind_of(status.st_mode));
  temp_path_ = fmt::format("{}.tmp-{}", path_, ::getpid());
  buffer_ = std::make_unique<std::byte[]>(kBufferBytes);
  fd_ = ::open(temp_path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0)
    throw Error(ErrorCode::Io, fmt::format("cannot create the file: {}", std::strerror(errno))).at(temp_path_);
  const std::lock_guard lock(claim_mutex);
  slot_ = claim_output(temp_path_);
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temp_path_.c_str());
  if (slot_ >= 0) unfinished[static_cast<std::size_t>(slot_)].used = false;
}

namespace {
void write_all(int fd, std::span<const std::byte> bytes, std::uint64_t at, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) write_failed(path, at, n < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
}
}  // namespace

void OutputFile::flush() {
  const std::size_t n = buffered_;
  buffered_ = 0;
  write_all(fd_, {buffer_.get(), n}, offset_ - n, path_);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  APR_CHECK(fd_ >= 0);
  if (bytes.size() > kBufferBytes - buffered_) flush();
  if (bytes.size() > kBufferBytes) {
    write_all(fd_, bytes, offset_, path_);
  } else if (!bytes.empty()) {  // memcpy takes no null pointer, not even for nothing
    std::memcpy(buffer_.get() + buffered_, bytes.data(), bytes.size());
    buffered_ += bytes.size();
  }
  offset_ += bytes.size();
}

void OutputFile::write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

void OutputFile::write_zeros(std::uint64_t count) {
  static constexpr std::array<std::byte, 4096> zeros{};
  for (; count > 0; count -= std::min<std::uint64_t>(count, zeros.size()))
    write(std::span(zeros).first(static_cast<std::size_t>(std::min<std::uint64_t>(count, zeros.size()))));
}

void OutputFile::write_at(std::uint64_t at, std::span<const std::byte> bytes) {
  APR_CHECK(fd_ >= 0 && range_fits(at, bytes.size(), offset_));
  flush();
  write_all(fd_, bytes, at, path_);
}

std::uint32_t OutputFile::crc32_of_file() {
  flush();
  std::uint32_t crc = 0;
  for (std::uint64_t at = 0; at < offset_;) {
    const ssize_t n = ::pread(fd_, buffer_.get(), kBufferBytes, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      throw Error(ErrorCode::Io, fmt::format("cannot read back: {}", n < 0 ? std::strerror(errno) : "file ended"))
          .at(temp_path_, at);
    crc = crc32({buffer_.get(), static_cast<std::size_t>(n)}, crc);
    at += static_cast<std::uint64_t>(n);
  }
  return crc;
}

void OutputFile::commit() {
  flush();
  if (::close(fd_) != 0) {
    const int error = errno;
    ::unlink(temp_path_.c_str());
    fd_ = -1;
    write_failed(path_, offset_, error);
  }
  fd_ = -1;
  const int renamed = ::rename(temp_path_.c_str(), path_.c_str());
  const int error = errno;
  if (renamed != 0) ::unlink(temp_path_.c_str());
  if (slot_ >= 0) unfinished[static_cast<std::size_t>(slot_)].used = false;
  if (renamed != 0)
    throw Error(ErrorCode::Io, fmt::format("cannot rename into place: {}", std::strerror(error))).at(path_);
}

}  // namespace apr
