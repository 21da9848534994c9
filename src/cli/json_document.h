// The envelope that every JSON document of apr has, and the rules for what stands in it:
// no NaN or Inf literal (null and a sibling reason), valid UTF-8 always (raw bytes in a sibling *_hex field).
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "src/cli/context.h"

namespace apr::cli {

using Json = nlohmann::ordered_json;

/// {schema, tool, version, command, file, status, findings}; status and findings from context.findings. The caller
/// appends its own members.
[[nodiscard]] Json make_document(const Context& context, std::string_view schema);
/// The document of a failure: schema apr.error/1, status "error", and the error's parts (null where unset).
[[nodiscard]] Json make_error_document(const Context& context, const Error& error);
/// As one text, ending with a newline.
[[nodiscard]] std::string to_text(const Json& document);

/// object[key] = text; ill-formed UTF-8 is replaced by U+FFFD and the raw bytes follow in object[key + "_hex"].
void put_text(Json& object, std::string_view key, std::string_view text);
/// object[key] = value; NaN and infinities become null and object[key + "_reason"] says "nan", "inf" or "-inf".
void put_number(Json& object, std::string_view key, double value);
/// "nan", "inf", "-inf", or nothing for a finite value.
[[nodiscard]] std::optional<std::string_view> non_finite_name(double value) noexcept;

/// Worst severity among the findings: "ok" (nothing above info), "warning" or "error".
[[nodiscard]] std::string_view status_of(const std::vector<Finding>& findings) noexcept;

}  // namespace apr::cli
