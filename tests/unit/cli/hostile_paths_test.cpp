// Paths that no one should have: what is printed stays one line of text, JSON stays JSON, and the reason is clear.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/support/gguf_builder.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

/// No byte that a terminal acts upon, but for line ends.
bool is_printable(std::string_view text) {
  for (const char c : text)
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F) return false;
  return true;
}

const std::vector<std::string>& odd_names() {
  static const std::vector<std::string> names = {"new\nline.gguf",
                                                 "esc\x1b[2J\x1b]0;title\x07.gguf",
                                                 "invalid\xff\xfe.gguf",
                                                 "-rf",
                                                 "a b.gguf",
                                                 "quote\".gguf",
                                                 "\xE2\x80\xAE.gguf",
                                                 "del\x7f.gguf",
                                                 "cr\rback.gguf"};
  return names;
}

TEST(HostilePaths, AreOpenedAndPrintedEscaped) {
  const TempFolder folder;
  for (const std::string& name : odd_names()) {
    const std::string path = folder.write(name, small_gguf().bytes());
    for (const char* mode : {"--list", "--header", "--raw"}) {
      const RunResult result = apr_command({"hex", mode, "--", path});
      EXPECT_EQ(result.status, 0) << result.all();
      EXPECT_TRUE(is_printable(result.out)) << result.out;
      EXPECT_EQ(result.out.find(name.find('\n') == std::string::npos ? "\x1b" : name), std::string::npos);
    }
  }
}

TEST(HostilePaths, JsonIsWellFormed) {
  const TempFolder folder;
  for (const std::string& name : odd_names()) {
    const std::string path = folder.write(name, small_gguf().bytes());
    const RunResult good = apr_command({"hex", "--json", "--", path});
    EXPECT_EQ(good.status, 0) << good.all();
    EXPECT_TRUE(nlohmann::json::accept(good.out)) << good.out.substr(0, 300);
    const RunResult missing = apr_command({"hex", "--json", "--", path + "x"});
    EXPECT_EQ(missing.status, 3) << missing.all();
    EXPECT_TRUE(nlohmann::json::accept(missing.out)) << missing.out.substr(0, 300);
    EXPECT_TRUE(is_printable(missing.out));
  }
}

TEST(HostilePaths, ErrorsNameThemEscaped) {
  const TempFolder folder;
  for (const std::string& name : odd_names()) {
    const RunResult result = apr_command({"hex", "--", folder.path(name)});
    EXPECT_EQ(result.status, 3) << result.all();
    EXPECT_TRUE(is_printable(result.err)) << result.err;
    EXPECT_THAT(result.err, HasSubstr("No such file"));
  }
}

TEST(HostilePaths, LinksThatLoopAndFoldersThatAreFiles) {
  const TempFolder folder;
  fs::create_symlink(folder.path("b"), folder.path("a"));
  fs::create_symlink(folder.path("a"), folder.path("b"));
  const RunResult loop = apr_command({"hex", folder.path("a")});
  EXPECT_EQ(loop.status, 3);
  EXPECT_THAT(loop.err, HasSubstr("Too many levels of symbolic links"));
  const RunResult below = apr_command({"hex", folder.write("f", "x") + "/model.gguf"});
  EXPECT_EQ(below.status, 3);
  EXPECT_THAT(below.err, HasSubstr("Not a directory"));
}

TEST(HostilePaths, AFifoDoesNotBlock) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo(folder.path("fifo").c_str(), 0600), 0);
  for (const char* mode : {"--list", "--raw"}) {
    const RunResult result = apr_command({"hex", mode, folder.path("fifo")}, {.timeout_s = 20});
    EXPECT_EQ(result.status, 3) << result.all();
    EXPECT_THAT(result.err, HasSubstr("a FIFO"));
  }
}

TEST(HostilePaths, StandardInput) {
  const TempFolder folder;
  const std::string path = folder.write("m.gguf", small_gguf().bytes());
  const auto shell = [](const std::string& script) { return run_command("/bin/sh", {"-c", script}); };
  const std::string apr = "'" + apr_binary() + "'";
  const RunResult redirected = shell(apr + " hex --list /dev/stdin < '" + path + "'");
  EXPECT_EQ(redirected.status, 0) << redirected.all();
  EXPECT_THAT(redirected.out, HasSubstr("Q4_0"));
  const RunResult piped = shell("cat '" + path + "' | " + apr + " hex --list /dev/stdin");
  EXPECT_EQ(piped.status, 3) << piped.all();
  EXPECT_THAT(piped.err, HasSubstr("a FIFO"));
  EXPECT_THAT(piped.err, HasSubstr("< FILE"));
  const RunResult dash = shell("cat '" + path + "' | " + apr + " hex --list -");
  EXPECT_EQ(dash.status, 3) << dash.all();
  EXPECT_THAT(dash.err, HasSubstr("/dev/stdin < FILE"));
}

// The file is cut while apr reads it: no signal, exit 7, and nothing that looks like a result.
TEST(HostilePaths, AFileThatShrinksWhileItIsRead) {
  const TempFolder folder;
  GgufBuilder b;
  b.architecture();
  b.tensor("a", {1 << 22}, kGgmlF32, 4ULL << 22);
  const std::string bytes = b.bytes();
  int n_noticed = 0;
  for (int round = 0; round < 12; ++round) {
    const std::string path = folder.write("m.gguf", bytes);
    const auto cut = [&path, round](pid_t) {
      usleep(static_cast<useconds_t>(3000 + 4000 * round));
      fs::resize_file(path, 4096);
    };
    const RunResult result = apr_command({"diag", path}, {.meanwhile = cut});
    EXPECT_EQ(result.signal, 0) << "round " << round;
    // Cut before it was opened: the bytes are missing (4). While it was read: it became shorter (7). After: fine (0,
    // 5).
    EXPECT_TRUE(result.status == 7 || result.status == 4 || result.status == 0 || result.status == 5) << result.all();
    if (result.status != 7) continue;
    ++n_noticed;
    EXPECT_THAT(result.err,
                AnyOf(HasSubstr("became shorter while it was read"), HasSubstr("changed while it was read")));
    EXPECT_EQ(result.out, "");
  }
  RecordProperty("noticed", n_noticed);
}

}  // namespace
}  // namespace apr::test
