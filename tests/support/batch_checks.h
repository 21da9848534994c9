// What every executor that runs several sequences in one pass must hold: each gets the bits that it gets alone.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "apr/engine/executor.h"
#include "apr/model/architecture.h"
#include "tests/support/golden_model.h"

namespace apr::test {

using engine::BatchPart;
using engine::Executor;
using engine::ExecutorOptions;
using engine::LogitsRequest;
using Make = std::function<std::unique_ptr<Executor>(const model::Plan&, const ExecutorOptions&)>;

inline std::int32_t argmax(std::span<const float> row) {
  return static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin());
}

/// Greedy continuation of one text and the logits of every step, one sequence, one token at a time.
struct Alone {
  std::vector<std::int32_t> ids;
  std::vector<std::vector<float>> logits;
};
inline Alone run_alone(Executor& executor, std::span<const std::int32_t> prompt, std::size_t n_steps) {
  Alone out;
  std::vector<float> logits(executor.plan().hparams.n_vocab, NAN);
  executor.forward(prompt, 0, LogitsRequest::Last, logits);
  for (std::size_t i = 0; i < n_steps; ++i) {
    out.logits.push_back(logits);
    out.ids.push_back(argmax(logits));
    executor.forward(std::span(&out.ids.back(), 1), static_cast<std::uint32_t>(prompt.size() + i), LogitsRequest::Last,
                     logits);
  }
  return out;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// Sequences of different length begin in different passes, sequence 1 in the middle of another's decoding.
inline void expect_the_same_as_alone(std::string_view name, const Make& make) {
  constexpr std::size_t kSteps = 6;
  const model::Model model = model::load_model(golden_folder(name));
  const auto text = golden_logits(name).tokens;
  const std::size_t n_vocab = model.plan.hparams.n_vocab;
  const std::span<const std::int32_t> prompts[] = {std::span(text).first(7), std::span(text).subspan(2, 11),
                                                   std::span(text).subspan(5, 1)};
  const std::size_t starts[] = {0, 2, 0};
  std::vector<Alone> alone;
  for (const auto& prompt : prompts)
    alone.push_back(run_alone(*make(model.plan, {.n_ctx = 64, .n_batch = 16, .n_threads = 2}), prompt, kSteps));
  const auto together = make(model.plan, {.n_ctx = 64, .n_batch = 16, .n_threads = 2, .n_sequences = 4});
  std::size_t compared = 0;
  for (std::size_t pass = 0; pass < kSteps; ++pass) {
    std::vector<BatchPart> parts;
    std::vector<std::size_t> who;
    for (const std::size_t s : {2U, 0U, 1U}) {  // of caches 3, 1, 2
      if (pass < starts[s]) continue;
      const std::size_t step = pass - starts[s];
      const auto cache = static_cast<std::uint32_t>(s + 1);
      if (step == 0)
        parts.push_back({cache, 0, prompts[s], LogitsRequest::Last});
      else
        parts.push_back({cache, static_cast<std::uint32_t>(prompts[s].size() + step - 1),
                         std::span(&alone[s].ids[step - 1], 1), LogitsRequest::Last});
      who.push_back(s);
    }
    std::vector<float> logits(parts.size() * n_vocab, NAN);
    together->forward_batch(parts, logits);
    for (std::size_t i = 0; i < parts.size(); ++i, ++compared)
      ASSERT_TRUE(
          same_bits(std::span(logits).subspan(i * n_vocab, n_vocab), alone[who[i]].logits[pass - starts[who[i]]]))
          << name << ' ' << together->name() << " sequence " << who[i] << " pass " << pass;
  }
  EXPECT_EQ(compared, 2 * kSteps + kSteps - 2);
}

/// Parts that want all, the last and no logits in one pass; then two of them go on.
inline void expect_every_part_gets_its_rows(const Make& make) {
  const model::Model model = model::load_model(golden_folder("llama"));
  const auto text = golden_logits("llama").tokens;
  const std::size_t n_vocab = model.plan.hparams.n_vocab;
  const auto one = make(model.plan, {.n_ctx = 64, .n_batch = 32, .n_threads = 2});
  std::vector<float> all(9 * n_vocab, NAN);
  one->forward(std::span(text).first(9), 0, LogitsRequest::All, all);
  const auto rows = [&](std::size_t first, std::size_t n) {
    return std::span(all).subspan(first * n_vocab, n * n_vocab);
  };
  const auto many = make(model.plan, {.n_ctx = 64, .n_batch = 32, .n_threads = 2, .n_sequences = 4});
  const BatchPart parts[] = {{2, 0, std::span(text).first(4), LogitsRequest::All},
                             {0, 0, std::span(text).first(6), LogitsRequest::None},
                             {3, 0, std::span(text).first(9), LogitsRequest::Last},
                             {1, 0, std::span(text).first(3), LogitsRequest::All}};
  std::vector<float> logits(8 * n_vocab, NAN);
  many->forward_batch(parts, logits);
  const auto got = [&](std::size_t first, std::size_t n) {
    return std::span(logits).subspan(first * n_vocab, n * n_vocab);
  };
  EXPECT_TRUE(same_bits(got(0, 4), rows(0, 4))) << many->name();
  EXPECT_TRUE(same_bits(got(4, 1), rows(8, 1))) << many->name();
  EXPECT_TRUE(same_bits(got(5, 3), rows(0, 3))) << many->name();
  // Sequence 0 goes on behind what it ran without logits; sequence 2 goes back by two positions.
  const BatchPart next[] = {{0, 6, std::span(text).subspan(6, 3), LogitsRequest::All},
                            {2, 2, std::span(text).subspan(2, 1), LogitsRequest::Last}};
  logits.assign(4 * n_vocab, NAN);
  many->forward_batch(next, logits);
  EXPECT_TRUE(same_bits(got(0, 3), rows(6, 3))) << many->name();
  EXPECT_TRUE(same_bits(got(3, 1), rows(2, 1))) << many->name();
}

}  // namespace apr::test
