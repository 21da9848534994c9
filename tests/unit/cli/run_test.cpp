// apr run, by running the real binary on a synthetic model: what it prints where, and that its options act.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class RunCommand : public TinyModelSuite {
 protected:
  /// apr run MODEL --raw PROMPT -n 12 and what else is asked for.
  static std::vector<std::string> raw(std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"run", model(), "--raw", "the cat", "-n", "12"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
};

/// The bytes of the text: a model of random weights does not always write UTF-8.
std::string text_of(const nlohmann::json& document) {
  if (!document.contains("text_hex")) return document["text"];
  const std::string hex = document["text_hex"];
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

TEST_F(RunCommand, OnlyTheTextIsOnStdoutAndJsonHoldsTheSame) {
  const RunResult text = apr_command(raw({"--temp", "0"}));
  EXPECT_EQ(text.status, 0) << text.all();
  EXPECT_EQ(text.err, "");
  const auto document = apr_json(raw({"--temp", "0"}), 0);
  EXPECT_EQ(document["schema"], "apr.run/1");
  const std::string generated = text_of(document);
  std::string expected = generated;
  if (!expected.empty() && expected.back() != '\n') expected += '\n';
  EXPECT_EQ(text.out, expected);
  EXPECT_EQ(document["finish_reason"], "length");
  EXPECT_EQ(document["tokens"].size(), 12U);
  EXPECT_TRUE(document["chat_template"].is_null());
  const auto prompt = apr_json({"tokenize", model(), "the cat"}, 0);
  EXPECT_EQ(document["prompt_tokens"], prompt["ids"]) << "apr tokenize shows what apr run --raw reads";
  std::string ids;
  for (const auto& id : document["tokens"]) ids += std::to_string(id.get<int>()) + " ";
  EXPECT_EQ(apr_command({"tokenize", model(), "--decode", ids, "--skip-special"}).out, generated);
}

TEST_F(RunCommand, TheTypeOfTheCacheIsChosenAndShown) {
  const auto f16 = apr_json(raw({"--temp", "0"}), 0)["memory"],
             q8_0 = apr_json(raw({"--temp", "0", "--kv-type", "q8_0"}), 0)["memory"];
  EXPECT_EQ(f16["kv_type"], "F16");
  EXPECT_EQ(q8_0["kv_type"], "Q8_0");
  EXPECT_LT(q8_0["kv_bytes"].get<double>(), 0.6 * f16["kv_bytes"].get<double>());
  EXPECT_EQ(apr_json(raw({"--exact"}), 0)["memory"]["kv_type"], "F32");
  EXPECT_THAT(apr_command(raw({"--kv-type", "q8_0", "-v"})).err, HasSubstr("in Q8_0 for"));
  EXPECT_EQ(apr_command(raw({"--kv-type", "q4_0"})).status, 2);
  EXPECT_EQ(apr_command(raw({"--kv-type", "q8_0", "--exact"})).status, 2);
}

TEST_F(RunCommand, TimingsAddUpAndAreShownWithV) {
  const auto document = apr_json(raw({"--temp", "0"}), 0);
  const auto& t = document["timings"];
  EXPECT_EQ(t["n_prompt"], document["prompt_tokens"].size());
  EXPECT_EQ(t["n_decoded"], 11) << "the first token comes from the prompt's logits";
  EXPECT_GT(t["prompt_s"], 0.0);
  EXPECT_GE(t["first_token_s"], t["prompt_s"]);
  EXPECT_GT(t["decode_s"], 0.0);
  EXPECT_NEAR(t["prompt_tokens_per_s"].get<double>(), t["n_prompt"].get<double>() / t["prompt_s"].get<double>(), 0.01);
  EXPECT_NEAR(t["decode_tokens_per_s"].get<double>(), 11 / t["decode_s"].get<double>(), 0.01);
  const RunResult shown = apr_command(raw({"--temp", "0", "-v"}));
  for (const char* part : {"KV cache", "working memory", "tokens/s", "first token after", "decode: 11 tokens", "seed"})
    EXPECT_THAT(shown.err, HasSubstr(part));
  EXPECT_EQ(shown.out, apr_command(raw({"--temp", "0"})).out);
  const auto one = apr_json({"run", model(), "--raw", "a", "-n", "1"}, 0)["timings"];
  EXPECT_TRUE(one["decode_tokens_per_s"].is_null());
  EXPECT_EQ(one["decode_tokens_per_s_reason"], "nothing was timed");
  const auto none = apr_json({"run", model(), "--raw", "a", "-n", "0"}, 0);
  EXPECT_TRUE(none["tokens"].empty());
  EXPECT_TRUE(none["timings"]["first_token_s"].is_null());
  EXPECT_EQ(none["timings"]["first_token_s_reason"], "no token was generated");
}

TEST_F(RunCommand, SpeculationIsTheSameTextInFewerPassesAndToldApart) {
  const std::vector<std::string> line = {"run", model(), "--raw", "the cat the cat the cat", "-n", "24", "--temp", "0"};
  auto speculating = line;
  speculating.insert(speculating.end(), {"--speculate", "ngram"});
  const auto plain = apr_json(line, 0), fast = apr_json(speculating, 0);
  EXPECT_TRUE(plain["speculation"].is_null());
  EXPECT_EQ(plain["timings"]["n_passes"], 23);
  EXPECT_EQ(fast["tokens"], plain["tokens"]);
  EXPECT_EQ(fast["speculation"]["kind"], "ngram");
  EXPECT_EQ(fast["timings"]["n_passes"].get<int>() + fast["speculation"]["accepted"].get<int>(), 23);
  EXPECT_LE(fast["speculation"]["accepted"], fast["speculation"]["drafted"]);
  speculating.emplace_back("-v");
  EXPECT_THAT(apr_command(speculating).err, HasSubstr("drafted tokens accepted"));
  EXPECT_EQ(apr_command({"run", model(), "a", "--speculate", "magic"}).status, 2);
  EXPECT_EQ(apr_command({"run", model(), "a", "--speculate", "ngram", "--device", "cuda"}).status, 2);
}

TEST_F(RunCommand, PromptFromArgumentFileAndStandardInput) {
  const std::string expected = apr_command(raw({"--temp", "0"})).out;
  const std::string file = folder_->write("prompt.txt", "the cat");
  EXPECT_EQ(apr_command({"run", model(), "--raw", "-f", file, "-n", "12", "--temp", "0"}).out, expected);
  for (const char* argument : {"-", ""}) {
    const RunResult piped = run_command("/bin/sh", {"-c", "printf 'the cat' | '" + apr_binary() + "' run '" + model() +
                                                              "' --raw -n 12 --temp 0 " + argument});
    EXPECT_EQ(piped.out, expected) << piped.all();
  }
}

TEST_F(RunCommand, SameIdsForAnyNumberOfThreads) {
  for (const char* kind : {"", "--exact"}) {
    std::vector<std::string> args = raw({"--temp", "0", "--threads", "1"});
    if (*kind != '\0') args.push_back(kind);
    const auto one = apr_json(args, 0);
    args[args.size() - (*kind != '\0' ? 2 : 1)] = "2";
    const auto two = apr_json(args, 0);
    EXPECT_EQ(one["tokens"], two["tokens"]);
    EXPECT_EQ(one["executor"].get<std::string>().starts_with("exact"), *kind != '\0');
  }
}

TEST_F(RunCommand, TheSeedDecides) {
  const auto draw = [&](const char* seed) {
    return apr_json(raw({"--temp", "1.5", "--top-k", "0", "--seed", seed}), 0);
  };
  const auto first = draw("7");
  EXPECT_EQ(first["seed"], 7);
  EXPECT_EQ(first["tokens"], draw("7")["tokens"]);
  EXPECT_NE(first["tokens"], draw("8")["tokens"]);
  const auto drawn = apr_json(raw({"--temp", "1.5", "--top-k", "0"}), 0);
  const std::string seed = std::to_string(drawn["seed"].get<std::uint64_t>());
  EXPECT_EQ(draw(seed.c_str())["tokens"], drawn["tokens"]) << "the seed that was drawn repeats the run";
}

TEST_F(RunCommand, EverySamplingOptionActs) {
  const auto tokens = [&](std::vector<std::string> more) {
    std::vector<std::string> args = raw({"--seed", "3", "-n", "40"});
    args.erase(args.begin() + 4, args.begin() + 6);  // the 12
    args.insert(args.end(), more.begin(), more.end());
    return apr_json(args, 0)["tokens"];
  };
  const std::vector<std::string> free = {"--temp", "2", "--top-k", "0", "--top-p", "1", "--min-p", "0"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = free;
    for (std::size_t i = 0; i < more.size(); i += 2) {
      const auto at = std::find(all.begin(), all.end(), more[i]);
      if (at != all.end()) {
        *(at + 1) = more[i + 1];
      } else {
        all.insert(all.end(), {more[i], more[i + 1]});
      }
    }
    return tokens(all);
  };
  const auto plain = with({});
  EXPECT_EQ(plain, with({}));
  EXPECT_NE(plain, with({"--top-k", "2"}));
  EXPECT_NE(plain, with({"--top-p", "0.1"}));
  EXPECT_NE(plain, with({"--min-p", "0.9"}));
  EXPECT_NE(plain, with({"--temp", "0.01"}));
  EXPECT_NE(plain, with({"--repeat-penalty", "100"}));
  EXPECT_NE(plain, with({"--presence-penalty", "100"}));
  EXPECT_NE(plain, with({"--frequency-penalty", "100"}));
  EXPECT_NE(with({"--presence-penalty", "100"}), with({"--presence-penalty", "100", "--penalty-window", "1"}));
  EXPECT_EQ(with({"--temp", "0"}), with({"--top-k", "1"})) << "the most probable token, twice";
}

TEST_F(RunCommand, TheChatTemplateIsTheDefault) {
  const auto chat = apr_json({"run", model(), "hello", "-n", "1"}, 0);
  EXPECT_FALSE(chat["chat_template"].is_null());
  const auto system = apr_json({"run", model(), "hello", "-n", "1", "--system", "Be brief."}, 0);
  EXPECT_GT(system["prompt_tokens"].size(), chat["prompt_tokens"].size());
  EXPECT_EQ(apr_command({"run", model(), "hello", "--raw", "--system", "x"}).status, 2);
}

TEST_F(RunCommand, TheContextEndsTheText) {
  const auto document = apr_json({"run", model(), "--raw", "a", "--ctx", "8", "--seed", "1", "--temp", "0"}, 0);
  EXPECT_EQ(document["context"], 8);
  EXPECT_THAT(document["finish_reason"].get<std::string>(), testing::AnyOf("context_full", "end_of_generation"));
  EXPECT_LE(document["tokens"].size() + document["prompt_tokens"].size(), 9U);
}

TEST_F(RunCommand, CtrlCStopsWithWhatThereIs) {
  const auto stop = [](pid_t pid) {
    usleep(150'000);
    kill(pid, SIGINT);
  };
  std::string prompt;  // 400 tokens of the slow executor take longer than that
  for (int i = 0; i < 400; ++i) prompt += " a";
  const RunResult result =
      apr_command({"run", model(), "--raw", prompt, "--exact", "--threads", "1"}, {.meanwhile = stop});
  EXPECT_EQ(result.status, 130) << result.all();
  EXPECT_EQ(result.signal, 0);
}

TEST_F(RunCommand, ANumberOutOfRangeIsRefused) {
  for (const auto& [flag, value] : {std::pair{"--temp", "-1"},
                                    {"--temp", "nan"},
                                    {"--top-p", "0"},
                                    {"--top-p", "1.1"},
                                    {"--min-p", "2"},
                                    {"--repeat-penalty", "0"},
                                    {"--ctx", "0"},
                                    {"--ctx", "513"},
                                    {"--seed", "-1"}}) {
    const RunResult result = apr_command(raw({flag, value}));
    EXPECT_EQ(result.status, 2) << flag << ' ' << value << ": " << result.all();
    EXPECT_THAT(result.err, HasSubstr(flag));
  }
}

}  // namespace
}  // namespace apr::test
