// apr hex FILE --verify-manifest M: which chunks and tensors are not what the manifest says, and what to fetch again.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "apr/core/text.h"
#include "apr/inspect/manifest.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/manifest_json.h"
#include "src/cli/options.h"
#include "src/cli/progress.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using inspect::Manifest;
using inspect::ManifestCheck;

struct VerifyOptions {
  bool repair_plan = false;
};

/// The files of the manifest: FILE itself when there is one, else the named ones in its folder.
std::vector<std::string> paths_of(const Manifest& manifest, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  if (manifest.files.size() == 1 && !is_folder) return {path};
  const fs::path folder = is_folder ? fs::path(path) : fs::path(path).parent_path();
  std::vector<std::string> paths;
  for (const inspect::ManifestFile& file : manifest.files) {
    if (fs::path(file.name).filename() != file.name)
      throw Error(ErrorCode::InvalidFormat, "a manifest names files without folders").got(escaped(file.name));
    paths.push_back((folder / file.name).string());
  }
  return paths;
}

std::uint64_t repair_bytes(const ManifestCheck& check) {
  std::uint64_t bytes = 0;
  for (const inspect::ChunkRange& range : check.ranges) bytes += range.size_bytes;
  return bytes;
}

Finding finding_of(const ManifestCheck& check, const inspect::ChunkRange& range) {
  Finding finding;
  finding.rule = range.missing ? "manifest.chunk.missing" : "manifest.chunk.hash";
  finding.message = range.missing ? "the file ends before this range, which the manifest has"
                                  : "these chunks are not what the manifest says";
  finding.offset = range.offset;
  finding.file = check.files[range.file_index].path;
  finding.expected = fmt::format("{} bytes as hashed", range.size_bytes);
  finding.found = range.missing ? "end of file" : "other bytes";
  return finding;
}

void put(Json& json, const Manifest& manifest, const ManifestCheck& check, bool repair_plan) {
  json["intact"] = check.intact();
  json["chunk_bytes"] = manifest.chunk_bytes;
  json["files"] = Json::array();
  for (std::size_t i = 0; i < check.files.size(); ++i) {
    Json entry;
    put_text(entry, "path", check.files[i].path);
    entry["expected_bytes"] = manifest.files[i].size_bytes;
    entry["size_bytes"] = check.files[i].size_bytes;
    entry["extra_bytes"] = check.files[i].extra_bytes;
    entry["n_chunks"] = manifest.files[i].chunks.size();
    entry["n_bad_chunks"] = check.files[i].n_bad_chunks;
    json["files"].push_back(std::move(entry));
  }
  json["tensors"] = Json::array();
  for (const inspect::TensorCheck& t : check.tensors) {
    Json entry;
    put_text(entry, "name", manifest.tensors[t.index].name);
    entry["file_index"] = manifest.tensors[t.index].file_index;
    entry["n_bad_chunks"] = t.n_bad_chunks;
    entry["damaged"] = t.damaged;
    json["tensors"].push_back(std::move(entry));
  }
  json["repair_plan"] = nullptr;
  if (!repair_plan) return;
  json["repair_plan"] = {{"fetch_bytes", repair_bytes(check)}, {"ranges", Json::array()}};
  for (const inspect::ChunkRange& range : check.ranges)
    json["repair_plan"]["ranges"].push_back({{"file_index", range.file_index},
                                             {"offset", range.offset},
                                             {"size_bytes", range.size_bytes},
                                             {"missing", range.missing}});
}

void append_ranges(std::string& out, const Style& style, const Manifest& manifest, const ManifestCheck& check) {
  append_heading(out, style, "DAMAGED CHUNKS", fmt::format("of {}", human_bytes(manifest.chunk_bytes)));
  Table table({{"offset"}, {"bytes", Align::Right}, {"chunks"}, {""}});
  for (const inspect::ChunkRange& range : check.ranges) {
    const std::uint64_t first = range.offset / manifest.chunk_bytes;
    const std::uint64_t last = (range.offset + range.size_bytes - 1) / manifest.chunk_bytes;
    table.add({{offset_text(range.offset), Role::Offset},
               {grouped(range.size_bytes)},
               {first == last ? fmt::format("{}", first) : fmt::format("{} to {}", first, last)},
               {range.missing ? "missing: the file ends before" : "hash differs", Role::Bad}});
  }
  table.append_to(out, style);
}

void append_tensors(std::string& out, const Style& style, const Manifest& manifest, const ManifestCheck& check) {
  if (check.tensors.empty()) return;
  append_heading(out, style, "TENSORS IN THEM", "");
  Table table({{"name"}, {"bad chunks", Align::Right}, {""}});
  for (const inspect::TensorCheck& t : check.tensors)
    table.add({{escaped(manifest.tensors[t.index].name), Role::Name},
               {grouped(t.n_bad_chunks)},
               {t.damaged ? "damaged" : "intact: the damage is beside it", t.damaged ? Role::Bad : Role::Good}});
  table.append_to(out, style);
}

/// For a shell. A path with control characters is shown escaped, and is then no longer what a shell needs.
std::string quoted_path(const std::string& path) {
  std::string quoted = "'";
  for (const char c : path) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return escaped(quoted + "'");
}

/// Commands that fetch each range and put it in its place; URL is the reader's to set: of the file, or of the folder of
/// shards.
void append_plan(std::string& out, const Style& style, const Manifest& manifest, const ManifestCheck& check) {
  append_heading(out, style, "REPAIR PLAN", fmt::format("fetch {} of {}", size_text(repair_bytes(check)), [&] {
                   std::uint64_t total = 0;
                   for (const inspect::ManifestFile& file : manifest.files) total += file.size_bytes;
                   return size_text(total);
                 }()));
  for (const inspect::ChunkRange& range : check.ranges) {
    const std::string name = manifest.files.size() > 1 ? "/" + escaped(manifest.files[range.file_index].name) : "";
    out += fmt::format("  curl -sfL -r {}-{} \"$URL{}\" | dd of={} bs=1M oflag=seek_bytes seek={} conv=notrunc\n",
                       range.offset, range.offset + range.size_bytes - 1, name,
                       quoted_path(check.files[range.file_index].path), range.offset);
  }
  for (std::size_t i = 0; i < check.files.size(); ++i)
    if (check.files[i].extra_bytes > 0)
      out += fmt::format("  truncate -s {} {}\n", manifest.files[i].size_bytes, quoted_path(check.files[i].path));
}

void append(std::string& out, const Style& style, const Manifest& manifest, const ManifestCheck& check,
            bool repair_plan) {
  for (std::size_t i = 0; i < check.files.size(); ++i) {
    const ManifestCheck::File& file = check.files[i];
    out += fmt::format("{}: {} of {} chunks as the manifest says\n", escaped(file.path),
                       grouped(manifest.files[i].chunks.size() - file.n_bad_chunks),
                       grouped(manifest.files[i].chunks.size()));
    if (file.extra_bytes > 0)
      out += fmt::format("  {} behind the end that the manifest knows\n", size_text(file.extra_bytes));
  }
  if (!check.ranges.empty()) append_ranges(out, style, manifest, check);
  append_tensors(out, style, manifest, check);
  if (repair_plan && !check.intact()) append_plan(out, style, manifest, check);
}

int run_verify(const VerifyOptions& o, HexRun& run) {
  Context& context = run.context;
  const Manifest manifest = read_manifest(run.value);
  const auto paths = paths_of(manifest, run.shared.path);
  Progress progress(context, "verifying", Progress::Unit::Bytes);
  const ManifestCheck check = inspect::check_manifest(manifest, paths, context.globals.threads, progress.callback());
  for (const inspect::ChunkRange& range : check.ranges) context.findings.push_back(finding_of(check, range));
  for (std::size_t i = 0; i < check.files.size(); ++i)
    if (check.files[i].extra_bytes > 0) {
      Finding finding;
      finding.rule = "manifest.file.extra";
      finding.message = "bytes behind the end that the manifest knows";
      finding.offset = manifest.files[i].size_bytes;
      finding.file = check.files[i].path;
      finding.expected = fmt::format("{} bytes", manifest.files[i].size_bytes);
      finding.found = fmt::format("{} bytes", check.files[i].size_bytes);
      context.findings.push_back(std::move(finding));
    }
  if (context.globals.json) {
    Json document = make_document(context, "apr.hex.verify_manifest/1");
    put(document, manifest, check, o.repair_plan);
    context.out.write(to_text(document));
  } else {
    std::string text;
    append(text, context.style, manifest, check, o.repair_plan);
    context.out.write(text);
  }
  return check.intact() ? 0 : exit_status(ErrorCode::ValidationFailed);
}

}  // namespace

HexModeRun setup_hex_verify_manifest(HexFlags& flags) {
  auto o = std::make_shared<VerifyOptions>();
  flags.own(add_switch(flags.app, "--repair-plan", o->repair_plan, "Also the byte ranges to fetch again, as commands"));
  return [o](HexRun& run) { return run_verify(*o, run); };
}

}  // namespace apr::cli
