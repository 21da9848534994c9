// What run and profile say of models that cannot be run: a clear error with its code, and not one byte of an answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apr/core/error.h"
#include "tests/support/bigram_model.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using format::WriteValue;
using testing::HasSubstr;

class BadInput : public testing::Test {
 protected:
  TempFolder folder_;
  BigramModel model_;
  std::string path_ = folder_.path("model.gguf");

  /// Exit status, nothing on stdout, and all of the words on stderr; the same in JSON.
  void expect_refused(const std::vector<std::string>& args, ErrorCode code, const std::vector<std::string>& words) {
    SCOPED_TRACE(testing::PrintToString(args));
    const RunResult text = apr_command(args);
    EXPECT_EQ(text.status, exit_status(code)) << text.all();
    EXPECT_EQ(text.out, "") << "something was generated";
    for (const std::string& word : words) EXPECT_THAT(text.err, HasSubstr(word));
    const auto document = apr_json(args, exit_status(code));
    EXPECT_EQ(document["error"]["code"], name(code));
    EXPECT_FALSE(document.contains("text"));
  }
  void run_refused(ErrorCode code, const std::vector<std::string>& words) {
    model_.write(path_);
    expect_refused({"run", path_, "hello", "--temp", "0", "-n", "8"}, code, words);
  }
  void profile_refused(ErrorCode code, const std::vector<std::string>& words) {
    model_.write(path_);
    expect_refused({"profile", path_, "--prompt", "8"}, code, words);
  }
  void both_refused(ErrorCode code, const std::vector<std::string>& words) {
    run_refused(code, words);
    profile_refused(code, words);
  }
};

TEST_F(BadInput, TheHealthyModelAnswers) {
  model_.write(path_);
  EXPECT_EQ(apr_command({"run", path_, "hello", "--temp", "0", "-n", "8"}).out, "QZX!\n");
}

TEST_F(BadInput, WithoutATokenizer) {
  model_.tokens.clear();
  model_.drop("tokenizer.ggml.model");
  run_refused(ErrorCode::ModelLoad, {"the model has no tokenizer", "tokenizer.ggml.model", "hint:"});
  EXPECT_EQ(apr_command({"profile", path_, "--prompt", "8"}).status, 0) << "a profile needs no text";
}

TEST_F(BadInput, UnknownArchitecture) {
  model_.set("general.architecture", WriteValue::string("mamba"));
  both_refused(ErrorCode::ModelLoad, {"cannot run this architecture", "mamba", "llama, qwen2, qwen3, gemma3"});
}

TEST_F(BadInput, PromptLongerThanTheContext) {
  model_.write(path_);
  expect_refused({"run", path_, std::string(400, 'x'), "--ctx", "100"}, ErrorCode::Usage,
                 {"the prompt is longer than the context", "at most 100 tokens", "--ctx"});
  expect_refused({"profile", path_, "--prompt", "200", "--ctx", "100"}, ErrorCode::Usage, {"100"});
}

TEST_F(BadInput, NaNInAWeight) {
  model_.tensor("blk.1.ffn_gate.weight").values[7] = NAN;
  both_refused(ErrorCode::Inference, {"not finite", "blk.1.ffn_gate", "hint:"});
  expect_refused({"run", path_, "hello", "--exact"}, ErrorCode::Inference, {"not finite", "blk.1.ffn_gate"});
}

TEST_F(BadInput, NaNInAnEarlyPieceOfAPromptIsNamedWhereItArose) {
  model_.tensor("token_embd.weight").values['J' * 320 + 5] = NAN;
  model_.write(path_);
  const std::string prompt = "J" + std::string(400, 'x');  // more tokens than one run of the model takes
  for (const char* executor : {"--threads=1", "--exact"})
    expect_refused({"run", path_, prompt, "--raw", executor}, ErrorCode::Inference, {"not finite", "embed"});
}

TEST_F(BadInput, InfinityInTheOutputIsTheOutputs) {
  model_.tensor("output.weight").values[50] = INFINITY;
  run_refused(ErrorCode::Inference, {"not finite", "lm_head"});
}

TEST_F(BadInput, MissingTensor) {
  model_.drop_tensor("blk.1.ffn_down.weight");
  both_refused(ErrorCode::ModelLoad, {"missing", "blk.1.ffn_down.weight", "[320, 64]", "hint:"});
}

TEST_F(BadInput, WrongShape) {
  model_.tensor("blk.0.attn_v.weight").shape = {320, 160};
  both_refused(ErrorCode::ModelLoad, {"shape", "blk.0.attn_v.weight", "[160, 320]", "[320, 160]", "hint:"});
}

TEST_F(BadInput, TruncatedFile) {
  model_.write(path_);
  const std::string bytes = read_whole(path_);
  folder_.write("model.gguf", std::string_view(bytes).substr(0, bytes.size() - 4096));
  for (const char* command : {"run", "profile"}) {
    std::vector<std::string> args = {command, path_};
    if (command == std::string("run")) args.emplace_back("hello");
    expect_refused(args, ErrorCode::InvalidFormat, {"file", "offset:"});
  }
}

TEST_F(BadInput, MoreTokensThanRows) {
  model_.tokens.emplace_back("<|extra|>");
  model_.token_types.push_back(3);
  run_refused(ErrorCode::ModelLoad,
              {"the vocabulary has more tokens than the embedding has rows", "288", "289", "hint:"});
}

TEST_F(BadInput, SpecialIdOutsideTheVocabulary) {
  model_.set("tokenizer.ggml.eos_token_id", WriteValue::u32(5000));
  run_refused(ErrorCode::ModelLoad, {"tokenizer.ggml.eos_token_id", "5000"});
}

TEST_F(BadInput, AnIdThatTheVocabularyLacksIsNotPrinted) {
  // The embedding has a row more than the vocabulary has tokens, and the model answers with that row.
  for (const char* name : {"token_embd.weight", "output.weight"}) {
    PlainTensor& t = model_.tensor(name);
    t.shape[0] += 1;
    t.values.resize(t.values.size() + 320, 0.01F);
  }
  model_.tensor("output.weight").values[288 * 320 + '\n'] = 3;
  run_refused(ErrorCode::Inference, {"an id that the vocabulary does not have", "288", "hint:"});
}

}  // namespace
}  // namespace apr::test
