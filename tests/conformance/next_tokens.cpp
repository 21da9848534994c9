// Greedy continuations with the two largest logits of every step, as JSON lines: what tests/conformance/logits.py
// compares. usage: next_tokens MODEL exact|fast N < PROMPTS      one prompt a line, taken as it is (BOS where the model
// wants it). Of fast, also the exact executor's two largest logits behind the same tokens.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/executor.h"
#include "apr/model/architecture.h"
#include "apr/model/tokenizer.h"

namespace {

using nlohmann::json;

json step_of(const apr::model::Tokenizer& tokenizer, std::span<const float> logits, std::int32_t& best) {
  std::vector<std::int32_t> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  std::partial_sort(order.begin(), order.begin() + 2, order.end(), [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  });
  best = order[0];
  json step = json::array();
  for (int i = 0; i < 2; ++i) {
    const std::string& piece = tokenizer.piece(order[static_cast<std::size_t>(i)]);
    json bytes = json::array();
    for (const char c : piece) bytes.push_back(static_cast<unsigned char>(c));
    step.push_back({{"id", order[static_cast<std::size_t>(i)]},
                    {"logit", logits[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]},
                    {"bytes", bytes},
                    {"end", tokenizer.is_end_of_generation(order[static_cast<std::size_t>(i)])}});
  }
  return step;
}

/// The two largest logits of the exact executor at every step of a continuation.
json exact_steps(const apr::model::Tokenizer& tokenizer, apr::engine::Executor& exact, std::vector<std::int32_t> text,
                 const json& steps) {
  const std::size_t n_vocab = exact.plan().hparams.n_vocab, first = text.size() - 1;
  for (std::size_t i = 0; i + 1 < steps.size(); ++i) text.push_back(steps[i][0]["id"].get<std::int32_t>());
  json out = json::array();
  std::vector<float> logits;
  for (std::size_t at = 0; at < text.size(); at += exact.options().n_batch) {
    const std::size_t n = std::min<std::size_t>(exact.options().n_batch, text.size() - at);
    logits.resize(n * n_vocab);
    exact.forward(std::span(text).subspan(at, n), static_cast<std::uint32_t>(at), apr::engine::LogitsRequest::All,
                  logits);
    for (std::size_t i = std::max(at, first); i < at + n; ++i) {
      std::int32_t best = 0;
      out.push_back(step_of(tokenizer, std::span(logits).subspan((i - at) * n_vocab, n_vocab), best));
    }
  }
  return out;
}

int run(const std::string& path, bool exact, int n) {
  const apr::model::Model model = apr::model::load_model(path);
  const auto tokenizer = apr::model::Tokenizer::from_model(*model.file);
  const apr::engine::ExecutorOptions options{.n_ctx = 2048, .n_batch = 256};
  const auto reference = apr::engine::make_exact_executor(model.plan, options);
  const auto fast = exact ? nullptr : apr::engine::make_fast_executor(model.plan, options);
  apr::engine::Executor* const executor = exact ? reference.get() : fast.get();
  std::vector<float> logits(model.plan.hparams.n_vocab);
  for (std::string prompt; std::getline(std::cin, prompt);) {
    std::vector<std::int32_t> next = tokenizer.encode(prompt, {.add_special = true, .parse_special = false});
    json line = {{"prompt", prompt}, {"prompt_tokens", next}, {"steps", json::array()}};
    std::uint32_t position = 0;
    for (int i = 0; i < n; ++i) {
      executor->forward(next, position, apr::engine::LogitsRequest::Last, logits);
      position += static_cast<std::uint32_t>(next.size());
      std::int32_t best = 0;
      line["steps"].push_back(step_of(tokenizer, logits, best));
      if (tokenizer.is_end_of_generation(best)) break;
      next = {best};
    }
    if (!exact) line["exact_steps"] = exact_steps(tokenizer, *reference, line["prompt_tokens"], line["steps"]);
    std::cout << line.dump() << '\n' << std::flush;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: next_tokens MODEL exact|fast N < PROMPTS\n";
    return 2;
  }
  try {
    return run(argv[1], std::strcmp(argv[2], "exact") == 0, std::atoi(argv[3]));
  } catch (const apr::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
