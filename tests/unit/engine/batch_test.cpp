// Several sequences in one pass: every one gets the bits that it gets alone.
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/executor.h"
#include "apr/kernels/dispatch.h"
#include "apr/model/architecture.h"
#include "tests/support/batch_checks.h"

namespace apr::engine {
namespace {

using test::Make;

TEST(Batch, SequencesGetTheBitsThatTheyGetAlone) {
  for (const std::string_view name : test::kGoldenModels) {
    test::expect_the_same_as_alone(name, make_exact_executor);
    for (const kernels::IsaVariant& isa : kernels::isa_variants()) {
      if (!isa.runs_here) continue;
      kernels::force_isa(isa.name);
      test::expect_the_same_as_alone(name, make_fast_executor);
    }
    kernels::force_isa(kernels::isa_variants().front().name);
  }
}

TEST(Batch, EveryPartGetsTheRowsThatItAsksFor) {
  for (const Make& make : {Make(make_exact_executor), Make(make_fast_executor)})
    test::expect_every_part_gets_its_rows(make);
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
