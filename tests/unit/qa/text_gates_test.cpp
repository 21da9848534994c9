// Every rule about tokenizer and template turns red by its own damage.
#include "qa_fixture.h"

namespace apr::qa {
namespace {

using format::WriteValue;
using testing::HasSubstr;

class TokenizerGate : public QaTest {
 protected:
  GateResult run_gate() { return run_only("tokenizer"); }
};

TEST_F(TokenizerGate, ComparesTextsTokensAndMerges) {
  const GateResult result = run_gate();
  EXPECT_TRUE(green(result));
  EXPECT_GT(result.n_compared, 150U + 29U + 20U);
}
TEST_F(TokenizerGate, IsRedWithoutATokenizer) {
  model_.tokens.clear();
  model_.drop("tokenizer.ggml.model");
  EXPECT_TRUE(red(run_gate(), "qa.tokenizer.load"));
  const QaReport report = run_gates(path_, {});
  EXPECT_THAT(gate_of(report, "golden").message, HasSubstr("no tokenizer"));
  EXPECT_EQ(gate_of(report, "golden").verdict, Verdict::Skip);
  EXPECT_TRUE(green(gate_of(report, "determinism"))) << "the model itself runs";
}
TEST_F(TokenizerGate, IsRedWhenTokensWereDropped) {
  model_.tokens.erase(model_.tokens.begin() + 256 + 20);
  model_.token_types.pop_back();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"})
    model_.set(key, WriteValue::u32(285));
  EXPECT_TRUE(red(run_gate(), "qa.tokenizer.vocab"));
}
TEST_F(TokenizerGate, IsRedWhenAnIdHasNoRow) {
  model_.tokens.emplace_back("<|extra|>");
  model_.token_types.push_back(3);
  EXPECT_TRUE(red(run_gate(), "qa.tokenizer.vocab"));
}
TEST_F(TokenizerGate, IsRedWhenASpecialIdIsOutOfRange) {
  model_.set("tokenizer.ggml.eos_token_id", WriteValue::u32(288));
  EXPECT_TRUE(red(run_gate(), "qa.tokenizer.load"));
}
TEST_F(TokenizerGate, IsRedWhenTheEndIsAnOrdinaryToken) {
  model_.set("tokenizer.ggml.eos_token_id", WriteValue::u32('e'));
  const GateResult result = run_gate();
  EXPECT_TRUE(red(result, "qa.tokenizer.special"));
  EXPECT_EQ(find(result, "qa.tokenizer.special")->field, "token 101");
}
TEST_F(TokenizerGate, IsRedWhenNothingEndsAnAnswer) {
  model_.set("tokenizer.ggml.pre", WriteValue::string("qwen2"));  // has no default BOS or EOS
  model_.drop("tokenizer.ggml.eos_token_id");
  for (std::size_t i : {285U, 286U, 287U}) model_.tokens[i] = "<control" + std::to_string(i) + ">";
  const GateResult result = run_gate();
  EXPECT_TRUE(red(result, "qa.tokenizer.end") || red(result, "qa.tokenizer.special")) << all(result);
}
TEST_F(TokenizerGate, IsRedWhenMergesWereTruncated) {
  model_.merges.resize(20);
  EXPECT_TRUE(red(run_gate(), "qa.tokenizer.unmade"));
}
TEST_F(TokenizerGate, IsRedWhenAMergeMakesNoToken) {
  model_.merges.emplace_back("q q");
  const GateResult result = run_gate();
  EXPECT_TRUE(red(result, "qa.tokenizer.merges"));
  EXPECT_THAT(find(result, "qa.tokenizer.merges")->found, HasSubstr("merge 29"));
}
TEST_F(TokenizerGate, IsRedWhenAByteHasNoToken) {
  model_.tokens[0xC3] = "lost";  // every Latin letter with an accent begins with it
  const GateResult result = run_gate();
  EXPECT_TRUE(red(result, "qa.tokenizer.text"));
  EXPECT_FALSE(find(result, "qa.tokenizer.text")->found.empty());
}
TEST_F(TokenizerGate, IsRedForAnUnknownPreTokenizer) {
  model_.set("tokenizer.ggml.pre", WriteValue::string("smolm"));
  const GateResult result = run_gate();
  EXPECT_TRUE(red(result, "qa.tokenizer.load"));
  EXPECT_THAT(result.findings.at(0).hint, HasSubstr("smollm"));
}

class TemplateGate : public QaTest {
 protected:
  GateResult with(const std::string& source) {
    model_.set("tokenizer.chat_template", WriteValue::string(source));
    return run_only("template");
  }
  static std::string turns(const std::string& end, const std::string& content = "message['content']") {
    return "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ " + content + " }}" + end +
           "\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  }
};

TEST_F(TemplateGate, RendersAllConversations) {
  EXPECT_TRUE(green(run_only("template")));
  EXPECT_TRUE(green(with(turns("<|im_end|>"))));
  EXPECT_THAT(run_only("template").message, HasSubstr("7 conversations rendered, 0 refused"));
}
TEST_F(TemplateGate, IsASkipWithoutATemplate) {
  model_.drop("tokenizer.chat_template");
  const GateResult result = run_only("template");
  EXPECT_EQ(result.verdict, Verdict::Skip);
  EXPECT_THAT(result.message, HasSubstr("no chat template"));
}
TEST_F(TemplateGate, IsRedOnBrokenSyntax) {
  EXPECT_TRUE(red(with("{% for message in messages %}{{ message }"), "qa.template.parse"));
}
TEST_F(TemplateGate, IsRedWhenItRefusesAQuestion) {
  EXPECT_TRUE(red(with("{{ raise_exception('no') }}"), "qa.template.render"));
}
TEST_F(TemplateGate, MayRefuseASystemMessage) {
  const GateResult result = with(
      "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + turns("<|im_end|>"));
  EXPECT_TRUE(green(result));
  EXPECT_THAT(result.message, HasSubstr("2 refused"));
}
TEST_F(TemplateGate, IsRedWhenAMessageIsLost) {
  EXPECT_TRUE(red(with(turns("<|im_end|>", "message['role']")), "qa.template.content"));
}
TEST_F(TemplateGate, IsRedOnAMarkerThatIsNoToken) {
  EXPECT_TRUE(red(with(turns("<|im_ende|>")), "qa.template.marker"));
}
TEST_F(TemplateGate, IsRedWhenAnswersEndOtherwise) { EXPECT_TRUE(red(with(turns("<|im_start|>")), "qa.template.end")); }
TEST_F(TemplateGate, IsRedWhenTheInvitationEndsTheAnswer) {
  model_.set("tokenizer.ggml.eos_token_id", WriteValue::u32(285));  // swapped with <|im_start|>
  EXPECT_TRUE(red(run_only("template"), "qa.template.invitation"));
}
TEST_F(TemplateGate, IsRedOnTwoBosTokens) {
  EXPECT_TRUE(red(with("<|endoftext|><|endoftext|>" + turns("<|im_end|>")), "qa.template.double_bos"));
}

}  // namespace
}  // namespace apr::qa
