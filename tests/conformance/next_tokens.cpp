// Greedy continuations with the two largest logits of every step, as JSON lines: what tests/conformance/logits.py
// compares. usage: next_tokens MODEL exact|fast N < PROMPTS      one prompt a line, taken as it is (BOS where the model
// wants it)
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/executor.h"
#include "apr/model/architecture.h"
#include "apr/model/tokenizer.h"

namespace {

using nlohmann::json;

json step_of(const apr::model::Tokenizer& tokenizer, const std::vector<float>& logits, std::int32_t& best) {
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

int run(const std::string& path, bool exact, int n) {
  const apr::model::Model model = apr::model::load_model(path);
  const auto tokenizer = apr::model::Tokenizer::from_model(*model.file);
  const apr::engine::ExecutorOptions options{.n_ctx = 2048, .n_batch = 256};
  const auto executor = exact ? apr::engine::make_exact_executor(model.plan, options)
                              : apr::engine::make_fast_executor(model.plan, options);
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
