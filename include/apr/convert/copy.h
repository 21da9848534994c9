// A model from one format into another, tensor bytes unchanged.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "apr/format/model_file.h"

namespace apr::convert {

struct CopyOptions {
  /// Called with bytes of tensor data written and their total.
  std::function<void(std::uint64_t, std::uint64_t)> progress;
};

struct CopyReport {
  format::Format from = format::Format::Gguf, to = format::Format::Gguf;
  std::string path;
  std::uint64_t n_tensors = 0, tensor_bytes = 0;
  std::vector<std::pair<std::string, std::string>> renamed;  // old and new name
  std::vector<std::string> dropped_metadata;                 // keys that the target has no place for
};

/// Writes `model` to `path` in another format, or the same one. Each tensor keeps its type, shape and bytes; only the
/// byte order of a big-endian GGUF changes. GGUF -> APR renames by the layout contract and maps the metadata
/// (apr_names.h); SafeTensors -> APR keeps the metadata as the object `source_metadata`; other pairs keep all names and
/// keys. Throws InvalidFormat when the model has errors, Usage when the target cannot hold a tensor or a value exactly
/// (nothing is left at `path` then), Io, Interrupted.
CopyReport copy_model(const format::ModelFile& model, format::Format target, const std::string& path,
                      const CopyOptions& options = {});

}  // namespace apr::convert
