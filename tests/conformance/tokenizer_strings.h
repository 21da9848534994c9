// Random texts that tokenizers disagree about: made from a seed, so that goldens hold hashes and no texts.
// Includes nothing of apr: the program that asks llama.cpp compiles it, too.
#pragma once
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace tokenizer_strings {

/// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  /// The seed is hashed first: neighbouring seeds would otherwise give one sequence, moved by a place.
  explicit Random(std::uint64_t seed) : state_(seed) { state_ = next() * 0xD1342543DE82EF95ULL; }
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(next() % n); }
  template <std::size_t n>
  const char* pick(const char* const (&list)[n]) {
    return list[below(static_cast<std::uint32_t>(n))];
  }

 private:
  std::uint64_t state_;
};

inline void put(std::string& out, std::uint32_t c) {
  const auto byte = [&](std::uint32_t b) { out.push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xC0 | (c >> 6)), byte(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    byte(0xE0 | (c >> 12)), byte(0x80 | ((c >> 6) & 0x3F)), byte(0x80 | (c & 0x3F));
  } else {
    byte(0xF0 | (c >> 18)), byte(0x80 | ((c >> 12) & 0x3F)), byte(0x80 | ((c >> 6) & 0x3F)), byte(0x80 | (c & 0x3F));
  }
}

struct Block {
  std::uint32_t first, last;
};
/// Scripts, digits, marks, symbols and spaces; the last rows are whole planes with their holes.
inline constexpr Block kBlocks[] = {
    {0x20, 0x7E},        {0x00, 0x1F},       {0x7F, 0xA0},       {0xA1, 0xFF},       {0x100, 0x24F},
    {0x250, 0x2FF},      {0x300, 0x36F},     {0x370, 0x3FF},     {0x400, 0x4FF},     {0x530, 0x58F},
    {0x590, 0x5FF},      {0x600, 0x6FF},     {0x660, 0x669},     {0x900, 0x97F},     {0x966, 0x96F},
    {0x980, 0x9FF},      {0xE00, 0xE7F},     {0x1000, 0x109F},   {0x10A0, 0x10FF},   {0x1100, 0x11FF},
    {0x1780, 0x17FF},    {0x1C80, 0x1CBF},   {0x1E00, 0x1EFF},   {0x1F00, 0x1FFF},   {0x2000, 0x206F},
    {0x2070, 0x209F},    {0x20A0, 0x20CF},   {0x20D0, 0x20FF},   {0x2100, 0x214F},   {0x2150, 0x218F},
    {0x2190, 0x21FF},    {0x2200, 0x22FF},   {0x2460, 0x24FF},   {0x2500, 0x257F},   {0x2580, 0x259F},
    {0x2FF0, 0x303F},    {0x3040, 0x30FF},   {0x3100, 0x318F},   {0x31E0, 0x31FF},   {0x3400, 0x3500},
    {0x4E00, 0x5000},    {0x9F00, 0xA000},   {0xA640, 0xA69F},   {0xA700, 0xA7FF},   {0xAB30, 0xABBF},
    {0xAC00, 0xAD00},    {0xD700, 0xD7FF},   {0xE000, 0xE100},   {0xF900, 0xFAFF},   {0xFB00, 0xFB4F},
    {0xFE00, 0xFE6F},    {0xFF00, 0xFFEF},   {0xFFF0, 0xFFFF},   {0x10400, 0x104FF}, {0x1D7CE, 0x1D7FF},
    {0x1E900, 0x1E95F},  {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x20000, 0x20100}, {0x2A6C0, 0x2A720},
    {0x2B730, 0x2B940},  {0x2EBD0, 0x2EE70}, {0x2F800, 0x2FA2F}, {0xE0000, 0xE0200}, {0x10FF00, 0x10FFFF},
    {0x80, 0xFFF},       {0x1000, 0xD7FF},   {0xE000, 0xFFFF},   {0x10000, 0x1FFFF}, {0x20000, 0x3FFFF},
    {0x40000, 0x10FFFF},
};

inline constexpr const char* kWords[] = {
    "the",        "Hello", "world", "it's",       "I'LL",       "you'Re",        "don't",
    "he'd",       "We'Ve", "'s",    "'T",         "naïve",      "camelCaseWord", "HTTPServer",
    "snake_case", "x1y2",  "e.g.",  "C++",        "α",          "Straße",        "Привет",
    "мир",        "नमस्ते",  "สวัสดี",  "안녕하세요", "こんにちは", "世界",          "你好，",
    "。",         "ﬁ",     "é",     "e\xCC\x81",  "ǅ",          "İstanbul",      "ſ",
    "K",          "½",     "①",     "٣",          "x²"};
inline constexpr const char* kSpaces[] = {" ",      "  ",       "   ",      "    ",    "\t",      "\n",
                                          "\r\n",   "\n\n",     " \n ",     "\t\t",    "\r",      "\v",
                                          "\f",     "\xC2\x85", "\xC2\xA0", "\u3000",  "\u2003",  "\u2028",
                                          "\u180E", "\u200B",   "\u1680",   "\u00A0 ", " \u3000", "                 ",
                                          "\n    "};
inline constexpr const char* kMarks[] = {
    "!", "?!", "...", "(", ")", "[]", "{", "}", "\"", "'", "''", "--", "/",  "\\", "//", "/\n", "#", "$", "€",  "%",
    "^", "&",  "*",   "+", "=", "<",  ">", "|", "~",  "`", "@",  "_",  "。", "、", "「", "—",   "…", "’", "‘s", "।"};
inline constexpr const char* kTokens[] = {"<|im_start|>",
                                          "<|im_end|>",
                                          "<|endoftext|>",
                                          "<s>",
                                          "</s>",
                                          "<unk>",
                                          "<pad>",
                                          "[MASK]",
                                          "[CLS]",
                                          "[SEP]",
                                          "<mask>",
                                          "<|end|>",
                                          "<|user|>",
                                          "<|assistant|>",
                                          "<|begin_of_text|>",
                                          "<|eot_id|>",
                                          "<bos>",
                                          "<eos>",
                                          "<start_of_turn>",
                                          "<end_of_turn>",
                                          "<0x0A>",
                                          "\xE2\x96\x81",
                                          "\xE2\x96\x81<PRE>",
                                          "<fim_prefix>",
                                          "<|fim_middle|>",
                                          "<|file_sep|>",
                                          "<reponame>",
                                          "<div>",
                                          "</b>",
                                          "<|START_OF_TURN_TOKEN|>",
                                          "<think>",
                                          "<tool_call>",
                                          "<turn|>",
                                          "<|reserved_special_token_3|>"};
/// No well-formed UTF-8; none of them announces a code point above U+10FFFF.
inline constexpr const char* kBroken[] = {"\x80", "\xBF",     "\xC3",         "\xE4\xBD",     "\xF0\x9F\x98",
                                          "\xFF", "\xC0\x80", "\xED\xA0\x80", "\xE0\x80\x80", "\xF8"};

/// The text number `seed`. About one in ten holds bytes that are no UTF-8.
inline std::string text(std::uint64_t seed) {
  Random random(seed);
  std::string out;
  const bool broken = random.below(10) == 0;
  const auto& home = kBlocks[random.below(static_cast<std::uint32_t>(std::size(kBlocks)))];
  const auto n_parts = 1 + random.below(24);
  for (std::uint32_t i = 0; i < n_parts; ++i) {
    const auto kind = random.below(broken ? 13 : 12);
    if (kind < 3) {
      out += random.pick(kWords);
    } else if (kind < 5) {
      out += random.pick(kSpaces);
    } else if (kind == 5) {
      out += random.pick(kMarks);
    } else if (kind == 6) {
      for (auto n = 1 + random.below(12); n > 0; --n) out.push_back(static_cast<char>('0' + random.below(10)));
    } else if (kind == 7) {
      out += random.pick(kTokens);
    } else if (kind == 8) {
      const auto c = home.first + random.below(home.last - home.first + 1);
      for (auto n = 1 + random.below(9); n > 0; --n) put(out, c);
    } else if (kind == 12) {
      out += random.pick(kBroken);
    } else {
      const auto& block = kind == 9 ? home : kBlocks[random.below(static_cast<std::uint32_t>(std::size(kBlocks)))];
      for (auto n = 1 + random.below(10); n > 0; --n)
        put(out, block.first + random.below(block.last - block.first + 1));
    }
    if (random.below(3) == 0) out.push_back(' ');
  }
  return out;
}

/// FNV-1a over everything that is added; lengths are added, too.
class Digest {
 public:
  void add(std::string_view bytes) {
    add_number(bytes.size());
    for (const char c : bytes) step(static_cast<unsigned char>(c));
  }
  void add(const std::vector<std::int32_t>& ids) {
    add_number(ids.size());
    for (const auto id : ids) add_number(static_cast<std::uint32_t>(id));
  }
  std::uint32_t value() const { return static_cast<std::uint32_t>(hash_ ^ (hash_ >> 32)); }

 private:
  void add_number(std::uint64_t n) {
    for (int i = 0; i < 4; ++i) step(static_cast<unsigned char>(n >> (8 * i)));
  }
  void step(unsigned char byte) { hash_ = (hash_ ^ byte) * 0x100000001B3ULL; }
  std::uint64_t hash_ = 0xCBF29CE484222325ULL;
};

}  // namespace tokenizer_strings
