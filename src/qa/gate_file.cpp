// Gates that read the header only: container, architecture, tensors.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "apr/core/text.h"
#include "gate.h"

namespace apr::qa {
namespace {

constexpr std::size_t kMostProblems = 100;  // listed; the count is whole

/// Tensors that are stored with a text model and that none of its ops reads. Prefixes of names; sources: the vision and
/// audio parts in convert_hf_to_gguf.py and transformers, the constant tables of older checkpoints.
constexpr std::string_view kOtherParts[] = {"vision_tower.",
                                            "multi_modal_projector.",
                                            "model.vision_tower.",
                                            "model.multi_modal_projector.",
                                            "visual.",
                                            "audio_tower.",
                                            "v.",
                                            "mm."};
constexpr std::string_view kConstantTables[] = {".rotary_emb.inv_freq", ".attn_rot_embd", ".masked_bias", ".attn.bias"};

bool is_of_another_part(std::string_view name) {
  return std::any_of(std::begin(kOtherParts), std::end(kOtherParts),
                     [&](auto part) { return name.starts_with(part); }) ||
         std::any_of(std::begin(kConstantTables), std::end(kConstantTables),
                     [&](auto table) { return name.ends_with(table); });
}

}  // namespace

void run_gate_Container(GateRun& run) {
  run.of("metadata entries, tensor entries and files");
  const auto& step = run.subject.file();
  if (step.error) {
    run.compared();
    run.fail("qa.container.open", *step.error);
    return;
  }
  const format::ModelFile& file = *step.value;
  run.compared(file.files.size() + file.metadata.size() + file.tensors.size());
  for (const Finding& finding : file.findings) {
    Finding& own = run.add(finding.severity, finding.rule, finding.message);
    own = finding;
  }
  if (file.tensors.empty()) run.fail("qa.container.tensors", "the file holds no tensor");
  run.note(fmt::format("{} {}, {} tensors{}", format::name(file.format), file.version, file.tensors.size(),
                       file.data_checksum_ok ? ", checksum of the data verified" : ""));
}

void run_gate_Architecture(GateRun& run) {
  run.of("hyperparameters");
  if (std::string line = run.subject.lacks_file(); !line.empty()) return run.skip(std::move(line));
  const auto& [h, findings] = run.subject.hparams();
  run.compared(h.sources.size() + findings.size());
  for (const Finding& finding : findings) {
    Finding& own = run.add(finding.severity, finding.rule, finding.message);
    own = finding;
  }
  run.note(fmt::format("{}, {} layers, {} wide, {} of {} heads for keys, vocabulary {}", escaped(h.declared_arch, 40),
                       h.n_layers, h.n_embd, h.n_kv_heads, h.n_heads, h.n_vocab));
}

void run_gate_Tensors(GateRun& run) {
  run.of("tensors");
  if (std::string line = run.subject.lacks_hparams(); !line.empty()) return run.skip(std::move(line));
  const format::ModelFile& file = *run.subject.sound_file();
  const model::WeightLog log = model::check_tensors(file, run.subject.hparams().hparams);
  run.compared(log.n_checked + file.tensors.size());
  auto tell = [n = std::size_t{0}](auto&& what) mutable {
    if (n++ < kMostProblems) what();
  };
  for (const Error& problem : log.problems)
    tell([&] {
      Finding& finding = run.fail("qa.tensors.contract", problem);
      if (problem.field.starts_with("tensor ")) finding.tensor = problem.field.substr(7);
    });
  const std::unordered_set<const format::TensorInfo*> used(log.used.begin(), log.used.end());
  std::unordered_set<std::string_view> names;
  std::uint64_t n_other = 0;
  for (const format::TensorInfo& tensor : file.tensors) {
    const bool twice = !names.insert(tensor.name).second;
    if (!twice && (used.contains(&tensor) || is_of_another_part(tensor.name))) {
      n_other += used.contains(&tensor) ? 0 : 1;
      continue;
    }
    tell([&] {
      Finding& finding = run.fail("qa.tensors.extra", twice ? "the file holds two tensors of one name"
                                                            : "no op of the architecture reads this tensor");
      finding.file = file.files[tensor.file_index]->path();
      finding.offset = tensor.info_offset;
      finding.tensor = tensor.name;
      finding.hint = "a model of another architecture, or of more parts than its metadata says";
    });
  }
  const bool tied = std::none_of(log.used.begin(), log.used.end(), [](const auto* tensor) {
    return tensor->name == "output.weight" || tensor->name.ends_with("lm_head.weight");
  });
  run.note(fmt::format("{} tensors as the architecture needs them, output {}{}", log.used.size(),
                       tied ? "tied to the embedding" : "of its own",
                       n_other > 0 ? fmt::format("; {} of other parts not judged", n_other) : ""));
}

}  // namespace apr::qa
