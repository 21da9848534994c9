#include "src/model/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <optional>

#include "apr/core/error.h"
#include "apr/core/text.h"
#include "src/model/tokenizer/unicode.h"

namespace apr::model::tok {
namespace {

constexpr std::uint32_t kMatchLimit = 50'000'000;  // steps of one match; a model's pattern may be made to explode
constexpr std::uint32_t kHeapLimitKiB = 256 * 1024;
constexpr std::size_t kJitStackMin = 32 * 1024, kJitStackMax = 4 * 1024 * 1024;

/// Members of a bracket expression on class bytes, by the name of the property. The last five are our own names:
/// letters (and marks) without one ASCII case, and letters inside or outside of the Han blocks.
struct ClassName {
  std::string_view name;
  std::string_view members;
  bool in_files;  // may stand in the pattern of a tokenizer.json
};
constexpr ClassName kClassNames[] = {
    {"L", "A-Za-z\x82\x88", true},
    {"N", "0-9\x81", true},
    {"P",
     R"(!-#%-*,\-./:;?@\[\\\]_{})"
     "\x83",
     true},
    {"S",
     R"($+<=>^`|~)"
     "\x85",
     true},
    {"M", "\x84", true},
    {"L-az", "A-Z\x82\x88", false},
    {"L-AZ", "a-z\x82\x88", false},
    {"LM-az", "A-Z\x82\x84\x88", false},
    {"LM-AZ", "a-z\x82\x84\x88", false},
    {"L-Han", "A-Za-z\x82", false},
    {"Han", "\x88\x89", false},
};
constexpr std::string_view kSpaceMembers = "\\t-\\r \x86";

const ClassName* find_class(std::string_view name, bool ours) {
  for (const auto& entry : kClassNames) {
    if (entry.name == name && (ours || entry.in_files)) return &entry;
  }
  return nullptr;
}

/// Rewrites a pattern for class bytes; nothing when a part of it needs the code points themselves.
class ClassTranslator {
 public:
  ClassTranslator(std::string_view pattern, bool ours) : in_(pattern), ours_(ours) {}

  std::optional<std::string> run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (static_cast<unsigned char>(c) >= 0x80 || (c == '.' && !in_set_)) return std::nullopt;
      if (c == '\\') {
        if (!escape()) return std::nullopt;
        continue;
      }
      if (!in_set_ && c == '[') {
        in_set_ = true;
        const auto rest = in_.substr(at_ + 1);
        if (rest.starts_with("[:") || rest.starts_with("]") || rest.starts_with("^]")) return std::nullopt;
      } else if (in_set_ && c == '[') {
        return std::nullopt;  // a nested set: Oniguruma takes it as a union, PCRE2 as a character
      } else if (in_set_ && c == '&' && in_.substr(at_).starts_with("&&")) {
        return std::nullopt;  // an intersection, in Oniguruma
      } else if (in_set_ && c == ']') {
        in_set_ = false;
      }
      out_.push_back(c);
      ++at_;
    }
    return std::move(out_);
  }

 private:
  bool escape() {
    if (at_ + 1 >= in_.size()) return false;
    const char c = in_[at_ + 1];
    if (c == 'p' || c == 'P') return property(c == 'P');
    if (c == 's' || c == 'S') {
      at_ += 2;
      return members(kSpaceMembers, c == 'S');
    }
    if (std::string_view("rntfv").find(c) == std::string_view::npos &&
        std::isalnum(static_cast<unsigned char>(c)) != 0) {
      return false;
    }
    out_.append(in_.substr(at_, 2));
    at_ += 2;
    return true;
  }

  bool property(bool negated) {
    const auto close = in_.find('}', at_);
    if (close == std::string_view::npos || at_ + 2 >= in_.size() || in_[at_ + 2] != '{') return false;
    const auto* entry = find_class(in_.substr(at_ + 3, close - at_ - 3), ours_);
    if (entry == nullptr) return false;
    at_ = close + 1;
    return members(entry->members, negated);
  }

  bool members(std::string_view list, bool negated) {
    if (in_set_) {
      if (negated) return false;
      out_.append(list);
    } else {
      out_.append(negated ? "[^" : "[").append(list).append("]");
    }
    return true;
  }

  std::string_view in_;
  bool ours_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_set_ = false;
};

/// Syntax that means something else, or nothing, to PCRE2: set intersections and nested sets, \h (a hexadecimal digit).
bool uses_oniguruma_only(std::string_view pattern) {
  bool in_set = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto rest = pattern.substr(i);
    if (pattern[i] == '\\') {
      if (rest.starts_with("\\h") || rest.starts_with("\\H") || rest.starts_with("\\O") || rest.starts_with("\\y"))
        return true;
      ++i;
    } else if (in_set) {
      if (rest.starts_with("&&") || (pattern[i] == '[' && !rest.starts_with("[:"))) return true;
      in_set = pattern[i] != ']';
    } else if (pattern[i] == '[') {
      in_set = true;
    }
  }
  return false;
}

/// PCRE2's \s takes in U+180E, which has not been White_Space since Unicode 6.3: the code points are listed instead.
std::string with_listed_spaces(std::string_view pattern) {
  constexpr std::string_view kSpaces =
      R"(\t-\r\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
  std::string out;
  bool in_set = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto two = pattern.substr(i, 2);
    if (two == "\\s" || (two == "\\S" && !in_set)) {
      out.append(in_set ? "" : two == "\\s" ? "[" : "[^").append(kSpaces).append(in_set ? "" : "]");
      ++i;
    } else if (pattern[i] == '\\') {
      out.append(two);
      ++i;
    } else {
      if (pattern[i] == '[') in_set = true;
      if (pattern[i] == ']') in_set = false;
      out.push_back(pattern[i]);
    }
  }
  return out;
}

struct MatchState {
  MatchState()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackMin, kJitStackMax, nullptr)) {
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKiB);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchState() {
    if (stack != nullptr) pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  MatchState(const MatchState&) = delete;
  MatchState& operator=(const MatchState&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

std::string pcre_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

/// What PCRE2 sees of a code point. It refuses surrogates: a private character falls into the same ranges of our
/// tables.
std::uint32_t stand_in(std::uint32_t c, bool ranges_only) {
  if (c >= 0xD800 && c < 0xE000) return ranges_only ? 0xE000 : kReplacement;
  return ranges_only && c >= 0x80 && is_space(c) ? 0x0B : c;
}

/// Well-formed UTF-8 of a range, with the byte offset of each code point.
struct Utf8Subject {
  Utf8Subject(const SplitText& text, Range range, bool ranges_only) {
    starts.reserve(range.end - range.begin + 1);
    for (auto i = range.begin; i < range.end; ++i) {
      starts.push_back(static_cast<std::uint32_t>(bytes.size()));
      std::size_t at = 0;
      append_utf8(bytes, stand_in(next_code_point(text.bytes(i, i + 1), at), ranges_only));
    }
    starts.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  std::string bytes;
  std::vector<std::uint32_t> starts;
};

}  // namespace

SplitText::SplitText(std::string_view text) {
  utf8.reserve(text.size());
  starts.reserve(text.size() + 1);
  classes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto begin = at;
    starts.push_back(static_cast<std::uint32_t>(utf8.size()));
    const auto c = next_code_point(text, at);
    if (c < 0x80 && at == begin + 1) {
      utf8.push_back(static_cast<char>(c));
    } else {
      append_utf8(utf8, c);
    }
    classes.push_back(static_cast<char>(class_byte(c)));
  }
  starts.push_back(static_cast<std::uint32_t>(utf8.size()));
}

struct Regex::Code {
  Code(std::string_view pattern, std::uint32_t options) {
    int error = 0;
    std::size_t where = 0;
    code =
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &where, nullptr);
    if (code == nullptr) {
      throw Error(ErrorCode::ModelLoad, "a pattern of the pre-tokenizer does not compile")
          .got(fmt::format("{} at {} in {}", pcre_message(error), where, escaped(pattern, 200)));
    }
    // Without a JIT for this machine the interpreter matches: slower, the same results.
    static_cast<void>(pcre2_jit_compile(code, PCRE2_JIT_COMPLETE));
  }
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  /// Whether there is a match at or behind `from`; its bounds are in state.data.
  bool match(std::string_view subject, std::size_t from, MatchState& state) const {
    const auto* bytes = reinterpret_cast<PCRE2_SPTR>(subject.data());
    int rc = pcre2_match(code, bytes, subject.size(), from, PCRE2_NO_UTF_CHECK, state.data, state.context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
      rc = pcre2_match(code, bytes, subject.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, state.data, state.context);
    }
    if (rc >= 0) return true;
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    throw Error(ErrorCode::Inference, "a pattern of the pre-tokenizer gave up on this text").got(pcre_message(rc));
  }

  pcre2_code* code = nullptr;
};

Regex::Regex(std::string_view pattern, Subject subject) : subject_(subject) {
  // '$' means the very end, as in ECMAScript; a capture costs time and is never read.
  std::uint32_t options = PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C;
  if (subject != Subject::Classes) options |= PCRE2_UTF;
  if (subject == Subject::Unicode) options |= PCRE2_UCP;
  code_ = std::make_shared<const Code>(pattern, options);
}

Regex Regex::from_table(std::string_view pattern) {
  const auto translated = ClassTranslator(pattern, true).run();
  return translated ? Regex(*translated, Subject::Classes) : Regex(pattern, Subject::CodePoints);
}

Regex Regex::from_file(std::string_view pattern) {
  if (uses_oniguruma_only(pattern)) {
    throw Error(ErrorCode::ModelLoad, "a pattern of the pre-tokenizer uses syntax that apr does not have")
        .want("no nested or intersected sets, no \\h")
        .got(escaped(pattern, 200));
  }
  const auto translated = ClassTranslator(pattern, false).run();
  return translated ? Regex(*translated, Subject::Classes) : Regex(with_listed_spaces(pattern), Subject::Unicode);
}

void Regex::for_each(const SplitText& text, Range range, const std::function<void(Range)>& match) const {
  const auto n = range.end - range.begin;
  std::optional<Utf8Subject> utf8;
  std::string_view subject = std::string_view(text.classes).substr(range.begin, n);
  if (subject_ != Subject::Classes) {
    utf8.emplace(text, range, subject_ == Subject::CodePoints);
    subject = utf8->bytes;
  }
  const auto code_point_at = [&](std::size_t offset) {
    if (!utf8) return static_cast<std::uint32_t>(offset);
    const auto it = std::lower_bound(utf8->starts.begin(), utf8->starts.end(), offset);
    return static_cast<std::uint32_t>(it - utf8->starts.begin());
  };
  MatchState state;
  std::size_t from = 0;
  while (from <= subject.size() && code_->match(subject, from, state)) {
    const auto* bounds = pcre2_get_ovector_pointer(state.data);
    const std::size_t begin = bounds[0], end = std::max(bounds[0], bounds[1]);
    match({range.begin + code_point_at(begin), range.begin + code_point_at(end)});
    from = end;
    if (end == begin) from += end < subject.size() && utf8 ? announced_length(subject[end]) : 1;
  }
}

std::string Regex::replaced(std::string_view text, std::string_view replacement) const {
  const SplitText split(text);
  std::string out;
  std::uint32_t done = 0;
  for_each(split, {0, static_cast<std::uint32_t>(split.size())}, [&](Range found) {
    out.append(split.bytes(done, found.begin)).append(replacement);
    done = found.end;
  });
  return out.append(split.bytes(done, split.size()));
}

}  // namespace apr::model::tok
