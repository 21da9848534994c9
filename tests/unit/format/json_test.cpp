// The JSON reader against the grammar of RFC 8259: what it must take, what it must refuse, and where.
#include "src/format/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

namespace apr::format {
namespace {

using ::testing::HasSubstr;

/// Reads a whole document. Offset of the fault, or nothing.
std::optional<std::uint64_t> fault_at(std::string_view text, std::uint64_t base = 0) {
  JsonCursor cursor(text, base);
  while (true) {
    const JsonToken token = cursor.next();
    if (token == JsonToken::End) return std::nullopt;
    if (token == JsonToken::Fault) return cursor.fault().offset;
  }
}

std::string string_of(std::string_view text) {
  JsonCursor cursor(text);
  EXPECT_EQ(cursor.next(), JsonToken::String) << text;
  return cursor.text();
}

Value number_of(std::string_view text) {
  JsonCursor cursor(text);
  EXPECT_EQ(cursor.next(), JsonToken::Number) << text;
  return cursor.number();
}

TEST(Json, TokensComeWithOffsets) {
  const std::string text = R"( {"a": [1, -2.5, true], "b":{}, "c": null} )";
  JsonCursor cursor(text, 1000);
  struct Step {
    JsonToken token;
    std::size_t at, end;
  };
  const std::vector<Step> steps = {
      {JsonToken::ObjectBegin, 1, 2}, {JsonToken::Key, 2, 6},      {JsonToken::ArrayBegin, 7, 8},
      {JsonToken::Number, 8, 9},      {JsonToken::Number, 11, 15}, {JsonToken::True, 17, 21},
      {JsonToken::ArrayEnd, 21, 22},  {JsonToken::Key, 24, 28},    {JsonToken::ObjectBegin, 28, 29},
      {JsonToken::ObjectEnd, 29, 30}, {JsonToken::Key, 32, 36},    {JsonToken::Null, 37, 41},
      {JsonToken::ObjectEnd, 41, 42}, {JsonToken::End, 43, 43},    {JsonToken::End, 43, 43},
  };
  for (const Step& step : steps) {
    EXPECT_EQ(cursor.next(), step.token) << "at " << step.at;
    EXPECT_EQ(cursor.offset(), 1000 + step.at);
    EXPECT_EQ(cursor.end_offset(), 1000 + step.end);
  }
}

TEST(Json, AcceptsEveryConstructOfTheGrammar) {
  for (const char* text : {"{}",
                           "[]",
                           "0",
                           "-0",
                           "1e5",
                           "1E+5",
                           "1.5e-3",
                           "\"\"",
                           "true",
                           "false",
                           "null",
                           "[[],{}]",
                           "{\"\":{\"\":[]}}",
                           " \t\r\n1\n",
                           R"("\"\\\/\b\f\n\r\t\u0041\ud83d\ude00")",
                           "\"\xF0\x9F\x98\x80\"",
                           "\"\x7F\"",
                           "123456789012345678901234567890",
                           "1e-400",
                           "0e99999999999999999999"})
    EXPECT_EQ(fault_at(text), std::nullopt) << text;
}

TEST(Json, RefusesWithTheOffsetOfTheFault) {
  struct Case {
    const char* text;
    std::uint64_t at;
  };
  for (const Case& c : std::vector<Case>{{"", 0},
                                         {" ", 1},
                                         {"{", 1},
                                         {"[", 1},
                                         {"[1", 2},
                                         {"[1,", 3},
                                         {"[1,]", 3},
                                         {"[,1]", 1},
                                         {"[1 2]", 3},
                                         {"{1:2}", 1},
                                         {"{\"a\"}", 4},
                                         {"{\"a\":}", 5},
                                         {"{\"a\":1,}", 7},
                                         {"{\"a\" 1}", 5},
                                         {"{\"a\":1 \"b\":2}", 7},
                                         {"[}", 1},
                                         {"{]", 1},
                                         {"1 2", 2},
                                         {"{}x", 2},
                                         {"NaN", 0},
                                         {"Infinity", 0},
                                         {"-", 1},
                                         {"-Infinity", 1},
                                         {"+1", 0},
                                         {"01", 1},
                                         {"-01", 2},
                                         {".5", 0},
                                         {"1.", 2},
                                         {"1.e5", 2},
                                         {"1e", 2},
                                         {"1e+", 3},
                                         {"0x10", 1},
                                         {"1e400", 0},
                                         {"-1e309", 0},
                                         {"tru", 3},
                                         {"nulL", 3},
                                         {"'a'", 0},
                                         {"\"a", 2},
                                         {"\"a\nb\"", 2},
                                         {"\"\x1F\"", 1},
                                         {"\"\\x41\"", 2},
                                         {"\"\\u12G4\"", 5},
                                         {"\"\\ud800\"", 1},
                                         {"\"\\udc00\"", 1},
                                         {"\"\\udc00\\udc00\"", 1},
                                         {"\"\\ud800\\u0041\"", 1},
                                         {"\"\\ud800\\ud800\"", 1},
                                         {"\"a\xC0\x80\"", 2},
                                         {"\"\xED\xA0\x80\"", 1},
                                         {"\"\xF5\x80\x80\x80\"", 1},
                                         {"\"\xFF\"", 1},
                                         {"\"\xC3\"", 1},
                                         {"// c\n1", 0},
                                         {"[1/**/]", 2},
                                         {"\xEF\xBB\xBF{}", 0},
                                         {"{\"a\":1}}", 7},
                                         {"1\v", 1}}) {
    EXPECT_EQ(fault_at(c.text), c.at) << c.text;
    EXPECT_EQ(fault_at(c.text, 4096), 4096 + c.at) << c.text;
  }
  const std::string with_nul("[1,\0]", 5);
  EXPECT_EQ(fault_at(with_nul), 3U);
}

TEST(Json, AFaultStaysAndSaysWhatWasExpected) {
  JsonCursor cursor("[1;2]");
  EXPECT_EQ(cursor.next(), JsonToken::ArrayBegin);
  EXPECT_EQ(cursor.next(), JsonToken::Number);
  EXPECT_EQ(cursor.next(), JsonToken::Fault);
  EXPECT_EQ(cursor.next(), JsonToken::Fault);
  EXPECT_EQ(cursor.fault().expected, "',' or ']'");
  EXPECT_EQ(cursor.fault().found, "';'");
}

TEST(Json, EveryPrefixOfADocumentIsRefusedAtItsEnd) {
  const std::string text = R"({"k":[1.5e3,"\ud83d\ude00\n",true,null,{"x":-0}]})";
  for (std::size_t n = 0; n < text.size(); ++n) {
    const auto at = fault_at(std::string_view(text).substr(0, n));
    ASSERT_TRUE(at.has_value()) << n;
    EXPECT_LE(*at, n);
  }
  EXPECT_EQ(fault_at(text), std::nullopt);
}

TEST(Json, DepthIsBounded) {
  const std::size_t deepest = JsonCursor::kMaxDepth;
  EXPECT_EQ(fault_at(std::string(deepest, '[') + std::string(deepest, ']')), std::nullopt);
  EXPECT_EQ(fault_at(std::string(deepest + 1, '[') + std::string(deepest + 1, ']')), deepest);
  JsonCursor cursor(std::string_view("[]"));
  const std::string bomb(1'000'000, '[');
  EXPECT_EQ(fault_at(bomb), deepest);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(fault_at(objects), deepest * 5);
}

TEST(Json, StringsAreDecoded) {
  EXPECT_EQ(string_of(R"("plain")"), "plain");
  EXPECT_EQ(string_of(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(string_of(R"("\u0041\u00e9\u20ac\ud83d\ude00!")"), "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80!");
  EXPECT_EQ(string_of(R"("\ud800\udc00\udbff\udfff")"), "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF");
  EXPECT_EQ(string_of(R"("a\u0000b")"), std::string("a\0b", 3));
}

TEST(Json, KeysAreDecodedToo) {
  JsonCursor cursor(R"({"\u0061b" : 1})");
  cursor.next();
  EXPECT_EQ(cursor.next(), JsonToken::Key);
  EXPECT_TRUE(cursor.has_escapes());
  EXPECT_EQ(cursor.text(), "ab");
  EXPECT_EQ(cursor.raw(), "\\u0061b");
}

TEST(Json, IntegersAreExactAndTheRestIsDouble) {
  EXPECT_EQ(number_of("18446744073709551615").type(), ValueType::U64);
  EXPECT_EQ(number_of("18446744073709551615").as_u64(), 18446744073709551615U);
  EXPECT_EQ(number_of("-9223372036854775808").type(), ValueType::I64);
  EXPECT_EQ(number_of("-9223372036854775808").as_i64(), INT64_MIN);
  EXPECT_EQ(number_of("18446744073709551616").type(), ValueType::F64);
  EXPECT_EQ(number_of("-9223372036854775809").type(), ValueType::F64);
  EXPECT_EQ(number_of("2.0").type(), ValueType::F64);
  EXPECT_EQ(number_of("2e0").type(), ValueType::F64);
  EXPECT_EQ(number_of("1e-400").as_f64(), 0.0);
  EXPECT_EQ(number_of("0.00001e5").as_f64(), 1.0);
  EXPECT_EQ(number_of("1.7976931348623157e308").as_f64(), 1.7976931348623157e308);
  EXPECT_EQ(number_of("4.9406564584124654e-324").as_f64(), 4.9406564584124654e-324);
}

TEST(Json, ALongNumberIsFiniteOrRefused) {
  EXPECT_EQ(fault_at("1" + std::string(400, '0')), 0U);
  EXPECT_EQ(fault_at("0." + std::string(400, '0') + "1"), std::nullopt);
  EXPECT_EQ(fault_at("1" + std::string(400, '0') + "e-400"), std::nullopt);
}

TEST(Json, SkipValuePassesWhateverStandsThere) {
  for (const std::string value : {"1", "\"x\"", "null", "[1,[2,{\"a\":[]}]]", "{\"a\":{\"b\":[{}]}}"}) {
    const std::string text = "{\"k\":" + value + ",\"last\":2}";
    JsonCursor cursor(text);
    cursor.next();
    cursor.next();
    cursor.next();
    EXPECT_TRUE(cursor.skip_value());
    EXPECT_EQ(cursor.next(), JsonToken::Key);
    EXPECT_EQ(cursor.raw(), "last");
  }
  JsonCursor broken(std::string_view("[1,[2,}]"));
  broken.next();
  EXPECT_FALSE(broken.skip_value());
  EXPECT_EQ(broken.fault().offset, 6U);
}

class JsonArrays : public ::testing::Test {
 protected:
  Value value_of(std::string_view text, std::uint64_t base) {
    JsonCursor cursor(text, base);
    cursor.next();
    return json_value(cursor, text, base, [this](std::string s) -> std::string_view { return kept_.emplace_back(s); });
  }
  std::deque<std::string> kept_;
};

TEST_F(JsonArrays, StayTextAndAreWalked) {
  const std::string text = R"(["a","b\n",3,-4,2.5,true,null,[1,2],{"k":[]}])";
  const Value value = value_of(text, 64);
  ASSERT_NE(value.as_array(), nullptr);
  const ArrayRef& array = *value.as_array();
  EXPECT_EQ(array.encoding, ArrayRef::Encoding::Json);
  EXPECT_EQ(array.count, 9U);
  EXPECT_EQ(array.element, ValueType::String);
  EXPECT_EQ(array.offset, 64U);
  EXPECT_EQ(array.bytes.size(), text.size());
  std::string seen;
  json_for_each(array, [&seen](std::uint64_t i, const Value& v) {
    seen += std::to_string(i) + ":" + std::to_string(static_cast<int>(v.type()));
    if (const auto s = v.as_string()) seen += "=" + std::string(*s);
    if (v.as_array() != nullptr)
      seen += "[" + std::to_string(v.as_array()->count) + "@" + std::to_string(v.as_array()->offset);
    if (v.as_object() != nullptr)
      seen += std::string(v.as_object()->text) + "@" + std::to_string(v.as_object()->offset);
    seen += " ";
    return true;
  });
  EXPECT_EQ(seen, "0:8=a 1:8=b\n 2:10 3:11 4:12 5:7 6:13 7:9[2@" + std::to_string(64 + text.find("[1,2]")) +
                      " 8:14{\"k\":[]}@" + std::to_string(64 + text.find("{\"k\"")) + " ");
}

TEST_F(JsonArrays, StopWhenTheVisitorHasEnough) {
  const std::string text = "[1,2,3,4]";
  const Value value = value_of(text, 0);
  int visits = 0;
  json_for_each(*value.as_array(), [&visits](std::uint64_t, const Value&) { return ++visits < 2; });
  EXPECT_EQ(visits, 2);
}

TEST_F(JsonArrays, OfAFileThatChangedEndTheWalkQuietly) {
  const std::string text = "[1,2,3,4]";
  ArrayRef array = *value_of(text, 0).as_array();
  const std::string zeroed("[1,2\0\0\0\0", 9);
  array.bytes = std::as_bytes(std::span(zeroed.data(), zeroed.size()));
  int visits = 0;
  json_for_each(array, [&visits](std::uint64_t, const Value&) { return ++visits < 100; });
  EXPECT_EQ(visits, 2);
}

TEST_F(JsonArrays, KeepOnlyStringsWithEscapes) {
  const std::string plain = "\"abc\"", escaped = R"("a\tc")";
  EXPECT_EQ(value_of(plain, 0).as_string()->data(), plain.data() + 1);
  EXPECT_TRUE(kept_.empty());
  EXPECT_EQ(value_of(escaped, 0).as_string(), "a\tc");
  EXPECT_EQ(kept_.size(), 1U);
}

}  // namespace
}  // namespace apr::format
