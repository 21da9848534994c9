// The exact executor against transformers in float64: every architecture, from each of the three formats.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "apr/engine/executor.h"
#include "apr/model/architecture.h"
#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"

namespace apr::engine {
namespace {

/// f32 values between ops leave about 1e-14; a wrong step leaves more than 1e-6.
constexpr double kTolerance = 1e-9;

std::vector<float> all_logits(const model::Model& model, std::span<const std::int32_t> tokens, unsigned n_threads = 2,
                              std::size_t piece = 1000) {
  ExecutorOptions options;
  options.n_ctx = 32;
  options.n_threads = n_threads;
  const auto executor = make_exact_executor(model.plan, options);
  const std::size_t vocab = model.plan.hparams.n_vocab;
  std::vector<float> logits(tokens.size() * vocab, NAN);
  for (std::size_t at = 0; at < tokens.size(); at += piece) {
    const auto part = tokens.subspan(at, std::min(piece, tokens.size() - at));
    executor->forward(part, static_cast<std::uint32_t>(at), LogitsRequest::All,
                      std::span(logits).subspan(at * vocab, part.size() * vocab));
  }
  return logits;
}

class Golden : public testing::TestWithParam<std::string_view> {
 protected:
  void expect_golden(const model::Model& model) {
    const test::GoldenLogits golden = test::golden_logits(GetParam());
    ASSERT_EQ(golden.tokens.size(), 17U);
    ASSERT_EQ(golden.logits.size(), 17U * 131U);
    const double error = test::nmse(all_logits(model, golden.tokens), golden.logits);
    EXPECT_TRUE(error < kTolerance) << GetParam() << ": NMSE " << error;
    RecordProperty("nmse", std::to_string(std::log10(error)));
  }
};

TEST_P(Golden, SafeTensors) { expect_golden(model::load_model(test::golden_folder(GetParam()))); }

TEST_P(Golden, Gguf) {
  const test::TempFolder folder;
  const std::string path = folder.path(std::string(GetParam()) + ".gguf");
  test::write_golden_gguf(GetParam(), path);
  const model::Model model = model::load_model(path);
  if (GetParam() == "mistral") {  // GGUF cannot say that every layer slides; llama.cpp runs it without a window, too
    EXPECT_EQ(model.plan.hparams.sliding_window, 0U);
    return;
  }
  expect_golden(model);
}

TEST_P(Golden, Apr) {
  const test::TempFolder folder;
  const std::string path = folder.path(std::string(GetParam()) + ".apr");
  test::write_golden_apr(GetParam(), path);
  expect_golden(model::load_model(path));
}

TEST_P(Golden, SameBitsForAnyThreadsAndPieces) {
  const model::Model model = model::load_model(test::golden_folder(GetParam()));
  const test::GoldenLogits golden = test::golden_logits(GetParam());
  const std::vector<float> expected = all_logits(model, golden.tokens, 1);
  EXPECT_EQ(expected, all_logits(model, golden.tokens, 2));
  EXPECT_EQ(expected, all_logits(model, golden.tokens, 3, 1));
  EXPECT_EQ(expected, all_logits(model, golden.tokens, 2, 5));
}

TEST_P(Golden, LastLogitsAreTheLastRow) {
  const model::Model model = model::load_model(test::golden_folder(GetParam()));
  const test::GoldenLogits golden = test::golden_logits(GetParam());
  const std::vector<float> all = all_logits(model, golden.tokens);
  const auto executor = make_exact_executor(model.plan, {.n_ctx = 20, .n_threads = 1});
  std::vector<float> last(131, NAN);
  executor->forward(std::span(golden.tokens).first(9), 0, LogitsRequest::None, {});
  executor->forward(std::span(golden.tokens).subspan(9), 9, LogitsRequest::Last, last);
  EXPECT_EQ(last, std::vector<float>(all.end() - 131, all.end()));
  // Going back: the positions from 5 on are run again.
  last.assign(131, NAN);
  executor->forward(std::span(golden.tokens).subspan(5), 5, LogitsRequest::Last, last);
  EXPECT_EQ(last, std::vector<float>(all.end() - 131, all.end()));
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(test::kAllGoldenModels),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace apr::engine
