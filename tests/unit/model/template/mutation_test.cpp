// Damaged templates: 20,000 mutations of good ones. Each parses and renders, or is refused, within its limits.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "apr/core/error.h"
#include "apr/model/chat_template.h"
#include "tests/support/paths.h"
#include "tests/support/template_json.h"

namespace apr::model {
namespace {

constexpr int kMutations = 20'000;

std::vector<std::string> seeds() {
  const std::string folder = test::source_dir() + "/tests/golden/template/";
  std::vector<std::filesystem::path> files;
  for (const auto& file : std::filesystem::directory_iterator(folder + "families")) files.push_back(file.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> sources;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    sources.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>{});
  }
  std::ifstream in(folder + "snippets.json");
  const nlohmann::json snippets = nlohmann::json::parse(in);
  for (const auto& entry : snippets.at("cases")) sources.push_back(entry.at("source"));
  // Hungry ones, so that limits are met too.
  for (const char* source :
       {"{% for a in range(100000) %}{% for b in range(100000) %}{{ a ~ b }}{% endfor %}{% endfor %}",
        "{% set n = namespace(v='ab') %}{% for i in range(99) %}{% set n.v = n.v + n.v %}{% endfor %}{{ n.v }}",
        "{% macro m(x) %}{{ x }}{{ m(x + 1) }}{% endmacro %}{{ m(1) }}",
        "{% set n = namespace(v=[1]) %}{% for i in range(99) %}{% set n.v = [n.v, n.v] %}{% endfor %}{{ n.v }}",
        "{% set n = namespace() %}{% set n.n = [n] %}{{ n }}{{ n.n == n.n }}{{ 'x' * 99999999 }}"}) {
    for (int i = 0; i < 8; ++i) sources.emplace_back(source);
  }
  return sources;
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& sources) : sources_(sources), random_(20250101) {}

  std::string next() {
    std::string text = sources_[below(sources_.size())];
    for (std::size_t n = 1 + below(4); n > 0; --n) mutate(text);
    return text.substr(0, 20'000);
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  void mutate(std::string& text) {
    static constexpr std::string_view kPieces[] = {"{{",
                                                   "}}",
                                                   "{%",
                                                   "%}",
                                                   "{#",
                                                   "#}",
                                                   "{%-",
                                                   "-%}",
                                                   "(",
                                                   ")",
                                                   "[",
                                                   "]",
                                                   "{",
                                                   "}",
                                                   "|",
                                                   "~",
                                                   "*",
                                                   "**",
                                                   "+",
                                                   "-",
                                                   "//",
                                                   ".",
                                                   ",",
                                                   ":",
                                                   "'",
                                                   "\"",
                                                   "\\",
                                                   "\xFF",
                                                   "\xE2\x82",
                                                   "\n",
                                                   " if ",
                                                   " else ",
                                                   " for ",
                                                   " in ",
                                                   " is ",
                                                   " not ",
                                                   "loop",
                                                   "loop.length",
                                                   "namespace()",
                                                   "range(100000)",
                                                   "messages",
                                                   "messages[-1]",
                                                   "'a' * 99999",
                                                   "none",
                                                   "9223372036854775807",
                                                   "-1",
                                                   "0",
                                                   "1e308",
                                                   "| tojson",
                                                   "| map('upper')",
                                                   "| list",
                                                   "| sort",
                                                   "| string",
                                                   ".split()",
                                                   ".format(1)",
                                                   "[::-1]",
                                                   "caller()",
                                                   "*messages",
                                                   "**{'a': 1}",
                                                   "= 1",
                                                   "is defined",
                                                   "{% endfor %}",
                                                   "{% endif %}",
                                                   "{% set x = x %}",
                                                   "{% macro m() %}",
                                                   "{% endmacro %}",
                                                   "{% break %}",
                                                   "{{ m() }}",
                                                   "{{ self }}"};
    const std::size_t at = below(text.size() + 1);
    switch (below(6)) {
      case 0: text.insert(at, kPieces[below(std::size(kPieces))]); break;
      case 1: text.erase(at, 1 + below(8)); break;
      case 2:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
        break;
      case 3: {
        const std::string& other = sources_[below(sources_.size())];
        const std::size_t from = below(other.size() + 1);
        text.insert(at, other.substr(from, below(60)));
        break;
      }
      case 4: text.insert(at, text.substr(below(text.size() + 1), below(40))); break;
      default: text.replace(at, 1 + below(6), kPieces[below(std::size(kPieces))]);
    }
  }

  const std::vector<std::string>& sources_;
  std::mt19937_64 random_;
};

TEST(TemplateMutation, EveryOneEndsWithinItsLimits) {
  const std::vector<std::string> sources = seeds();
  ASSERT_GE(sources.size(), 300u);
  TemplateContext context;
  context.messages = {{"system", "be brief"}, {"user", "Hé\n"}, {"assistant", "<think>x</think>y"}, {"user", ""}};
  context.bos_token = "<s>";
  context.local_time = 1735740245;
  TemplateLimits limits;
  limits.steps = 200'000;
  limits.output_bytes = 1u << 20;
  limits.memory_bytes = 8u << 20;
  limits.depth = 300;
  Mutator mutator(sources);
  int rendered = 0, refused_source = 0, refused_run = 0, limited = 0;
  for (int i = 0; i < kMutations; ++i) {
    const std::string source = mutator.next();
    try {
      const std::string text = ChatTemplate::parse(source).render(context, limits);
      ASSERT_LE(text.size(), limits.output_bytes);
      ++rendered;
    } catch (const Error& error) {
      ASSERT_TRUE(error.code == ErrorCode::InvalidFormat || error.code == ErrorCode::Inference)
          << error.what() << source;
      ASSERT_FALSE(error.field.empty()) << error.what() << source;
      ++(error.code == ErrorCode::InvalidFormat ? refused_source : refused_run);
      limited += error.message.find("exceeds its limit") != std::string::npos ? 1 : 0;
    }
  }
  // Each way of ending must have occurred often enough to mean something.
  EXPECT_GE(rendered, 1000);
  EXPECT_GE(refused_source, 1000);
  EXPECT_GE(refused_run, 500);
  EXPECT_GE(limited, 10);
  RecordProperty("rendered", rendered);
  RecordProperty("limited", limited);
}

}  // namespace
}  // namespace apr::model
