// apr run: a model answers a prompt, or continues a text.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <ctime>
#include <iterator>
#include <memory>
#include <random>
#include <utility>

#include <CLI/CLI.hpp>

#include "apr/core/text.h"
#include "apr/engine/device.h"
#include "apr/engine/session.h"
#include "apr/model/architecture.h"
#include "apr/model/chat_prompt.h"
#include "src/cli/commands.h"
#include "src/cli/device_option.h"
#include "src/cli/input.h"
#include "src/cli/json_document.h"
#include "src/cli/options.h"

namespace apr::cli {
namespace {

constexpr std::size_t kMaxPromptBytes = 64u << 20;  // far more than any context holds

struct RunCommand {
  std::string path, prompt, prompt_file, system;
  bool has_prompt = false, raw = false, exact = false, no_repack = false;
  engine::SamplerOptions sampler;
  std::optional<std::uint64_t> seed, n_predict;
  std::uint64_t n_ctx = 0;
  engine::DeviceRequest device = engine::DeviceRequest::Cpu;
  TensorType kv_type = TensorType::F16;
  engine::Speculate speculate = engine::Speculate::Off;
};

/// What a run was made of, beside what it generated.
struct RunFacts {
  std::string executor, device, device_reason, chat_template;  // the template is empty for a raw prompt
  std::vector<std::int32_t> prompt_tokens;
  engine::MemoryPlan memory;
  std::uint32_t n_ctx = 0;
  std::uint64_t seed = 0;
  bool speculates = false;
};

std::string read_prompt(const RunCommand& command) {
  if (command.has_prompt && command.prompt != "-") return command.prompt;
  if (!command.prompt_file.empty()) return read_text_file(command.prompt_file, kMaxPromptBytes);
  if (!command.has_prompt && ::isatty(STDIN_FILENO) == 1) {
    throw Error(ErrorCode::Usage, "there is no prompt")
        .want("PROMPT, -f FILE, or text on standard input")
        .help("apr run model.gguf \"Why is the sky blue?\"");
  }
  return read_stdin(kMaxPromptBytes);
}

/// Seconds since 1970 as the local clock shows them, for templates that print the date.
std::int64_t local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  return static_cast<std::int64_t>(now) + local.tm_gmtoff;
}

std::vector<std::int32_t> prompt_tokens(const RunCommand& command, Context& context, const model::Model& model,
                                        const model::Tokenizer& tokenizer, RunFacts& facts) {
  const std::string text = read_prompt(command);
  if (command.raw) return tokenizer.encode(text, {.add_special = true, .parse_special = true});
  const model::ChosenTemplate chosen = model::choose_template(*model.file, tokenizer, model.plan.hparams.arch);
  facts.chat_template = chosen.name;
  if (chosen.finding) {
    context.findings.push_back(*chosen.finding);
    if (!context.globals.quiet) spdlog::warn("{}", escaped(chosen.finding->message));
  }
  std::vector<model::ChatMessage> messages;
  if (!command.system.empty()) messages.push_back({"system", command.system});
  messages.push_back({"user", text});
  return model::make_chat_prompt(chosen.chat_template, tokenizer, messages, local_time()).tokens;
}

void put_rate(Json& object, std::string_view key, std::optional<double> rate) {
  if (rate) {
    put_number(object, key, *rate);
  } else {
    object[std::string(key)] = nullptr;
    object[std::string(key) + "_reason"] = "nothing was timed";
  }
}

Json run_json(const Context& context, const RunFacts& facts, const engine::Generated& out, const std::string& text) {
  Json document = make_document(context, "apr.run/1");
  document["executor"] = facts.executor;
  document["device"] = facts.device;
  document["device_reason"] = facts.device_reason;
  document["chat_template"] = facts.chat_template.empty() ? Json(nullptr) : Json(facts.chat_template);
  document["seed"] = facts.seed;
  document["context"] = facts.n_ctx;
  document["memory"] = {{"mapped_bytes", facts.memory.mapped_bytes},
                        {"weights_bytes", facts.memory.weights_bytes},
                        {"kv_type", std::string(name(facts.memory.kv_type))},
                        {"kv_bytes", facts.memory.kv_bytes},
                        {"arena_bytes", facts.memory.arena_bytes}};
  document["prompt_tokens"] = facts.prompt_tokens;
  document["tokens"] = out.tokens;
  put_text(document, "text", text);
  document["finish_reason"] = std::string(engine::name(out.reason));
  const engine::Timings& t = out.timings;
  Json timings;
  timings["n_prompt"] = t.n_prompt;
  put_number(timings, "prompt_s", t.prompt_s);
  put_rate(timings, "prompt_tokens_per_s", t.prompt_rate());
  if (out.tokens.empty()) {
    timings["first_token_s"] = nullptr;
    timings["first_token_s_reason"] = "no token was generated";
  } else {
    put_number(timings, "first_token_s", t.first_token_s);
  }
  timings["n_decoded"] = t.n_decoded;
  put_number(timings, "decode_s", t.decode_s);
  put_rate(timings, "decode_tokens_per_s", t.decode_rate());
  timings["n_passes"] = t.n_passes;
  document["timings"] = std::move(timings);
  document["speculation"] = nullptr;
  if (facts.speculates)
    document["speculation"] = {{"kind", "ngram"}, {"drafted", t.n_drafted}, {"accepted", t.n_accepted}};
  return document;
}

void log_timings(const engine::Generated& out, bool speculates) {
  const engine::Timings& t = out.timings;
  const auto shown = [](std::optional<double> rate) {
    return rate ? fmt::format("{:.1f} tokens/s", *rate) : "not timed";
  };
  spdlog::info("prompt: {} tokens in {:.3f} s, {}", t.n_prompt, t.prompt_s, shown(t.prompt_rate()));
  if (!out.tokens.empty()) spdlog::info("first token after {:.3f} s", t.first_token_s);
  spdlog::info("decode: {} tokens in {:.3f} s, {}; finished: {}", t.n_decoded, t.decode_s, shown(t.decode_rate()),
               engine::name(out.reason));
  if (speculates)
    spdlog::info("speculation: {} of {} drafted tokens accepted, {} passes", t.n_accepted, t.n_drafted, t.n_passes);
}

/// Rows of the embedding that pad it have no text; a sound model never chooses them.
void require_known(std::int32_t token, const model::Tokenizer& tokenizer) {
  if (token < tokenizer.n_vocab()) return;
  throw Error(ErrorCode::Inference, "the model answered with an id that the vocabulary does not have")
      .want(fmt::format("0 to {}", tokenizer.n_vocab() - 1))
      .got(fmt::format("{}", token))
      .help("tokens are missing from the vocabulary, or the weights are damaged: apr qa FILE looks at both");
}

int run_model(const RunCommand& command, Context& context) {
  context.file = FileFacts{command.path, std::nullopt, {}};
  engine::check_options(command.sampler);
  const model::Model model = model::load_model(command.path);
  context.file->size_bytes = model.file->total_bytes();
  context.file->format = format::name(model.file->format);
  context.findings = model.file->findings;
  const model::Tokenizer tokenizer = model::Tokenizer::from_model(*model.file);
  model::require_rows(*model.file, tokenizer, model.plan.hparams);
  const auto& odd = tokenizer.findings();
  context.findings.insert(context.findings.end(), odd.begin(), odd.end());

  RunFacts facts;
  facts.prompt_tokens = prompt_tokens(command, context, model, tokenizer, facts);
  engine::ExecutorOptions options;
  options.n_threads = context.globals.threads;
  options.n_ctx = static_cast<std::uint32_t>(command.n_ctx);
  options.repack = !command.no_repack;
  options.kv_type = command.kv_type;
  const engine::ChosenExecutor chosen = choose_executor(model.plan, options, command.device, command.exact, context);
  engine::Executor* const executor = chosen.executor.get();
  facts.executor = executor->name();
  facts.device = chosen.device;
  facts.device_reason = chosen.reason;
  facts.memory = executor->memory();
  facts.n_ctx = executor->options().n_ctx;
  engine::SamplerOptions sampler = command.sampler;
  facts.seed = sampler.seed = command.seed ? *command.seed : std::random_device{}();
  spdlog::info("executor: {}, {} threads; {}", facts.executor, executor->options().n_threads,
               engine::describe(facts.memory, facts.n_ctx));
  spdlog::info("prompt: {} tokens, {}; seed {}", facts.prompt_tokens.size(),
               facts.chat_template.empty() ? "raw" : "template from " + escaped(facts.chat_template), facts.seed);

  std::string text;
  model::Detokenizer detokenizer(tokenizer);
  const auto show = [&](const std::string& piece) {
    text += piece;
    if (context.globals.json || piece.empty()) return;
    context.out.write(piece);
    context.out.flush();
  };
  engine::GenerateOptions generate;
  if (command.n_predict) generate.n_predict = static_cast<std::uint32_t>(*command.n_predict);
  generate.speculate = command.speculate;
  facts.speculates = command.speculate != engine::Speculate::Off;
  const auto ends = tokenizer.end_of_generation_ids();
  generate.end_tokens.assign(ends.begin(), ends.end());
  engine::Session session(*executor, sampler);
  const engine::Generated out = session.generate(facts.prompt_tokens, generate, [&](std::int32_t token) {
    require_known(token, tokenizer);
    show(detokenizer.push(token));
    return true;
  });
  show(detokenizer.finish());
  model.file->check_intact();
  if (context.globals.json) {
    context.out.write(to_text(run_json(context, facts, out, text)));
  } else if (!text.empty() && text.back() != '\n') {
    context.out.write("\n");
    context.out.flush();  // before the timings, which go to stderr
  }
  log_timings(out, facts.speculates);
  return out.reason == engine::FinishReason::Interrupted ? exit_status(ErrorCode::Interrupted) : 0;
}

void add_sampling(CLI::App& command, const std::shared_ptr<RunCommand>& o) {
  engine::SamplerOptions& s = o->sampler;
  const auto set = [o](double engine::SamplerOptions::*field) {
    return [o, field](double v) { o->sampler.*field = v; };
  };
  const auto count = [o](std::uint32_t engine::SamplerOptions::*field) {
    return [o, field](std::uint64_t n) { o->sampler.*field = static_cast<std::uint32_t>(n); };
  };
  add_real(command, "--temp", set(&engine::SamplerOptions::temperature), 0, 100,
           fmt::format("Temperature; 0 takes the most probable token ({})", s.temperature));
  add_number(command, "--top-k", count(&engine::SamplerOptions::top_k), 0, 1U << 30,
             fmt::format("Sample among the k most probable; 0 for all ({})", s.top_k));
  add_real(command, "--top-p", set(&engine::SamplerOptions::top_p), 1e-9, 1,
           fmt::format("Sample among the fewest that reach this probability ({})", s.top_p));
  add_real(command, "--min-p", set(&engine::SamplerOptions::min_p), 0, 1,
           fmt::format("Drop what is less probable than this share of the best ({})", s.min_p));
  add_real(command, "--repeat-penalty", set(&engine::SamplerOptions::repeat_penalty), 1e-3, 1e3,
           fmt::format("Divides the logits of recent tokens ({} = off)", s.repeat_penalty));
  add_real(command, "--presence-penalty", set(&engine::SamplerOptions::presence_penalty), -100, 100,
           fmt::format("Taken once from the logits of recent tokens ({})", s.presence_penalty));
  add_real(command, "--frequency-penalty", set(&engine::SamplerOptions::frequency_penalty), -100, 100,
           fmt::format("Taken for each time a recent token occurred ({})", s.frequency_penalty));
  add_number(command, "--penalty-window", count(&engine::SamplerOptions::penalty_window), 0, 1U << 20,
             fmt::format("How many last tokens the penalties see ({})", s.penalty_window));
  add_number(
      command, "--seed", [o](std::uint64_t n) { o->seed = n; }, 0, UINT64_MAX,
      "Seed of the draws (a new one each time; -v and --json show it)");
}

}  // namespace

Run setup_run(CLI::App& command) {
  auto o = std::make_shared<RunCommand>();
  command.add_option("MODEL", o->path, "GGUF, APR or SafeTensors model")->required();
  auto* prompt = command.add_option_function<std::string>(
      "PROMPT",
      [o](const std::string& text) {
        o->prompt = text;
        o->has_prompt = true;
      },
      "What to answer; - or nothing reads standard input");
  command.add_option("-f,--file", o->prompt_file, "Read the prompt from a file")->excludes(prompt);
  auto* raw = command.add_flag("--raw", o->raw, "Continue the text as it is, without a chat template");
  command.add_option("--system", o->system, "System message of the chat")->excludes(raw);
  add_number(
      command, "-n,--predict", [o](std::uint64_t n) { o->n_predict = n; }, 0, 1U << 30,
      "Most tokens to generate (until the model ends or the context is full)");
  add_number(
      command, "--ctx", [o](std::uint64_t n) { o->n_ctx = n; }, 1, 1U << 30,
      "Positions of the KV cache (the trained context, at most 4096)");
  auto* device = add_device(command, o->device);
  command.add_flag("--exact", o->exact, "Run the exact executor: f32 values, sums in double, slow")->excludes(device);
  add_enum(command, "--speculate", o->speculate, {{"ngram", engine::Speculate::Ngram}, {"off", engine::Speculate::Off}},
           "Run what followed earlier in the text together with the next token: the same tokens in fewer passes (off)")
      ->excludes(device);
  add_sampling(command, o);
  add_kv_type(command, o->kv_type)->excludes("--exact");
  command
      .add_flag("--no-repack", o->no_repack, "Leave the weights in the file: the same tokens with less memory, slower")
      ->excludes("--exact");
  command.footer(
      "  apr run model.gguf \"Why is the sky blue?\"\n"
      "  apr run model.gguf --raw \"Once upon a time\" -n 64 --temp 0\n"
      "  git diff | apr run model.gguf --system \"Write a commit message.\" -v\n"
      "  apr run model.gguf -f prompt.txt --json | jq '.text, .timings'");
  return [o](Context& context) { return run_model(*o, context); };
}

}  // namespace apr::cli
