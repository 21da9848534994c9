// apr hex FILE --html PAGE and --svg PICTURE: the file as one self-contained page, or its map alone.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "apr/core/file.h"
#include "apr/core/text.h"
#include "apr/inspect/damage.h"
#include "apr/inspect/picture.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_page.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/options.h"
#include "src/cli/progress.h"

namespace apr::cli {
namespace {

using inspect::Picture;
using inspect::PicturePart;

constexpr double kMapWidth = 1200, kRowHeight = 22, kRowGap = 4;
constexpr std::uint64_t kMapRows = 16;  // of the largest file; each row is the same number of bytes

/// Markup characters of a text that stands in XML; what XML cannot hold becomes its escape.
std::string xml_text(std::string_view text) {
  std::string out;
  for (const char c : to_valid_utf8(escaped(text, 400))) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

/// In the page by the variable of its style, which knows light and dark; alone the colour itself, for viewers without
/// CSS.
std::string fill_of(const Picture& picture, const PicturePart& part, bool in_page) {
  if (!part.is_tensor) return in_page ? "var(--region)" : "#98a2b3";
  // The same numbering as the page's script: types in the order of the parts.
  static constexpr std::string_view kColours[] = {"#4c78a8", "#e0873a", "#54a24b", "#b0478c",
                                                  "#8c6bb1", "#b79a20", "#2a9d9d", "#9c755f"};
  std::vector<std::string_view> types;
  for (const PicturePart& p : picture.parts)
    if (p.is_tensor && std::find(types.begin(), types.end(), p.type) == types.end()) types.push_back(p.type);
  const auto at = static_cast<std::size_t>(std::find(types.begin(), types.end(), part.type) - types.begin()) % 8;
  return in_page ? fmt::format("var(--t{})", at) : std::string(kColours[at]);
}

/// Every file as rows of equal bytes, every part as the rectangles that it covers in them: to scale.
std::string svg_map(const Picture& picture, bool in_page) {
  std::uint64_t largest = 1;
  for (const auto& file : picture.files) largest = std::max(largest, file.size_bytes);
  const std::uint64_t per_row = std::max<std::uint64_t>(1, (largest + kMapRows - 1) / kMapRows);
  std::vector<double> top;
  double height = 0;
  for (const auto& file : picture.files) {
    top.push_back(height);
    const auto n_rows = static_cast<double>((file.size_bytes + per_row - 1) / per_row);
    height += n_rows * (kRowHeight + kRowGap) + 8;
  }
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"map of the "
      "file\">\n",
      kMapWidth, std::max(height, 1.0));
  const double scale = kMapWidth / static_cast<double>(per_row);
  for (std::size_t i = 0; i < picture.parts.size(); ++i) {
    const PicturePart& part = picture.parts[i];
    const std::uint64_t file_size = picture.files[part.file_index].size_bytes;
    if (part.offset >= file_size) continue;
    const std::uint64_t end = part.offset + std::min(part.size_bytes, file_size - part.offset);
    out += fmt::format("<g class=\"part\" data-part=\"{}\" tabindex=\"0\" fill=\"{}\"><title>{}</title>", i,
                       fill_of(picture, part, in_page),
                       xml_text(fmt::format("{} {} {}, {} at {}", part.name, part.type, part.shape,
                                            human_bytes(part.size_bytes), part.offset)));
    for (std::uint64_t at = part.offset; at < end;) {
      const std::uint64_t row = at / per_row, row_end = std::min(end, (row + 1) * per_row);
      out += fmt::format("<rect x=\"{:.3f}\" y=\"{:.0f}\" width=\"{:.3f}\" height=\"{:.0f}\"/>",
                         static_cast<double>(at - row * per_row) * scale,
                         top[part.file_index] + static_cast<double>(row) * (kRowHeight + kRowGap),
                         static_cast<double>(row_end - at) * scale, kRowHeight);
      at = row_end;
    }
    out += "</g>\n";
  }
  return out + "</svg>\n";
}

double finite_or_zero(double value) { return std::isfinite(value) ? value : 0; }

Json part_json(const PicturePart& part) {
  Json out = {{"tensor", part.is_tensor},  {"type", part.type},       {"shape", part.shape},
              {"readable", part.readable}, {"file", part.file_index}, {"offset", part.offset},
              {"size", part.size_bytes}};
  out["name"] = to_valid_utf8(escaped(part.name, 400));
  std::string bytes;
  for (const std::byte b : part.first_bytes) bytes += fmt::format("{:02x}", std::to_integer<unsigned>(b));
  out["bytes"] = std::move(bytes);
  if (!part.is_tensor) return out;
  out["no_values_reason"] = part.no_values_reason;
  if (!part.no_values_reason.empty()) return out;
  out["bins"] = part.bins;
  out["min"] = part.min;
  out["max"] = part.max;
  out["mean"] = finite_or_zero(part.mean);
  out["std"] = finite_or_zero(part.std);
  out["not_finite"] = part.n_not_finite;
  return out;
}

/// The data as JSON that cannot end the script element that it stands in.
std::string page_data(const Picture& picture, const inspect::DamageReport& damage) {
  Json data = {{"files", Json::array()}, {"parts", Json::array()}, {"damage", Json::array()}};
  for (const inspect::DamageRange& range : damage.ranges) {
    if (!range.suspicious) continue;
    data["damage"].push_back({{"file", range.file_index},
                              {"offset", range.offset},
                              {"size", range.size_bytes},
                              {"cause", inspect::name(range.cause)},
                              {"evidence", to_valid_utf8(escaped(range.evidence))}});
  }
  for (const auto& file : picture.files) {
    Json entropy = Json::array(), zero = Json::array();
    for (const auto& column : file.strip) {
      entropy.push_back(std::round(column.entropy * 100) / 100);
      zero.push_back(std::round(column.zero_share * 100) / 100);
    }
    data["files"].push_back(
        {{"path", to_valid_utf8(escaped(file.path))}, {"size", file.size_bytes}, {"entropy", entropy}, {"zero", zero}});
  }
  for (const PicturePart& part : picture.parts) data["parts"].push_back(part_json(part));
  std::string text = data.dump(-1, ' ', false, Json::error_handler_t::replace), out;
  for (const char c : text) c == '<' ? out += "\\u003c" : out += c;
  return out;
}

std::string html_page(const Picture& picture, const inspect::DamageReport& damage, const format::ModelFile& model) {
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out +=
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'\">\n";
  out += fmt::format("<title>{}</title>\n<style>{}</style></head><body><main>\n", xml_text(picture.title), kPageStyle);
  out += fmt::format("<h1>{}</h1><div class=\"dim\">{}, {}, {}, {}</div>\n", xml_text(picture.title), picture.format,
                     plural(model.tensors.size(), "tensor", "tensors"), human_bytes(model.total_bytes()),
                     plural(model.findings.size(), "finding", "findings"));
  out += "<h2>Map</h2><div class=\"dim\">to scale, row after row; click a part to see its bytes</div>\n";
  out += svg_map(picture, true) + "<p class=\"legend\" id=\"legend\"></p>\n";
  out +=
      "<h2>Bytes</h2><div class=\"dim\">entropy of the bytes along the file, 0 to 8 bits; red above: nothing but "
      "zeros</div>\n";
  out +=
      "<div id=\"strips\"></div>\n<h2>Selected part</h2><div id=\"detail\"></div>\n<h2>Damage</h2><div "
      "id=\"damage\"></div>\n";
  out += "<h2>Tensors</h2><p><input id=\"filter\" placeholder=\"filter by name\" aria-label=\"filter by name\"></p>\n";
  out += "<table><thead><tr><th>name</th><th>type</th><th>shape</th><th class=\"n\">size</th><th class=\"n\">mean</th>";
  out += "<th class=\"n\">std</th><th>values</th></tr></thead><tbody id=\"rows\"></tbody></table>\n";
  if (!model.findings.empty()) {
    out += "<h2>Findings</h2>\n";
    for (const Finding& finding : model.findings)
      out += fmt::format("<p{}>{}</p>\n", finding.severity == Severity::Error ? " class=\"bad\"" : "",
                         xml_text(to_error(finding).what()));
  }
  return out + "</main>\n<script type=\"application/json\" id=\"data\">" + page_data(picture, damage) +
         "</script>\n<script>" + std::string(kPageScript) + "</script>\n</body></html>\n";
}

int write_picture(HexRun& run, bool page, bool force) {
  struct stat status {};
  if (!force && ::lstat(run.value.c_str(), &status) == 0)
    throw Error(ErrorCode::Usage, "the file exists already").at(run.value).help("give --force to replace it");
  Progress progress(run.context, page ? "page" : "map", Progress::Unit::Bytes);
  const Picture picture =
      inspect::make_picture(*run.model, {.n_threads = run.context.globals.threads, .progress = progress.callback()});
  inspect::DamageReport damage;
  if (page) damage = inspect::damage_report(*run.model, run.context.globals.threads, progress.callback());
  const std::string text = page ? html_page(picture, damage, *run.model) : svg_map(picture, false);
  run.model->check_intact();
  OutputFile out(run.value);
  out.write(text);
  out.commit();
  if (run.wants_json()) {
    put_text(run.json, "output", run.value);
    run.json["output_bytes"] = text.size();
    run.json["n_parts"] = picture.parts.size();
  } else {
    run.text += fmt::format("  {}: {}\n", escaped(run.value), size_text(text.size()));
  }
  return 0;
}

HexModeRun setup(HexFlags& flags, bool page) {
  const auto force = std::make_shared<bool>(false);
  flags.own(add_switch(flags.app, page ? "--force-html" : "--force-svg", *force, "Replace a file that exists"));
  return [page, force](HexRun& run) { return write_picture(run, page, *force); };
}

}  // namespace

HexModeRun setup_hex_html(HexFlags& flags) { return setup(flags, true); }
HexModeRun setup_hex_svg(HexFlags& flags) { return setup(flags, false); }

}  // namespace apr::cli
