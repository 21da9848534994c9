// The model under test, opened step by step: each step is tried once, when a gate first needs it, and its failure kept.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "apr/engine/executor.h"
#include "apr/format/model_file.h"
#include "apr/model/architecture.h"
#include "apr/model/chat_prompt.h"
#include "apr/model/tokenizer.h"
#include "apr/qa/qa.h"

namespace apr::qa {

/// The result of a step, or why there is none.
template <class T>
struct Step {
  std::optional<T> value;
  std::optional<Error> error;
  [[nodiscard]] bool tried() const noexcept { return value || error; }
};

class Subject {
 public:
  Subject(std::string path, const QaOptions& options) : path_(std::move(path)), options_(options) {}

  /// Throws NotFound, Io and Interrupted; other failures are kept.
  const Step<format::ModelFile>& file();
  /// The file, when it breaks no rule of its format.
  const format::ModelFile* sound_file();
  struct HParamsResult {
    model::HParams hparams;
    std::vector<Finding> findings;
  };
  const HParamsResult& hparams();  // of a sound file
  const Step<model::Plan>& plan();
  const Step<model::Tokenizer>& tokenizer();
  const Step<model::ChosenTemplate>& chat_template();
  const Step<std::unique_ptr<engine::Executor>>& executor();
  /// A new one with a thread count of its own; the caller calls drop_executor() first, so that two never exist at once.
  [[nodiscard]] std::unique_ptr<engine::Executor> make_executor(unsigned n_threads);
  void drop_executor() { executor_ = {}; }
  [[nodiscard]] bool has_executor() const noexcept { return executor_.value.has_value(); }
  /// Null when none was chosen so far.
  [[nodiscard]] const std::string* template_name() const noexcept {
    return template_.value ? &template_.value->name : nullptr;
  }

  [[nodiscard]] const QaOptions& options() const noexcept { return options_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Empty when the step can be used; else a line for the gates that need it.
  std::string lacks_file();
  std::string lacks_hparams();
  std::string lacks_plan();
  std::string lacks_tokenizer();
  std::string lacks_executor();

 private:
  std::string path_;
  const QaOptions& options_;
  Step<format::ModelFile> file_;
  std::optional<HParamsResult> hparams_;
  Step<model::Plan> plan_;
  Step<model::Tokenizer> tokenizer_;
  Step<model::ChosenTemplate> template_;
  Step<std::unique_ptr<engine::Executor>> executor_;
};

}  // namespace apr::qa
