// What happens to a stretch of text before it is cut into words.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/model/tokenizer/regex.h"
#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {

class Normalizer {
 public:
  void add_form(NormalForm form) { steps_.push_back({Kind::Form, form, {}, {}, {}}); }
  void add_lowercase() { steps_.push_back({Kind::Lowercase, {}, {}, {}, {}}); }
  void add_strip_accents() { steps_.push_back({Kind::StripAccents, {}, {}, {}, {}}); }
  void add_replace(std::string from, std::string to) {
    steps_.push_back({Kind::Replace, {}, std::move(from), std::move(to), {}});
  }
  void add_replace(Regex from, std::string to) {
    steps_.push_back({Kind::ReplacePattern, {}, {}, std::move(to), std::move(from)});
  }
  /// In front of every stretch that is not empty, unless it already starts with the text and `unless_there` is set.
  void add_prepend(std::string text, bool unless_there = false) {
    steps_.push_back({unless_there ? Kind::PrependUnlessThere : Kind::Prepend, {}, std::move(text), {}, {}});
  }
  /// The same, in front of the first stretch of the text only.
  void add_prepend_first(std::string text) { steps_.push_back({Kind::PrependFirst, {}, std::move(text), {}, {}}); }
  [[nodiscard]] bool empty() const noexcept { return steps_.empty(); }
  /// `is_first`: the stretch stands at the very start of the text.
  [[nodiscard]] std::string apply(std::string_view text, bool is_first) const;

 private:
  enum class Kind : std::uint8_t {
    Form,
    Lowercase,
    StripAccents,
    Replace,
    ReplacePattern,
    Prepend,
    PrependUnlessThere,
    PrependFirst,
  };
  struct Step {
    Kind kind;
    NormalForm form;
    std::string text;
    std::string to;
    std::optional<Regex> pattern;
  };
  std::vector<Step> steps_;
};

/// Every occurrence of `from` (not empty), left to right.
[[nodiscard]] std::string replaced(std::string_view text, std::string_view from, std::string_view to);

}  // namespace apr::model::tok
