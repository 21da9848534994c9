#include "src/cli/report_error.h"

#include <fmt/format.h>

#include "apr/core/text.h"
#include "src/cli/json_document.h"

namespace apr::cli {
namespace {

void append_part(std::string& out, const Style& style, std::string_view label, std::string_view text) {
  if (text.empty()) return;
  style.append(out, Role::Dim, fmt::format("  {:<9} ", fmt::format("{}:", label)));
  out += escaped(text);
  out += '\n';
}

}  // namespace

std::string error_text(const Error& error, const Context& context) {
  const Style& style = context.error_style;
  std::string out = context.command.empty() ? "apr: " : fmt::format("apr {}: ", context.command);
  style.append(out, Role::Bad, "error:");
  out += ' ';
  if (!error.file.empty()) out += escaped(error.file) + ": ";
  out += escaped(error.message) + '\n';
  if (error.offset) append_part(out, style, "offset", fmt::format("{} (0x{:x})", *error.offset, *error.offset));
  append_part(out, style, "field", error.field);
  append_part(out, style, "expected", error.expected);
  append_part(out, style, "found", error.found);
  if (!context.globals.quiet) append_part(out, style, "hint", error.hint);
  return out;
}

int report_error(const Error& error, Context& context) noexcept {
  try {
    context.out.discard();
    if (context.globals.json) {
      context.out.write(to_text(make_error_document(context, error)));
      context.out.flush();
    } else {
      write_stderr(error_text(error, context));
    }
    return exit_status(error.code);
  } catch (const Error& again) {  // stdout itself fails: stderr is the last place
    write_stderr(std::string("apr: ") + again.message + " (" + again.found + ")\n");
    return exit_status(error.code == ErrorCode::Internal ? error.code : again.code);
  } catch (...) {
    write_stderr("apr: out of memory while reporting an error\n");
    return exit_status(ErrorCode::Internal);
  }
}

}  // namespace apr::cli
