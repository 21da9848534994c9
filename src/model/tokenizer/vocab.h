// The vocabulary of a tokenizer: tokens, their kinds and scores, special ids, and what to do around the text.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apr/core/error.h"
#include "apr/model/tokenizer.h"
#include "src/model/tokenizer/text_index.h"

namespace apr::model::tok {

/// Attributes of a token; several may be set (a token found to end a turn becomes Control on top of what the file
/// says).
enum TokenAttr : std::uint16_t {
  kAttrUnknown = 1u << 0,
  kAttrUnused = 1u << 1,
  kAttrNormal = 1u << 2,
  kAttrControl = 1u << 3,
  kAttrUserDefined = 1u << 4,
  kAttrByte = 1u << 5,
  kAttrLstrip = 1u << 6,  // swallows white space in front of it
  kAttrRstrip = 1u << 7,  // swallows white space behind it
};

/// A token longer than this is no token: it would make matching slow and is not found in real vocabularies.
inline constexpr std::size_t kMaxTokenBytes = 64 * 1024;
/// U+2581, SentencePiece's visible space.
inline constexpr std::string_view kVisibleSpace = "\xE2\x96\x81";

struct Vocab {
  TokenizerKind kind = TokenizerKind::Bpe;
  std::string model;  // as the file names it
  std::string pre;
  std::string path;

  TextIndex index;                          // spelling -> number
  std::vector<std::uint32_t> number_of_id;  // id -> number in `index`
  std::vector<std::int32_t> id_of_number;   // number -> id; of several ids with one spelling the last
  std::vector<float> scores;                // one per id; empty when the file has none
  std::vector<std::uint16_t> attrs;         // one per id
  std::size_t max_token_bytes = 0;

  SpecialTokens special;
  std::vector<std::int32_t> eog;  // ascending

  bool add_bos = false, add_eos = false, add_sep = false;
  bool add_space_prefix = false;  // decoding drops the first space of a text ...
  bool drop_first_shown = false;  // ... of the first token that is shown, else of the first token, shown or not
  bool escape_spaces = false;     // ' ' <-> U+2581
  bool clean_spaces = false;      // decoding tidies " ." and the like
  bool byte_level = false;        // tokens are spelled in GPT-2 byte letters

  std::vector<Finding> findings;

  [[nodiscard]] std::int32_t size() const noexcept { return static_cast<std::int32_t>(number_of_id.size()); }
  [[nodiscard]] std::string_view text(std::int32_t id) const noexcept {
    return index.text(number_of_id[static_cast<std::size_t>(id)]);
  }
  [[nodiscard]] float score(std::int32_t id) const noexcept {
    return scores.empty() ? 0.0F : scores[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] std::uint16_t attr(std::int32_t id) const noexcept { return attrs[static_cast<std::size_t>(id)]; }
  /// The id of a spelling, or -1.
  [[nodiscard]] std::int32_t find(std::string_view spelling) const noexcept { return id_at(index.find(spelling)); }
  [[nodiscard]] std::int32_t find(std::string_view spelling, std::uint64_t hash) const noexcept {
    return id_at(index.find(spelling, hash));
  }
  /// Appends the next token. Throws ModelLoad for one that is too long.
  void add(std::string_view spelling, std::uint16_t attr);
  void warn(std::string rule, std::string message, std::string field, std::string found);

 private:
  [[nodiscard]] std::int32_t id_at(std::uint32_t number) const noexcept {
    return number == TextIndex::kNone ? -1 : id_of_number[number];
  }
};

/// "<0x0A>" of a byte.
[[nodiscard]] std::string byte_token_text(unsigned char byte);
/// The byte of "<0x0A>", or -1.
[[nodiscard]] int byte_of_token_text(std::string_view text) noexcept;

/// UTF-8 text of the letter that stands for a byte in GPT-2's byte-level alphabet.
[[nodiscard]] std::string_view byte_letter(unsigned char byte) noexcept;
/// The bytes that a byte-level spelling stands for. A character outside of the alphabet stands for itself and clears
/// `exact`.
[[nodiscard]] std::string bytes_of_letters(std::string_view spelling, bool& exact);

/// Finds turn ends and fill-in-the-middle tokens by their text, and fills `special` and `eog`. `any_kind`: a token of
/// any kind counts and becomes Control, as llama.cpp has it; else only tokens that are Control or UserDefined count.
void detect_special_tokens(Vocab& vocab, bool any_kind);

}  // namespace apr::model::tok
