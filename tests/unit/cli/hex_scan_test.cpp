// apr hex --entropy, --damage, --manifest and --verify-manifest, as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/support/weights_file.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using testing::HasSubstr;

struct Model {
  TempFolder folder;
  std::string path = folder.path("w.gguf"), bytes;
  std::uint64_t offset = 0;  // of blk.1.ffn_up.weight
  Model() {
    write_weights(path, TensorType::Q4_K);
    bytes = read_whole(path);
    const auto list = apr_json({"hex", path, "--list"}, 0);
    for (const auto& t : list["tensors"])
      if (t["name"] == "blk.1.ffn_up.weight") offset = t["offset"];
  }
  /// A copy with `n` zero bytes at `at`.
  std::string zeroed(std::uint64_t at, std::size_t n) const {
    std::string changed = bytes;
    std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(at), n, '\0');
    return folder.write("zeroed.gguf", changed);
  }
};

TEST(HexDamage, ASoundModelIsHealthyAndADamagedOneExitsWith5) {
  const Model model;
  const RunResult good = apr_command({"hex", model.path, "--damage"});
  EXPECT_EQ(good.status, 0) << good.all();
  EXPECT_THAT(good.out, HasSubstr("no damage that statistics can see"));
  const auto healthy = apr_json({"hex", model.path, "--damage"}, 0);
  EXPECT_EQ(healthy["schema"], "apr.hex.damage/1");
  EXPECT_EQ(healthy["healthy"], true);
  EXPECT_TRUE(healthy["ranges"].empty());

  const std::uint64_t at = (model.offset / 4096 + 3) * 4096;
  const std::string zeroed = model.zeroed(at, 4096);
  const auto document = apr_json({"hex", zeroed, "--damage"}, 5);
  EXPECT_EQ(document["status"], "error");
  ASSERT_EQ(document["n_suspicious"], 1) << document.dump(1);
  const auto& range = document["ranges"][0];
  EXPECT_EQ(range["cause"], "zero_fill");
  EXPECT_EQ(range["certainty"], "exact");
  EXPECT_EQ(range["tensor"], "blk.1.ffn_up.weight");
  EXPECT_LE(at - 4, range["offset"].get<std::uint64_t>());
  EXPECT_GE(at, range["offset"].get<std::uint64_t>());
  EXPECT_EQ(range["first_block"], (range["offset"].get<std::uint64_t>() - model.offset) / 144);
  EXPECT_EQ(document["layers"], nlohmann::json::array({1}));
  EXPECT_EQ(document["findings"][0]["rule"], "damage.zero_fill");
  const RunResult text = apr_command({"hex", zeroed, "--damage"});
  EXPECT_EQ(text.status, 5);
  EXPECT_THAT(text.out, HasSubstr("zero_fill (exact)  blk.1.ffn_up.weight blocks"));
  EXPECT_THAT(text.out, HasSubstr("layers 1"));
}

TEST(HexEntropy, F_HEX_004_AZeroedPageIsShownWithZeroBits) {
  const Model model;
  const auto sound = apr_json({"hex", model.path, "--entropy"}, 0);
  EXPECT_EQ(sound["schema"], "apr.hex.entropy/1");
  EXPECT_EQ(sound["n_anomalies"], 0);
  EXPECT_FALSE(sound["regions"].empty());
  EXPECT_FALSE(sound["fields"].empty());
  const std::string zeroed = model.zeroed(model.offset, 16'384);
  const auto document = apr_json({"hex", zeroed, "--entropy"}, 0);
  ASSERT_EQ(document["n_anomalies"], 1) << document.dump(1);
  EXPECT_EQ(document["anomalies"][0]["bits_per_byte"], 0.0);
  EXPECT_EQ(document["anomalies"][0]["kind"], "low_entropy");
  EXPECT_EQ(document["anomalies"][0]["first_row"], 0);
  const RunResult text = apr_command({"hex", zeroed, "--entropy"});
  EXPECT_EQ(text.status, 0) << text.all();
  EXPECT_THAT(text.out, HasSubstr("low_entropy"));
  EXPECT_THAT(text.out, HasSubstr("ENTROPY BY FIELD"));
}

TEST(HexScans, CombineWithOtherReportsAndLimitTheirLists) {
  const Model model;
  const auto both = apr_json({"hex", model.zeroed(model.offset, 16'384), "--entropy", "--damage"}, 5);
  EXPECT_EQ(both["schema"], "apr.hex.combined/1");
  EXPECT_EQ(both["damage"]["n_suspicious"], 1);
  EXPECT_EQ(both["entropy"]["n_anomalies"], 1);
  const RunResult cut = apr_command({"hex", model.path, "--entropy", "--limit", "1"});
  EXPECT_THAT(cut.out, HasSubstr("more fields; --all shows them"));
}

TEST(HexEntropy, WindowsAreListedOneByOne) {
  const Model model;
  const std::string zeroed = model.zeroed(model.offset, 16'384);
  const auto document = apr_json({"hex", zeroed, "--entropy", "--windows"}, 0);
  const auto& windows = document["windows"];
  ASSERT_EQ(windows.size(), document["n_windows"].get<std::size_t>());
  EXPECT_GE(windows.size(), model.bytes.size() / 4096) << "every window of the file";
  std::size_t n_out = 0;
  double lowest = 8;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    n_out += windows[i]["stands_out"] == true ? 1 : 0;
    if (!windows[i]["tensor_index"].is_null()) lowest = std::min(lowest, windows[i]["bits_per_byte"].get<double>());
    if (i > 0) EXPECT_GE(windows[i]["offset"], windows[i - 1]["offset"]);
  }
  EXPECT_EQ(n_out, document["anomalies"][0]["n_windows"]);
  EXPECT_EQ(lowest, 0.0);
  EXPECT_FALSE(apr_json({"hex", zeroed, "--entropy"}, 0).contains("windows"));
  EXPECT_THAT(apr_command({"hex", zeroed, "--entropy", "--windows"}).out, HasSubstr("more windows; --all shows them"));
  const RunResult all = apr_command({"hex", zeroed, "--entropy", "--windows", "--all"});
  EXPECT_THAT(all.out, HasSubstr("0.000  *  blk.1.ffn_up.weight"));
  EXPECT_THAT(all.out, Not(HasSubstr(" more ")));
  EXPECT_EQ(apr_command({"hex", zeroed, "--damage", "--windows"}).status, 2) << "means nothing to --damage";
}

/// As hex_golden_test.cpp: APR_UPDATE_GOLDEN=1 rewrites the files and fails.
TEST(HexScans, TextIsAsRecorded) {
  const SmallModels models;
  for (const std::string format : {"gguf", "apr", "safetensors"})
    for (const std::string mode : {"entropy", "damage"}) {
      const RunResult result = apr_command({"hex", "small." + format, "--" + mode}, {.cwd = models.folder.path()});
      EXPECT_EQ(result.status, 0) << result.all();
      const std::string path = source_dir() + "/tests/golden/cli/hex_" + format + "_" + mode + ".txt";
      if (std::getenv("APR_UPDATE_GOLDEN") != nullptr) {
        std::ofstream(path, std::ios::binary) << result.out;
        ADD_FAILURE() << "rewrote " << path << ": read the diff";
        continue;
      }
      EXPECT_EQ(result.out, read_whole(path)) << path;
    }
}

TEST(HexManifest, IsWrittenOnceAndVerifiesTheFile) {
  const Model model;
  const std::string manifest = model.path + ".manifest.json";
  const auto written = apr_json({"hex", model.path, "--manifest"}, 0);
  EXPECT_EQ(written["schema"], "apr.hex.manifest/1");
  EXPECT_EQ(written["manifest"], manifest);
  ASSERT_TRUE(std::filesystem::exists(manifest));
  EXPECT_EQ(apr_command({"hex", model.path, "--manifest"}).status, 2) << "it exists already";
  EXPECT_EQ(apr_command({"hex", model.path, "--manifest", "--force"}).status, 0);
  EXPECT_EQ(apr_command({"hex", model.path, "--manifest", "--force", "--out", model.path}).status, 2);
  EXPECT_EQ(read_whole(model.path), model.bytes) << "the model itself is never replaced";
  const auto intact = apr_json({"hex", model.path, "--verify-manifest", manifest}, 0);
  EXPECT_EQ(intact["intact"], true);
  EXPECT_EQ(intact["repair_plan"], nullptr);

  const std::string zeroed = model.zeroed(model.offset, 100);
  const auto damaged = apr_json({"hex", zeroed, "--verify-manifest", manifest, "--repair-plan"}, 5);
  EXPECT_EQ(damaged["schema"], "apr.hex.verify_manifest/1");
  ASSERT_EQ(damaged["repair_plan"]["ranges"].size(), 1U) << damaged.dump(1);
  EXPECT_LE(damaged["repair_plan"]["ranges"][0]["offset"].get<std::uint64_t>(), model.offset);
  for (const auto& t : damaged["tensors"]) EXPECT_EQ(t["damaged"], t["name"] == "blk.1.ffn_up.weight") << t.dump();
  const RunResult plan = apr_command({"hex", zeroed, "--verify-manifest", manifest, "--repair-plan"});
  EXPECT_EQ(plan.status, 5);
  EXPECT_THAT(plan.out, HasSubstr("curl -sfL -r 0-"));
  EXPECT_THAT(plan.out, HasSubstr("intact: the damage is beside it"));
  const RunResult cut =
      apr_command({"hex", model.folder.write("cut.gguf", model.bytes.substr(0, 1000)), "--verify-manifest", manifest});
  EXPECT_EQ(cut.status, 5) << cut.all();
  EXPECT_THAT(cut.out, HasSubstr("missing"));
}

TEST(HexManifest, AManifestThatLiesIsRefused) {
  const Model model;
  ASSERT_EQ(apr_command({"hex", model.path, "--manifest"}).status, 0);
  const auto good = nlohmann::json::parse(read_whole(model.path + ".manifest.json"));
  const auto refused = [&](const std::function<void(nlohmann::json&)>& change, const std::string& field) {
    nlohmann::json changed = good;
    change(changed);
    const std::string path = model.folder.write("lie.json", changed.dump());
    const auto document = apr_json({"hex", model.path, "--verify-manifest", path}, 4);
    EXPECT_EQ(document["error"]["field"], field) << document.dump(1);
  };
  refused([](auto& m) { m["files"][0]["chunks"][0] = std::string(64, '0'); }, "files[0].merkle_root");
  refused([](auto& m) { m["files"][0]["chunks"][0] = 7; }, "files[0].chunks[0]");
  refused([](auto& m) { m["files"][0]["size_bytes"] = 1ULL << 60; }, "files[0].chunks");
  refused([](auto& m) { m["files"][0]["size_bytes"] = -5; }, "files[0].size_bytes");
  refused([](auto& m) { m["chunk_bytes"] = 0; }, "chunk_bytes");
  refused([](auto& m) { m["tensors"][0]["offset"] = UINT64_MAX; }, "tensors[0].size_bytes");
  refused([](auto& m) { m["tensors"][1]["file_index"] = 1; }, "tensors[1].file_index");
  refused([](auto& m) { m["files"] = nlohmann::json::array(); }, "files");
  refused([](auto& m) { m["schema"] = "apr.manifest/2"; }, "schema");
  EXPECT_EQ(apr_command({"hex", model.path, "--verify-manifest", model.path}).status, 4) << "no JSON";
  EXPECT_EQ(apr_command({"hex", model.path, "--verify-manifest", model.folder.path("none")}).status, 3);
  EXPECT_EQ(apr_command({"hex", model.path, "--repair-plan"}).status, 2) << "needs --verify-manifest";
}

}  // namespace
}  // namespace apr::test
