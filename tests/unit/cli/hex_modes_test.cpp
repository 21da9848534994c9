// What --blocks, --at, --weight, --stats, --distribution, --list and --raw say on the command line: the same numbers in
// text and JSON, in every format.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/cli/style.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string text_of(const std::vector<std::string>& args) {
  const RunResult result = apr_command(args);
  EXPECT_EQ(result.status, 0) << result.all();
  return result.out;
}

const std::string kQ = "blk.0.attn_q.weight";

TEST(HexBlocks, ScalesMinimaAndCodesOfAQ4KBlock) {
  const SmallModels m;
  for (const std::string& file : {m.gguf, m.apr}) {
    const json document = apr_json({"hex", file, "--blocks", "--tensor", kQ}, 0);
    EXPECT_EQ(document["schema"], "apr.hex.blocks/1");
    ASSERT_EQ(document["tensors"].size(), 1U);
    const json& block = document["tensors"][0]["block"];
    EXPECT_EQ(block["n_blocks"], 1);
    EXPECT_EQ(block["formula"], "(d * scale) * code - dmin * minimum");
    const json& scales = block["fields"][2];
    EXPECT_EQ(scales["name"], "scales");
    EXPECT_EQ(scales["numbers"][0]["kind"], "sub_scale");
    // bytes 1 to 12: scale s < 4 is byte s; the others the low nibbles of bytes 8 to 11
    EXPECT_EQ(scales["numbers"][0]["stored"], json({1, 2, 3, 4, 9, 10, 11, 12}));
    EXPECT_EQ(scales["numbers"][1]["stored"], json({5, 6, 7, 8, 0, 0, 0, 0}));
    ASSERT_EQ(block["sub_blocks"].size(), 8U);
    EXPECT_EQ(block["sub_blocks"][1]["step"], 1.0);
    EXPECT_EQ(block["sub_blocks"][1]["taken_away"], 1.5);
    ASSERT_EQ(block["elements"].size(), 32U);
    EXPECT_EQ(block["elements"][3]["stored"], 3);
    EXPECT_EQ(block["elements"][3]["value"], 0.5 * 1 * 3 - 0.25 * 5);
    const std::string text = text_of({"hex", file, "--blocks", "--tensor", kQ});
    for (const char* part : {"SUB-BLOCKS", "scales 1 2 3 4 9 10 11 12", "minima 5 6 7 8 0 0 0 0", "32 of 256", "-1.25"})
      EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(HexBlocks, ChoosesBlocksAndRowsAndOneTensorOfEachType) {
  const SmallModels m;
  EXPECT_EQ(apr_json({"hex", m.gguf, "--blocks"}, 0)["tensors"].size(), 2U);
  EXPECT_EQ(apr_json({"hex", m.safetensors, "--blocks"}, 0)["tensors"].size(), 1U);
  const json row =
      apr_json({"hex", m.gguf, "--blocks", "--tensor", "output_norm.weight", "--row", "1", "--block", "2"}, 0);
  EXPECT_EQ(row["tensors"][0]["block"]["index"], 6);
  EXPECT_EQ(row["tensors"][0]["block"]["elements"][0]["value"], 6.5);
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{{"--row", "2"}, {"--block", "8"}, {"--row", "0", "--block", "4"}}) {
    std::vector<std::string> args = {"hex", m.gguf, "--blocks", "--tensor", "output_norm.weight"};
    args.insert(args.end(), bad.begin(), bad.end());
    EXPECT_EQ(apr_command(args).status, 2) << testing::PrintToString(bad);
  }
  EXPECT_EQ(apr_command({"hex", m.gguf, "--blocks", "--tensor", "nothing"}).status, 5);
}

TEST(HexAt, AWeightAndItsBytesFindEachOther) {
  const SmallModels m;
  for (const std::string& file : {m.gguf, m.apr}) {
    const json weight = apr_json({"hex", file, "--weight", kQ + "[0,33]"}, 0)["weight"];
    EXPECT_EQ(weight["value"], 0.5 * 2 * 0 - 0.25 * 6) << "high nibble of byte 1";
    const json& code = weight["parts"].back();
    EXPECT_EQ(code["kind"], "code");
    EXPECT_EQ(code["bits"][0]["first_bit"], 4);
    const std::uint64_t offset = code["bits"][0]["offset"];
    const json at = apr_json({"hex", file, "--at", std::to_string(offset)}, 0);
    EXPECT_EQ(at["byte"], 1);
    EXPECT_EQ(at["tensor"]["name"], kQ);
    EXPECT_EQ(at["tensor"]["field"], "qs");
    EXPECT_EQ(at["tensor"]["n_weights"], 2);
    EXPECT_EQ(at["tensor"]["weights"][1]["index"], json({0, 33}));
    EXPECT_EQ(at["tensor"]["weights"][1]["value"], weight["value"]);
    const std::string text = text_of({"hex", file, "--at", std::to_string(offset)});
    for (const char* part : {"qs, byte 1 of 128", "0000 0001", "[0, 33]", "-1.5"}) EXPECT_THAT(text, HasSubstr(part));
    EXPECT_THAT(text_of({"hex", file, "--weight", kQ + "[0,33]"}), HasSubstr("-1.5"));
  }
}

TEST(HexAt, HeadersHaveTheirFields) {
  const SmallModels m;
  EXPECT_EQ(apr_json({"hex", m.gguf, "--at", "0"}, 0)["field"]["name"], "magic");
  EXPECT_EQ(apr_json({"hex", m.apr, "--at", "6"}, 0)["field"]["name"], "flags");
  EXPECT_EQ(apr_json({"hex", m.safetensors, "--at", "3"}, 0)["field"]["name"], "header_size");
  EXPECT_THAT(text_of({"hex", m.gguf, "--at", "0x28"}), HasSubstr("general.architecture"));
  const RunResult past = apr_command({"hex", m.gguf, "--at", "99999999"});
  EXPECT_EQ(past.status, 2);
  EXPECT_THAT(past.err, HasSubstr("past the end"));
  EXPECT_EQ(apr_command({"hex", m.gguf, "--at", "blk"}).status, 2);
  EXPECT_EQ(apr_command({"hex", m.gguf, "--weight", "output_norm.weight[2,0]"}).status, 2);
  EXPECT_EQ(apr_command({"hex", m.gguf, "--weight", "outputnorm.weight[0,0]"}).status, 5);
}

TEST(HexStats, ALinePerTensorWithTheNumbersOfTheDistribution) {
  const SmallModels m;
  for (const std::string& file : {m.gguf, m.apr, m.safetensors}) {
    const json stats = apr_json({"hex", file, "--stats", "--tensor", "output_norm.weight"}, 0)["tensors"][0];
    const json whole = apr_json({"hex", file, "--distribution", "--tensor", "output_norm.weight", "--bins", "4"},
                                0)["distributions"][0];
    EXPECT_EQ(stats["mean"], 4.0);
    EXPECT_EQ(stats["min"], 0.5);
    EXPECT_EQ(stats["max"], 7.5);
    EXPECT_NEAR(stats["std"].get<double>(), std::sqrt(5.25), 1e-12);
    EXPECT_EQ(stats["skewness"], 0.0);
    EXPECT_EQ(stats["value_entropy_bits"], 3.0);
    EXPECT_TRUE(stats["code_entropy_bits"].is_null());
    EXPECT_TRUE(stats["code_entropy_bits_reason"].is_string());
    EXPECT_EQ(stats["abs_max"]["index"], json({1, 3}));
    for (const char* key : {"mean", "std", "excess_kurtosis", "n_zero", "abs_max"})
      EXPECT_EQ(stats[key], whole[key]) << key;
    EXPECT_TRUE(stats["histogram"].is_null());
    EXPECT_EQ(whole["histogram"]["counts"], json({2, 2, 2, 2}));
    EXPECT_THAT(text_of({"hex", file, "--stats"}), HasSubstr("output_norm.weight"));
    EXPECT_THAT(text_of({"hex", file, "--distribution", "--role", "output_norm"}), HasSubstr("HISTOGRAM"));
  }
  EXPECT_EQ(apr_json({"hex", m.gguf, "--distribution"}, 0)["distributions"][0]["n_elements"], 264);
  EXPECT_EQ(apr_command({"hex", m.gguf, "--distribution", "--role", "attn_v"}).status, 5);
  EXPECT_EQ(apr_json({"hex", m.gguf, "--stats", "--limit", "1"}, 0)["tensors"].size(), 1U);
  EXPECT_THAT(text_of({"hex", m.gguf, "--stats", "--limit", "1"}), HasSubstr("1 more"));
}

TEST(HexList, SortFilterAndTotals) {
  const SmallModels m;
  const auto names = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"hex", m.gguf, "--list"}, out;
    args.insert(args.end(), more.begin(), more.end());
    const json document = apr_json(args, 0);
    for (const json& t : document["tensors"]) out.push_back(t["name"]);
    return out;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names({}), (Names{"output_norm.weight", kQ}));
  EXPECT_EQ(names({"--sort", "size"}), (Names{kQ, "output_norm.weight"}));
  EXPECT_EQ(names({"--sort", "name"}), (Names{kQ, "output_norm.weight"}));
  EXPECT_EQ(names({"--sort", "offset"}), (Names{"output_norm.weight", kQ}));
  EXPECT_EQ(names({"--tensor", "blk.*"}), Names{kQ});
  EXPECT_EQ(names({"--role", "attn_q"}), Names{kQ});
  const json list = apr_json({"hex", m.gguf, "--list"}, 0);
  EXPECT_EQ(list["types"][0]["bits_per_weight"], 4.5);
  EXPECT_EQ(list["roles"][0]["name"], "blk.*.attn_q.weight");
  EXPECT_NEAR(list["bits_per_weight"].get<double>(), 176 * 8 / 264.0, 1e-12);
  EXPECT_THAT(text_of({"hex", m.gguf, "--list"}), HasSubstr("5.333 bits per weight"));
  EXPECT_THAT(text_of({"hex", m.gguf, "--list", "--limit", "1"}), HasSubstr("1 more"));
  EXPECT_EQ(apr_command({"hex", m.gguf, "--list", "--tensor", "none*"}).status, 5);
}

TEST(HexSlice, ElementsByTheirRowMajorNumbers) {
  const SmallModels m;
  for (const std::string& file : {m.gguf, m.apr, m.safetensors}) {
    const json t = apr_json({"hex", file, "--tensor", "output_norm.weight", "--slice", "2:5"}, 0)["tensors"][0];
    EXPECT_EQ(t["values"], json({2.5, 3.5, 4.5}));
    EXPECT_EQ(t["offsets"][1].get<std::uint64_t>(), t["offset"].get<std::uint64_t>() + 12);
    EXPECT_EQ(apr_json({"hex", file, "--tensor", "output_norm.weight", "--slice", "6:"}, 0)["tensors"][0]["values"],
              json({6.5, 7.5}));
    EXPECT_THAT(text_of({"hex", file, "--tensor", "output_norm.weight", "--slice", ":3", "--limit", "2"}),
                HasSubstr("1 more"));
    for (const char* bad : {"3", "a:2", "2:2", "3:2", "0:9", "8:", ":", "-1:2"})
      if (std::string(bad) != ":")
        EXPECT_EQ(apr_command({"hex", file, "--tensor", "output_norm.weight", "--slice", bad}).status, 2) << bad;
  }
}

TEST(HexRaw, RowsOfAModelSayWhatTheyHold) {
  const SmallModels m;
  const json document = apr_json({"hex", m.gguf, "--raw", "--all"}, 0);
  EXPECT_EQ(document["annotated"], true);
  EXPECT_EQ(document["size_bytes"], read_whole(m.gguf).size());
  EXPECT_EQ(document["rows"][0]["holds"], json({"header"}));
  EXPECT_EQ(document["rows"][1]["holds"], json({"header", "KV general.architecture"}));
  EXPECT_EQ(document["rows"].back()["holds"].back(), "padding");
  EXPECT_THAT(text_of({"hex", m.gguf, "--raw", "--offset", "0x1c0"}), HasSubstr("tensor blk.0"));
  EXPECT_EQ(apr_json({"hex", m.folder.write("any", "not a model"), "--raw"}, 0)["annotated"], false);
}

TEST(HexRaw, ReadsARedirectedFile) {
  const SmallModels m;
  const RunResult result =
      run_command("/bin/sh", {"-c", "'" + apr_binary() + "' hex - --raw --limit 16 < '" + m.gguf + "'"});
  EXPECT_EQ(result.status, 0) << result.all();
  EXPECT_THAT(result.out, HasSubstr("|GGUF"));
  const RunResult pipe = run_command("/bin/sh", {"-c", "cat '" + m.gguf + "' | '" + apr_binary() + "' hex - --raw"});
  EXPECT_EQ(pipe.status, 3) << pipe.all();
}

}  // namespace
}  // namespace apr::test
