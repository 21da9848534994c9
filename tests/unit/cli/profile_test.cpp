// apr profile: its parts add up to the whole, in text and JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using testing::HasSubstr;

/// A phase whose numbers are consistent: each one is computed here again from its parts.
void expect_adds_up(const nlohmann::json& phase, std::int64_t n_tokens) {
  EXPECT_EQ(phase["n_tokens"], n_tokens);
  EXPECT_GE(phase["passes"], 10);
  EXPECT_GE(phase["warmups"], 3);
  const double wall = phase["wall_us"], ops = phase["ops_us"];
  ASSERT_GT(ops, 0);
  EXPECT_LE(ops, wall) << "in every pass, so in the medians, too";
  EXPECT_GE(phase["residual_us"].get<double>(), 0);
  EXPECT_LE(phase["residual_us"].get<double>(), phase["wall_p95_us"].get<double>());
  EXPECT_NEAR(phase["tokens_per_s"].get<double>(), static_cast<double>(n_tokens) * 1e6 / wall, 1e-3 * 1e6 / wall + 1);
  double sum = 0, bound = 0;
  std::uint64_t calls = 0;
  ASSERT_FALSE(phase["bricks"].empty());
  for (const auto& brick : phase["bricks"]) {
    const double time = brick["time_us"];
    sum += time;
    bound += brick["bound_us_modelled"].get<double>();
    calls += brick["calls"].get<std::uint64_t>();
    EXPECT_TRUE(std::isfinite(time) && time >= 0) << brick;
    if (time > 0) EXPECT_NEAR(brick["gb_per_s"].get<double>(), brick["bytes"].get<double>() / time / 1e3, 1e-6);
  }
  EXPECT_GT(sum, 0);  // medians of the parts: no fixed relation to the median of their sum
  EXPECT_NEAR(bound, phase["bound_us_modelled"].get<double>(), 1e-6 * bound);
  EXPECT_GT(calls, 0U);
}

TEST(ProfileCommand, PartsAddUpInJsonAndTextShowsThem) {
  const TempFolder folder;
  const std::string model = folder.path("tiny.gguf");
  ASSERT_EQ(apr_command({"synth", model, "--preset", "tiny", "--quant", "q8_0", "--seed", "1"}).status, 0);
  const auto document = apr_json({"profile", model, "--perf-grade", "--prompt", "16"}, 0);
  EXPECT_EQ(document["schema"], "apr.profile/1");
  expect_adds_up(document["prefill"], 16);
  expect_adds_up(document["decode"], 1);
  EXPECT_GT(document["roofs"]["read_gb_per_s"], 0.0);
  EXPECT_GT(document["roofs"]["int8_gop_per_s"], 0.0);
  const double efficiency = document["decode"]["efficiency"];
  EXPECT_NEAR(efficiency,
              document["decode"]["bound_us_modelled"].get<double>() / document["decode"]["wall_us"].get<double>(),
              1e-9);
  const std::string grade = efficiency >= 0.85   ? "A"
                            : efficiency >= 0.70 ? "B"
                            : efficiency >= 0.50 ? "C"
                            : efficiency >= 0.30 ? "D"
                                                 : "F";
  EXPECT_EQ(document["grade"], grade);
  const RunResult text = apr_command({"profile", model, "--perf-grade", "--prompt", "16"});
  EXPECT_EQ(text.status, 0) << text.all();
  for (const char* part : {"roofs measured here", "PREFILL", "DECODE", "sum of the ops", "residual", "* modelled",
                           "grade ", "median of 10"})
    EXPECT_THAT(text.out, HasSubstr(part));
  EXPECT_THAT(text.out, HasSubstr(document["witness"].get<std::string>())) << "the same numerics in every run";
  EXPECT_FALSE(apr_json({"profile", model, "--prompt", "4"}, 0).contains("grade")) << "not asked for";
}

TEST(ProfileCommand, SequencesShareAPassAndTheFirstKeepsItsLogits) {
  const TempFolder folder;
  const std::string model = folder.path("tiny.gguf");
  ASSERT_EQ(apr_command({"synth", model, "--preset", "tiny", "-q"}).status, 0);
  const auto one = apr_json({"profile", model, "--prompt", "8", "--depth", "5"}, 0);
  const auto three = apr_json({"profile", model, "--prompt", "8", "--depth", "5", "--sequences", "3"}, 0);
  EXPECT_EQ(one["decode"]["n_sequences"], 1);
  EXPECT_EQ(three["decode"]["n_sequences"], 3);
  EXPECT_EQ(three["decode"]["n_tokens"], 3);
  EXPECT_EQ(three["decode"]["position"], 5);
  EXPECT_EQ(three["memory"]["kv_bytes"], 3 * one["memory"]["kv_bytes"].get<int>());
  EXPECT_EQ(three["witness"], one["witness"]);
  const auto moved = [](const nlohmann::json& document) {
    for (const auto& brick : document["decode"]["bricks"])
      if (brick["name"] == "attn") return brick["bytes"].get<int>();
    return 0;
  };
  EXPECT_EQ(moved(three), 3 * moved(one));
  EXPECT_EQ(apr_command({"profile", model, "--sequences", "0"}).status, 2);
}

TEST(ProfileCommand, RefusesTooFewPassesAndTooLongPrompts) {
  const TempFolder folder;
  const std::string model = folder.path("tiny.gguf");
  ASSERT_EQ(apr_command({"synth", model, "--preset", "tiny", "--quant", "q8_0", "--seed", "1"}).status, 0);
  EXPECT_EQ(apr_command({"profile", model, "--passes", "9"}).status, 2);
  EXPECT_EQ(apr_command({"profile", model, "--prompt", "513"}).status, 2);
}

}  // namespace
}  // namespace apr::test
