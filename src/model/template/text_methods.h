// What the methods of str share with filters.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime.h"

namespace apr::model::jinja {

/// Byte offset of `needle` at or after `from`, or npos. Linear time.
[[nodiscard]] std::size_t find_text(std::string_view haystack, std::string_view needle, std::size_t from);
/// Without leading and trailing characters out of `chars`, or white space.
[[nodiscard]] std::string_view stripped(std::string_view text, std::optional<std::string_view> chars, bool left,
                                        bool right);
void charge_strip(Runtime& rt, std::string_view text, std::optional<std::string_view> chars);
/// The first `count` occurrences, all when negative.
[[nodiscard]] Value replaced(Runtime& rt, std::string_view text, std::string_view from, std::string_view to,
                             std::int64_t count);
[[nodiscard]] std::vector<std::string_view> split_lines(Runtime& rt, std::string_view text, bool keep_ends);
[[nodiscard]] std::string capitalized(std::string_view text);
[[nodiscard]] bool is_lower_text(std::string_view text);
[[nodiscard]] bool is_upper_text(std::string_view text);
/// `side` -1: text on the left, 0: centred, 1: on the right.
[[nodiscard]] Value pad_text(Runtime& rt, const Value& self, std::int64_t width, std::string_view fill, int side);

// split.cpp
/// Byte offset of the last `needle`, or npos.
[[nodiscard]] std::size_t rfind_text(Runtime& rt, std::string_view text, std::string_view needle);
Value split(Runtime& rt, const Value& self, const Args& args);
Value rsplit(Runtime& rt, const Value& self, const Args& args);
Value partition(Runtime& rt, const Value& self, const Args& args);
Value rpartition(Runtime& rt, const Value& self, const Args& args);

}  // namespace apr::model::jinja
