#include "apr/model/chat_template.h"

#include <gtest/gtest.h>

#include <thread>

#include "apr/core/error.h"

namespace apr::model {
namespace {

Error failure(const std::string& source, const TemplateContext& context = {}, const TemplateLimits& limits = {}) {
  try {
    const std::string text = ChatTemplate::parse(source, "tokenizer.chat_template").render(context, limits);
    ADD_FAILURE() << source << " rendered " << text;
  } catch (const Error& error) {
    return error;
  }
  return {ErrorCode::Internal, ""};
}

std::string rendered(const std::string& source, const TemplateContext& context = {}) {
  return ChatTemplate::parse(source).render(context);
}

TEST(ChatTemplate, SyntaxErrorNamesItsPlace) {
  const Error error = failure("first line\n  é{{ 1 + }}");
  EXPECT_EQ(error.code, ErrorCode::InvalidFormat);
  EXPECT_EQ(error.field, "tokenizer.chat_template: line 2, column 11");
  EXPECT_EQ(error.message, "unexpected 'end of print statement'");
}

TEST(ChatTemplate, RenderErrorNamesItsPlace) {
  const Error error = failure("\n\n{% set x = {} %}\n{{ 'a' + x.y }}");
  EXPECT_EQ(error.code, ErrorCode::Inference);
  EXPECT_EQ(error.field, "tokenizer.chat_template: line 4, column 8");
  EXPECT_EQ(error.message, "'dict object' has no attribute 'y'");
}

TEST(ChatTemplate, RaiseExceptionKeepsItsText) {
  const Error error = failure("{% if true %}{{ raise_exception('Roles must alternate: ' ~ 1) }}{% endif %}");
  EXPECT_EQ(error.code, ErrorCode::Inference);
  EXPECT_EQ(error.message, "Roles must alternate: 1");
}

TEST(ChatTemplate, SourceThatIsTooLong) {
  const Error error = failure(std::string(ChatTemplate::kMaxSourceBytes + 1, 'x'));
  EXPECT_EQ(error.code, ErrorCode::InvalidFormat);
  EXPECT_EQ(error.expected, "at most 262144 bytes");
  EXPECT_EQ(rendered(std::string(ChatTemplate::kMaxSourceBytes, 'x')).size(), ChatTemplate::kMaxSourceBytes);
}

TEST(ChatTemplate, VariablesOfTheContext) {
  TemplateContext context;
  context.messages = {{"user", "hi"}};
  context.add_generation_prompt = false;
  context.extra = {
      {"flag", true}, {"n", std::int64_t{7}}, {"x", 1.5}, {"t", std::string("text")}, {"nothing", std::monostate{}}};
  EXPECT_EQ(
      rendered("{{ flag }} {{ n }} {{ x }} {{ t }} {{ nothing }} {{ add_generation_prompt }} {{ messages }}", context),
      "True 7 1.5 text None False [{'role': 'user', 'content': 'hi'}]");
  context.extra = {{"add_generation_prompt", std::string("mine")}, {"tools", std::string("a")}};
  EXPECT_EQ(rendered("{{ add_generation_prompt }}{{ tools }}", context), "minea");
}

TEST(ChatTemplate, AbsentTokensAreUndefined) {
  TemplateContext context;
  EXPECT_EQ(rendered("[{{ bos_token }}]{{ eos_token is defined }}", context), "[]False");
  context.bos_token = "";
  EXPECT_EQ(rendered("[{{ bos_token }}]{{ bos_token is defined }}", context), "[]True");
}

TEST(ChatTemplate, DateComesFromTheCaller) {
  TemplateContext context;
  EXPECT_EQ(rendered("{{ strftime_now is defined }}", context), "False");
  context.local_time = 951782400;  // a leap day
  EXPECT_EQ(rendered("{{ strftime_now('%d %b %Y %j') }}", context), "29 Feb 2000 060");
  context.local_time = -1;
  EXPECT_EQ(rendered("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", context), "1969-12-31 23:59:59");
  context.local_time = INT64_MAX;
  EXPECT_EQ(failure("{{ strftime_now('%d') }}", context).code, ErrorCode::Inference);
}

TEST(ChatTemplate, BytesThatAreNotUtf8PassThrough) {
  TemplateContext context;
  context.messages = {{"user", "a\xFF\xC3z\xE4\xB8"}};
  EXPECT_EQ(rendered("{{ messages[0].content }}", context), "a\xFF\xC3z\xE4\xB8");
  EXPECT_EQ(rendered("{{ messages[0].content[::-1] | length }}", context), "6");
  EXPECT_EQ(rendered("{{ messages[0].content[1] ~ messages[0].content | upper }}", context),
            "\xFF"
            "A\xFF\xC3Z\xE4\xB8");
}

TEST(ChatTemplate, RendersFromSeveralThreads) {
  const ChatTemplate shared = ChatTemplate::parse("{% for m in messages %}{{ m.content ~ 'é' }}{% endfor %}");
  TemplateContext context;
  context.messages.assign(50, {"user", "x"});
  const std::string want = shared.render(context);
  std::vector<std::string> got(4);
  std::vector<std::thread> threads;
  for (std::string& text : got) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) text = shared.render(context);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : got) EXPECT_EQ(text, want);
}

TEST(FallbackTemplate, EveryOneParsesAndAnswers) {
  TemplateContext context;
  context.messages = {{"system", "S-text"}, {"user", "U-text"}};
  context.bos_token = "<s>";
  context.eos_token = "</s>";
  ASSERT_EQ(fallback_templates().size(), 9u);
  for (const FallbackTemplate& row : fallback_templates()) {
    const std::string prompt = rendered(std::string(row.source), context);
    EXPECT_NE(prompt.find("S-text"), std::string::npos) << row.name;
    EXPECT_NE(prompt.find("U-text"), std::string::npos) << row.name;
    EXPECT_EQ(find_fallback(row.name), &row);
    if (row.name != "phi3" && row.name != "mistral" && row.name != "zephyr" && row.name != "deepseek") continue;
    EXPECT_NE(prompt.find(row.marker), std::string::npos) << row.name;
  }
  EXPECT_EQ(find_fallback("no such"), nullptr);
}

TEST(FallbackTemplate, ChosenByTokensThenByArchitecture) {
  using Tokens = std::vector<std::string_view>;
  const auto chosen = [](std::string_view architecture, const Tokens& tokens) {
    return std::string(choose_fallback(architecture, tokens).name);
  };
  EXPECT_EQ(chosen("qwen2", {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}), "chatml");
  EXPECT_EQ(chosen("llama", {"<|begin_of_text|>", "<|start_header_id|>"}), "llama3");
  EXPECT_EQ(chosen("gemma3", {"<bos>", "<start_of_turn>"}), "gemma");
  EXPECT_EQ(chosen("llama", {"<s>", "[INST]", "[/INST]"}), "mistral");
  EXPECT_EQ(chosen("phi3", {"<s>", "<|end|>", "<|assistant|>"}), "phi3");
  EXPECT_EQ(chosen("stablelm", {"<|assistant|>"}), "zephyr");
  EXPECT_EQ(chosen("deepseek2", {"<｜User｜>"}), "deepseek");
  EXPECT_EQ(chosen("llama", {"<unk>", "<s>", "</s>"}), "llama2");
  EXPECT_EQ(chosen("llama", {}), "plain");
  EXPECT_EQ(chosen("gpt2", {"<|endoftext|>"}), "plain");
}

}  // namespace
}  // namespace apr::model
