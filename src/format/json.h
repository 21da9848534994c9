// A pull reader over JSON text (RFC 8259, nothing more): one token at a time, with byte offsets, without allocation.
#pragma once
#include <bitset>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "apr/format/value.h"

namespace apr::format {

enum class JsonToken : std::uint8_t {
  ObjectBegin,
  ObjectEnd,
  ArrayBegin,
  ArrayEnd,
  Key,
  String,
  Number,
  True,
  False,
  Null,
  End,
  Fault,
};

/// Where the text stops being JSON, and why.
struct JsonFault {
  std::uint64_t offset = 0;
  std::string expected;
  std::string found;
};

/// Strict: no comments, no trailing comma, no NaN, no control character in a string, well-formed UTF-8, paired
/// surrogate escapes. Containers nest at most kMaxDepth deep, so the state is a few words whatever the text says. Equal
/// keys of one object are the caller's to find. After Fault or End, next() keeps returning it.
class JsonCursor {
 public:
  static constexpr std::size_t kMaxDepth = 96;

  /// `base_offset`: the file offset of the first character.
  explicit JsonCursor(std::string_view text, std::uint64_t base_offset = 0) noexcept
      : text_(text), base_(base_offset) {}

  /// Moves to the next token. End follows the one value that the text may hold.
  JsonToken next();
  [[nodiscard]] JsonToken token() const noexcept { return token_; }
  /// File offset of the first byte of the token (of a string: its opening quote), and of the byte behind its last one.
  [[nodiscard]] std::uint64_t offset() const noexcept { return base_ + start_; }
  [[nodiscard]] std::uint64_t end_offset() const noexcept { return base_ + pos_; }
  /// Key and String: what stands between the quotes. Number: its characters.
  [[nodiscard]] std::string_view raw() const noexcept { return raw_; }
  /// Whether raw() of a Key or String has escape sequences, so that text() differs from it.
  [[nodiscard]] bool has_escapes() const noexcept { return has_escapes_; }
  /// Key and String with the escapes decoded.
  [[nodiscard]] std::string text() const;
  /// Number: U64 or I64 when it is written as an integer and fits, F64 otherwise.
  [[nodiscard]] Value number() const noexcept;
  /// From the first token of a value to its last. False on Fault.
  bool skip_value();
  [[nodiscard]] std::size_t depth() const noexcept { return depth_; }
  [[nodiscard]] const JsonFault& fault() const noexcept { return fault_; }

 private:
  enum class Expect : std::uint8_t { Value, FirstKey, NextKey, FirstElement, Separator, End };

  JsonToken fail(std::size_t at, std::string_view expected, std::string_view found = {});
  JsonToken finish(JsonToken token) noexcept;
  JsonToken open(JsonToken token, bool is_object);
  JsonToken close(JsonToken token) noexcept;
  JsonToken read_key();
  JsonToken read_value();
  JsonToken read_word(std::string_view word, JsonToken token);
  JsonToken read_number();
  bool read_string();
  bool read_escape();
  bool read_hex4(std::uint32_t& unit);
  bool read_digits();
  void skip_space() noexcept;
  [[nodiscard]] char peek() const noexcept { return pos_ < text_.size() ? text_[pos_] : '\0'; }
  [[nodiscard]] std::string describe(std::size_t at) const;

  std::string_view text_, raw_;
  std::uint64_t base_ = 0;
  std::size_t pos_ = 0, start_ = 0, depth_ = 0;
  std::bitset<kMaxDepth> in_object_;
  Expect expect_ = Expect::Value;
  JsonToken token_ = JsonToken::Null;
  bool has_escapes_ = false;
  JsonFault fault_;
};

/// The text of a JSON string with its escapes decoded; `raw` has passed JsonCursor.
[[nodiscard]] std::string json_unescaped(std::string_view raw);

/// The value at the cursor's current token, which the cursor then has passed. Arrays and objects stay text; strings
/// without escapes are views into the text; others go through `keep`, which must return a view that lives on.
/// Null with cursor.token() == Fault when the text is broken.
[[nodiscard]] Value json_value(JsonCursor& cursor, std::string_view text, std::uint64_t base_offset,
                               const std::function<std::string_view(std::string)>& keep);

/// Keys of the object that the cursor has just entered, so that a table can be made in one piece. The cursor itself
/// stays where it is; a fault ends the count.
[[nodiscard]] std::size_t json_count_members(JsonCursor cursor);

/// Walks the elements of an array of encoding Json (ArrayRef::for_each). A string element lives during its visit.
void json_for_each(const ArrayRef& array, const std::function<bool(std::uint64_t, const Value&)>& visit);

}  // namespace apr::format
