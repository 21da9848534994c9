// The JSON cursor: every token in order, with its place; values; and nlohmann_json as a second opinion on what is JSON.
#include <deque>
#include <nlohmann/json.hpp>

#include "src/format/json.h"
#include "tests/fuzz/fuzz_support.h"

namespace {

using apr::format::JsonCursor;
using apr::format::JsonToken;

/// Whether the cursor takes the text. Checks the places on the way.
bool walk(std::string_view text) {
  JsonCursor cursor(text, 100);
  std::uint64_t behind = 100;
  while (true) {
    const JsonToken token = cursor.next();
    if (cursor.depth() > JsonCursor::kMaxDepth) apr::fuzz::broken("the depth is bounded");
    if (token == JsonToken::Fault) {
      if (cursor.fault().offset < 100 || cursor.fault().offset > 100 + text.size() || cursor.fault().expected.empty())
        apr::fuzz::broken("a fault has a place and a rule");
      return false;
    }
    if (token == JsonToken::End) return true;
    if (cursor.offset() < behind || cursor.end_offset() <= cursor.offset() || cursor.end_offset() > 100 + text.size())
      apr::fuzz::broken("tokens follow each other");
    behind = cursor.end_offset();
    if (token == JsonToken::String || token == JsonToken::Key) (void)cursor.text();
    if (token == JsonToken::Number) (void)cursor.number();
  }
}

void read_value(std::string_view text) {
  std::deque<std::string> kept;
  const auto keep = [&kept](std::string decoded) -> std::string_view { return kept.emplace_back(std::move(decoded)); };
  JsonCursor cursor(text);
  cursor.next();
  const auto value = apr::format::json_value(cursor, text, 0, keep);
  if (cursor.token() == JsonToken::Fault) return;
  if (const auto* array = value.as_array()) {
    std::uint64_t n = 0;
    array->for_each([&n](std::uint64_t, const apr::format::Value&) { return ++n != 0; });
    if (n != array->count) apr::fuzz::broken("an array has as many elements as it says");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool taken = walk(text);
  read_value(text);
  if (text.find('\0') != std::string_view::npos) return 0;  // nlohmann_json takes a zero byte for the end of the text
  const bool other = nlohmann::json::accept(text);
  if (taken && !other) apr::fuzz::broken("what the cursor takes is JSON");
  // The reverse has three reasons: the depth is bounded, a BOM is refused, and so is a number beyond a double.
  if (!taken && other) {
    JsonCursor cursor(text);
    while (cursor.next() != JsonToken::Fault) {
    }
    const std::string& expected = cursor.fault().expected;
    const bool known = expected.find("nested containers") != std::string::npos || text.starts_with("\xEF\xBB\xBF") ||
                       expected.find("1.8e308") != std::string::npos;
    if (!known) apr::fuzz::broken("JSON that the cursor refuses: " + expected + ", found " + cursor.fault().found);
  }
  return 0;
}
