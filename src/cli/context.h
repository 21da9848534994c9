// What every subcommand is given: the global flags, where to print, and what an error report needs to know.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "src/cli/output.h"
#include "src/cli/style.h"

namespace apr::cli {

enum class ColorMode { Auto, Always, Never };

/// Flags that every subcommand accepts, before or after its name.
struct Globals {
  bool json = false;  // one JSON document is all of stdout
  ColorMode color = ColorMode::Auto;
  bool quiet = false;    // -q: no progress, no hints
  int verbosity = 0;     // -v: log to stderr; -vv: more of it
  unsigned threads = 1;  // --threads, or the CPUs this process may use
};

/// The file that a command works on, as JSON documents name it.
struct FileFacts {
  std::string path;
  std::optional<std::uint64_t> size_bytes;  // nothing: could not be opened
  std::string format;                       // "gguf", ...; empty: none was recognised
};

struct Context {
  Globals globals;
  std::string command;            // "hex"; empty before a subcommand is known
  Output out;                     // stdout, buffered and checked
  Style style{false};             // colours of stdout
  Style error_style{false};       // colours of stderr
  std::optional<FileFacts> file;  // set it before opening: error documents repeat it
  std::vector<Finding> findings;  // what was found so far: documents list it
};

/// Runs a parsed subcommand; returns the process exit status. Failures are thrown as apr::Error, so a command returns
/// something else than 0 only when its report itself is the bad news (findings, a failed gate).
using Run = std::function<int(Context&)>;

}  // namespace apr::cli
