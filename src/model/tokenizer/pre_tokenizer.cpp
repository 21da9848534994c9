#include "src/model/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <array>

#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

constexpr std::string_view kDigitsFromRight = "digits from the right";
constexpr std::string_view kAsciiDigitsFromRight = "ASCII digits from the right";

template <std::size_t n>
constexpr std::array<std::string_view, n> texts(const char* const (&list)[n]) {
  std::array<std::string_view, n> out{};
  for (std::size_t i = 0; i < n; ++i) out[i] = list[i];
  return out;
}

namespace splitters {
#define APR_SPLITTER(symbol, ...)                          \
  constexpr const char* k##symbol##Text[] = {__VA_ARGS__}; \
  constexpr auto k##symbol = texts(k##symbol##Text);
#include "src/model/tokenizer/splitters.def"
#undef APR_SPLITTER
}  // namespace splitters

constexpr NamedPreTokenizer kPreTokenizers[] = {
#define APR_PRE_TOKENIZER(label, splitter, flags) {label, splitters::k##splitter, flags},
#include "src/model/tokenizer/pre_tokenizers.def"
#undef APR_PRE_TOKENIZER
};

bool is_number(unsigned char c) { return (c >= '0' && c <= '9') || c == kNumber; }
bool is_ascii_digit(unsigned char c) { return c >= '0' && c <= '9'; }

/// Cuts behind every group of digits counted from the right end of its run.
void cut_digits(const SplitText& text, Range range, bool ascii_only, std::vector<Range>& out) {
  const auto is_digit = [&](std::uint32_t i) {
    const auto c = static_cast<unsigned char>(text.classes[i]);
    return ascii_only ? is_ascii_digit(c) : is_number(c);
  };
  std::uint32_t begin = range.begin;
  const auto cut = [&](std::uint32_t at) {
    if (at > begin) out.push_back({begin, at});
    begin = std::max(begin, at);
  };
  for (std::uint32_t i = range.begin; i < range.end;) {
    if (!is_digit(i)) {
      ++i;
      continue;
    }
    auto end = i;
    while (end < range.end && is_digit(end)) ++end;
    const auto first = i + (end - i) % 3;  // where the groups of three start
    if (ascii_only) {
      for (auto at = first; at < end; at += 3) cut(at);
    } else {
      if (first > i) cut(first);
      for (auto at = first + 3; at <= end; at += 3) cut(at);
    }
    i = end;
  }
  cut(range.end);
}

struct Piece {
  Range range;
  bool is_match;
};

std::vector<Piece> pieces_of(const Regex& regex, const SplitText& text, Range range, bool invert) {
  std::vector<Piece> pieces;
  auto done = range.begin;
  regex.for_each(text, range, [&](Range found) {
    if (found.begin > done) pieces.push_back({{done, found.begin}, invert});
    if (found.end > found.begin) pieces.push_back({found, !invert});
    done = found.end;
  });
  if (done < range.end) pieces.push_back({{done, range.end}, invert});
  return pieces;
}

/// Puts the pieces together as the `behavior` of the tokenizers library says.
void join(const std::vector<Piece>& pieces, SplitBehavior behavior, std::vector<Range>& out) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto& [range, is_match] = pieces[i];
    if (behavior == SplitBehavior::Removed && is_match) continue;
    const bool glue =
        i > 0 && ((behavior == SplitBehavior::MergedWithPrevious && is_match && !pieces[i - 1].is_match) ||
                  (behavior == SplitBehavior::MergedWithNext && !is_match && pieces[i - 1].is_match) ||
                  (behavior == SplitBehavior::Contiguous && is_match == pieces[i - 1].is_match));
    if (glue) {
      out.back().end = range.end;
    } else {
      out.push_back(range);
    }
  }
}

}  // namespace

std::span<const NamedPreTokenizer> pre_tokenizers() noexcept { return kPreTokenizers; }

const NamedPreTokenizer* find_pre_tokenizer(std::string_view name) noexcept {
  const auto* found = std::find_if(std::begin(kPreTokenizers), std::end(kPreTokenizers),
                                   [&](const NamedPreTokenizer& row) { return row.name == name; });
  return found == std::end(kPreTokenizers) ? nullptr : found;
}

PreTokenizer make_pre_tokenizer(const NamedPreTokenizer& row) {
  PreTokenizer made;
  for (const auto step : row.steps) {
    if (step == kDigitsFromRight || step == kAsciiDigitsFromRight) {
      made.add_digit_groups(step == kAsciiDigitsFromRight);
    } else {
      made.add(Regex::from_table(step));
    }
  }
  return made;
}

void PreTokenizer::add(Regex regex, SplitBehavior behavior, bool invert) {
  steps_.push_back({StepKind::Pattern, std::move(regex), behavior, invert});
}

void PreTokenizer::add_digit_groups(bool ascii_only) {
  steps_.push_back({ascii_only ? StepKind::AsciiDigitGroups : StepKind::DigitGroups, std::nullopt, {}, false});
}

void PreTokenizer::apply(const Step& step, const SplitText& text, Range range, std::vector<Range>& out) {
  if (step.kind != StepKind::Pattern) return cut_digits(text, range, step.kind == StepKind::AsciiDigitGroups, out);
  join(pieces_of(*step.regex, text, range, step.invert), step.behavior, out);
}

std::vector<Range> PreTokenizer::split(const SplitText& text) const {
  std::vector<Range> words;
  if (text.size() > 0) words.push_back({0, static_cast<std::uint32_t>(text.size())});
  for (const auto& step : steps_) {
    std::vector<Range> cut;
    cut.reserve(words.size());
    for (const auto& word : words) apply(step, text, word, cut);
    words.swap(cut);
  }
  return words;
}

}  // namespace apr::model::tok
