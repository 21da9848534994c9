// Tokenizers that work, of any size, composed from a short word list.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "apr/convert/synth.h"

namespace apr::convert {

/// Token types as llama.cpp numbers them (llama_token_type).
enum class TokenKind : std::uint8_t { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

struct Vocab {
  VocabKind kind = VocabKind::Qwen;
  std::vector<std::string> tokens;  // index = id; byte-level BPE tokens are spelled with GPT-2's byte alphabet
  std::vector<TokenKind> kinds;
  std::vector<double> scores;                               // Gemma only
  std::vector<std::pair<std::string, std::string>> merges;  // in rank order
  std::uint32_t bos = 0, eos = 0, pad = 0;
  std::uint32_t unk = 0;  // Gemma only
  bool add_bos = false;
  std::string_view pre;                    // tokenizer.ggml.pre
  std::string_view chat_template;          // Jinja
  std::vector<std::uint32_t> special_ids;  // of the named special tokens, ascending
};

/// A vocabulary of exactly preset.n_vocab tokens. Special tokens have the published ids where the vocabulary is large
/// enough, and stand at its end otherwise (Gemma's stand at its start).
[[nodiscard]] Vocab make_vocab(const SynthPreset& preset);

/// GPT-2's reversible byte alphabet: the UTF-8 text that stands for a byte in a byte-level token.
[[nodiscard]] std::string byte_letter(unsigned char byte);

}  // namespace apr::convert
