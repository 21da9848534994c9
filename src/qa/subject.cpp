#include "subject.h"

#include <utility>

#include "apr/core/text.h"
#include "apr/core/thread_pool.h"

namespace apr::qa {
namespace {

/// Failures that are not the model's: no verdict is possible, and the command ends with them.
bool is_the_systems(ErrorCode code) {
  return code == ErrorCode::NotFound || code == ErrorCode::Io || code == ErrorCode::Interrupted;
}

template <class T, class Make>
const Step<T>& tried(Step<T>& step, const Make& make) {
  if (step.tried()) return step;
  try {
    step.value.emplace(make());
  } catch (const Error& error) {
    if (is_the_systems(error.code)) throw;
    step.error = error;
  }
  return step;
}

std::string line_of(const char* what, const Error& error) {
  std::string line = std::string(what) + ": " + error.message;
  if (!error.field.empty()) line += " (" + error.field + ")";
  return line;
}

}  // namespace

const Step<format::ModelFile>& Subject::file() {
  return tried(file_, [&] { return format::open_model(path_, {.verify_data = true}); });
}

const format::ModelFile* Subject::sound_file() {
  const auto& step = file();
  return step.value && !step.value->has_errors() ? &*step.value : nullptr;
}

const Subject::HParamsResult& Subject::hparams() {
  if (!hparams_) {
    hparams_.emplace();
    hparams_->hparams = model::parse_hparams(*sound_file(), hparams_->findings);
  }
  return *hparams_;
}

const Step<model::Plan>& Subject::plan() {
  return tried(plan_, [&] { return model::build_plan(*sound_file(), hparams().hparams); });
}

const Step<model::Tokenizer>& Subject::tokenizer() {
  return tried(tokenizer_, [&] { return model::Tokenizer::from_model(*sound_file()); });
}

const Step<model::ChosenTemplate>& Subject::chat_template() {
  return tried(template_,
               [&] { return model::choose_template(*sound_file(), *tokenizer().value, hparams().hparams.arch); });
}

std::unique_ptr<engine::Executor> Subject::make_executor(unsigned n_threads) {
  engine::ExecutorOptions options;
  options.n_ctx = options_.n_ctx;
  options.n_threads = n_threads;
  options.kv_type = options_.kv_type;
  options.memory_limit_bytes = options_.memory_limit_bytes;
  return options_.make_executor ? options_.make_executor(*plan().value, options)
                                : engine::make_fast_executor(*plan().value, options);
}

const Step<std::unique_ptr<engine::Executor>>& Subject::executor() {
  return tried(executor_, [&] { return make_executor(options_.n_threads); });
}

std::string Subject::lacks_file() {
  const auto& step = file();
  if (step.error) return line_of("the file cannot be opened", *step.error);
  for (const Finding& finding : step.value->findings)
    if (finding.severity == Severity::Error) return "the file breaks the rules of its format: " + finding.message;
  return {};
}

std::string Subject::lacks_hparams() {
  if (std::string line = lacks_file(); !line.empty()) return line;
  for (const Finding& finding : hparams().findings)
    if (finding.severity == Severity::Error) return "the hyperparameters cannot be used: " + finding.message;
  return {};
}

std::string Subject::lacks_plan() {
  if (std::string line = lacks_hparams(); !line.empty()) return line;
  return plan().error ? line_of("the model cannot be run", *plan().error) : std::string();
}

std::string Subject::lacks_tokenizer() {
  if (std::string line = lacks_file(); !line.empty()) return line;
  return tokenizer().error ? line_of("the tokenizer cannot be used", *tokenizer().error) : std::string();
}

std::string Subject::lacks_executor() {
  if (std::string line = lacks_plan(); !line.empty()) return line;
  return executor().error ? line_of("the model cannot be loaded", *executor().error) : std::string();
}

}  // namespace apr::qa
