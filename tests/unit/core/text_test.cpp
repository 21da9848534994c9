#include "apr/core/text.h"

#include <gtest/gtest.h>

#include <string>

#include "apr/core/hash.h"

namespace apr {
namespace {

using namespace std::string_view_literals;

TEST(Escaped, NothingThatActsOnATerminalPasses) {
  EXPECT_EQ(escaped("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
  EXPECT_EQ(escaped("a\x1b[31mred"), "a\\e[31mred");
  EXPECT_EQ(escaped("a\0b\n\t\r\x07\x7f"sv), "a\\0b\\n\\t\\r\\x07\\x7f");
  EXPECT_EQ(escaped("\xff\xc0\xaf"), "\\xff\\xc0\\xaf");  // overlong '/'
  EXPECT_EQ(escaped("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(escaped("\xc2\x9b"
                    "31m"),
            "\\u{9b}31m");  // C1 CSI
  EXPECT_EQ(escaped("\xe2\x80\xae"
                    "gpj"),
            "\\u{202e}gpj");  // right-to-left override
  EXPECT_EQ(escaped("Größe 日本 🙂"), "Größe 日本 🙂");
  EXPECT_EQ(escaped("abcdef", 3), "abc…");
}

TEST(Escaped, EveryByteAloneIsPrintable) {
  for (int b = 0; b < 256; ++b) {
    for (const char c : escaped(std::string(1, static_cast<char>(b)))) {
      EXPECT_GE(static_cast<unsigned char>(c), 0x20U) << b;
      EXPECT_LT(static_cast<unsigned char>(c), 0x7FU) << b;
    }
  }
}

TEST(Utf8, ReportsTheFirstBadByte) {
  EXPECT_FALSE(invalid_utf8_at("plain äöü 🙂"));
  EXPECT_EQ(invalid_utf8_at("ab\xff"), 2U);
  EXPECT_EQ(invalid_utf8_at("\xf4\x90\x80\x80"), 0U);  // above U+10FFFF
  EXPECT_EQ(invalid_utf8_at("x\xe2\x82"), 1U);         // cut short
  EXPECT_EQ(to_valid_utf8("a\xff"
                          "b"),
            "a\xEF\xBF\xBD"
            "b");
}

TEST(Nearest, FindsTypos) {
  constexpr std::string_view kNames[] = {"header", "list", "raw", "tensor"};
  EXPECT_EQ(nearest("haeder", kNames).front(), "header");
  EXPECT_EQ(nearest("tens", kNames).front(), "tensor");
  EXPECT_TRUE(nearest("zzzzzzzz", kNames).empty());
  EXPECT_EQ(edit_distance("abc", "acb"), 1U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
}

TEST(Numbers, ForPeople) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(98362432), "98,362,432");
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(98362432), "93.8 MiB");
  EXPECT_EQ(human_bytes(1024), "1.00 KiB");
  EXPECT_EQ(human_bytes(~0ULL), "16.0 EiB");
  EXPECT_EQ(human_count(134515008), "135 M");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(999999), "1.00 M");
}

TEST(Glob, MatchesWholeNames) {
  EXPECT_TRUE(glob_match("blk.*.attn_?.weight", "blk.12.attn_q.weight"));
  EXPECT_FALSE(glob_match("blk.*.attn_?.weight", "blk.12.attn_norm.weight"));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_TRUE(glob_match("blk.[0-3].*", "blk.2.x"));
  EXPECT_FALSE(glob_match("blk.[!0-3].*", "blk.2.x"));
  EXPECT_TRUE(glob_match("a[b", "a[b"));
  // exponential in a matcher that recurses
  EXPECT_FALSE(glob_match(std::string(60, '*') + "b", std::string(5000, 'a')));
}

TEST(ParseU64, TakesTheWholeTextOrNothing) {
  EXPECT_EQ(parse_u64("0x1F"), 31U);
  EXPECT_EQ(parse_u64("18446744073709551615"), ~0ULL);
  for (const char* bad : {"", "0x", "-1", "+1", "1 ", " 1", "1k", "18446744073709551616", "0x10000000000000000", "1e3"})
    EXPECT_FALSE(parse_u64(bad)) << bad;
}

TEST(Hash, KnownVectors) {
  const auto bytes = std::as_bytes(std::span("123456789", 9));
  EXPECT_EQ(crc32(bytes), 0xCBF43926U);  // the check value of CRC-32/ISO-HDLC
  EXPECT_EQ(crc32(bytes.subspan(4), crc32(bytes.first(4))), 0xCBF43926U);
  EXPECT_EQ(sha256(bytes.first(0)), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256(bytes), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
}

}  // namespace
}  // namespace apr
