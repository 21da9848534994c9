#include "apr/core/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "apr/core/error.h"
#include "apr/core/hash.h"

namespace apr {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/apr_file_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { fs::remove_all(dir_); }
  std::string make(const std::string& file_name, const std::string& content) const {
    const fs::path path = dir_ / file_name;
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  fs::path dir_;
};

Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return {ErrorCode::Internal, "nothing thrown"};
}

TEST_F(FileTest, MapsARegularFile) {
  const MappedFile file(make("a", "hello"));
  EXPECT_EQ(file.size(), 5U);
  EXPECT_EQ(std::memcmp(file.bytes().data(), "hello", 5), 0);
  EXPECT_NO_THROW(file.check_intact());
}

TEST_F(FileTest, AnEmptyFileIsEmptyAndNoError) {
  const MappedFile file(make("empty", ""));
  EXPECT_TRUE(file.bytes().empty());
}

TEST_F(FileTest, WhatIsNoRegularFileIsRefusedWithItsKind) {
  const std::string fifo = (dir_ / "fifo").string();
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  ASSERT_EQ(symlink("loop", (dir_ / "loop").c_str()), 0);
  const struct {
    std::string path, found;
  } cases[] = {{fifo, "FIFO"}, {dir_.string(), "directory"}, {"/dev/null", "character device"}};
  for (const auto& c : cases) {
    const Error error = error_of([&] { MappedFile file(c.path); });
    EXPECT_EQ(error.code, ErrorCode::NotFound) << c.path;
    EXPECT_NE(error.found.find(c.found), std::string::npos) << error.what();
  }
  for (const std::string& path : {(dir_ / "missing").string(), (dir_ / "loop").string(), std::string()}) {
    EXPECT_EQ(error_of([&] { MappedFile file(path); }).code, ErrorCode::NotFound) << path;
  }
}

TEST_F(FileTest, AnUnreadableFileIsRefused) {
  if (geteuid() == 0) {  // root reads everything: drop the right in a child process
    const std::string path = make("secret", "x");
    chmod(path.c_str(), 0000);
    chmod(dir_.c_str(), 0755);
    EXPECT_EXIT(
        {
          if (setegid(65534) != 0 || seteuid(65534) != 0) std::_Exit(99);
          try {
            MappedFile file(path);
          } catch (const Error& error) {
            std::_Exit(error.code == ErrorCode::NotFound ? 3 : 98);
          }
          std::_Exit(97);
        },
        testing::ExitedWithCode(3), "");
  } else {
    const std::string path = make("secret", "x");
    chmod(path.c_str(), 0000);
    EXPECT_EQ(error_of([&] { MappedFile file(path); }).code, ErrorCode::NotFound);
  }
}

// The pages behind the new end of a shrunken file raise SIGBUS when touched; reading them must give zeros and an error.
TEST_F(FileTest, AFileThatShrinksGivesAnErrorNotSigbus) {
  const std::string path = make("shrinks", std::string(5 * 4096, 'x'));
  const MappedFile file(path);
  ASSERT_EQ(truncate(path.c_str(), 100), 0);
  unsigned sum = 0;
  for (const std::byte b : file.bytes().subspan(4096)) sum += static_cast<unsigned>(b);
  EXPECT_EQ(sum, 0U);
  const Error error = error_of([&] { file.check_intact(); });
  EXPECT_EQ(error.code, ErrorCode::Io);
  EXPECT_EQ(error.offset, 100U);
}

TEST_F(FileTest, AFileThatShrinksAndGrowsBackIsStillAnError) {
  const std::string path = make("regrows", std::string(3 * 4096, 'x'));
  const MappedFile file(path);
  ASSERT_EQ(truncate(path.c_str(), 0), 0);
  const volatile std::byte* last = file.bytes().data() + 2 * 4096;
  EXPECT_EQ(static_cast<std::byte>(*last), std::byte{0});
  ASSERT_EQ(truncate(path.c_str(), 3 * 4096), 0);
  EXPECT_EQ(error_of([&] { file.check_intact(); }).code, ErrorCode::Io);
}

TEST_F(FileTest, ABusErrorElsewhereStillKills) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process of its own, where no handler is installed yet
  EXPECT_EXIT(
      {
        std::signal(SIGBUS, SIG_DFL);  // without this, AddressSanitizer's handler is the one that ours calls
        const MappedFile file(make("handler", "installed"));
        std::raise(SIGBUS);
        std::raise(SIGBUS);  // the first call restored the default action
      },
      testing::KilledBySignal(SIGBUS), "");
}

TEST_F(FileTest, ReleasedPagesReadTheSameAgainAndForeignMemoryIsLeftAlone) {
  const MappedFile file(make("released", std::string(64 * 4096, 'r')));
  unsigned sum = 0;
  for (const std::byte b : file.bytes()) sum += static_cast<unsigned>(b);
  release_pages(file.bytes().subspan(100, 40 * 4096));
  unsigned again = 0;
  for (const std::byte b : file.bytes()) again += static_cast<unsigned>(b);
  EXPECT_EQ(sum, again);
  const std::string heap(64 * 4096, 'h');
  release_pages(std::as_bytes(std::span(heap.data(), heap.size())));
  EXPECT_EQ(heap.find_first_not_of('h'), std::string::npos);
}

TEST_F(FileTest, OutputAppearsOnlyOnCommit) {
  const std::string path = (dir_ / "out").string();
  {
    OutputFile out(path);
    out.write("abc");
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_TRUE(fs::is_empty(dir_)) << "the temporary file was left";
  OutputFile out(path);
  out.write("header--");
  out.write_zeros(5000);
  out.write("tail");
  out.write_at(0, std::as_bytes(std::span("HEAD", 4)));
  const std::uint32_t crc = out.crc32_of_file();
  out.commit();
  const MappedFile file(path);
  EXPECT_EQ(file.size(), 5012U);
  EXPECT_EQ(std::memcmp(file.bytes().data(), "HEADer--", 8), 0);
  EXPECT_EQ(crc, crc32(file.bytes()));
}

TEST_F(FileTest, LargeWritesKeepTheirOrder) {
  const std::string path = (dir_ / "large").string();
  std::string expected;
  OutputFile out(path);
  for (std::size_t n : {10UL, 1UL << 20, 3UL, (3UL << 20) + 7, 5UL}) {
    const std::string part(n, static_cast<char>('a' + n % 26));
    out.write(part);
    expected += part;
  }
  out.commit();
  const MappedFile file(path);
  ASSERT_EQ(file.size(), expected.size());
  EXPECT_EQ(std::memcmp(file.bytes().data(), expected.data(), expected.size()), 0);
}

TEST_F(FileTest, ASizeLimitIsAnIoErrorAndLeavesNothing) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{1 << 20, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const Error error = error_of([&] {
    OutputFile out((dir_ / "big").string());
    for (int i = 0; i < 8; ++i) out.write(std::string(1 << 19, 'x'));
    out.commit();
  });
  setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_EQ(error.code, ErrorCode::Io);
  EXPECT_EQ(error.offset, 1U << 20);
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(FileTest, ASignalHandlerCanRemoveUnfinishedOutput) {
  OutputFile out((dir_ / "unfinished").string());
  out.write("x");
  EXPECT_FALSE(fs::is_empty(dir_));
  remove_unfinished_outputs();
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(FileTest, OutputOntoADirectoryOrDeviceIsRefused) {
  EXPECT_EQ(error_of([&] { OutputFile out(dir_.string()); }).code, ErrorCode::Io);
  EXPECT_EQ(error_of([&] { OutputFile out("/dev/null"); }).code, ErrorCode::Io);
  EXPECT_EQ(error_of([&] { OutputFile out((dir_ / "no" / "such").string()); }).code, ErrorCode::Io);
}

}  // namespace
}  // namespace apr
