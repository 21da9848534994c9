#include "src/convert/synth_vocab.h"

#include <algorithm>
#include <cstdio>
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "apr/core/error.h"

namespace apr::convert {
namespace {

constexpr std::string_view kWords[] = {
#include "src/convert/synth_words.def"
};

// Special tokens and their ids: tokenizer_config.json of the published models named in synth_presets.def.
constexpr std::string_view kQwenSpecials[] = {
    "<|endoftext|>",  "<|im_start|>",   "<|im_end|>",      "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>",  "<|box_end|>",    "<|quad_start|>",  "<|quad_end|>",         "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>",   "<|video_pad|>",        "<tool_call>",
    "</tool_call>",   "<|fim_prefix|>", "<|fim_middle|>",  "<|fim_suffix|>",       "<|fim_pad|>",
    "<|repo_name|>",  "<|file_sep|>",   "<tool_response>", "</tool_response>",     "<think>",
    "</think>",
};
constexpr std::size_t kQwen2SpecialCount = 22;  // the last four came with Qwen3
constexpr std::size_t kQwenFirstSpecial = 151643;

constexpr std::string_view kLlamaSpecials[] = {
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
};
constexpr std::size_t kLlamaFirstSpecial = 128000;
constexpr std::size_t kTinyLlamaSpecialCount = 16;

constexpr std::string_view kChatmlTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr std::string_view kLlama3Template =
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";
constexpr std::string_view kGemmaTemplate =
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' "
    "else "
    "message['role']) + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if "
    "add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";

std::string utf8(unsigned code_point) {  // below U+0800
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 0x3F))};
}

bool is_plain_byte(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// Adds tokens and merges until the vocabulary has `target` tokens.
class Composer {
 public:
  Composer(Vocab& vocab, std::size_t target) : vocab_(vocab), target_(target) {}

  void token(std::string text, TokenKind kind) {
    if (kind == TokenKind::Normal) known_.insert(text);
    vocab_.tokens.push_back(std::move(text));
    vocab_.kinds.push_back(kind);
  }
  bool full() const { return vocab_.tokens.size() >= target_; }
  bool knows(const std::string& text) const { return known_.contains(text); }
  void merge(const std::string& left, const std::string& right) {
    std::string joined = left + right;
    if (full() || knows(joined)) return;
    vocab_.merges.emplace_back(left, right);
    token(std::move(joined), TokenKind::Normal);
  }
  // Words letter by letter, with and without the space before them; then pairs of words as one token.
  void compose(const std::string& space) {
    for (const std::string_view word : kWords) {
      join(letters(space, word));
      join(letters({}, word));
    }
    for (const std::string& before : {space, std::string()}) {
      for (const std::string_view first : kWords) {
        for (const std::string_view second : kWords) {
          if (full()) return;
          merge(before + std::string(first), std::string(second));
        }
      }
    }
    APR_CHECK(full());  // the word list is long enough for every preset
  }

 private:
  // Makes a word one token for good: joins what the merges so far leave of it. A later merge ranks behind all of these,
  // so it cannot come between them.
  void join(std::vector<std::string> pieces) {
    apply_merges(pieces);
    while (pieces.size() > 1 && !full()) {
      ranks_.try_emplace(pieces[0] + " " + pieces[1], vocab_.merges.size());
      merge(pieces[0], pieces[1]);
      replace_pair(pieces, 0);
    }
  }
  void apply_merges(std::vector<std::string>& pieces) const {
    while (true) {
      std::size_t best = ranks_.size(), at = 0;
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
        const auto found = ranks_.find(pieces[i] + " " + pieces[i + 1]);
        if (found != ranks_.end() && found->second < best) {
          best = found->second;
          at = i;
        }
      }
      if (best == ranks_.size()) return;
      replace_pair(pieces, at);
    }
  }
  static void replace_pair(std::vector<std::string>& pieces, std::size_t at) {
    pieces[at] += pieces[at + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  static std::vector<std::string> letters(const std::string& before, std::string_view word) {
    std::vector<std::string> pieces;
    if (!before.empty()) pieces.push_back(before);
    for (const char letter : word) pieces.emplace_back(1, letter);
    return pieces;
  }
  Vocab& vocab_;
  std::size_t target_;
  std::unordered_set<std::string> known_;
  std::unordered_map<std::string, std::size_t> ranks_;  // "left right": pieces hold no space
};

void add_bytes(Composer& composer) {
  for (const bool plain : {true, false}) {  // GPT-2's order: bytes that stand for themselves, then the others
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (is_plain_byte(byte) == plain)
        composer.token(byte_letter(static_cast<unsigned char>(byte)), TokenKind::Normal);
    }
  }
}

void add_special(Vocab& vocab, Composer& composer, std::string_view text, TokenKind kind) {
  vocab.special_ids.push_back(static_cast<std::uint32_t>(vocab.tokens.size()));
  composer.token(std::string(text), kind);
}

void pad_to(Vocab& vocab, Composer& composer, std::size_t n_vocab) {
  while (vocab.tokens.size() < n_vocab) {
    composer.token("[PAD" + std::to_string(vocab.tokens.size()) + "]", TokenKind::Unused);
  }
}

void make_qwen(Vocab& vocab, const SynthPreset& preset) {
  const std::size_t n_specials = preset.arch == "qwen3" ? std::size(kQwenSpecials) : kQwen2SpecialCount;
  const bool full_size = preset.n_vocab > kQwenFirstSpecial + n_specials;
  const std::size_t first = full_size ? kQwenFirstSpecial : preset.n_vocab - n_specials - 2;
  Composer composer(vocab, first);
  add_bytes(composer);
  composer.compose(byte_letter(' '));
  for (const std::string_view text : std::span(kQwenSpecials).first(n_specials)) {
    const bool control = text.starts_with("<|");
    add_special(vocab, composer, text, control ? TokenKind::Control : TokenKind::UserDefined);
  }
  pad_to(vocab, composer, preset.n_vocab);
  vocab.pre = "qwen2";
  vocab.chat_template = kChatmlTemplate;
  vocab.bos = vocab.pad = static_cast<std::uint32_t>(first);
  vocab.eos = static_cast<std::uint32_t>(first + 2);
}

void make_llama3(Vocab& vocab, const SynthPreset& preset) {
  const bool full_size = preset.n_vocab > kLlamaFirstSpecial;
  const std::size_t first = full_size ? kLlamaFirstSpecial : preset.n_vocab - kTinyLlamaSpecialCount;
  Composer composer(vocab, first);
  add_bytes(composer);
  composer.compose(byte_letter(' '));
  for (const std::string_view text : kLlamaSpecials) add_special(vocab, composer, text, TokenKind::Control);
  for (int reserved = 3; vocab.tokens.size() < preset.n_vocab; ++reserved) {
    add_special(vocab, composer, "<|reserved_special_token_" + std::to_string(reserved) + "|>", TokenKind::Control);
  }
  vocab.pre = "llama-bpe";
  vocab.chat_template = kLlama3Template;
  vocab.add_bos = true;
  vocab.bos = static_cast<std::uint32_t>(first);
  vocab.pad = static_cast<std::uint32_t>(first + 4);
  vocab.eos = static_cast<std::uint32_t>(first + 9);
}

void make_gemma(Vocab& vocab, const SynthPreset& preset) {
  Composer composer(vocab, preset.n_vocab);
  const auto special = [&](const std::string& text, TokenKind kind) { add_special(vocab, composer, text, kind); };
  const auto unused = [&](int number) { special("<unused" + std::to_string(number) + ">", TokenKind::Control); };
  for (const char* text : {"<pad>", "<eos>", "<bos>"}) special(text, TokenKind::Control);
  special("<unk>", TokenKind::Unknown);
  special("<mask>", TokenKind::Control);
  special("[multimodal]", TokenKind::Control);
  for (int i = 0; i < 99; ++i) unused(i);
  special("<start_of_turn>", TokenKind::Control);
  special("<end_of_turn>", TokenKind::Control);
  for (std::size_t n = 1; n <= 31; ++n) special(std::string(n, '\n'), TokenKind::UserDefined);
  for (std::size_t n = 2; n <= 31; ++n) special(std::string(n, ' '), TokenKind::UserDefined);
  for (int i = 99; vocab.tokens.size() < 238; ++i) unused(i);  // ids of the published vocabulary's markup tokens
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    composer.token(text, TokenKind::Byte);
  }
  const std::string space = "\xE2\x96\x81";  // U+2581, SentencePiece's space
  composer.token(space, TokenKind::Normal);
  for (char letter = '!'; letter <= '~'; ++letter) composer.token(std::string(1, letter), TokenKind::Normal);
  composer.compose(space);
  // SentencePiece joins the pair whose whole has the highest score: rank order as a falling score.
  double rank = 0.0;
  for (const TokenKind kind : vocab.kinds) vocab.scores.push_back(kind == TokenKind::Normal ? -(rank += 1.0) : 0.0);
  vocab.pre = "default";
  vocab.chat_template = kGemmaTemplate;
  vocab.add_bos = true;
  vocab.pad = 0;
  vocab.eos = 1;
  vocab.bos = 2;
  vocab.unk = 3;
}

}  // namespace

std::string byte_letter(unsigned char byte) {
  if (is_plain_byte(byte)) return utf8(byte);
  unsigned rank = 0;  // among the bytes that do not stand for themselves
  for (unsigned b = 0; b < byte; ++b) rank += is_plain_byte(b) ? 0U : 1U;
  return utf8(256 + rank);
}

Vocab make_vocab(const SynthPreset& preset) {
  Vocab vocab;
  vocab.kind = preset.vocab_kind;
  vocab.tokens.reserve(preset.n_vocab);
  switch (preset.vocab_kind) {
    case VocabKind::Qwen: make_qwen(vocab, preset); break;
    case VocabKind::Llama3: make_llama3(vocab, preset); break;
    case VocabKind::Gemma: make_gemma(vocab, preset); break;
  }
  APR_CHECK(vocab.tokens.size() == preset.n_vocab);
  return vocab;
}

}  // namespace apr::convert
