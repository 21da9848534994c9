// Time stamps inside of kernels: what is made of them, and the way that they take, with stamps from a counter.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "apr/core/error.h"
#include "apr/profile/profile.h"
#include "src/engine/cuda/cuda_executor.h"
#include "tests/support/cuda_emulator_runner.h"
#include "tests/unit/engine_cuda/cuda_models.h"

namespace apr::engine::cuda {
namespace {

using profile::covered;

TEST(Covered, IsTheLengthOfTheUnion) {
  EXPECT_EQ(covered({}), 0);
  EXPECT_EQ(covered({{2, 5}}), 3);
  EXPECT_EQ(covered({{6, 9}, {2, 5}}), 6) << "apart, in any order";
  EXPECT_EQ(covered({{2, 5}, {5, 7}}), 5) << "they touch";
  EXPECT_EQ(covered({{2, 5}, {4, 7}}), 5) << "they overlap";
  EXPECT_EQ(covered({{2, 9}, {4, 7}, {8, 8}}), 7) << "one lies in the other";
  EXPECT_EQ(covered({{4, 7}, {2, 9}, {3, 12}, {20, 21}}), 11);
  EXPECT_THROW(static_cast<void>(covered({{5, 4}})), Error);
  EXPECT_THROW(static_cast<void>(covered({{5, NAN}})), Error);
  EXPECT_THROW(static_cast<void>(covered({{1, INFINITY}})), Error);
}

TEST(LaunchReport, OverheadIsTheWallLessTheUnionOfTheSameReplay) {
  const model::Plan& plan = test::cuda_models().front().plan();
  // A launch waits while the one in front of it runs: what counts begins with the end of its wait.
  const auto replay = [](double wall, double shift) {
    return StampedReplay{wall,
                         {{"prepare", 0, 0, 0, 1, 3},  // prepares what ends op 1
                          {"linear1", 1, 1, 1, 2, 6 + shift},
                          {"linear1", 2, 1, 2, 8, 9}}};
  };
  const auto report = profile::report_launches(plan, {replay(12, 0), replay(20, 1), replay(13, 0)});
  EXPECT_EQ(report.n_replays, 3U);
  EXPECT_EQ(report.wall_us, 13);
  EXPECT_EQ(report.busy_us, 6);      // of 6, 7 and 6
  EXPECT_EQ(report.overhead_us, 7);  // of 6, 13 and 7
  EXPECT_EQ(report.tick_us, 1);
  ASSERT_EQ(report.rows.size(), 3U);
  EXPECT_EQ(report.rows[0].time_us, 4);
  EXPECT_EQ(report.rows[0].kernel, "linear1");
  EXPECT_EQ(report.rows[0].name, model::name(plan.ops[1].brick));
  EXPECT_EQ(report.rows[1].kernel, "prepare");
  EXPECT_EQ(report.rows[1].name, report.rows[0].name);
  EXPECT_EQ(report.rows[2].n_calls, 1U);
  EXPECT_EQ(profile::report_launches(plan, {}).n_replays, 0U);
}

TEST(Stamps, EveryLaunchOfAReplayLeavesThemAndChangesNothing) {
  const test::CudaModel& model = test::cuda_models().front();
  for (const std::uint32_t n_sequences : {1U, 3U}) {
    auto kernels = std::make_unique<test::EmulatorRunner>(3);
    test::EmulatorRunner* runner = kernels.get();
    const auto driver = std::make_shared<EmulatedDriver>(std::move(kernels));
    const auto executor = make_cuda_executor(model.plan(), {.n_ctx = 32, .n_batch = 16, .n_sequences = n_sequences},
                                             driver, {.listener = runner});
    std::string reason;
    EXPECT_TRUE(executor->replay_stamped(1, reason).empty());
    EXPECT_NE(reason, "") << "nothing was run";
    std::vector<BatchPart> parts;
    for (std::uint32_t s = 0; s < n_sequences; ++s) {
      const BatchPart part{s, 0, model.prompt().first(4 + s), LogitsRequest::None};
      executor->forward_batch(std::span(&part, 1), {});
      parts.push_back({s, 4 + s, model.prompt().subspan(4, 1), LogitsRequest::Last});
    }
    std::vector<float> logits(n_sequences * model.plan().hparams.n_vocab), again(logits);
    executor->forward_batch(parts, logits);
    const auto replays = executor->replay_stamped(2, reason);
    ASSERT_EQ(replays.size(), 2U) << reason;
    for (const StampedReplay& replay : replays) {
      std::size_t next_op = 0;
      double left = 0;
      for (const StampedLaunch& launch : replay.launches) {
        EXPECT_LT(launch.entered_us, launch.waited_us) << launch.kernel;
        EXPECT_LT(launch.waited_us, launch.left_us) << launch.kernel;
        EXPECT_GE(launch.entered_us, left) << launch.kernel << " began before the one in front of it ended";
        left = launch.left_us;
        if (launch.n_ops == 0) continue;
        EXPECT_EQ(launch.first_op, next_op) << launch.kernel;
        next_op = launch.first_op + launch.n_ops;
      }
      EXPECT_EQ(next_op, model.plan().ops.size());
    }
    EXPECT_EQ(profile::report_launches(model.plan(), replays).rows.front().n_calls > 0, true);
    executor->forward_batch(parts, again);
    EXPECT_EQ(again, logits);
    EXPECT_EQ(driver->kernel_error(), "");
  }
}

}  // namespace
}  // namespace apr::engine::cuda
