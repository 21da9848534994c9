// What the fuzz targets found, one test a find.
#include <gtest/gtest.h>

#include "apr/model/tokenizer.h"
#include "tests/support/json_builder.h"

namespace apr::test {
namespace {

// nlohmann_json throws another exception for a number beyond a double than for text that is no JSON.
TEST(FuzzFinds, ANumberBeyondADoubleInTokenizerJson) {
  const TempFolder folder;
  const std::string path = folder.write("tokenizer.json", R"({"added_tokens":[{"id":1e3008}]})");
  try {
    (void)model::Tokenizer::from_json_file(path);
    FAIL() << "was loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::ModelLoad);
    EXPECT_EQ(error.file, path);
    EXPECT_NE(error.found.find("1e3008"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace apr::test
