// What a file is, from its first bytes.
#pragma once
#include <optional>
#include <span>
#include <string>

#include "apr/format/model_file.h"

namespace apr::format {

struct Detected {
  std::optional<Format> format;  // nothing: not a model that apr reads
  std::string what;              // "GGUF version 3", "an HTML page", "a Git LFS pointer", "APR version 1 (APRN)", ...
  std::string hint;              // what to do about it; empty for a supported format
};

/// Looks at the first bytes (16 KiB are plenty) and the size of the whole file.
[[nodiscard]] Detected detect(std::span<const std::byte> head, std::uint64_t file_size);

}  // namespace apr::format
