// apr tokenize, by running the real binary on a synthetic model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Tokenize : public TinyModelSuite {};

TEST_F(Tokenize, IdsAndBackAreTheSameBytes) {
  const std::string text = "The cat sat.\n\ttwo  spaces, 123 numbers; naïve 漢字 \xF0\x9F\x98\x80 <|end";
  const std::string file = folder_->write("text.txt", text);
  const RunResult ids = apr_command({"tokenize", model(), "-f", file, "--ids", "--no-add-special"});
  EXPECT_EQ(ids.status, 0) << ids.all();
  const std::string ids_file = folder_->write("ids.txt", ids.out);
  const RunResult back = apr_command({"tokenize", model(), "--decode", "-f", ids_file});
  EXPECT_EQ(back.status, 0) << back.all();
  EXPECT_EQ(back.out, text) << "no byte more, no line end";
}

TEST_F(Tokenize, TextAndJsonHoldTheSame) {
  const auto document = apr_json({"tokenize", model(), "the cat"}, 0);
  EXPECT_EQ(document["schema"], "apr.tokenize/1");
  EXPECT_EQ(document["mode"], "encode");
  EXPECT_EQ(document["text_bytes"], 7);
  EXPECT_EQ(document["tokenizer"]["kind"], "bpe");
  EXPECT_EQ(document["tokenizer"]["adds_bos"], true);
  ASSERT_EQ(document["tokens"].size(), document["ids"].size());
  ASSERT_EQ(document["n_tokens"], document["ids"].size());
  ASSERT_GE(document["tokens"].size(), 2U);
  EXPECT_EQ(document["tokens"][0]["kind"], "control");
  EXPECT_TRUE(document["tokens"][0]["offset"].is_null());
  EXPECT_EQ(document["tokens"][1]["offset"], 0);
  EXPECT_TRUE(document["offsets_reason"].is_null());
  std::string joined, ids;
  const RunResult text = apr_command({"tokenize", model(), "the cat"});
  EXPECT_EQ(text.status, 0) << text.all();
  EXPECT_THAT(text.out, StartsWith(std::to_string(document["ids"].size()) + " tokens of 7 bytes; bpe, llama-bpe\n"));
  for (std::size_t i = 0; i < document["tokens"].size(); ++i) {
    const auto& token = document["tokens"][i];
    if (i > 0) joined += token["piece"].get<std::string>();
    ids += (i > 0 ? " " : "") + std::to_string(token["id"].get<int>());
    EXPECT_THAT(text.out, HasSubstr("\"" + token["piece"].get<std::string>() + "\""));
  }
  EXPECT_EQ(joined, "the cat");
  EXPECT_EQ(apr_command({"tokenize", model(), "the cat", "--ids"}).out, ids + "\n");
}

TEST_F(Tokenize, FlagsForSpecialTokens) {
  const std::string bos = apr_json({"tokenize", model(), ""}, 0)["tokens"][0]["piece"];
  const auto ids = [&](std::vector<std::string> flags) {
    std::vector<std::string> args = {"tokenize", model(), bos};
    args.insert(args.end(), flags.begin(), flags.end());
    return apr_json(args, 0)["ids"].size();
  };
  EXPECT_EQ(ids({}), 2U) << "the one that the model adds, and the one of the text";
  EXPECT_EQ(ids({"--no-add-special"}), 1U);
  EXPECT_GT(ids({"--no-add-special", "--no-parse-special"}), 1U) << "spelled out";
}

TEST_F(Tokenize, DecodeTakesIdsInAnyDress) {
  const auto encoded = apr_json({"tokenize", model(), "the cat", "--no-add-special"}, 0);
  std::vector<std::string> words = {"tokenize", model(), "--decode"};
  std::string json = "[";
  for (const auto& id : encoded["ids"]) {
    words.push_back(std::to_string(id.get<int>()));
    json += words.back() + ", ";
  }
  EXPECT_EQ(apr_command(words).out, "the cat");
  EXPECT_EQ(apr_command({"tokenize", model(), "--decode", json + "]"}).out, "the cat");
  const auto document = apr_json(words, 0);
  EXPECT_EQ(document["mode"], "decode");
  EXPECT_EQ(document["text"], "the cat");
  const int bos = apr_json({"tokenize", model(), "a"}, 0)["ids"][0];
  EXPECT_NE(apr_command({"tokenize", model(), "--decode", std::to_string(bos)}).out, "");
  EXPECT_EQ(apr_command({"tokenize", model(), "--decode", "--skip-special", std::to_string(bos)}).out, "");
}

TEST_F(Tokenize, Refusals) {
  const auto refused = [&](std::vector<std::string> args, int status, const std::string& says) {
    args.insert(args.begin() + 1, model());
    const RunResult result = apr_command(args);
    EXPECT_EQ(result.status, status) << result.all();
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr(says));
    EXPECT_EQ(apr_json(args, status)["schema"], "apr.error/1");
  };
  refused({"tokenize", "--decode", "1024"}, 2, "1023");
  refused({"tokenize", "--decode", "12x"}, 2, "12x");
  refused({"tokenize", "--decode", ""}, 2, "no ids");
  refused({"tokenize", "two", "words"}, 2, "unexpected argument");
  refused({"tokenize", "--decode", "--ids", "1"}, 2, "--ids");
  refused({"tokenize", "--skip-special", "a"}, 2, "--skip-special");
  refused({"tokenize", "a", "-f", model()}, 2, "--file");
  refused({"tokenize", "-f", model() + ".none"}, 3, "No such file");
  const SmallModels small;  // a vocabulary without the name of its tokenizer
  EXPECT_EQ(apr_command({"tokenize", small.gguf, "a"}).status, 6);
  EXPECT_EQ(apr_command({"tokenize", small.safetensors, "a"}).status, 6);
}

}  // namespace
}  // namespace apr::test
