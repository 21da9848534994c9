// apr hex: what a model file holds, in five modes.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <memory>
#include <optional>

#include "apr/core/file.h"
#include "apr/inspect/hex.h"
#include "src/cli/commands.h"
#include "src/cli/findings_text.h"
#include "src/cli/hex_json.h"
#include "src/cli/hex_text.h"
#include "src/cli/json_document.h"
#include "src/cli/options.h"

namespace apr::cli {
namespace {

constexpr std::uint64_t kRawBytes = 256;         // default of --raw
constexpr std::uint64_t kTensorValues = 64;      // default of --tensor
constexpr std::uint64_t kSummaryValues = 16;     // of the first tensor in a summary
constexpr std::uint64_t kArrayElements = 4;      // default of --header
constexpr std::uint64_t kMostValues = 1U << 16;  // of one tensor; whole tensors are not for reading
constexpr std::uint64_t kMostJsonBytes = 64U << 20;
constexpr std::uint64_t kRawChunkRows = 4096;

struct HexOptions {
  std::string path;
  bool header = false, list = false, raw = false, verify = false;
  std::optional<std::string> tensor;
  std::optional<std::uint64_t> offset, width, limit;
};

Error usage(std::string message, std::string hint) {
  return Error(ErrorCode::Usage, std::move(message)).help(std::move(hint));
}

/// No flag that does nothing: modes exclude each other, and a modifier without its mode is refused.
void check_modes(const HexOptions& o) {
  std::vector<std::string_view> modes;
  if (o.header) modes.push_back("--header");
  if (o.list) modes.push_back("--list");
  if (o.raw) modes.push_back("--raw");
  if (o.tensor) modes.push_back("--tensor");
  if (modes.size() > 1) throw usage(fmt::format("{} and {} exclude each other", modes[0], modes[1]), "choose one mode");
  if (o.offset && !o.raw) throw usage("--offset needs --raw", "apr hex FILE --raw --offset 0x40");
  if (o.width && !o.raw) throw usage("--width needs --raw", "apr hex FILE --raw --width 32");
  if (o.limit && !o.raw && !o.tensor && !o.header)
    throw usage("--limit needs --raw, --tensor or --header", "see apr hex --help");
  if (o.verify && o.raw) throw usage("--verify and --raw exclude each other", "raw bytes are shown as they are");
  if (o.limit && !o.raw && *o.limit > kMostValues)
    throw Error(ErrorCode::Usage, "number out of range")
        .in("--limit")
        .want(fmt::format("a number from 1 to {}", kMostValues))
        .got(fmt::format("{}", *o.limit));
}

/// What the error document says about a file that may not open.
FileFacts facts_of(const std::string& path) {
  std::error_code failed;
  FileFacts facts{path, std::nullopt, {}};
  if (std::filesystem::is_regular_file(path, failed))
    if (const auto size = std::filesystem::file_size(path, failed); !failed) facts.size_bytes = size;
  return facts;
}

int run_raw(const HexOptions& o, Context& context) {
  const MappedFile file(o.path);
  context.file->size_bytes = file.size();
  const auto range = inspect::raw_range(o.path, file.size(), o.offset.value_or(0), o.limit.value_or(kRawBytes));
  const std::uint64_t width = o.width.value_or(16);
  const auto bytes = file.bytes().subspan(range.offset, range.size_bytes);
  if (context.globals.json) {
    if (bytes.size() > kMostJsonBytes)
      throw usage("too many bytes for one JSON document", fmt::format("--limit at most {}", kMostJsonBytes));
    Json document = make_document(context, "apr.hex.raw/1");
    put_raw(document, bytes, range.offset, width);
    file.check_intact();
    context.out.write(to_text(document));
    return 0;
  }
  const std::size_t digits = std::max<std::size_t>(8, (static_cast<std::size_t>(std::bit_width(file.size())) + 3) / 4);
  const std::size_t chunk = width * kRawChunkRows;
  for (std::size_t at = 0; at < bytes.size(); at += chunk) {
    check_interrupted();
    std::string text;
    append_raw(text, context.style, bytes.subspan(at, std::min(chunk, bytes.size() - at)), range.offset + at, width,
               digits);
    file.check_intact();
    context.out.write(text);
  }
  return 0;
}

std::string header_text(const HexOptions& o, const Context& context, const format::ModelFile& model) {
  std::string text;
  append_header(text, context.style, model, inspect::header_report(model), o.limit);
  return text;
}

std::string tensors_text(const HexOptions& o, const Context& context, const format::ModelFile& model) {
  std::string text;
  for (const std::size_t i : inspect::select_tensors(model, *o.tensor))
    append_tensor(text, context.style, model, inspect::tensor_report(model, i, o.limit.value_or(kTensorValues)));
  text.erase(0, 1);  // the blank line above the first heading
  return text;
}

std::string summary_text(const Context& context, const format::ModelFile& model) {
  std::string text;
  append_summary(text, context.style, model, inspect::summarize(model));
  if (!model.tensors.empty())
    append_tensor(text, context.style, model, inspect::tensor_report(model, 0, kSummaryValues));
  return text;
}

std::string model_text(const HexOptions& o, const Context& context, const format::ModelFile& model) {
  std::string text;
  if (o.header)
    text = header_text(o, context, model);
  else if (o.list)
    append_list(text, context.style, model);
  else if (o.tensor)
    text = tensors_text(o, context, model);
  else
    text = summary_text(context, model);
  append_findings(text, context.style, context.findings);
  return text;
}

std::string model_json(const HexOptions& o, const Context& context, const format::ModelFile& model) {
  Json document;
  if (o.header) {
    document = make_document(context, "apr.hex.header/1");
    put_header(document, model, inspect::header_report(model), o.limit.value_or(kArrayElements));
  } else if (o.list) {
    document = make_document(context, "apr.hex.list/1");
    put_list(document, model);
  } else if (o.tensor) {
    document = make_document(context, "apr.hex.tensor/1");
    document["tensors"] = Json::array();
    for (const std::size_t i : inspect::select_tensors(model, *o.tensor))
      document["tensors"].push_back(tensor_json(inspect::tensor_report(model, i, o.limit.value_or(kTensorValues))));
  } else {
    document = make_document(context, "apr.hex.summary/1");
    put_summary(document, model, inspect::summarize(model));
    document["first_tensor"] =
        model.tensors.empty() ? Json(nullptr) : tensor_json(inspect::tensor_report(model, 0, kSummaryValues));
  }
  return to_text(document);
}

/// A file that is no model can still be looked at: the refusal says how.
format::ModelFile open(const HexOptions& o) {
  try {
    return format::open_model(o.path, {.verify_data = o.verify});
  } catch (Error& error) {
    if (error.code == ErrorCode::InvalidFormat)
      error.hint += fmt::format("{}apr hex FILE --raw shows its bytes", error.hint.empty() ? "" : "; ");
    throw;
  }
}

int run_hex(const HexOptions& o, Context& context) {
  check_modes(o);
  context.file = facts_of(o.path);
  if (o.raw) return run_raw(o, context);
  const format::ModelFile model = open(o);
  context.file->size_bytes = model.total_bytes();
  context.file->format = format::name(model.format);
  context.findings = model.findings;
  spdlog::info("{}: {}, {} tensors, {} findings", o.path, format::name(model.format), model.tensors.size(),
               model.findings.size());
  if (o.verify && model.format != format::Format::Apr)
    throw Error(ErrorCode::ValidationFailed,
                fmt::format("{} stores no checksum: there is nothing to verify", format::name(model.format)))
        .at(o.path)
        .in("--verify");
  const std::string report = context.globals.json ? model_json(o, context, model) : model_text(o, context, model);
  model.check_intact();
  context.out.write(report);
  return model.has_errors() ? exit_status(ErrorCode::InvalidFormat) : 0;
}

}  // namespace

Run setup_hex(CLI::App& command) {
  auto o = std::make_shared<HexOptions>();
  command
      .add_option("FILE", o->path, "GGUF, APR or SafeTensors file, a shard, an index or a directory; --raw: any file")
      ->required();
  command.add_flag("--header", o->header, "Every field of the header and all metadata, with offsets")
      ->group("Mode (default: summary and first tensor)");
  command.add_flag("--list", o->list, "All tensors: type, shape, offset, size")
      ->group("Mode (default: summary and first tensor)");
  command
      .add_option_function<std::string>(
          "--tensor", [o](const std::string& s) { o->tensor = s; }, "Tensors by exact name or glob: blocks and values")
      ->type_name("NAME|GLOB")
      ->group("Mode (default: summary and first tensor)");
  command.add_flag("--raw", o->raw, "Bytes in hexadecimal and ASCII, of any file")
      ->group("Mode (default: summary and first tensor)");
  add_number(
      command, "--offset", [o](std::uint64_t n) { o->offset = n; }, 0, UINT64_MAX,
      "With --raw: first byte, decimal or 0x hexadecimal (0)");
  add_number(
      command, "--width", [o](std::uint64_t n) { o->width = n; }, 1, 64, "With --raw: bytes of a row, 1 to 64 (16)");
  add_number(
      command, "--limit", [o](std::uint64_t n) { o->limit = n; }, 1, UINT64_MAX,
      "With --raw: bytes (256); --tensor: values (64); --header: elements of an array (4)");
  command.add_flag("--verify", o->verify, "Also verify the checksum over the whole file (APR)");
  command.footer(
      "  apr hex model.gguf                              what is this file?\n"
      "  apr hex model.gguf --list --json | jq '.tensors[].name'\n"
      "  apr hex model.apr --header --verify             header, metadata, both checksums\n"
      "  apr hex model.safetensors --tensor '*norm*' --limit 8\n"
      "  apr hex any.file --raw --offset 0x1000 --width 32 --limit 512");
  return [o](Context& context) { return run_hex(*o, context); };
}

}  // namespace apr::cli
