#include <algorithm>
#include <filesystem>

#include "apr/format/detect.h"
#include "src/format/readers.h"

namespace apr::format {
namespace {

constexpr std::size_t kHeadBytes = 16 * 1024;

bool ends_with_index_name(const std::string& path) { return path.ends_with(".safetensors.index.json"); }

[[noreturn]] void refuse(const std::string& path, const Detected& detected) {
  throw Error(ErrorCode::InvalidFormat, "not a model file that apr reads")
      .at(path, 0)
      .in("magic")
      .want("GGUF, SafeTensors or APR version 2")
      .got(detected.what)
      .help(detected.hint);
}

}  // namespace

ModelFile open_model(const std::string& path, const OpenOptions& options) {
  std::error_code ignored;  // what cannot be asked is left to MappedFile, which says why
  if (std::filesystem::is_directory(path, ignored)) return open_safetensors_directory(path, options);

  auto file = std::make_unique<MappedFile>(path);
  const auto head = file->bytes().first(std::min(file->bytes().size(), kHeadBytes));
  if (looks_like_safetensors_index(head)) return open_safetensors_directory(path, options);
  const Detected detected = detect(head, file->size());
  if (!detected.format) {
    // An index whose "weight_map" stands behind the head is still a JSON document under the index's name.
    if (ends_with_index_name(path) && detected.what.starts_with("a JSON"))
      return open_safetensors_directory(path, options);
    refuse(path, detected);
  }
  switch (*detected.format) {
    case Format::Gguf: return read_gguf(std::move(file), path, options);
    case Format::SafeTensors: return read_safetensors(std::move(file), path, options);
    case Format::Apr: return read_apr(std::move(file), path, options);
  }
  refuse(path, detected);
}

}  // namespace apr::format
