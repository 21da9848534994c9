// Cutting text into words before a BPE or Unigram model looks at it.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "src/model/tokenizer/regex.h"

namespace apr::model::tok {

/// What a name in pre_tokenizers.def implies.
enum PreTokenizerFlags : unsigned {
  kIgnoreMerges = 1u << 0,   // a word that is a token is not merged
  kAddBos = 1u << 1,         // BOS unless the file says otherwise
  kForceBos = 1u << 2,       // BOS whatever the file says
  kNoDefaultBos = 1u << 3,   // no BOS unless the file names one
  kKeepSpaces = 1u << 4,     // decoding does not tidy " ." and the like
  kRawUtf8 = 1u << 5,        // tokens are UTF-8 text, not GPT-2 byte letters
  kEscapeSpaces = 1u << 6,   // ' ' is written U+2581
  kWholeLineEnds = 1u << 7,  // a run of line ends that is a token is not merged
};

enum class SplitBehavior : std::uint8_t { Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous };

/// A chain of cuts. Empty: the whole text is one word.
class PreTokenizer {
 public:
  void add(Regex regex, SplitBehavior behavior = SplitBehavior::Isolated, bool invert = false);
  /// Runs of digits in groups of three, the first group of one to three. `ascii_only` also cuts in front of the first
  /// group.
  void add_digit_groups(bool ascii_only);
  [[nodiscard]] bool empty() const noexcept { return steps_.empty(); }
  /// The words in order, none empty.
  [[nodiscard]] std::vector<Range> split(const SplitText& text) const;

 private:
  enum class StepKind : std::uint8_t { Pattern, DigitGroups, AsciiDigitGroups };
  struct Step {
    StepKind kind = StepKind::Pattern;
    std::optional<Regex> regex;
    SplitBehavior behavior = SplitBehavior::Isolated;
    bool invert = false;
  };
  static void apply(const Step& step, const SplitText& text, Range range, std::vector<Range>& out);
  std::vector<Step> steps_;
};

struct NamedPreTokenizer {
  std::string_view name;
  std::span<const std::string_view> steps;
  unsigned flags;
};
/// Every row of pre_tokenizers.def.
[[nodiscard]] std::span<const NamedPreTokenizer> pre_tokenizers() noexcept;
[[nodiscard]] const NamedPreTokenizer* find_pre_tokenizer(std::string_view name) noexcept;
[[nodiscard]] PreTokenizer make_pre_tokenizer(const NamedPreTokenizer& row);

}  // namespace apr::model::tok
