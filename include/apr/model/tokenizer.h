// Text to token ids and back, from what the model file says about its vocabulary.
// Families: BPE (GPT-2 byte-level and raw UTF-8), SPM (SentencePiece BPE with scores), WPM (BERT WordPiece) and, from a
// tokenizer.json, Unigram. For a GGUF file the ids equal those of llama.cpp. docs/tokenizers.md lists the families.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/error.h"
#include "apr/format/model_file.h"

namespace apr::model {

namespace tok {
struct TokenizerState;
}

enum class TokenizerKind : std::uint8_t { Bpe, Spm, Wpm, Unigram };
[[nodiscard]] std::string_view name(TokenizerKind kind) noexcept;  // "bpe", "spm", "wpm", "unigram"

/// The numbers of `tokenizer.ggml.token_type`.
enum class TokenKind : std::uint8_t {
  Undefined = 0,
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6
};
[[nodiscard]] std::string_view name(TokenKind kind) noexcept;  // "normal", "control", ...

struct EncodeOptions {
  bool add_special = true;     // BOS, EOS, CLS, SEP as the model wants them
  bool parse_special = false;  // the text of a control token becomes that token; user-defined tokens always do
};

struct DecodeOptions {
  bool keep_special = false;  // print control and unknown tokens by their text instead of leaving them out
  bool strip_ends = false;    // first drop a leading BOS and a trailing EOS that encode() would have added
};

/// Where the tokens of a text begin in it.
struct TokenOffsets {
  /// A byte offset a token; nothing for a token that is not of the text (BOS) or that cannot be placed.
  std::vector<std::optional<std::uint64_t>> begin;
  /// Why tokens from some place on are without an offset; empty when every token of the text has one.
  std::string absent_reason;
};

/// Ids that the model names or that are known by their text; nothing where the vocabulary has none.
struct SpecialTokens {
  std::optional<std::int32_t> bos, eos, eot, eom, unk, sep, pad, mask;
  std::optional<std::int32_t> fim_prefix, fim_suffix, fim_middle, fim_pad, fim_repo, fim_file;
};

/// Immutable after construction; copies share the vocabulary. All const functions may be called from any thread.
class Tokenizer {
 public:
  /// From the metadata of a GGUF or APR file, or from the tokenizer.json beside a SafeTensors file.
  /// Throws ModelLoad, naming the key, for a vocabulary that cannot be used: none there, an unknown family or
  /// pre-tokenizer (with the nearest known names), arrays of the wrong type or length, merges that are no pair, ids out
  /// of range.
  [[nodiscard]] static Tokenizer from_model(const format::ModelFile& model);
  /// From a tokenizer.json; tokenizer_config.json beside it gives BOS and EOS when it exists.
  [[nodiscard]] static Tokenizer from_json_file(const std::string& path);

  /// Time is near linear in the length of the text. Ill-formed UTF-8 is encoded as U+FFFD (SPM: as its bytes).
  /// Throws Usage for more than 1 GiB of text, Inference when a pattern of the model gives up (its match limit).
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {}) const;
  /// Bytes of the ids; not always UTF-8. Throws Usage for an id that the vocabulary does not have.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, DecodeOptions options = {}) const;

  /// Where in `text` each token of `ids` begins, ids = encode(text, options). Pieces are laid along the text; a space
  /// that the tokenizer put in front or white space that it dropped is stepped over. Where a normaliser changed the
  /// text, the offsets end with a reason.
  [[nodiscard]] TokenOffsets offsets(std::string_view text, std::span<const std::int32_t> ids,
                                     EncodeOptions options = {}) const;

  /// The bytes that a token stands for (control tokens: their text). Throws Usage for an id out of range.
  [[nodiscard]] const std::string& piece(std::int32_t id) const;
  /// The text of a token as the vocabulary spells it. Throws Usage for an id out of range.
  [[nodiscard]] std::string_view text(std::int32_t id) const;
  [[nodiscard]] TokenKind kind_of(std::int32_t id) const;
  /// The id of a token by its spelling in the vocabulary.
  [[nodiscard]] std::optional<std::int32_t> find(std::string_view token_text) const;

  [[nodiscard]] std::int32_t n_vocab() const noexcept;
  [[nodiscard]] const SpecialTokens& special() const noexcept;
  [[nodiscard]] bool is_end_of_generation(std::int32_t id) const noexcept;
  [[nodiscard]] std::span<const std::int32_t> end_of_generation_ids() const noexcept;  // ascending
  /// Whether decode() leaves the token out without keep_special.
  [[nodiscard]] bool is_special(std::int32_t id) const;
  [[nodiscard]] bool adds_bos() const noexcept;
  [[nodiscard]] bool adds_eos() const noexcept;
  [[nodiscard]] bool adds_space_prefix() const noexcept;

  [[nodiscard]] TokenizerKind kind() const noexcept;
  [[nodiscard]] std::string_view model_name() const noexcept;     // "gpt2", "llama", "bert", "BPE", ...
  [[nodiscard]] std::string_view pre_tokenizer() const noexcept;  // "llama-bpe", ...; empty where there is none
  /// What is odd about the vocabulary and was read all the same.
  [[nodiscard]] const std::vector<Finding>& findings() const noexcept;

 private:
  explicit Tokenizer(std::shared_ptr<const tok::TokenizerState> state) : state_(std::move(state)) {}
  std::shared_ptr<const tok::TokenizerState> state_;
};

/// Text from tokens as they are generated. Holds back the bytes of a character that is not complete yet.
/// The pieces and finish() together are the pieces of all tokens, joined: no byte is lost, none is invented.
class Detokenizer {
 public:
  explicit Detokenizer(Tokenizer tokenizer, bool keep_special = false)
      : tokenizer_(std::move(tokenizer)), keep_special_(keep_special) {}
  /// Whole characters that this token completes; may be empty. Bytes that cannot become UTF-8 are passed on as they
  /// are.
  [[nodiscard]] std::string push(std::int32_t id);
  /// What was held back, complete or not; the object can be used again.
  [[nodiscard]] std::string finish();

 private:
  Tokenizer tokenizer_;
  bool keep_special_;
  std::string held_;
};

}  // namespace apr::model
