#include "src/cli/version.h"

#include <fmt/format.h>

#include "apr/core/cpu_info.h"
#include "apr/kernels/dispatch.h"
#include "build_info.h"

namespace apr::cli {

VersionReport version_report() {
  VersionReport report{kVersion, kCommit, kCompiler, kBuildType, cpu_info().brand, {}, kCudaBuilt};
  const kernels::KernelTable* active = &kernels::active();
  for (const kernels::IsaVariant& variant : kernels::isa_variants())
    report.isa.push_back({std::string(variant.name), variant.runs_here, variant.table == active});
  return report;
}

std::string version_text(const VersionReport& report) {
  std::string out = fmt::format("apr {}\n", report.version);
  auto line = [&out](std::string_view label, std::string_view text) {
    out += fmt::format("  {:<10} {}\n", label, text.empty() ? "unknown" : text);
  };
  line("commit", report.commit);
  line("compiler", report.compiler);
  line("build", report.build_type);
  line("cpu", report.cpu);
  std::string built;
  std::string active;
  for (const auto& isa : report.isa) {
    built += fmt::format("{}{}{}", built.empty() ? "" : ", ", isa.name, isa.runs_here ? "" : " (not on this machine)");
    if (isa.active) active = isa.name;
  }
  line("isa built", built);
  line("isa used", active);
  line("cuda", report.cuda_built ? "built" : "not built");
  return out;
}

void append_version(Json& document, const VersionReport& report) {
  document["commit"] = report.commit;
  document["compiler"] = report.compiler;
  document["build_type"] = report.build_type;
  document["cpu"] = report.cpu.empty() ? Json(nullptr) : Json(report.cpu);
  document["isa_used"] = nullptr;
  document["isa"] = Json::array();
  for (const auto& isa : report.isa) {
    document["isa"].push_back({{"name", isa.name}, {"runs_here", isa.runs_here}});
    if (isa.active) document["isa_used"] = isa.name;
  }
  document["cuda_built"] = report.cuda_built;
}

}  // namespace apr::cli
