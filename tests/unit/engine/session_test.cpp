// Sessions and the executor's bookkeeping on a tiny golden model.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <memory>

#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/engine/session.h"
#include "apr/model/architecture.h"
#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"

namespace apr::engine {
namespace {

class SessionTest : public testing::Test {
 protected:
  model::Model model_ = model::load_model(test::golden_folder("qwen2"));
  std::vector<std::int32_t> prompt_ = test::golden_logits("qwen2").tokens;

  std::unique_ptr<Executor> executor(ExecutorOptions options = {.n_ctx = 40, .n_batch = 4, .n_threads = 1}) {
    return make_exact_executor(model_.plan, options);
  }
  static SamplerOptions greedy() {
    SamplerOptions options;
    options.temperature = 0;
    return options;
  }
};

template <class Body>
Error error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::Internal, "nothing was thrown");
}

std::int32_t argmax(std::span<const float> row) {
  return static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin());
}

TEST_F(SessionTest, GreedyContinuationIsTheArgmaxOfFullRuns) {
  const auto runner = executor();
  Session session(*runner, greedy());
  const Generated out = session.generate(prompt_, {.n_predict = 6, .end_tokens = {}});
  ASSERT_EQ(out.tokens.size(), 6U);
  EXPECT_EQ(out.reason, FinishReason::Length);
  // Without any cache: the whole text again for each token.
  std::vector<std::int32_t> text = prompt_;
  for (const std::int32_t token : out.tokens) {
    const auto fresh = executor({.n_ctx = 40, .n_batch = 40, .n_threads = 2});
    std::vector<float> logits(131, NAN);
    fresh->forward(text, 0, LogitsRequest::Last, logits);
    EXPECT_EQ(token, argmax(logits));
    text.push_back(token);
  }
  EXPECT_EQ(out.timings.n_prompt, 17U);
  EXPECT_EQ(out.timings.n_decoded, 5U);  // the sixth token is not run
  EXPECT_EQ(session.n_past(), 17U + 5U);
  EXPECT_TRUE(out.timings.prompt_rate().value() > 0 && out.timings.decode_rate().value() > 0);
  EXPECT_TRUE(out.timings.first_token_s >= out.timings.prompt_s);
}

TEST_F(SessionTest, StopsAtAnEndTokenAndKeepsItOut) {
  const auto runner = executor();
  const Generated free_run = Session(*runner, greedy()).generate(prompt_, {.n_predict = 5, .end_tokens = {}});
  const std::int32_t third = free_run.tokens[2];
  const Generated out = Session(*runner, greedy()).generate(prompt_, {.n_predict = 5, .end_tokens = {third}});
  EXPECT_EQ(out.reason, FinishReason::EndOfGeneration);
  EXPECT_EQ(std::ranges::find(out.tokens, third), out.tokens.end());
  EXPECT_TRUE(out.tokens.size() <= 2);
}

TEST_F(SessionTest, StopsWhenTheContextIsFull) {
  const auto runner = executor({.n_ctx = 20, .n_batch = 7, .n_threads = 1});
  const Generated out = Session(*runner, greedy()).generate(prompt_, {.n_predict = {}, .end_tokens = {}});
  EXPECT_EQ(out.reason, FinishReason::ContextFull);
  EXPECT_EQ(out.tokens.size(), 4U);  // three positions left, and the token that needs a fourth
}

TEST_F(SessionTest, TheCallbackAndCtrlCStop) {
  const auto runner = executor();
  std::vector<std::int32_t> seen;
  const auto stop_at_two = [&](std::int32_t token) {
    seen.push_back(token);
    return seen.size() < 2;
  };
  const Generated out = Session(*runner, greedy()).generate(prompt_, {}, stop_at_two);
  EXPECT_EQ(out.reason, FinishReason::Stopped);
  EXPECT_EQ(out.tokens, seen);
  EXPECT_EQ(seen.size(), 2U);
  const auto interrupt = [](std::int32_t) {
    interrupted = true;
    return true;
  };
  const Generated broken_off = Session(*runner, greedy()).generate(prompt_, {}, interrupt);
  EXPECT_EQ(broken_off.reason, FinishReason::Interrupted);
  EXPECT_EQ(broken_off.tokens.size(), 1U);
  EXPECT_EQ(Session(*runner, greedy()).generate(prompt_, {}).reason, FinishReason::Interrupted);
  interrupted = false;
}

TEST_F(SessionTest, ContinuesAndRewinds) {
  const auto runner = executor();
  Session session(*runner, greedy());
  const GenerateOptions one{.n_predict = 1, .end_tokens = {}};
  const Generated first = session.generate(std::span(prompt_).first(10), one);
  const Generated second = session.generate(std::span(prompt_).subspan(10), one);
  const Generated whole = Session(*runner, greedy()).generate(prompt_, one);
  EXPECT_EQ(second.tokens, whole.tokens);
  session.rewind(10);
  EXPECT_EQ(session.generate(std::span(prompt_).subspan(10), one).tokens, whole.tokens);
  EXPECT_EQ(first.tokens.size(), 1U);
}

TEST_F(SessionTest, RefusesWhatCannotBeRun) {
  const auto runner = executor({.n_ctx = 16, .n_batch = 4, .n_threads = 1});
  Session session(*runner, greedy());
  const Error too_long = error_of([&] { (void)session.generate(prompt_, {}); });
  EXPECT_EQ(too_long.code, ErrorCode::Usage);
  EXPECT_NE(too_long.expected.find("16"), std::string::npos);
  EXPECT_EQ(too_long.found, "17 tokens");
  EXPECT_EQ(error_of([&] { (void)session.generate({}, {}); }).code, ErrorCode::Usage);
  for (const std::int32_t token : {-1, 131}) {
    const std::array<std::int32_t, 1> bad = {token};
    const Error error = error_of([&] { (void)session.generate(bad, {}); });
    EXPECT_EQ(error.code, ErrorCode::Usage);
    EXPECT_EQ(error.expected, "0 to 130");
  }
}

TEST_F(SessionTest, ForwardChecksItsArguments) {
  const auto runner = executor();
  std::vector<float> logits(131);
  const std::span<const std::int32_t> tokens(prompt_);
  const auto code = [&](std::size_t n, std::uint32_t position, LogitsRequest request, std::size_t n_logits) {
    logits.resize(n_logits);
    return error_of([&] { runner->forward(tokens.first(n), position, request, logits); }).field;
  };
  EXPECT_EQ(code(0, 0, LogitsRequest::None, 0), "tokens");
  EXPECT_EQ(code(5, 0, LogitsRequest::None, 0), "tokens");    // n_batch is 4
  EXPECT_EQ(code(4, 1, LogitsRequest::None, 0), "position");  // nothing at 0 yet
  EXPECT_EQ(code(4, 0, LogitsRequest::None, 131), "logits");
  EXPECT_EQ(code(4, 0, LogitsRequest::Last, 130), "logits");
  EXPECT_EQ(code(4, 0, LogitsRequest::All, 131), "logits");
  const auto full = executor({.n_ctx = 6, .n_batch = 4, .n_threads = 1});
  full->forward(tokens.first(4), 0, LogitsRequest::None, {});
  EXPECT_EQ(error_of([&] { full->forward(tokens.first(3), 4, LogitsRequest::None, {}); }).expected, "at most 2 more");
}

TEST_F(SessionTest, MemoryIsPlannedAndRefusedWithNumbers) {
  const auto runner = executor({.n_ctx = 40, .n_batch = 4, .n_threads = 1});
  const model::HParams& h = model_.plan.hparams;
  EXPECT_EQ(runner->memory().kv_bytes, 2ULL * h.n_layers * 40 * h.kv_width() * 4);
  EXPECT_EQ(runner->memory().mapped_bytes, model_.plan.weight_bytes());
  const Error error = error_of([&] { (void)executor({.n_ctx = 40, .n_threads = 1, .memory_limit_bytes = 1000}); });
  EXPECT_EQ(error.code, ErrorCode::ModelLoad);
  EXPECT_NE(error.expected.find("1000 bytes"), std::string::npos);
  EXPECT_NE(error.found.find("KV cache"), std::string::npos);
  EXPECT_EQ(error_of([&] { (void)executor({.n_ctx = 65}); }).field, "--ctx");  // trained for 64
  EXPECT_EQ(executor({})->options().n_ctx, 64U);
  EXPECT_GT(available_memory(), 0U);
}

/// Counts what it is told and checks that it is whole and in order.
class Recorder final : public OpObserver {
 public:
  explicit Recorder(const model::Plan& plan) : plan_(plan) {}
  void pass_begin(const model::Batch& batch) noexcept override {
    batch_ = batch;
    names_.clear();
    ended_ = false;
  }
  void ops_done(std::size_t first, std::size_t count, Clock::time_point begin,
                Clock::time_point end) noexcept override {
    EXPECT_LE(begin, end);
    for (std::size_t i = first; i < first + count; ++i) names_.push_back(plan_.op_name(plan_.ops[i]));
    inside_ += end - begin;
  }
  void pass_end(Clock::time_point begin, Clock::time_point end) noexcept override {
    ended_ = true;
    EXPECT_LE(inside_, end - begin);
    inside_ = {};
  }
  const model::Plan& plan_;
  model::Batch batch_;
  std::vector<std::string> names_;
  Clock::duration inside_{};
  bool ended_ = false;
};

TEST_F(SessionTest, TheObserverSeesEveryOpOnceAndInOrder) {
  const auto runner = executor();
  Recorder recorder(model_.plan);
  runner->set_observer(&recorder);
  std::vector<float> logits(131);
  runner->forward(std::span(prompt_).first(3), 0, LogitsRequest::Last, logits);
  std::vector<std::string> all, cached_only;
  for (const model::Op& op : model_.plan.ops) {
    all.push_back(model_.plan.op_name(op));
    if (op.rows == model::RowSet::Tokens && op.kind != model::OpKind::SelectRows) cached_only.push_back(all.back());
  }
  EXPECT_EQ(recorder.names_, all);
  EXPECT_TRUE(recorder.ended_);
  EXPECT_EQ(recorder.batch_.n_tokens, 3);
  runner->forward(std::span(prompt_).first(2), 3, LogitsRequest::None, {});
  EXPECT_EQ(recorder.names_, cached_only);
  EXPECT_EQ(recorder.batch_.position, 3);
  EXPECT_LT(cached_only.size(), all.size());
  runner->set_observer(nullptr);
  runner->forward(std::span(prompt_).first(1), 5, LogitsRequest::Last, logits);
  EXPECT_EQ(recorder.batch_.position, 3);
}

TEST_F(SessionTest, ANanWeightStopsWithTheOpThatMadeIt) {
  std::vector<test::PlainTensor> tensors = test::plain_tensors(*model_.file);
  for (const auto& [tensor, op] : {std::pair{"model.layers.1.mlp.up_proj.weight", "blk.1.ffn_up"},
                                   {"model.layers.0.self_attn.k_proj.bias", "blk.0.attn_k"},
                                   {"model.norm.weight", "output_norm"}}) {
    std::vector<test::PlainTensor> damaged = tensors;
    for (test::PlainTensor& t : damaged) {
      if (t.name == tensor) t.values[t.values.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    }
    const test::TempFolder folder;
    const std::string path = folder.path("nan_model.apr");
    test::write_golden_apr("qwen2", path, damaged);
    const model::Model model = model::load_model(path);
    const auto runner = make_exact_executor(model.plan, {.n_ctx = 20, .n_threads = 1});
    std::vector<float> logits(131);
    const Error error = error_of([&] { runner->forward(std::span(prompt_).first(3), 0, LogitsRequest::Last, logits); });
    EXPECT_EQ(error.code, ErrorCode::Inference);
    EXPECT_EQ(error.field, op);
    EXPECT_NE(error.found.find("nan"), std::string::npos);
  }
}

}  // namespace
}  // namespace apr::engine
