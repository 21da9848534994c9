// `apr --version`: what this binary is and what it would use on this machine.
#pragma once
#include <string>
#include <vector>

#include "src/cli/json_document.h"

namespace apr::cli {

struct VersionReport {
  struct Isa {
    std::string name;
    bool runs_here = false;
    bool active = false;
  };
  std::string version, commit, compiler, build_type, cpu;
  std::vector<Isa> isa;  // from the plainest to the most capable
  bool cuda_built = false;
};

/// Call it after --isa and APR_ISA were applied: `active` is what would run now.
[[nodiscard]] VersionReport version_report();
[[nodiscard]] std::string version_text(const VersionReport& report);
void append_version(Json& document, const VersionReport& report);

}  // namespace apr::cli
