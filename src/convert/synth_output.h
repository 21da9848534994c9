// Where a synthetic model goes, and whether there is room for it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "apr/convert/synth.h"

namespace apr::convert {

/// The files that `options` ask for, the model first. SafeTensors into a directory has companions.
struct SynthPaths {
  std::string model;
  std::string config, tokenizer, tokenizer_config;  // empty: not asked for

  [[nodiscard]] std::vector<std::string> all() const;
};
[[nodiscard]] SynthPaths synth_paths(const SynthOptions& options);

/// Throws Usage when one of `paths` exists and may not be replaced.
void refuse_existing(const SynthPaths& paths, bool force);

/// Throws Io, with both numbers, when the file system of `path` has less than `needed_bytes` free; NotFound when the
/// directory does not exist.
void require_free_space(const std::string& path, std::uint64_t needed_bytes);

}  // namespace apr::convert
