// The manifest file: schema apr.manifest/1, written beside a model and read back to verify it.
#pragma once
#include <string>

#include "apr/inspect/manifest.h"
#include "src/cli/json_document.h"

namespace apr::cli {

[[nodiscard]] Json manifest_json(const inspect::Manifest& manifest);

/// Reads a manifest. The file is as little trusted as a model: every number is checked against the others, and the
/// chunk hashes against the root. Throws InvalidFormat with the member that is wrong, NotFound or Io.
[[nodiscard]] inspect::Manifest read_manifest(const std::string& path);

}  // namespace apr::cli
