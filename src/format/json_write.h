// JSON text for the headers that apr writes.
#pragma once
#include <string>
#include <string_view>

#include "apr/format/writer.h"

namespace apr::format {

/// `text` as a JSON string with its quotes. Throws Usage when it is no UTF-8: JSON could not hold it exactly.
void append_json_string(std::string& out, std::string_view text);
/// A value as JSON: numbers in the shortest form that reads back equal, arrays as arrays, JSON text verbatim.
/// Throws Usage for NaN and infinities, and for JSON text that is none; `key` is named in the message.
void append_json(std::string& out, const WriteValue& value, std::string_view key);
/// What stands for a value where only strings are allowed: strings and JSON text as they are, the rest as append_json.
[[nodiscard]] std::string json_plain_text(const WriteValue& value, std::string_view key);

}  // namespace apr::format
