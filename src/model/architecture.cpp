#include "apr/model/architecture.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "apr/core/error.h"
#include "arch/archs.h"

namespace apr::model {
namespace {

constexpr Architecture kArchitectures[] = {
#define APR_ARCH(symbol, model_types, gguf_rope, gemma_names) \
  {#symbol, model_types, RopeLayout::gguf_rope, gemma_names, build_##symbol},
#include "arch/architectures.def"
#undef APR_ARCH
};

bool same_text(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_listed(std::string_view list, std::string_view word) {
  for (;;) {
    const std::size_t bar = list.find('|');
    if (same_text(list.substr(0, bar), word)) return true;
    if (bar == std::string_view::npos) return false;
    list = list.substr(bar + 1);
  }
}

Error big_endian(const format::ModelFile& file) {
  return Error(ErrorCode::ModelLoad, "big-endian weights cannot be computed with")
      .at(file.path)
      .want("little-endian")
      .got("big-endian")
      .help("convert the file to little-endian first");
}

}  // namespace

std::span<const Architecture> architectures() noexcept { return kArchitectures; }

const Architecture* find_architecture(std::string_view name) noexcept {
  for (const Architecture& arch : kArchitectures) {
    if (same_text(arch.name, name) || is_listed(arch.model_types, name)) return &arch;
  }
  return nullptr;
}

Plan build_plan(const format::ModelFile& file, const HParams& hparams) {
  const Architecture* arch = find_architecture(hparams.arch);
  APR_CHECK(arch != nullptr);  // read_hparams accepts no other
  if (file.byte_order != std::endian::little) throw big_endian(file);
  return arch->build(hparams, WeightSource(file, arch->gemma_names));
}

WeightLog check_tensors(const format::ModelFile& file, const HParams& hparams) {
  const Architecture* arch = find_architecture(hparams.arch);
  APR_CHECK(arch != nullptr);
  WeightLog log;
  if (file.byte_order != std::endian::little) log.problems.push_back(big_endian(file));
  try {
    static_cast<void>(arch->build(hparams, WeightSource(file, arch->gemma_names, &log)));
  } catch (Error& problem) {  // the contents of rope_freqs.weight
    log.problems.push_back(std::move(problem));
  }
  return log;
}

Model load_model(format::ModelFile file) {
  Model model;
  model.file = std::make_unique<format::ModelFile>(std::move(file));
  model.file->require_sound();
  model.plan = build_plan(*model.file, read_hparams(*model.file));
  return model;
}

Model load_model(const std::string& path) { return load_model(format::open_model(path)); }

}  // namespace apr::model
