// The text of every mode of `apr hex` on a small model of each format, compared byte for byte with tests/golden/cli.
// After a wanted change: APR_UPDATE_GOLDEN=1 ctest -R HexGolden (which rewrites the files and fails), then read the
// diff.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/paths.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

struct Case {
  std::string name;
  std::vector<std::string> args;  // run in the folder of the models, so that paths are short and the same everywhere
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string format : {"gguf", "apr", "safetensors"}) {
    const std::string file = "small." + format;
    all.push_back({format + "_summary", {"hex", file}});
    all.push_back({format + "_header", {"hex", file, "--header"}});
    all.push_back({format + "_list", {"hex", file, "--list"}});
    all.push_back({format + "_tensor", {"hex", file, "--tensor", "*", "--limit", "12"}});
    all.push_back({format + "_raw", {"hex", file, "--raw", "--limit", "100"}});
  }
  all.push_back({"apr_header_verified", {"hex", "small.apr", "--header", "--verify"}});
  all.push_back(
      {"gguf_raw_narrow", {"hex", "small.gguf", "--raw", "--offset", "0x3", "--width", "5", "--limit", "12"}});
  all.push_back({"gguf_summary_colour", {"hex", "small.gguf", "--color", "always"}});
  return all;
}

class HexGolden : public testing::TestWithParam<Case> {};

TEST_P(HexGolden, TextIsAsRecorded) {
  const SmallModels models;
  const RunResult result = apr_command(GetParam().args, {.cwd = models.folder.path()});
  ASSERT_EQ(result.status, 0) << result.all();
  const std::string path = test::source_dir() + "/tests/golden/cli/hex_" + GetParam().name + ".txt";
  if (std::getenv("APR_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << result.out;
    FAIL() << "rewrote " << path << ": read the diff";
  }
  EXPECT_EQ(result.out, read_whole(path));
}

INSTANTIATE_TEST_SUITE_P(Modes, HexGolden, testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace apr::test
