// The tokenizers on small vocabularies: merges against a direct computation, special tokens, offsets, streams.
// The families of real models are held against llama.cpp by tests/conformance/tokenizer_cases.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "apr/format/writer.h"
#include "apr/model/tokenizer.h"
#include "tests/support/json_builder.h"

namespace apr::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Ids = std::vector<std::int32_t>;

struct VocabFile {
  std::string family = "gpt2", pre = "gpt-2";
  std::vector<std::string> tokens;
  std::vector<std::int64_t> kinds;  // as long as tokens, or empty: all normal
  std::vector<double> scores;
  std::vector<std::string> merges;
  std::vector<format::WriteEntry> more;

  std::int32_t add(std::string text, TokenKind kind = TokenKind::Normal, double score = 0) {
    tokens.push_back(std::move(text));
    kinds.push_back(static_cast<std::int64_t>(kind));
    scores.push_back(score);
    return static_cast<std::int32_t>(tokens.size()) - 1;
  }

  [[nodiscard]] Tokenizer open() const {
    using format::WriteValue;
    std::vector<format::WriteEntry> metadata = {{"tokenizer.ggml.model", WriteValue::string(family)},
                                                {"tokenizer.ggml.tokens", WriteValue::strings(tokens)},
                                                {"tokenizer.ggml.token_type", WriteValue::i32s(kinds)},
                                                {"tokenizer.ggml.scores", WriteValue::f32s(scores)}};
    if (family == "gpt2") {
      metadata.push_back({"tokenizer.ggml.pre", WriteValue::string(pre)});
      metadata.push_back({"tokenizer.ggml.merges", WriteValue::strings(merges)});
    }
    metadata.insert(metadata.end(), more.begin(), more.end());
    const test::TempFolder folder;
    const auto writer = format::make_writer(format::Format::Gguf, folder.path("vocab.gguf"));
    writer->begin(metadata, {});
    writer->finish();
    return Tokenizer::from_model(format::open_model(folder.path("vocab.gguf")));
  }
};

/// Letters, space, line end and the two bytes of é as the byte alphabet of GPT-2 spells them.
VocabFile letters() {
  VocabFile v;
  for (const char c : std::string("abcdefgh<>|/!")) v.add({c});
  for (const char* text : {"Ġ", "Ċ", "Ã", "©"}) v.add(text);
  return v;
}

/// `rounds` random pairs of what is there, as tokens and merges.
VocabFile random_merges(std::mt19937& random, int rounds) {
  VocabFile v;
  for (const char c : std::string("abcd")) v.add({c});
  for (int i = 0; i < rounds; ++i) {
    const std::string left = v.tokens[random() % v.tokens.size()], right = v.tokens[random() % v.tokens.size()];
    if (left.size() + right.size() > 9 || std::find(v.tokens.begin(), v.tokens.end(), left + right) != v.tokens.end())
      continue;
    v.add(left + right, TokenKind::Normal, -static_cast<double>(random() % 12));
    v.merges.push_back(left + " " + right);
  }
  return v;
}

std::string random_text(std::mt19937& random, std::string_view alphabet) {
  std::string text(random() % 60, ' ');
  for (char& c : text) c = alphabet[random() % alphabet.size()];
  return text;
}

/// Merges the best neighbours again and again: `rank` is smaller for better ones, nothing for those that do not merge.
template <class Rank>
std::vector<std::string> merged_one_by_one(std::string_view text, Rank rank) {
  std::vector<std::string> parts;
  for (const char c : text) parts.emplace_back(1, c);
  for (;;) {
    std::optional<double> best;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const std::optional<double> r = rank(parts[i], parts[i + 1]);
      if (r && (!best || *r < *best)) best = r, at = i;
    }
    if (!best) return parts;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(Tokenizer, BpeMergesAsADirectComputationDoes) {
  std::mt19937 random(1);
  int n_merged = 0;
  for (int round = 0; round < 30; ++round) {
    const VocabFile v = random_merges(random, 60);
    const Tokenizer tokenizer = v.open();
    for (int i = 0; i < 40; ++i) {
      const std::string text = random_text(random, "abcd");
      const auto parts = merged_one_by_one(text, [&](const auto& left, const auto& right) -> std::optional<double> {
        const auto found = std::find(v.merges.begin(), v.merges.end(), left + " " + right);
        if (found == v.merges.end()) return std::nullopt;
        return static_cast<double>(found - v.merges.begin());
      });
      Ids expected;
      for (const auto& part : parts) expected.push_back(*tokenizer.find(part));
      n_merged += parts.size() < text.size();
      ASSERT_EQ(tokenizer.encode(text), expected) << text;
      ASSERT_EQ(tokenizer.decode(expected), text);
    }
  }
  EXPECT_GT(n_merged, 500);
}

/// Every byte as <0xHH>, after <unk>, <s> and </s>.
VocabFile sentencepiece() {
  VocabFile v;
  v.family = "llama";
  v.add("<unk>", TokenKind::Unknown);
  v.add("<s>", TokenKind::Control);
  v.add("</s>", TokenKind::Control);
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    v.add(text, TokenKind::Byte);
  }
  return v;
}

TEST(Tokenizer, SpmMergesByScoreAndFallsBackToBytes) {
  std::mt19937 random(2);
  for (int round = 0; round < 30; ++round) {
    VocabFile v = sentencepiece();
    const VocabFile drawn = random_merges(random, 60);
    for (std::size_t i = 0; i < drawn.tokens.size(); ++i) v.add(drawn.tokens[i], TokenKind::Normal, drawn.scores[i]);
    v.more = {{"tokenizer.ggml.add_space_prefix", format::WriteValue::boolean(false)},
              {"tokenizer.ggml.add_bos_token", format::WriteValue::boolean(false)}};
    const Tokenizer tokenizer = v.open();
    for (int i = 0; i < 40; ++i) {
      const std::string text = random_text(random, "abcdz");  // z is no token
      const auto parts = merged_one_by_one(text, [&](const auto& left, const auto& right) -> std::optional<double> {
        const auto found = std::find(v.tokens.begin(), v.tokens.end(), left + right);
        if (found == v.tokens.end()) return std::nullopt;
        return -v.scores[static_cast<std::size_t>(found - v.tokens.begin())];
      });
      Ids expected;
      for (const auto& part : parts)
        expected.push_back(part == "z" ? *tokenizer.find("<0x7A>") : *tokenizer.find(part));
      ASSERT_EQ(tokenizer.encode(text), expected) << text;
      ASSERT_EQ(tokenizer.decode(expected), text);
    }
  }
}

// Merging symbol by symbol over the whole text, as the computation above does, would run into the limit of the test
// runner here.
TEST(Tokenizer, AMegabyteOfOneCharacter) {
  VocabFile v = letters();
  std::string run = "a";
  while (run.size() < 16) {
    v.merges.push_back(run + " " + run);
    run += run;
    v.add(run);
  }
  const Tokenizer tokenizer = v.open();
  const Ids ids = tokenizer.encode(std::string(1 << 20, 'a'));
  EXPECT_EQ(ids.size(), (1U << 20) / 16);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer.find(run)), (1 << 20) / 16);

  VocabFile spm = sentencepiece();
  for (const char* text : {"a", "aa", "aaaa"}) spm.add(text, TokenKind::Normal, -static_cast<double>(strlen(text)));
  const Ids pieces = spm.open().encode(std::string(1 << 20, 'a'), {.add_special = false});
  EXPECT_EQ(pieces.size(), (1U << 20) / 4 + 3) << "the space in front is three bytes without a token";
}

TEST(Tokenizer, AMegabyteOfWordsIsItsWords) {
  std::mt19937 random(3);
  VocabFile v = letters();
  for (const char* merge : {"a b", "c d", "ab cd", "e f", "Ġ a", "Ġ ab", "Ġab cd"}) {
    v.merges.push_back(merge);
    std::string token = merge;
    token.erase(token.find(' '), 1);
    v.add(token);
  }
  const Tokenizer tokenizer = v.open();
  std::string text;
  Ids expected;
  while (text.size() < (1 << 20)) {
    const std::string word = " " + random_text(random, "abcdef");
    const Ids ids = tokenizer.encode(word);
    expected.insert(expected.end(), ids.begin(), ids.end());
    text += word;
  }
  EXPECT_EQ(tokenizer.encode(text) == expected, true);  // not EXPECT_EQ of both: half a million ids in a message
}

struct Chat {
  VocabFile vocab = letters();
  std::int32_t end = vocab.add("<|e|>", TokenKind::Control), mark = vocab.add("ab", TokenKind::UserDefined);
  std::int32_t bos = vocab.add("<b>", TokenKind::Control), eos = vocab.add("</b>", TokenKind::Control);
  Chat() {
    vocab.more = {{"tokenizer.ggml.bos_token_id", format::WriteValue::u32(static_cast<std::uint32_t>(bos))},
                  {"tokenizer.ggml.eos_token_id", format::WriteValue::u32(static_cast<std::uint32_t>(eos))},
                  {"tokenizer.ggml.add_bos_token", format::WriteValue::boolean(true)},
                  {"tokenizer.ggml.add_eos_token", format::WriteValue::boolean(true)}};
  }
};

TEST(Tokenizer, ControlTokensAreParsedOnlyWhenAskedFor) {
  const Chat chat;
  const Tokenizer t = chat.vocab.open();
  const auto id = [&](const char* text) { return *t.find(text); };
  EXPECT_THAT(t.encode("cab<|e|>", {.add_special = false, .parse_special = true}),
              ElementsAre(id("c"), chat.mark, chat.end));
  EXPECT_THAT(t.encode("cab<|e|>", {.add_special = false, .parse_special = false}),
              ElementsAre(id("c"), chat.mark, id("<"), id("|"), id("e"), id("|"), id(">")));
  EXPECT_THAT(t.encode("c"), ElementsAre(chat.bos, id("c"), chat.eos));
  EXPECT_EQ(t.decode(Ids{chat.bos, id("c"), chat.end}), "c");
  EXPECT_EQ(t.decode(Ids{chat.bos, id("c"), chat.end}, {.keep_special = true}), "<b>c<|e|>");
  EXPECT_EQ(t.decode(Ids{chat.bos, id("c"), chat.eos}, {.keep_special = true, .strip_ends = true}), "c");
}

TEST(Tokenizer, FlagsOfTheFileDecideAboutEnds) {
  Chat chat;
  chat.vocab.more[2].value = format::WriteValue::boolean(false);
  const Tokenizer t = chat.vocab.open();
  EXPECT_FALSE(t.adds_bos());
  EXPECT_TRUE(t.adds_eos());
  EXPECT_THAT(t.encode("c"), ElementsAre(*t.find("c"), chat.eos));
}

TEST(Tokenizer, OffsetsLieOnTheText) {
  const Chat chat;
  const Tokenizer t = chat.vocab.open();
  const std::string text = "é ab<|e|>\nc";
  const Ids ids = t.encode(text, {.parse_special = true});
  const TokenOffsets offsets = t.offsets(text, ids, {.parse_special = true});
  EXPECT_EQ(offsets.absent_reason, "");
  using O = std::optional<std::uint64_t>;
  EXPECT_THAT(offsets.begin, ElementsAre(O{}, O{0}, O{1}, O{2}, O{3}, O{5}, O{10}, O{11}, O{}));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (offsets.begin[i]) EXPECT_EQ(text.compare(*offsets.begin[i], t.piece(ids[i]).size(), t.piece(ids[i])), 0);
  }
}

TEST(Tokenizer, OffsetsStepOverASpaceThatWasAddedAndStopWhereTheTextWasChanged) {
  VocabFile v = sentencepiece();
  v.add("▁a", TokenKind::Normal, -1);
  v.add("▁", TokenKind::Normal, -2);
  v.add("a", TokenKind::Normal, -2);
  const Tokenizer spm = v.open();
  const Ids ids = spm.encode("a a");
  using O = std::optional<std::uint64_t>;
  EXPECT_THAT(spm.offsets("a a", ids).begin, ElementsAre(O{}, O{0}, O{1}));

  const Tokenizer bpe = letters().open();
  const std::string bad = "a\xFF";  // becomes U+FFFD
  const auto offsets = bpe.offsets("a\xFFz", Ids{*bpe.find("a"), *bpe.find("b")}, {.add_special = false});
  EXPECT_THAT(offsets.begin, ElementsAre(O{0}, O{}));
  EXPECT_THAT(offsets.absent_reason, HasSubstr("byte 1"));
}

TEST(Tokenizer, AStreamNeverSplitsACharacter) {
  const Tokenizer t = letters().open();
  Detokenizer stream(t);
  const Ids ids = t.encode("aéa");
  ASSERT_EQ(ids.size(), 4U) << "é is two tokens here";
  std::vector<std::string> pieces;
  for (const auto id : ids) pieces.push_back(stream.push(id));
  EXPECT_THAT(pieces, ElementsAre("a", "", "é", "a"));
  EXPECT_EQ(stream.push(ids[1]), "");
  EXPECT_EQ(stream.finish(), "\xC3") << "half a character at the end is not lost";
}

void expect_refused(const VocabFile& vocab, const std::string& field, const std::string& says) {
  try {
    static_cast<void>(vocab.open());
    ADD_FAILURE() << field << ": not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::ModelLoad);
    EXPECT_EQ(error.field, field);
    EXPECT_THAT(error.message + error.expected + error.found + error.hint, HasSubstr(says));
  }
}

TEST(Tokenizer, VocabulariesThatCannotBeUsedAreRefused) {
  VocabFile v = letters();
  v.pre = "smolm";
  expect_refused(v, "tokenizer.ggml.pre", "smollm");
  v = letters();
  v.family = "rwkv";
  expect_refused(v, "tokenizer.ggml.model", "rwkv");
  v = letters();
  v.merges = {"ab"};
  expect_refused(v, "tokenizer.ggml.merges", "\"ab\" at index 0");
  v = letters();
  v.more = {{"tokenizer.ggml.bos_token_id", format::WriteValue::u32(9999)}};
  expect_refused(v, "tokenizer.ggml.bos_token_id", "9999");
  v = letters();
  v.more = {{"tokenizer.ggml.add_bos_token", format::WriteValue::boolean(true)}};
  v.pre = "glm4";  // names no default BOS
  expect_refused(v, "tokenizer.ggml.bos_token_id", "add_bos_token");
  v = letters();
  v.kinds.pop_back();
  expect_refused(v, "tokenizer.ggml.token_type", "16");
}

TEST(Tokenizer, IdsOutsideOfTheVocabularyAreRefused) {
  const Tokenizer t = letters().open();
  for (const std::int32_t id : {-1, t.n_vocab(), INT32_MAX}) {
    EXPECT_THROW(static_cast<void>(t.decode(Ids{id})), Error);
    EXPECT_THROW(static_cast<void>(t.piece(id)), Error);
  }
}

TEST(Tokenizer, AFileWithoutPreTokenizerIsReadWithAFinding) {
  VocabFile v = letters();
  v.pre = "";
  const Tokenizer t = v.open();
  ASSERT_FALSE(t.findings().empty());
  EXPECT_EQ(t.findings()[0].rule, "tokenizer.pre.missing");
}

}  // namespace
}  // namespace apr::model
