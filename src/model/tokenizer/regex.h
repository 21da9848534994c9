// One pre-tokenizer pattern, compiled by PCRE2.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace apr::model::tok {

/// A text cut into code points, in the forms that patterns are matched on. Indices of matches are code point indices.
struct SplitText {
  explicit SplitText(std::string_view text);
  [[nodiscard]] std::size_t size() const noexcept { return classes.size(); }
  /// Bytes of the code points [begin, end).
  [[nodiscard]] std::string_view bytes(std::size_t begin, std::size_t end) const noexcept {
    return std::string_view(utf8).substr(starts[begin], starts[end] - starts[begin]);
  }

  std::string utf8;                   // the text, well-formed but for surrogates, which keep their three bytes
  std::vector<std::uint32_t> starts;  // byte offset of each code point, and the end
  std::string classes;                // class_byte() of each code point
};

/// Half-open range of code points.
struct Range {
  std::uint32_t begin = 0, end = 0;
};

/// What a pattern is matched on.
enum class Subject : std::uint8_t {
  Classes,     // one class byte per code point: results do not depend on the Unicode version of PCRE2
  CodePoints,  // UTF-8 with every non-ASCII space replaced by U+000B; \s and \d are ASCII
  Unicode,     // UTF-8 with PCRE2's own Unicode properties
};

class Regex {
 public:
  /// A pattern of our own tables: Classes where it names properties, CodePoints where it names other characters.
  static Regex from_table(std::string_view pattern);
  /// A pattern of a tokenizer.json: Classes when that is exact, else Unicode. Throws ModelLoad for one that does not
  /// compile.
  static Regex from_file(std::string_view pattern);

  [[nodiscard]] Subject subject() const noexcept { return subject_; }
  /// All matches in a range, left to right, as std::regex_iterator finds them: the range is the whole world of the
  /// match. An empty match is reported and the search goes on behind it. Throws Inference when the match limit is
  /// reached.
  void for_each(const SplitText& text, Range range, const std::function<void(Range)>& match) const;
  /// `text` with every match replaced.
  [[nodiscard]] std::string replaced(std::string_view text, std::string_view replacement) const;

 private:
  struct Code;
  Regex(std::string_view pattern, Subject subject);
  std::shared_ptr<const Code> code_;
  Subject subject_;
};

}  // namespace apr::model::tok
