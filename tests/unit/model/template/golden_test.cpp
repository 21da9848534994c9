// What jinja2 renders, recorded by tests/golden/template/make_goldens.py, byte for byte.
#include <gtest/gtest.h>

#include <fstream>

#include "apr/core/error.h"
#include "apr/model/chat_template.h"
#include "tests/support/paths.h"
#include "tests/support/template_json.h"

namespace apr::model {
namespace {

nlohmann::json golden(const std::string& name) {
  std::ifstream in(test::source_dir() + "/tests/golden/template/" + name);
  return nlohmann::json::parse(in);
}

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Answer {
  std::string text;
  std::string error;  // empty: rendered
};

Answer render(const std::string& source, const TemplateContext& context) {
  try {
    return {ChatTemplate::parse(source).render(context), ""};
  } catch (const Error& error) {
    EXPECT_TRUE(error.code == ErrorCode::InvalidFormat || error.code == ErrorCode::Inference) << error.what();
    EXPECT_NE(error.field.find("line "), std::string::npos) << error.what();
    return {"", error.message.empty() ? "(no message)" : error.message};
  }
}

/// Compares one rendering with the record: the text, the text of raise_exception, or that jinja2 refused it.
void expect_like(const nlohmann::json& want, const Answer& got, const std::string& what) {
  if (want.contains("text")) {
    EXPECT_EQ(got.text, want.at("text").get<std::string>()) << what;
    EXPECT_EQ(got.error, "") << what;
  } else if (want.contains("raised")) {
    EXPECT_EQ(got.error, want.at("raised").get<std::string>()) << what;
  } else {
    EXPECT_NE(got.error, "") << what << "\njinja2: " << want.at("error") << "\nrendered: " << got.text;
  }
}

TEST(TemplateGolden, Snippets) {
  const nlohmann::json file = golden("snippets.json");
  const TemplateContext context = test::template_context(file.at("context"));
  int texts = 0, errors = 0;
  for (const auto& want : file.at("cases")) {
    const std::string source = want.at("source");
    expect_like(want, render(source, context), source);
    ++(want.contains("text") ? texts : errors);
  }
  EXPECT_GE(texts, 150);
  EXPECT_GE(errors, 100);
}

TEST(TemplateGolden, Families) {
  const nlohmann::json file = golden("families.json");
  int renderings = 0;
  for (const auto& entry : file.at("cases")) {
    const std::string name = entry.at("template");
    constexpr std::string_view kFallback = "fallback:";
    const bool fallback = name.starts_with(kFallback);
    const std::string source = fallback ? std::string(find_fallback(name.substr(kFallback.size()))->source)
                                        : read(test::source_dir() + "/tests/golden/template/families/" + name);
    ASSERT_FALSE(source.empty()) << name;
    for (const auto& [context_name, want] : entry.at("wants").items()) {
      const TemplateContext context = test::template_context(file.at("contexts").at(context_name));
      expect_like(want, render(source, context), name + " " + context_name);
      ++renderings;
    }
  }
  EXPECT_GE(file.at("cases").size(), 20u);
  EXPECT_GE(renderings, 800);
}

}  // namespace
}  // namespace apr::model
