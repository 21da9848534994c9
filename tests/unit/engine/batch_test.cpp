// Several sequences in one pass: every one gets the bits that it gets alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/executor.h"
#include "apr/kernels/dispatch.h"
#include "apr/model/architecture.h"
#include "tests/support/golden_model.h"

namespace apr::engine {
namespace {

using Make = std::function<std::unique_ptr<Executor>(const model::Plan&, const ExecutorOptions&)>;

std::int32_t argmax(std::span<const float> row) {
  return static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin());
}

/// Greedy continuation of one text and the logits of every step, one sequence, one token at a time.
struct Alone {
  std::vector<std::int32_t> ids;
  std::vector<std::vector<float>> logits;
};
Alone run_alone(Executor& executor, std::span<const std::int32_t> prompt, std::size_t n_steps) {
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

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// Sequences of different length begin in different passes, sequence 1 in the middle of another's decoding.
void expect_the_same_as_alone(std::string_view name, const Make& make) {
  constexpr std::size_t kSteps = 6;
  const model::Model model = model::load_model(test::golden_folder(name));
  const auto text = test::golden_logits(name).tokens;
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

TEST(Batch, SequencesGetTheBitsThatTheyGetAlone) {
  for (const std::string_view name : test::kGoldenModels) {
    expect_the_same_as_alone(name, make_exact_executor);
    for (const kernels::IsaVariant& isa : kernels::isa_variants()) {
      if (!isa.runs_here) continue;
      kernels::force_isa(isa.name);
      expect_the_same_as_alone(name, make_fast_executor);
    }
    kernels::force_isa(kernels::isa_variants().front().name);
  }
}

TEST(Batch, EveryPartGetsTheRowsThatItAsksFor) {
  const model::Model model = model::load_model(test::golden_folder("llama"));
  const auto text = test::golden_logits("llama").tokens;
  const std::size_t n_vocab = model.plan.hparams.n_vocab;
  for (const Make& make : {Make(make_exact_executor), Make(make_fast_executor)}) {
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
}

TEST(Batch, WhatCannotBeRunIsRefusedAndChangesNothing) {
  const model::Model model = model::load_model(test::golden_folder("llama"));
  const auto tokens = test::golden_logits("llama").tokens;
  const std::size_t n_vocab = model.plan.hparams.n_vocab;
  for (const Make& make : {Make(make_exact_executor), Make(make_fast_executor)}) {
    const auto executor = make(model.plan, {.n_ctx = 8, .n_batch = 4, .n_threads = 1, .n_sequences = 2});
    EXPECT_EQ(executor->memory().n_sequences, 2U);
    EXPECT_EQ(executor->memory().kv_bytes,
              2 * make(model.plan, {.n_ctx = 8, .n_batch = 4, .n_threads = 1})->memory().kv_bytes);
    std::vector<float> logits;
    const auto refused = [&](std::span<const BatchPart> parts, std::size_t n_logits) {
      logits.assign(n_logits, 0);
      try {
        executor->forward_batch(parts, logits);
      } catch (const Error& error) {
        return error.field;
      }
      return std::string("nothing");
    };
    const auto part = [&](std::uint32_t sequence, std::uint32_t position, std::size_t n) {
      return BatchPart{sequence, position, std::span(tokens).first(n), LogitsRequest::None};
    };
    EXPECT_EQ(refused({}, 0), "tokens");
    EXPECT_EQ(refused(std::vector{part(0, 0, 1), part(1, 0, 0)}, 0), "tokens");
    EXPECT_EQ(refused(std::vector{part(0, 0, 3), part(1, 0, 2)}, 0), "tokens");  // n_batch is 4
    EXPECT_EQ(refused(std::vector{part(2, 0, 1)}, 0), "sequence");
    EXPECT_EQ(refused(std::vector{part(1, 0, 1), part(1, 1, 1)}, 0), "sequence");
    EXPECT_EQ(refused(std::vector{part(0, 0, 2), part(1, 1, 1)}, 0), "position");
    EXPECT_EQ(refused(std::vector{part(0, 0, 2), part(1, 0, 1)}, n_vocab), "logits");
    EXPECT_EQ(refused(std::vector{part(0, 1, 1)}, 0), "position") << "a refused batch ran";
    EXPECT_EQ(refused(std::vector{part(0, 0, 1), part(1, 0, 3)}, 0), "nothing");
    EXPECT_EQ(refused(std::vector{part(0, 1, 1), part(1, 3, 3)}, 0), "nothing");
    EXPECT_EQ(refused(std::vector{part(0, 2, 1), part(1, 6, 3)}, 0), "tokens");  // two positions are left
  }
}

// A NaN is reported by the piece of a prompt that made it, also where nobody asks for logits.
TEST(Batch, ANanIsFoundWithoutLogits) {
  auto model = model::load_model(test::golden_folder("llama"));
  for (model::Weight& weight : model.plan.weights) {
    if (weight.name != "blk.0.attn_q.weight") continue;
    std::vector<std::byte> damaged(weight.bytes.begin(), weight.bytes.end());
    for (std::size_t i = 0; i < 4; ++i) damaged[i] = std::byte{0xFF};
    weight.bytes = damaged;
    for (const Make& make : {Make(make_exact_executor), Make(make_fast_executor)}) {
      const auto executor = make(model.plan, {.n_ctx = 16, .n_batch = 8, .n_threads = 2, .n_sequences = 2});
      const std::int32_t tokens[] = {1, 2, 3};
      const BatchPart parts[] = {{1, 0, tokens, LogitsRequest::None}};
      try {
        executor->forward_batch(parts, {});
        FAIL() << "a NaN passed";
      } catch (const Error& error) {
        EXPECT_EQ(error.code, ErrorCode::Inference);
        EXPECT_EQ(error.field, "blk.0.attn_q");
      }
    }
    return;
  }
  FAIL() << "the model has no blk.0.attn_q.weight";
}

}  // namespace
}  // namespace apr::engine
