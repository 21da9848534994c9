// The architectures that apr can run. Adding one: a file in src/model/arch and a row in architectures.def.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "apr/format/model_file.h"
#include "apr/model/hparams.h"
#include "apr/model/plan.h"
#include "apr/model/weights.h"

namespace apr::model {

struct Architecture {
  std::string_view name;         // general.architecture of GGUF
  std::string_view model_types;  // other spellings, separated by '|': model_type, class name of config.json
  RopeLayout gguf_rope;          // layout of query and key rows in GGUF
  bool gemma_names;              // Hugging Face names and norms as Gemma has them
  Plan (*build)(const HParams& hparams, const WeightSource& weights);
};

[[nodiscard]] std::span<const Architecture> architectures() noexcept;
/// By name or any other spelling; null when unknown.
[[nodiscard]] const Architecture* find_architecture(std::string_view name) noexcept;

/// Checks every tensor the architecture needs and lists the ops. Throws ModelLoad: unknown architecture (with the known
/// ones), a broken rule of the hyperparameters, a missing or mis-shaped tensor, big-endian data.
[[nodiscard]] Plan build_plan(const format::ModelFile& file, const HParams& hparams);

/// All that build_plan() refuses in the tensors, instead of the first, and the tensors that the model computes with.
[[nodiscard]] WeightLog check_tensors(const format::ModelFile& file, const HParams& hparams);

/// An opened model with its plan; the plan's views point into `file`.
struct Model {
  std::unique_ptr<format::ModelFile> file;
  Plan plan;
};
/// Opens, requires a sound file, reads the hyperparameters, builds the plan.
[[nodiscard]] Model load_model(const std::string& path);
/// The same from an opened file.
[[nodiscard]] Model load_model(format::ModelFile file);

}  // namespace apr::model
