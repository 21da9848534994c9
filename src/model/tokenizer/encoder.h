// What turns one stretch of text without special tokens into ids: one class per family.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/model/tokenizer/pre_tokenizer.h"
#include "src/model/tokenizer/vocab.h"

namespace apr::model::tok {

class Encoder {
 public:
  virtual ~Encoder() = default;
  /// Appends the ids of `text`, which the normaliser has already prepared.
  virtual void encode(std::string_view text, std::vector<std::int32_t>& out) const = 0;
};

struct BpeOptions {
  PreTokenizer pre;
  bool ignore_merges = false;
  bool whole_line_ends = false;
  bool emit_unknown = false;  // what has no token becomes UNK; else it is left out, as llama.cpp does
  bool fuse_unknown = false;  // one UNK for a run
  bool byte_fallback = true;  // what has no token becomes byte tokens
};

/// The pairs that may merge, in the order of their rank.
using Merges = std::vector<std::pair<std::string_view, std::string_view>>;

/// `vocab` must outlive the encoder. Adds findings about merges that can never apply.
[[nodiscard]] std::unique_ptr<Encoder> make_bpe(Vocab& vocab, const Merges& merges, BpeOptions options);
/// SentencePiece BPE: the pair that forms the token of the highest score merges first.
[[nodiscard]] std::unique_ptr<Encoder> make_spm(Vocab& vocab);

struct WpmOptions {
  bool lowercase = true;
  bool strip_accents = true;
  bool split_han = true;
  bool clean_text = true;          // drop NUL, U+FFFD and control characters
  std::size_t max_word_chars = 0;  // longer words are UNK; 0 = no limit
  /// The fine points of the tokenizers library instead of llama.cpp's: accents by full NFD and only marks without width
  /// (else the first code point of the decomposition, and every mark); U+000B, U+000C and U+0085 are control
  /// characters.
  bool bert_normalizer = false;
};
/// WordPiece, longest match first. Tokens that start a word are spelled with U+2581 in front, the others plain.
[[nodiscard]] std::unique_ptr<Encoder> make_wpm(const Vocab& vocab, WpmOptions options);

struct UnigramOptions {
  PreTokenizer pre;
  bool byte_fallback = false;
};
/// The segmentation of the greatest sum of scores.
[[nodiscard]] std::unique_ptr<Encoder> make_unigram(const Vocab& vocab, UnigramOptions options);

}  // namespace apr::model::tok
