// apr hex FILE --manifest: hashes of file, tensors and chunks, written beside the file.
#include <fmt/format.h>

#include <chrono>
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

struct ManifestOptions {
  std::string out;  // empty: the model's path + ".manifest.json"
  bool force = false;
};

std::string out_path(const ManifestOptions& o, const HexRun& run) {
  if (!o.out.empty()) return o.out;
  std::string path = run.shared.path;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path + ".manifest.json";
}

void put(Json& json, const std::string& path, const inspect::Manifest& manifest, double elapsed_s) {
  put_text(json, "manifest", path);
  json["chunk_bytes"] = manifest.chunk_bytes;
  json["n_tensors"] = manifest.tensors.size();
  json["files"] = Json::array();
  for (const inspect::ManifestFile& file : manifest.files) {
    Json entry;
    put_text(entry, "name", file.name);
    entry["size_bytes"] = file.size_bytes;
    entry["n_chunks"] = file.chunks.size();
    entry["sha256"] = to_hex(file.sha256);
    entry["merkle_root"] = to_hex(file.merkle_root);
    json["files"].push_back(std::move(entry));
  }
  put_number(json, "elapsed_s", elapsed_s);
}

void append(std::string& out, const Style& style, const std::string& path, const inspect::Manifest& manifest) {
  out += escaped(path) + "\n";
  for (const inspect::ManifestFile& file : manifest.files) {
    append_heading(out, style, escaped(file.name), size_text(file.size_bytes));
    Table table({{""}, {"", Align::Left, 64}});
    table.add({{"sha256", Role::Dim}, {to_hex(file.sha256)}});
    table.add({{"merkle root", Role::Dim}, {to_hex(file.merkle_root)}});
    table.add({{"chunks", Role::Dim},
               {fmt::format("{} of {}", grouped(file.chunks.size()), human_bytes(manifest.chunk_bytes))}});
    table.append_to(out, style);
  }
  out += fmt::format("\n  {} hashed, too\n", plural(manifest.tensors.size(), "tensor", "tensors"));
}

int run_manifest(const ManifestOptions& o, HexRun& run) {
  const std::string path = out_path(o, run);
  std::error_code ignored;
  if (!o.force && std::filesystem::exists(std::filesystem::symlink_status(path, ignored)))
    throw Error(ErrorCode::Usage, "the manifest exists already")
        .at(path)
        .help("--force replaces it; --out names another");
  for (const auto& file : run.model->files)
    if (std::filesystem::equivalent(path, file->path(), ignored))
      throw Error(ErrorCode::Usage, "the manifest would replace the model").at(path).in("--out");
  Progress progress(run.context, "hashing", Progress::Unit::Bytes);
  const auto start = std::chrono::steady_clock::now();
  const inspect::Manifest manifest =
      inspect::build_manifest(*run.model, run.context.globals.threads, progress.callback());
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  run.model->check_intact();
  OutputFile out(path);
  out.write(to_text(manifest_json(manifest)));
  out.commit();
  if (run.wants_json())
    put(run.json, path, manifest, elapsed_s);
  else
    append(run.text, run.context.style, path, manifest);
  return 0;
}

}  // namespace

HexModeRun setup_hex_manifest(HexFlags& flags) {
  auto o = std::make_shared<ManifestOptions>();
  flags.own(add_text(
      flags.app, "--out", [o](const std::string& path) { o->out = path; }, "PATH",
      "The manifest to write (FILE.manifest.json)"));
  flags.own(add_switch(flags.app, "--force", o->force, "Replace a manifest that exists"));
  return [o](HexRun& run) { return run_manifest(*o, run); };
}

}  // namespace apr::cli
