// apr qa through the real binary: exit status, text, JSON, JUnit, Markdown, choices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apr/core/error.h"
#include "tests/support/bigram_model.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using format::WriteValue;
using testing::HasSubstr;
using testing::Not;

class QaCommandTest : public testing::Test {
 protected:
  TempFolder folder_;
  BigramModel model_;
  std::string path_ = folder_.path("model.gguf");
  void write() { model_.write(path_); }
  static nlohmann::json gate(const nlohmann::json& document, const std::string& name) {
    for (const auto& g : document["gates"])
      if (g["name"] == name) return g;
    ADD_FAILURE() << "no gate " << name;
    return {};
  }
};

TEST_F(QaCommandTest, AHealthyModelPasses) {
  write();
  const RunResult text = apr_command({"qa", path_});
  EXPECT_EQ(text.status, 0) << text.all();
  for (const char* name : {"container", "architecture", "tensors", "values", "tokenizer", "template", "load",
                           "determinism", "golden", "throughput"})
    EXPECT_THAT(text.out, HasSubstr(std::string("  ") + name + " "));
  EXPECT_THAT(text.out, HasSubstr("PASSED  9 pass, 1 skip"));
  const auto document = apr_json({"qa", path_, "--assert-tps", "0.001"}, 0);
  EXPECT_EQ(document["schema"], "apr.qa/1");
  EXPECT_EQ(document["passed"], true);
  EXPECT_EQ(document["counts"]["pass"], 10);
  EXPECT_EQ(document["gates"].size(), 10U);
  for (const auto& g : document["gates"]) {
    EXPECT_EQ(g["verdict"], "pass") << g.dump();
    EXPECT_GT(g["compared"].get<std::uint64_t>(), 0U) << g.dump();
  }
}

TEST_F(QaCommandTest, AFailureExitsWithFiveAndNamesThePlace) {
  model_.tensor("blk.0.attn_k.weight").values[40] = NAN;
  write();
  const RunResult text = apr_command({"qa", path_, "--only", "values"});
  EXPECT_EQ(text.status, 5) << text.all();
  EXPECT_THAT(text.out, HasSubstr("FAILED"));
  EXPECT_THAT(text.out, HasSubstr("blk.0.attn_k.weight"));
  const auto document = apr_json({"qa", path_, "--only", "values"}, 5);
  EXPECT_EQ(document["passed"], false);
  EXPECT_EQ(document["status"], "error");
  EXPECT_EQ(gate(document, "values")["verdict"], "fail");
  EXPECT_EQ(gate(document, "tensors")["verdict"], "skip");
  ASSERT_FALSE(document["findings"].empty());
  EXPECT_EQ(document["findings"][0]["rule"], "qa.values.nan");
  EXPECT_EQ(document["findings"][0]["tensor"], "blk.0.attn_k.weight");
  EXPECT_EQ(document["findings"][0]["field"], "block[40]");
  EXPECT_TRUE(document["findings"][0]["offset"].is_number());
}

TEST_F(QaCommandTest, ExitStatusOfWhatIsNoModel) {
  EXPECT_EQ(apr_command({"qa", folder_.path("missing.gguf")}).status, 3);
  folder_.write("model.gguf", "no model at all");
  const auto document = apr_json({"qa", path_}, 5);
  EXPECT_EQ(gate(document, "container")["verdict"], "fail");
  EXPECT_EQ(document["counts"]["skip"], 9);
}

TEST_F(QaCommandTest, NothingJudgedIsNoSuccess) {
  write();
  EXPECT_EQ(apr_command({"qa", path_, "--only", "throughput"}).status, 5);
  model_.drop("tokenizer.chat_template");
  write();
  EXPECT_EQ(apr_command({"qa", path_, "--only", "container", "--only", "template"}).status, 0);
  EXPECT_EQ(apr_command({"qa", path_, "--only", "container", "--only", "template", "--require", "template"}).status, 5);
}

TEST_F(QaCommandTest, UnknownGatesAndBadThresholdsAreRefused) {
  write();
  for (const char* option : {"--only", "--skip", "--require"}) {
    const RunResult result = apr_command({"qa", path_, option, "value"});
    EXPECT_EQ(result.status, 2) << result.all();
    EXPECT_THAT(result.err, HasSubstr("did you mean values?"));
  }
  for (const char* bad : {"nan", "-1", "0", "inf", "fast"})
    EXPECT_EQ(apr_command({"qa", path_, "--assert-tps", bad}).status, 2) << bad;
  EXPECT_EQ(apr_command({"qa", path_, "--only", "throughput", "--assert-tps", "1e8"}).status, 5);
}

TEST_F(QaCommandTest, WritesJUnitAndMarkdown) {
  model_.tensor("blk.0.attn_k.weight").values[40] = NAN;
  write();
  const std::string xml = folder_.path("qa.xml"), markdown = folder_.path("qa.md");
  EXPECT_EQ(
      apr_command({"qa", path_, "--only", "values", "--only", "container", "--junit", xml, "--markdown", markdown})
          .status,
      5);
  const std::string report = read_whole(xml);
  EXPECT_THAT(report, HasSubstr("tests=\"10\" failures=\"1\" errors=\"0\" skipped=\"8\""));
  EXPECT_THAT(report, HasSubstr("<testcase classname=\"apr.qa\" name=\"values\""));
  EXPECT_THAT(report, HasSubstr("<failure message=\"the tensor holds NaN: blk.0.attn_k.weight\">"));
  EXPECT_THAT(report, HasSubstr("<skipped message="));
  EXPECT_EQ(report.find_first_of(std::string("\x1b\0", 2)), std::string::npos);
  EXPECT_THAT(read_whole(markdown), HasSubstr("| values | fail |"));
  EXPECT_EQ(apr_command({"qa", path_, "--only", "container", "--junit", folder_.path("no/such/qa.xml")}).status, 7);
}

TEST_F(QaCommandTest, ARequiredSkipIsAFailureInJUnit) {
  model_.drop("tokenizer.chat_template");
  write();
  const std::string xml = folder_.path("qa.xml");
  EXPECT_EQ(
      apr_command({"qa", path_, "--only", "container", "--only", "template", "--require", "template", "--junit", xml})
          .status,
      5);
  EXPECT_THAT(read_whole(xml), HasSubstr("<failure message=\"required, and skipped: "));
}

TEST_F(QaCommandTest, ExactAndThreadsAreUsed) {
  write();
  EXPECT_EQ(apr_json({"qa", path_, "--only", "load", "--exact"}, 0)["executor"], "exact");
  const auto message =
      gate(apr_json({"qa", path_, "--only", "determinism", "--threads", "3"}, 0), "determinism")["message"];
  EXPECT_THAT(message.get<std::string>(), HasSubstr("1 instead of 3 threads"));
  const auto load = gate(apr_json({"qa", path_, "--only", "load", "--ctx", "64"}, 0), "load")["message"];
  EXPECT_THAT(load.get<std::string>(), HasSubstr("64 tokens"));
  EXPECT_THAT(load.get<std::string>(), HasSubstr("in F16 for"));
}

TEST_F(QaCommandTest, TheTypeOfTheCacheIsJudged) {
  write();
  const auto document = apr_json({"qa", path_, "--kv-type", "q8_0", "--skip", "throughput"}, 0);
  EXPECT_THAT(gate(document, "load")["message"].get<std::string>(), HasSubstr("in Q8_0 for"));
  EXPECT_EQ(gate(document, "golden")["verdict"], "pass");
  EXPECT_EQ(apr_command({"qa", path_, "--kv-type", "q8_0", "--exact"}).status, 2);
  EXPECT_EQ(apr_command({"qa", path_, "--kv-type", "q4_0"}).status, 2);
}

}  // namespace
}  // namespace apr::test
