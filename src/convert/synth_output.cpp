#include "src/convert/synth_output.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "apr/core/error.h"
#include "apr/core/text.h"

namespace apr::convert {

namespace fs = std::filesystem;

std::vector<std::string> SynthPaths::all() const {
  std::vector<std::string> paths{model};
  for (const std::string& path : {config, tokenizer, tokenizer_config}) {
    if (!path.empty()) paths.push_back(path);
  }
  return paths;
}

SynthPaths synth_paths(const SynthOptions& options) {
  std::error_code ignored;
  const bool is_directory = options.path.ends_with('/') || fs::is_directory(options.path, ignored);
  if (!is_directory) return {options.path, {}, {}, {}};
  if (options.format != format::Format::SafeTensors) {
    throw Error(ErrorCode::Usage, "only SafeTensors models can be written into a directory")
        .at(options.path)
        .help("give the path of a file");
  }
  const fs::path folder(options.path);
  return {folder / "model.safetensors", folder / "config.json", folder / "tokenizer.json",
          folder / "tokenizer_config.json"};
}

void refuse_existing(const SynthPaths& paths, bool force) {
  if (force) return;
  for (const std::string& path : paths.all()) {
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(path, ignored))) continue;
    throw Error(ErrorCode::Usage, "the output exists already").at(path).help("--force replaces it");
  }
}

void require_free_space(const std::string& path, std::uint64_t needed_bytes) {
  fs::path folder = fs::path(path).parent_path();
  if (folder.empty()) folder = ".";
  struct statvfs stats {};
  if (statvfs(folder.c_str(), &stats) != 0) {
    const ErrorCode code = errno == ENOENT || errno == ENOTDIR ? ErrorCode::NotFound : ErrorCode::Io;
    throw Error(code, std::string("the output's directory cannot be used: ") + std::strerror(errno))
        .at(folder.string());
  }
  const std::uint64_t free_bytes = std::uint64_t{stats.f_bavail} * stats.f_frsize;
  if (free_bytes >= needed_bytes) return;
  throw Error(ErrorCode::Io, "not enough free space for the model")
      .at(path)
      .want(human_bytes(needed_bytes) + " (" + grouped(needed_bytes) + " bytes)")
      .got(human_bytes(free_bytes) + " free")
      .help("free some space or write to another file system");
}

}  // namespace apr::convert
