// Each step of the sampler against a direct computation; then their order, the draw and the refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "apr/core/error.h"
#include "apr/engine/sampler.h"

namespace apr::engine {
namespace {

/// Every step off, temperature 1.
SamplerOptions plain() {
  SamplerOptions options;
  options.temperature = 1;
  options.top_k = 0;
  options.top_p = 1;
  options.min_p = 0;
  return options;
}

std::vector<float> drawn(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> out(n);
  for (float& v : out) v = normal(random);
  return out;
}

/// Probability of every token, zero for what is dropped.
std::vector<double> full(const Sampler::Distribution& d, std::size_t n) {
  std::vector<double> out(n, 0);
  for (std::size_t i = 0; i < d.tokens.size(); ++i) out[static_cast<std::size_t>(d.tokens[i])] = d.probabilities[i];
  return out;
}

/// Softmax of the tokens in `kept`, by the definition.
std::vector<double> softmax(const std::vector<double>& logits, const std::vector<bool>& kept, double temperature) {
  std::vector<double> out(logits.size(), 0);
  double sum = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (kept[i]) sum += out[i] = std::exp(logits[i] / temperature);
  }
  for (double& p : out) p /= sum;
  return out;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(std::abs(got[i] - expected[i]) < 1e-12) << i;
}

std::vector<double> wide(const std::vector<float>& v) { return {v.begin(), v.end()}; }

TEST(Sampler, TemperatureIsASoftmax) {
  const std::vector<float> logits = drawn(50, 1);
  for (const double temperature : {0.25, 1.0, 3.0}) {
    SamplerOptions options = plain();
    options.temperature = temperature;
    expect_near(full(Sampler(options).distribution(logits), 50),
                softmax(wide(logits), std::vector<bool>(50, true), temperature));
  }
}

TEST(Sampler, TopKKeepsTheKLargest) {
  const std::vector<float> logits = drawn(50, 2);
  for (const std::uint32_t k : {1U, 7U, 50U, 60U}) {
    SamplerOptions options = plain();
    options.top_k = k;
    std::vector<float> sorted = logits;
    std::ranges::sort(sorted, std::greater());
    std::vector<bool> kept(50);
    for (std::size_t i = 0; i < 50; ++i) kept[i] = logits[i] >= sorted[std::min(k, 50U) - 1];
    expect_near(full(Sampler(options).distribution(logits), 50), softmax(wide(logits), kept, 1));
  }
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const std::vector<float> logits = drawn(50, 3);
  const std::vector<double> p = softmax(wide(logits), std::vector<bool>(50, true), 1);
  for (const double top_p : {0.01, 0.5, 0.9, 0.999}) {
    SamplerOptions options = plain();
    options.top_p = top_p;
    std::vector<bool> kept(50);
    for (std::size_t i = 0; i < 50; ++i) {
      double above = 0;  // probability of everything more probable
      for (const double q : p) above += q > p[i] ? q : 0;
      kept[i] = above < top_p;
    }
    expect_near(full(Sampler(options).distribution(logits), 50), softmax(wide(logits), kept, 1));
  }
}

TEST(Sampler, MinPDropsBelowAShareOfTheLargest) {
  const std::vector<float> logits = drawn(50, 4);
  const std::vector<double> p = softmax(wide(logits), std::vector<bool>(50, true), 1);
  const double largest = *std::ranges::max_element(p);
  for (const double min_p : {0.001, 0.1, 1.0}) {
    SamplerOptions options = plain();
    options.min_p = min_p;
    std::vector<bool> kept(50);
    for (std::size_t i = 0; i < 50; ++i) kept[i] = p[i] >= min_p * largest;
    expect_near(full(Sampler(options).distribution(logits), 50), softmax(wide(logits), kept, 1));
  }
}

TEST(Sampler, PenaltiesByTheirDefinitions) {
  const std::vector<float> logits = {2, -2, 1, 0.5F, 3};
  SamplerOptions options = plain();
  options.repeat_penalty = 2;
  options.presence_penalty = 0.25;
  options.frequency_penalty = 0.5;
  Sampler sampler(options);
  for (const std::int32_t token : {0, 1, 1, 1, 99}) sampler.accept(token);  // 99 is outside these logits
  // 0: 2 / 2 - 0.25 - 0.5; 1: -2 * 2 - 0.25 - 3 * 0.5
  expect_near(sampler.penalised(logits), {0.25, -5.75, 1, 0.5, 3});
}

TEST(Sampler, PenaltiesForgetWhatLeftTheWindow) {
  SamplerOptions options = plain();
  options.presence_penalty = 1;
  options.penalty_window = 2;
  Sampler sampler(options);
  const std::vector<float> logits(4, 0);
  for (const std::int32_t token : {0, 1, 2}) sampler.accept(token);
  expect_near(sampler.penalised(logits), {0, -1, -1, 0});
  sampler.accept(2);
  expect_near(sampler.penalised(logits), {0, 0, -1, 0});
  sampler.accept(3);
  sampler.accept(3);
  expect_near(sampler.penalised(logits), {0, 0, 0, -1});
  options.penalty_window = 0;
  Sampler off(options);
  off.accept(1);
  expect_near(off.penalised(logits), {0, 0, 0, 0});
}

TEST(Sampler, StepsRunInTheirOrder) {
  // top-k before top-p: of {0.5, 0.3, 0.2} top-k 2 leaves 0.625 and 0.375, so top-p 0.6 keeps one token. The other way
  // round top-p would keep two.
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.2F)};
  SamplerOptions options = plain();
  options.top_k = 2;
  options.top_p = 0.6;
  EXPECT_EQ(Sampler(options).distribution(logits).tokens, (std::vector<std::int32_t>{0}));
  // Temperature last: min-p 0.5 keeps 0.3 (0.6 of the largest); after a temperature of 0.5 it would be 0.36 of it.
  options = plain();
  options.min_p = 0.5;
  options.temperature = 0.5;
  EXPECT_EQ(Sampler(options).distribution(logits).tokens, (std::vector<std::int32_t>{0, 1}));
  // Penalties first: they decide what top-k 1 keeps.
  options = plain();
  options.top_k = 1;
  options.presence_penalty = 1;
  Sampler penalised(options);
  penalised.accept(0);
  EXPECT_EQ(penalised.distribution(logits).tokens, (std::vector<std::int32_t>{1}));
}

TEST(Sampler, GreedyTakesTheLargestAndTheFirstOfEquals) {
  SamplerOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 5, 5, -1}), 1);
  options.repeat_penalty = 3;
  Sampler penalised(options);
  penalised.accept(1);
  EXPECT_EQ(penalised.sample(std::vector<float>{1, 5, 5, -1}), 2);
}

TEST(Sampler, GreedyReadsLogitsAsTheOtherStepsDo) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  SamplerOptions greedy, first_of_all = plain();
  greedy.temperature = 0;
  first_of_all.top_k = 1;
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    std::vector<float> logits(1 + random() % 40);
    for (float& v : logits)  // few values, so that many are equal; zeros of both signs; banned tokens
      v = random() % 4 == 0 ? -kInf
                            : static_cast<float>(static_cast<int>(random() % 5) - 4) * (random() % 2 ? 0.0F : 1.0F);
    logits[random() % logits.size()] = -0.0F;
    greedy.repeat_penalty = round % 2 == 0 ? 1 : 1.5;  // without and with a copy of the vocabulary
    first_of_all.repeat_penalty = greedy.repeat_penalty;
    Sampler a(greedy), b(first_of_all);
    for (int i = 0; i < 3; ++i) {
      const auto token = static_cast<std::int32_t>(random() % logits.size());
      a.accept(token);
      b.accept(token);
    }
    EXPECT_EQ(a.sample(logits), b.sample(logits)) << round;
  }
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  const std::vector<float> logits = {0, 1, 2, -1};
  Sampler sampler(plain());
  std::map<std::int32_t, int> counts;
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.sample(logits)];
  const std::vector<double> p = softmax(wide(logits), std::vector<bool>(4, true), 1);
  for (std::int32_t token = 0; token < 4; ++token) {
    const double expected = p[static_cast<std::size_t>(token)];
    const double deviation = std::sqrt(expected * (1 - expected) / kDraws);
    EXPECT_TRUE(std::abs(static_cast<double>(counts[token]) / kDraws - expected) < 5 * deviation) << token;
  }
}

TEST(Sampler, ASeedFixesTheDraws) {
  const std::vector<float> logits = drawn(100, 5);
  const auto draws = [&](std::uint64_t seed) {
    SamplerOptions options = plain();
    options.seed = seed;
    Sampler sampler(options);
    std::vector<std::int32_t> out;
    for (int i = 0; i < 50; ++i) out.push_back(sampler.sample(logits));
    return out;
  };
  EXPECT_EQ(draws(7), draws(7));
  EXPECT_NE(draws(7), draws(8));
}

TEST(Sampler, BadLogitsAreAnInferenceError) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const double temperature : {0.0, 1.0}) {
    SamplerOptions options = plain();
    options.temperature = temperature;
    Sampler sampler(options);
    for (const std::vector<float>& logits : {std::vector<float>{0, NAN, 1}, {0, kInf, 1}, {-kInf, -kInf}}) {
      try {
        (void)sampler.sample(logits);
        ADD_FAILURE() << "sampled from bad logits";
      } catch (const Error& error) {
        EXPECT_EQ(error.code, ErrorCode::Inference);
      }
    }
    EXPECT_EQ(sampler.sample(std::vector<float>{-kInf, 0.5F, -kInf}), 1);
  }
}

TEST(Sampler, OptionsOutOfRangeAreRefusedByName) {
  using Change = void (*)(SamplerOptions&);
  const std::pair<const char*, Change> cases[] = {
      {"temperature", [](SamplerOptions& o) { o.temperature = -0.1; }},
      {"temperature", [](SamplerOptions& o) { o.temperature = NAN; }},
      {"temperature", [](SamplerOptions& o) { o.temperature = INFINITY; }},
      {"top_p", [](SamplerOptions& o) { o.top_p = 0; }},
      {"top_p", [](SamplerOptions& o) { o.top_p = 1.01; }},
      {"top_p", [](SamplerOptions& o) { o.top_p = NAN; }},
      {"min_p", [](SamplerOptions& o) { o.min_p = -0.1; }},
      {"min_p", [](SamplerOptions& o) { o.min_p = 1.1; }},
      {"repeat_penalty", [](SamplerOptions& o) { o.repeat_penalty = 0; }},
      {"presence_penalty", [](SamplerOptions& o) { o.presence_penalty = INFINITY; }},
      {"frequency_penalty", [](SamplerOptions& o) { o.frequency_penalty = NAN; }},
      {"penalty_window", [](SamplerOptions& o) { o.penalty_window = (1U << 20) + 1; }},
  };
  for (const auto& [field, change] : cases) {
    SamplerOptions options;
    change(options);
    try {
      check_options(options);
      ADD_FAILURE() << field;
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::Usage);
      EXPECT_EQ(error.field, field);
    }
  }
  check_options({});
}

}  // namespace
}  // namespace apr::engine
