// Runs apr as a user does.
#pragma once
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/json_builder.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/small_models.h"

namespace apr::test {

inline RunResult apr_command(const std::vector<std::string>& args, const RunOptions& options = {}) {
  return run_command(apr_binary(), args, options);
}

/// Runs with --json: all of stdout must be one document with the members that every document has.
inline nlohmann::json apr_json(std::vector<std::string> args, int status, const RunOptions& options = {}) {
  args.push_back("--json");
  const RunResult result = apr_command(args, options);
  EXPECT_EQ(result.status, status) << result.all();
  EXPECT_EQ(result.err, "") << "a JSON document goes alone";
  const auto document = nlohmann::json::parse(result.out, nullptr, false);
  EXPECT_FALSE(document.is_discarded()) << result.all();
  for (const char* member : {"schema", "tool", "version", "command", "file", "status", "findings"})
    EXPECT_TRUE(document.contains(member)) << member << " is missing: " << result.out.substr(0, 400);
  if (document.contains("file") && document["file"].is_object())
    for (const char* member : {"path", "size_bytes", "format"})
      EXPECT_TRUE(document["file"].contains(member)) << member;
  EXPECT_EQ(document.value("tool", ""), "apr");
  return document;
}

/// A suite that runs commands on one tiny model with drawn weights.
class TinyModelSuite : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    const RunResult made = apr_command({"synth", model(), "--preset", "tiny", "--quant", "q8_0", "--seed", "1"});
    ASSERT_EQ(made.status, 0) << made.all();
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string model() { return folder_->path("tiny.gguf"); }
  static inline TempFolder* folder_ = nullptr;
};

/// The three small models in a folder of their own.
struct SmallModels {
  TempFolder folder;
  std::string gguf = folder.path("small.gguf");
  std::string apr = folder.path("small.apr");
  std::string safetensors = folder.path("small.safetensors");
  SmallModels() {
    write_small_model(format::Format::Gguf, gguf);
    write_small_model(format::Format::Apr, apr);
    write_small_model(format::Format::SafeTensors, safetensors);
  }
};

}  // namespace apr::test
