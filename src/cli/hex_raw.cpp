// apr hex FILE --raw: bytes of any file, in hexadecimal and ASCII.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <memory>
#include <optional>

#include "apr/core/text.h"
#include "apr/inspect/address.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/style.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

constexpr std::uint64_t kBytes = 256;  // shown without --limit
constexpr std::uint64_t kMostJsonBytes = 64U << 20;
constexpr std::uint64_t kChunkRows = 4096;
constexpr std::size_t kColumns = 100;          // of a line, where the width of the rows allows that
constexpr std::size_t kFewestLabelChars = 16;  // of what a row holds

struct RawOptions {
  std::uint64_t offset = 0, width = 16;
};

/// The model that the bytes belong to, when they are of one: rows then say what they hold.
struct Annotations {
  format::ModelFile model;
  std::optional<inspect::AddressMap> map;
  std::uint32_t file_index = 0;

  /// Any file can be shown raw: one that is no model, or too broken to be opened as one, has no annotations.
  explicit Annotations(const MappedFile& file) {
    try {
      model = format::open_model(file.path());
    } catch (const Error& error) {
      if (error.code == ErrorCode::Interrupted) throw;
      return;
    }
    for (std::uint32_t i = 0; i < model.files.size(); ++i)
      if (std::error_code failed; std::filesystem::equivalent(model.files[i]->path(), file.path(), failed)) {
        file_index = i;
        map.emplace(model);
      }
  }
  /// What the bytes [begin, end) hold, in order, each once.
  [[nodiscard]] std::vector<std::string> of(std::uint64_t begin, std::uint64_t end) const {
    std::vector<std::string> labels;
    for (std::uint64_t at = begin; map && at < end;) {
      inspect::Label label = map->label(at, file_index);
      if (!label.text.empty()) labels.push_back(std::move(label.text));
      at = label.end;
    }
    return labels;
  }
};

/// Where a range of a file is shown from, and how.
struct RawView {
  std::span<const std::byte> bytes;
  std::uint64_t offset = 0;  // of the first of them
  std::uint64_t width = 16;
  std::size_t offset_digits = 8;
  const Annotations& annotations;
};

/// Rows of "offset  bytes  |characters|  what they hold".
void append_raw(std::string& out, const Style& style, const RawView& view, std::size_t begin, std::size_t end) {
  std::string hex;
  std::string ascii;
  for (std::size_t at = begin; at < end; at += view.width) {
    const auto row = view.bytes.subspan(at, std::min<std::size_t>(view.width, end - at));
    hex.clear();
    ascii.clear();
    for (std::size_t i = 0; i < view.width; ++i) {
      if (i > 0) hex += (view.width >= 8 && i == view.width / 2) ? "  " : " ";  // a wider gap in the middle of a row
      if (i >= row.size()) {
        hex += "  ";
        continue;
      }
      const auto b = std::to_integer<unsigned char>(row[i]);
      constexpr char kDigits[] = "0123456789abcdef";
      hex += kDigits[b >> 4];
      hex += kDigits[b & 15];
      ascii += b >= 0x20 && b < 0x7F ? static_cast<char>(b) : '.';
    }
    style.append(out, Role::Offset, fmt::format("{:0{}x}", view.offset + at, view.offset_digits));
    out += "  ";
    style.append(out, Role::Bytes, hex);
    out += "  |";
    out += ascii;
    out += '|';
    const auto labels = view.annotations.of(view.offset + at, view.offset + at + row.size());
    if (!labels.empty()) {
      const std::size_t used = view.offset_digits + 2 + hex.size() + 3 + row.size() + 1;  // of the line
      const std::size_t left =
          std::max(kFewestLabelChars, kColumns - std::min(kColumns, used + view.width - row.size() + 2));
      out += std::string(view.width - row.size() + 2, ' ');
      const std::string label = fmt::format("{}", fmt::join(labels, ", "));
      style.append(out, Role::Dim,
                   escaped(label, label.size() > left ? left - 1 : left));  // the mark of a cut takes one
    }
    out += '\n';
  }
}

void put_raw(Json& document, const RawView& view) {
  document["offset"] = view.offset;
  document["size_bytes"] = view.bytes.size();
  document["width"] = view.width;
  document["annotated"] = view.annotations.map.has_value();
  document["rows"] = Json::array();
  for (std::size_t at = 0; at < view.bytes.size(); at += view.width) {
    const auto row = view.bytes.subspan(at, std::min<std::size_t>(view.width, view.bytes.size() - at));
    std::string ascii;
    for (const std::byte b : row) {
      const auto v = std::to_integer<unsigned char>(b);
      ascii += v >= 0x20 && v < 0x7F ? static_cast<char>(v) : '.';
    }
    Json holds = Json::array();
    for (const std::string& label : view.annotations.of(view.offset + at, view.offset + at + row.size()))
      holds.push_back(to_valid_utf8(label));
    document["rows"].push_back(
        {{"offset", view.offset + at}, {"hex", bytes_hex(row)}, {"ascii", ascii}, {"holds", std::move(holds)}});
  }
}

int run_raw(const RawOptions& o, HexRun& run) {
  Context& context = run.context;
  const MappedFile file(run.shared.path);
  context.file->size_bytes = file.size();
  const auto range =
      inspect::raw_range(run.shared.path, file.size(), o.offset, run.shared.limit_or(kBytes, UINT64_MAX));
  const std::size_t digits = std::max<std::size_t>(8, (static_cast<std::size_t>(std::bit_width(file.size())) + 3) / 4);
  const Annotations annotations(file);
  const RawView view{file.bytes().subspan(range.offset, range.size_bytes), range.offset, o.width, digits, annotations};
  if (context.globals.json) {
    if (view.bytes.size() > kMostJsonBytes)
      throw Error(ErrorCode::Usage, "too many bytes for one JSON document")
          .help(fmt::format("--limit at most {}", kMostJsonBytes));
    Json document = make_document(context, "apr.hex.raw/1");
    put_raw(document, view);
    file.check_intact();
    context.out.write(to_text(document));
    return 0;
  }
  const std::size_t chunk = o.width * kChunkRows;
  for (std::size_t at = 0; at < view.bytes.size(); at += chunk) {
    check_interrupted();
    std::string text;
    append_raw(text, context.style, view, at, std::min(at + chunk, view.bytes.size()));
    file.check_intact();
    context.out.write(text);
  }
  return 0;
}

}  // namespace

HexModeRun setup_hex_raw(HexFlags& flags) {
  auto o = std::make_shared<RawOptions>();
  flags.own(add_number(
      flags.app, "--offset", [o](std::uint64_t n) { o->offset = n; }, 0, UINT64_MAX,
      "First byte, decimal or 0x hexadecimal (0)"));
  flags.own(add_number(
      flags.app, "--width", [o](std::uint64_t n) { o->width = n; }, 1, 64, "Bytes of a row, 1 to 64 (16)"));
  return [o](HexRun& run) { return run_raw(*o, run); };
}

}  // namespace apr::cli
