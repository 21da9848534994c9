// Templates that want too much: each ends with an error that names the limit.
#include <gtest/gtest.h>

#include <chrono>

#include "apr/core/error.h"
#include "apr/model/chat_template.h"

namespace apr::model {
namespace {

std::string repeated(std::string_view text, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += text;
  return out;
}

/// The error of parsing or rendering, "" when there is none. Takes at most a few seconds.
std::string refusal(const std::string& source, const TemplateContext& context = {}, const TemplateLimits& limits = {}) {
  const auto start = std::chrono::steady_clock::now();
  std::string message;
  try {
    (void)ChatTemplate::parse(source).render(context, limits);
  } catch (const Error& error) {
    EXPECT_TRUE(error.code == ErrorCode::InvalidFormat || error.code == ErrorCode::Inference) << error.what();
    message = error.message;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60)) << source.substr(0, 80);
  return message;
}

const char* const kSteps = "the template exceeds its limit of steps";
const char* const kOutput = "the template exceeds its limit of output_bytes";
const char* const kMemory = "the template exceeds its limit of memory_bytes";
const char* const kDepth = "the template exceeds its limit of depth";
const char* const kNesting = "nested deeper than 150 levels";

TEST(TemplateLimits, NestedSource) {
  constexpr std::size_t n = 100'000;
  EXPECT_EQ(refusal("{{ " + repeated("(", n) + "1" + repeated(")", n) + " }}"), kNesting);
  EXPECT_EQ(refusal("{{ " + repeated("[", n) + repeated("]", n) + " }}"), kNesting);
  EXPECT_EQ(refusal("{{ " + repeated("{1:", 60'000) + "1" + repeated("}", 60'000) + " }}"), kNesting);
  EXPECT_EQ(refusal("{{ " + repeated("-", n) + "1 }}"), kNesting);
  EXPECT_EQ(refusal("{{ " + repeated("not ", 60'000) + "1 }}"), kNesting);
  EXPECT_EQ(refusal("{{ " + repeated("a[", 80'000) + "1" + repeated("]", 80'000) + " }}"), kNesting);
  EXPECT_EQ(refusal("{{ " + repeated("f(", 80'000) + "1" + repeated(")", 80'000) + " }}"), kNesting);
  EXPECT_EQ(refusal("{{ " + repeated("1 if 1 else ", 20'000) + "1 }}"), kNesting);
  EXPECT_EQ(refusal("{% for " + repeated("(", n) + "a" + repeated(")", n) + " in x %}"), kNesting);
  EXPECT_EQ(refusal("{{ 1 " + repeated("is in(", 30'000) + repeated(")", 30'000) + " }}"), kNesting);
  EXPECT_EQ(refusal(repeated("{% if 1 %}", 25'000)), kNesting);
  EXPECT_EQ(refusal(repeated("{% for x in y %}", 15'000)), kNesting);
  EXPECT_EQ(refusal(repeated("{% set x %}", 20'000)), kNesting);
  EXPECT_EQ(refusal(repeated("{% macro m() %}", 15'000)), kNesting);
}

// A long chain of one level is a deep tree to the evaluator, and is freed without recursion.
TEST(TemplateLimits, LongChains) {
  EXPECT_EQ(refusal("{{ 1" + repeated("+1", 100'000) + " }}"), kDepth);
  EXPECT_EQ(refusal("{{ x" + repeated(".a", 100'000) + " }}"), kDepth);
  EXPECT_EQ(refusal("{{ x" + repeated("|d", 100'000) + " }}"), kDepth);
  EXPECT_EQ(refusal("{{ x" + repeated("()", 100'000) + " }}"), kDepth);
  EXPECT_EQ(refusal("{{ 1" + repeated(" and 1", 40'000) + " }}"), kDepth);
  EXPECT_EQ(refusal("{{ 1" + repeated("~1", 100'000) + " }}"), "");
  EXPECT_EQ(refusal("{{ 1" + repeated("<2", 100'000) + " }}"), "");
  EXPECT_EQ(refusal("{{ 1" + repeated("+1", 500) + " }}"), "");
  EXPECT_EQ(refusal(repeated("{{ 1 }}", 30'000)), "");
  EXPECT_EQ(refusal("{% if 0 %}" + repeated("{% elif 0 %}", 20'000) + "{% endif %}"), "");
}

TEST(TemplateLimits, Depth) {
  EXPECT_EQ(refusal("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), kDepth);
  EXPECT_EQ(refusal("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"), kDepth);
  // A namespace can hold itself; nothing walks it forever, nothing leaks.
  EXPECT_EQ(refusal("{% set n = namespace() %}{% set n.n = n %}{{ n }}"), kDepth);
  EXPECT_EQ(refusal("{% set n = namespace() %}{% set n.n = [n] %}{{ n.n == n.n }}{{ n.n | string }}"), kDepth);
  const std::string nest = "{% set n = namespace(v=[]) %}{% for i in range(90000) %}{% set n.v = [n.v] %}{% endfor %}";
  EXPECT_EQ(refusal(nest + "done"), "");
  EXPECT_EQ(refusal(nest + "{{ n.v }}"), kDepth);
  EXPECT_EQ(refusal(nest + "{{ n.v | tojson }}"), kDepth);
  EXPECT_EQ(refusal(nest + nest + "{{ n.v == [n.v] }}"), kDepth);
  EXPECT_EQ(refusal(nest + "{{ [n.v, [n.v]] | sort }}"), kDepth);
}

TEST(TemplateLimits, Steps) {
  const std::string loop = "{% for a in range(100000) %}";
  EXPECT_EQ(refusal(repeated(loop, 3) + repeated("{% endfor %}", 3)), kSteps);
  TemplateLimits few;
  few.steps = 1'000'000;
  const auto expect_refused = [&](const std::string& source) { EXPECT_EQ(refusal(source, {}, few), kSteps) << source; };
  expect_refused("{% for a in range(10000) %}{{ range(100000) | list | length }}{% endfor %}");
  expect_refused("{% set l = range(90000) | list %}{% for a in l %}{% if -1 in l %}{% endif %}{% endfor %}");
  expect_refused("{% set l = range(90000) | list %}{{ l | unique | list | length }}");
  // Work on long texts counts by their length.
  const std::string text = "{% set s = 'a' * 9000000 %}";
  const auto each = [&](const std::string& body) { return text + loop + body + "{% endfor %}"; };
  expect_refused(each("{% set t = s | upper %}"));
  expect_refused(each("{% if s == s ~ '' %}{% endif %}"));
  expect_refused(each("{% if 'b' in s %}{% endif %}"));
  expect_refused(each("{% set t = s.find('b') %}"));
  expect_refused(each("{% set t = s.count('b') %}"));
  expect_refused(each("{% set t = s.rfind('b') %}"));
  expect_refused(each("{% set t = s.isalpha() %}"));
  expect_refused(each("{% set t = s.split('b') %}"));
  expect_refused(each("{% set t = s | replace('b', 'c') %}"));
  expect_refused(each("{% set t = s | wordcount %}"));
  expect_refused(each("{% set t = s | tojson | length %}"));
  expect_refused(each("{% if s < s ~ '' %}{% endif %}"));
  expect_refused(each("{% if s is lower %}{% endif %}"));
  expect_refused("{% set s = 'é' * 4000000 %}" + loop + "{% set t = s[a:a] %}{% set u = s[a] %}{% endfor %}");
  expect_refused("{% set s = 'é' * 4000000 %}" + loop + "{% set u = s[-1] %}{% endfor %}");
  expect_refused(text + "{{ s.strip('b' * 4000000 ~ 'a') }}");
  expect_refused(text + "{% for a in range(90000) %}{% set x = s.rfind('a' * 4000000 ~ 'b') %}{% endfor %}");
  few.steps = 50;
  expect_refused("{% for a in range(10) %}{{ a }}{% endfor %}");
  EXPECT_EQ(refusal("{{ 1 + 1 }}", {}, few), "");
}

TEST(TemplateLimits, OutputBytes) {
  EXPECT_EQ(refusal("{{ 'a' * 20000000 }}"), kOutput);
  EXPECT_EQ(refusal("{{ 'a' * 9223372036854775807 }}"), kOutput);
  EXPECT_EQ(refusal("{{ 9223372036854775807 * 'abc' }}"), kOutput);
  EXPECT_EQ(refusal("{{ [1] * 9223372036854775807 }}"), kOutput);
  EXPECT_EQ(refusal("{{ '%999999999d' % 1 }}"), kOutput);
  EXPECT_EQ(refusal("{{ '%*d' % (9223372036854775807, 1) }}"), kOutput);
  EXPECT_EQ(refusal("{{ '{:>999999999}'.format(1) }}"), kOutput);
  EXPECT_EQ(refusal("{{ 'a'.ljust(9223372036854775807) }}"), kOutput);
  EXPECT_EQ(refusal("{{ 'a'.center(9000000000) }}"), kOutput);
  EXPECT_EQ(refusal("{{ '1'.zfill(9000000000) }}"), kOutput);
  EXPECT_EQ(refusal("{{ 'a\nb' | indent(9000000000) }}"), kOutput);
  EXPECT_EQ(refusal("{{ [1] | tojson(indent=9000000000) }}"), kOutput);
  EXPECT_EQ(refusal("{{ ('a' * 9000).replace('a', 'b' * 9000) }}"), kOutput);
  EXPECT_EQ(refusal("{{ (['a'] * 9000) | join('b' * 9000) }}"), kOutput);
  EXPECT_EQ(refusal("{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}"),
            kOutput);
  EXPECT_EQ(refusal("{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s | replace('a', 'aa') %}{% "
                    "endfor %}"),
            kOutput);
  EXPECT_EQ(refusal("{% for a in range(100000) %}{{ 'abcdefgh' * 64 }}{% endfor %}"), kOutput);
  EXPECT_EQ(refusal("{% macro m() %}{% for a in range(100000) %}{{ 'abcdefgh' * 64 }}{% endfor %}{% endmacro %}{{ m() "
                    "| length }}"),
            kOutput);
  TemplateLimits small;
  small.output_bytes = 10;
  EXPECT_EQ(refusal("12345678901", {}, small), kOutput);
  EXPECT_EQ(refusal("1234567890", {}, small), "");
}

TEST(TemplateLimits, MemoryBytes) {
  TemplateLimits small;
  small.memory_bytes = 4u << 20;
  const auto expect_refused = [&](const std::string& source) {
    EXPECT_EQ(refusal(source, {}, small), kMemory) << source;
  };
  expect_refused("{% set n = namespace(v=[1]) %}{% for i in range(99) %}{% set n.v = n.v + n.v %}{% endfor %}");
  expect_refused(
      "{% set n = namespace(v=[]) %}{% for i in range(99) %}{% set n.v = n.v + ['a' * 90000 ~ i] %}{% endfor %}");
  expect_refused("{{ ('a b ' * 20000).split() | length }}");
  expect_refused("{{ ('a' * 90000) | list | length }}");
  expect_refused("{{ ('a\n' * 90000).splitlines() | length }}");
  expect_refused("{{ [1] | batch(9000000000, 0) | list | length }}");
  expect_refused("{{ [] | slice(9000000000) | list | length }}");
  expect_refused("{% for a in range(90000) %}{% set x %}{% endset %}{% endfor %}");
  // A text that nobody holds any longer does not count.
  EXPECT_EQ(refusal("{% set n = namespace() %}{% for i in range(99) %}{% set n.v = 'a' * 90000 ~ i %}{% endfor %}", {},
                    small),
            "");
}

// What a real conversation needs is far inside of the limits.
TEST(TemplateLimits, LongConversation) {
  TemplateContext context;
  for (int i = 0; i < 2000; ++i) context.messages.push_back({i % 2 ? "assistant" : "user", std::string(2000, 'x')});
  EXPECT_EQ(refusal(std::string(find_fallback("chatml")->source), context), "");
  EXPECT_EQ(refusal(std::string(find_fallback("mistral")->source), context), "");
}

TEST(TemplateLimits, Arithmetic) {
  for (const char* source :
       {"{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}", "{{ 9223372036854775807 * 2 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}", "{{ -(-9223372036854775807 - 1) }}", "{{ 2 ** 64 }}",
        "{{ (-9223372036854775807 - 1) | abs }}", "{{ '9223372036854775808' | int }}", "{{ 1e300 | int }}",
        "{{ 9223372036854775807 | round(-1) }}"}) {
    EXPECT_NE(refusal(source), "") << source;
  }
  for (const char* source :
       {"{{ (-9223372036854775807 - 1) % -1 }}", "{{ [1][9223372036854775807] }}",
        "{{ [1][-9223372036854775807 - 1] }}", "{{ 'abc'[:: -9223372036854775807 - 1] }}",
        "{{ 'abc'[-9223372036854775807 - 1 : 9223372036854775807] }}",
        "{{ range(-9223372036854775807, 9223372036854775807, 9223372036854775807) | list }}",
        "{{ range(0, 9223372036854775807, 9223372036854775807)[::1] }}",
        "{{ 'abc'.find('c', -9223372036854775807 - 1) }}", "{{ [1, 2].index(2, -9223372036854775807 - 1) }}",
        "{{ 'a' | truncate(9223372036854775807) }}"}) {
    EXPECT_EQ(refusal(source), "") << source;
  }
}

}  // namespace
}  // namespace apr::model
