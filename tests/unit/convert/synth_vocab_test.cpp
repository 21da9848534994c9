#include "src/convert/synth_vocab.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "src/convert/synth_model.h"

namespace apr::convert {
namespace {

const SynthPreset& preset(std::string_view name) {
  return *std::ranges::find(synth_presets(), name, &SynthPreset::name);
}

// Greedy merging by rank, written anew: the pieces of one word.
std::vector<std::string> encode(const Vocab& vocab, std::vector<std::string> pieces) {
  std::map<std::pair<std::string, std::string>, std::size_t> rank;
  for (std::size_t i = 0; i < vocab.merges.size(); ++i) rank[vocab.merges[i]] = i;
  while (true) {
    std::size_t best = rank.size(), at = 0;
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto found = rank.find({pieces[i], pieces[i + 1]});
      if (found != rank.end() && found->second < best) best = found->second, at = i;
    }
    if (best == rank.size()) return pieces;
    pieces[at] += pieces[at + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(SynthVocab, ByteLettersAreGpt2s) {
  EXPECT_EQ(byte_letter('A'), "A");
  EXPECT_EQ(byte_letter('~'), "~");
  EXPECT_EQ(byte_letter(' '), "\xC4\xA0");   // U+0120
  EXPECT_EQ(byte_letter('\n'), "\xC4\x8A");  // U+010A
  EXPECT_EQ(byte_letter(0x7F), "\xC4\xA1");  // U+0121
  EXPECT_EQ(byte_letter(0xAD), "\xC5\x83");  // U+0143, the last
  EXPECT_EQ(byte_letter(0xFF), "\xC3\xBF");  // U+00FF
  std::set<std::string> letters;
  for (int b = 0; b < 256; ++b) letters.insert(byte_letter(static_cast<unsigned char>(b)));
  EXPECT_EQ(letters.size(), 256U);
}

TEST(SynthVocab, EveryPresetHasItsTrueSizeUniqueTokensAndSoundMerges) {
  for (const SynthPreset& p : synth_presets()) {
    SCOPED_TRACE(std::string(p.name));
    const Vocab vocab = make_vocab(p);
    ASSERT_EQ(vocab.tokens.size(), p.n_vocab);
    ASSERT_EQ(vocab.kinds.size(), p.n_vocab);
    std::set<std::string_view> all(vocab.tokens.begin(), vocab.tokens.end()), normal;
    EXPECT_EQ(all.size(), vocab.tokens.size());
    for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
      if (vocab.kinds[i] == TokenKind::Normal) normal.insert(vocab.tokens[i]);
    }
    for (const auto& [left, right] : vocab.merges) {
      ASSERT_TRUE(normal.contains(left) && normal.contains(right) && normal.contains(left + right)) << left << right;
    }
    EXPECT_GT(vocab.merges.size(), 400U);
    for (const std::uint32_t id : {vocab.bos, vocab.eos, vocab.pad}) EXPECT_EQ(vocab.kinds.at(id), TokenKind::Control);
  }
}

TEST(SynthVocab, SpecialTokensHaveTheirPublishedIds) {
  const Vocab qwen = make_vocab(preset("qwen2.5-0.5b"));
  EXPECT_EQ(qwen.tokens[151643], "<|endoftext|>");
  EXPECT_EQ(qwen.tokens[151645], "<|im_end|>");
  EXPECT_EQ(qwen.tokens[151657], "<tool_call>");
  EXPECT_EQ(qwen.kinds[151657], TokenKind::UserDefined);
  EXPECT_EQ(qwen.tokens[151664], "<|file_sep|>");
  EXPECT_EQ(qwen.tokens[151665], "[PAD151665]");
  EXPECT_EQ(qwen.kinds[151665], TokenKind::Unused);
  EXPECT_EQ(qwen.merges.size(), 151387U);  // as many as the published tokenizer has
  EXPECT_EQ(make_vocab(preset("qwen3-0.6b")).tokens[151667], "<think>");
  const Vocab llama = make_vocab(preset("llama-3.2-1b"));
  EXPECT_EQ(llama.tokens[128000], "<|begin_of_text|>");
  EXPECT_EQ(llama.tokens[128009], "<|eot_id|>");
  EXPECT_EQ(llama.tokens[128255], "<|reserved_special_token_247|>");
  const Vocab gemma = make_vocab(preset("gemma-3-270m"));
  EXPECT_EQ(gemma.tokens[2], "<bos>");
  EXPECT_EQ(gemma.tokens[106], "<end_of_turn>");
  EXPECT_EQ(gemma.tokens[107], "\n");
  EXPECT_EQ(gemma.tokens[238], "<0x00>");
  EXPECT_EQ(gemma.tokens[493], "<0xFF>");
  EXPECT_EQ(gemma.kinds[493], TokenKind::Byte);
}

TEST(SynthVocab, WordsBecomeOneTokenAndAnyBytesStayWhole) {
  const Vocab vocab = make_vocab(preset("tiny"));
  const auto letters = [](std::string_view text) {
    std::vector<std::string> pieces;
    for (const char c : text) pieces.push_back(byte_letter(static_cast<unsigned char>(c)));
    return pieces;
  };
  EXPECT_EQ(encode(vocab, letters(" the")), (std::vector<std::string>{"\xC4\xA0the"}));
  EXPECT_EQ(encode(vocab, letters("with")), (std::vector<std::string>{"with"}));
  const std::set<std::string> known(vocab.tokens.begin(), vocab.tokens.end());
  std::string every_byte;
  for (int b = 0; b < 256; ++b) every_byte += static_cast<char>(b);
  std::string joined, whole;
  for (const std::string& piece : encode(vocab, letters(every_byte))) {
    EXPECT_TRUE(known.contains(piece));
    joined += piece;
  }
  for (const std::string& letter : letters(every_byte)) whole += letter;
  EXPECT_EQ(joined, whole);
}

TEST(SynthVocab, EveryListedWordIsOneTokenOfAFullVocabulary) {
  constexpr std::string_view kWords[] = {
#include "src/convert/synth_words.def"
  };
  Vocab vocab = make_vocab(preset("qwen2.5-0.5b"));
  vocab.merges.resize(4000);  // the words stand first; the pairs of words would only slow this encoder down
  std::size_t n_words = 0;
  for (const std::string_view word : kWords) {
    for (const std::string before : {"", "\xC4\xA0"}) {
      std::vector<std::string> pieces;
      if (!before.empty()) pieces.push_back(before);
      for (const char c : word) pieces.emplace_back(1, c);
      EXPECT_EQ(encode(vocab, pieces), (std::vector<std::string>{before + std::string(word)}));
      ++n_words;
    }
  }
  EXPECT_EQ(n_words, 884U);
}

TEST(SynthVocab, GemmaScoresFallWithTheRank) {
  const Vocab vocab = make_vocab(preset("tiny-gemma3"));
  ASSERT_EQ(vocab.scores.size(), vocab.tokens.size());
  double previous = 0.0;
  std::size_t n_normal = 0;
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    if (vocab.kinds[i] != TokenKind::Normal) continue;
    EXPECT_LT(vocab.scores[i], previous);
    previous = vocab.scores[i];
    ++n_normal;
  }
  EXPECT_EQ(n_normal, 1024U - 494U);
}

}  // namespace
}  // namespace apr::convert
