#include "src/cli/json_document.h"

#include <fmt/format.h>

#include <cmath>

#include "apr/core/text.h"
#include "build_info.h"

namespace apr::cli {
namespace {

std::string hex_of(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

/// A text member that is null when nothing was said.
void put_optional(Json& object, std::string_view key, std::string_view text) {
  if (text.empty())
    object[std::string(key)] = nullptr;
  else
    put_text(object, key, text);
}

void put_offset(Json& object, const std::optional<std::uint64_t>& offset) {
  if (offset)
    object["offset"] = *offset;
  else
    object["offset"] = nullptr;
}

Json finding_json(const Finding& finding) {
  Json j;
  j["rule"] = finding.rule;
  j["severity"] = name(finding.severity);
  put_text(j, "message", finding.message);
  put_optional(j, "file", finding.file);
  put_offset(j, finding.offset);
  put_optional(j, "field", finding.field);
  put_optional(j, "tensor", finding.tensor);
  put_optional(j, "expected", finding.expected);
  put_optional(j, "found", finding.found);
  put_optional(j, "hint", finding.hint);
  return j;
}

/// Code points that a terminal acts on although JSON allows them in a string: DEL, C1 controls, bidirectional
/// overrides.
bool acts_on_terminal(std::uint32_t cp) {
  return (cp >= 0x7F && cp < 0xA0) || cp == 0x200E || cp == 0x200F || (cp >= 0x202A && cp <= 0x202E) ||
         (cp >= 0x2066 && cp <= 0x2069);
}

/// Writes those code points as \uXXXX. Outside strings JSON is ASCII, so the whole text may be treated alike.
std::string escape_for_terminals(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto at = [&](std::size_t k) { return static_cast<unsigned char>(text[i + k]); };
    const std::size_t size = at(0) < 0x80 ? 1 : at(0) < 0xE0 ? 2 : at(0) < 0xF0 ? 3 : 4;
    std::uint32_t cp = at(0);
    if (size == 2 && i + 1 < text.size()) cp = (at(0) & 0x1FU) << 6 | (at(1) & 0x3FU);
    if (size == 3 && i + 2 < text.size()) cp = (at(0) & 0x0FU) << 12 | (at(1) & 0x3FU) << 6 | (at(2) & 0x3FU);
    if (size < 4 && acts_on_terminal(cp))
      out += fmt::format("\\u{:04x}", cp);
    else
      out.append(text, i, size);
    i += size;
  }
  return out;
}

Json file_json(const std::optional<FileFacts>& file) {
  if (!file) return nullptr;
  Json j;
  put_text(j, "path", file->path);
  if (file->size_bytes)
    j["size_bytes"] = *file->size_bytes;
  else
    j["size_bytes"] = nullptr;
  put_optional(j, "format", file->format);
  return j;
}

}  // namespace

Json make_document(const Context& context, std::string_view schema) {
  Json j;
  j["schema"] = schema;
  j["tool"] = "apr";
  j["version"] = kVersion;
  put_optional(j, "command", context.command);
  j["file"] = file_json(context.file);
  j["status"] = status_of(context.findings);
  j["findings"] = Json::array();
  for (const Finding& finding : context.findings) j["findings"].push_back(finding_json(finding));
  return j;
}

Json make_error_document(const Context& context, const Error& error) {
  Json j = make_document(context, "apr.error/1");
  j["status"] = "error";
  Json e;
  e["code"] = name(error.code);
  e["exit_status"] = exit_status(error.code);
  put_text(e, "message", error.message);
  put_optional(e, "file", error.file);
  put_offset(e, error.offset);
  put_optional(e, "field", error.field);
  put_optional(e, "expected", error.expected);
  put_optional(e, "found", error.found);
  put_optional(e, "hint", error.hint);
  j["error"] = std::move(e);
  return j;
}

std::string to_text(const Json& document) {
  return escape_for_terminals(document.dump(2, ' ', false, Json::error_handler_t::replace)) + '\n';
}

void put_text(Json& object, std::string_view key, std::string_view text) {
  if (!invalid_utf8_at(text)) {
    object[std::string(key)] = text;
    return;
  }
  object[std::string(key)] = to_valid_utf8(text);
  object[std::string(key) + "_hex"] = hex_of(text);
}

void put_number(Json& object, std::string_view key, double value) {
  if (const auto reason = non_finite_name(value)) {
    object[std::string(key)] = nullptr;
    object[std::string(key) + "_reason"] = *reason;
  } else {
    object[std::string(key)] = value;
  }
}

std::optional<std::string_view> non_finite_name(double value) noexcept {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return std::nullopt;
}

std::string_view status_of(const std::vector<Finding>& findings) noexcept {
  std::string_view status = "ok";
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::Error) return "error";
    if (finding.severity == Severity::Warning) status = "warning";
  }
  return status;
}

}  // namespace apr::cli
