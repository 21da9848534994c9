// apr hex --contract, --diff, --html and --svg as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/gguf_builder.h"
#include "tests/support/golden_model.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

struct Goldens {
  TempFolder folder;
  std::string hf = golden_folder("llama");
  std::string gguf = folder.path("llama.gguf");
  std::string without_norm = folder.path("without.gguf");
  Goldens() {
    write_golden_gguf("llama", gguf);
    write_golden_gguf("llama", without_norm, [](std::vector<PlainTensor>& tensors) {
      std::erase_if(tensors, [](const PlainTensor& t) { return t.name == "blk.1.ffn_norm.weight"; });
    });
  }
};

TEST(HexContract, F_HEX_005_NamesRulesAndWhatIsMissing) {
  const Goldens g;
  const RunResult good = apr_command({"hex", g.gguf, "--contract", "--strict"});
  EXPECT_EQ(good.status, 0) << good.all();
  for (const char* part : {"blk.{n}.attn_q.weight", "model.layers.{n}.self_attn.q_proj.weight", "rows permuted",
                           "CRITICAL", "everything that is required is there"})
    EXPECT_THAT(good.out, HasSubstr(part));
  const auto document = apr_json({"hex", g.gguf, "--contract"}, 0);
  EXPECT_EQ(document["schema"], "apr.hex.contract/1");
  EXPECT_EQ(document["holds"], true);
  EXPECT_EQ(document["names_of"], "gguf");
  bool seen = false;
  for (const json& row : document["rows"]) {
    if (row["gguf"] != "output.weight") continue;
    seen = true;
    EXPECT_EQ(row["hugging_face"], "lm_head.weight");
    EXPECT_EQ(row["critical"], true);
    EXPECT_EQ(row["shape"], "V, H");
  }
  EXPECT_TRUE(seen);
  EXPECT_EQ(apr_json({"hex", g.hf, "--contract"}, 0)["names_of"], "hugging_face");
}

TEST(HexContract, StrictFailsOnWhatIsMissingAndOnWhatCouldNotBeChecked) {
  const Goldens g;
  EXPECT_EQ(apr_command({"hex", g.without_norm, "--contract"}).status, 0);
  const RunResult bad = apr_command({"hex", g.without_norm, "--contract", "--strict"});
  EXPECT_EQ(bad.status, 5) << bad.all();
  EXPECT_THAT(bad.out, HasSubstr("blk.1.ffn_norm.weight"));
  EXPECT_THAT(bad.out, Not(HasSubstr("everything that is required")));
  const auto document = apr_json({"hex", g.without_norm, "--contract", "--strict"}, 5);
  EXPECT_EQ(document["holds"], false);
  ASSERT_EQ(document["problems"].size(), 1U);
  EXPECT_EQ(document["problems"][0]["tensor"], "blk.1.ffn_norm.weight");
  // A SafeTensors file alone does not say its architecture: nothing was checked, and that is no success.
  const SmallModels m;
  const auto unchecked = apr_json({"hex", m.safetensors, "--contract", "--strict"}, 5);
  EXPECT_TRUE(unchecked["holds"].is_null());
  EXPECT_THAT(unchecked["not_checked_reason"].get<std::string>(), HasSubstr("config.json"));
  EXPECT_EQ(apr_command({"hex", g.gguf, "--strict"}).status, 2) << "--strict belongs to --contract";
}

TEST(HexDiff, EqualDifferentAndAcrossFormats) {
  const Goldens g;
  const RunResult same = apr_command({"hex", g.gguf, "--diff", g.gguf});
  EXPECT_EQ(same.status, 0) << same.all();
  EXPECT_THAT(same.out, HasSubstr("equal"));
  const auto across = apr_json({"hex", g.gguf, "--diff", g.hf}, 5);
  EXPECT_EQ(across["equal"], false) << "names and metadata differ";
  EXPECT_EQ(across["removed"].size(), 1U);  // rope_freqs.weight
  EXPECT_EQ(across["added"].size(), 0U);
  EXPECT_GT(across["tensors"].size(), 0U);
  for (const json& t : across["tensors"]) {  // F32 here, BF16 there: the same numbers under another name
    EXPECT_EQ(t["differs"], "type") << t.dump();
    EXPECT_EQ(t["renamed"], true) << t.dump();
    EXPECT_EQ(t["values"]["n_different"], 0) << t.dump();
  }
  const auto missing = apr_json({"hex", g.gguf, "--diff", g.without_norm}, 5);
  ASSERT_EQ(missing["removed"].size(), 1U);
  EXPECT_EQ(missing["removed"][0]["name"], "blk.1.ffn_norm.weight");
  EXPECT_EQ(apr_command({"hex", g.gguf, "--diff", g.folder.path("none.gguf")}).status, 3);
  EXPECT_EQ(apr_command({"hex", g.gguf, "--diff", g.folder.write("x.gguf", "<html>")}).status, 4);
}

TEST(HexDiff, NamesTheByteTheBlockAndTheWorstElement) {
  const SmallModels m;
  std::string bytes = read_whole(m.gguf);
  const auto list = apr_json({"hex", m.gguf, "--list"}, 0);
  std::uint64_t at = 0;
  for (const json& t : list["tensors"])
    if (t["name"] == "output_norm.weight") at = t["offset"];
  ASSERT_GT(at, 0U);
  const float changed = 100.0F;
  std::memcpy(bytes.data() + at + 8, &changed, 4);  // element 2, which was 2.5
  const std::string other = m.folder.write("other.gguf", bytes);
  const auto document = apr_json({"hex", m.gguf, "--diff", other}, 5);
  ASSERT_EQ(document["tensors"].size(), 1U);
  const json& t = document["tensors"][0];
  EXPECT_EQ(t["name"], "output_norm.weight");
  EXPECT_EQ(t["differs"], "data");
  EXPECT_GE(t["bytes"]["first_different"].get<int>(), 8);
  EXPECT_LT(t["bytes"]["first_different"].get<int>(), 12);
  EXPECT_EQ(t["bytes"]["first_file_offset"].get<std::uint64_t>(),
            at + t["bytes"]["first_different"].get<std::uint64_t>());
  EXPECT_EQ(t["values"]["worst"]["element"], 2);
  EXPECT_EQ(t["values"]["worst"]["a"], 2.5);
  EXPECT_EQ(t["values"]["worst"]["b"], 100);
  EXPECT_GT(t["values"]["nmse"].get<double>(), 1);
  const RunResult text = apr_command({"hex", m.gguf, "--diff", other});
  EXPECT_THAT(text.out, HasSubstr("worst at element 2: 2.5 / 100"));
}

TEST(HexPicture, ThePageIsSelfContainedAndHoldsEveryTensor) {
  const Goldens g;
  const std::string page = g.folder.path("page.html");
  const RunResult result = apr_command({"hex", g.gguf, "--html", page});
  ASSERT_EQ(result.status, 0) << result.all();
  const std::string html = read_whole(page);
  for (const char* outside : {"http://", "https://", "src=", "href=", "@import", "url("})
    if (const auto at = html.find(outside); at != std::string::npos)
      EXPECT_EQ(html.substr(at, 26), "http://www.w3.org/2000/svg") << "the only address is a name, not a place";
  const auto begin = html.find("id=\"data\">") + 10, end = html.find("</script>", begin);
  const json data = json::parse(html.substr(begin, end - begin));
  std::size_t n_tensors = 0;
  std::uint64_t covered = 0;
  for (const json& part : data["parts"]) {
    n_tensors += part["tensor"].get<bool>() ? 1 : 0;
    covered += part["size"].get<std::uint64_t>();
    if (!part["tensor"].get<bool>()) continue;
    std::uint64_t in_bins = 0;
    for (const json& n : part["bins"]) in_bins += n.get<std::uint64_t>();
    EXPECT_GT(in_bins, 0U) << part["name"];
    EXPECT_GT(part["bytes"].get<std::string>().size(), 0U);
  }
  EXPECT_EQ(n_tensors, apr_json({"hex", g.gguf, "--list"}, 0)["tensors"].size());
  EXPECT_LE(covered, std::filesystem::file_size(g.gguf));
  EXPECT_GT(covered, std::filesystem::file_size(g.gguf) * 9 / 10) << "the map leaves hardly anything out";
}

TEST(HexPicture, NothingIsOverwrittenUnasked) {
  const Goldens g;
  const std::string before = read_whole(g.gguf);
  EXPECT_EQ(apr_command({"hex", g.gguf, "--html", g.gguf}).status, 2);
  EXPECT_EQ(apr_command({"hex", g.gguf, "--svg", g.gguf}).status, 2);
  EXPECT_EQ(read_whole(g.gguf), before);
  const std::string page = g.folder.write("page.html", "old");
  EXPECT_EQ(apr_command({"hex", g.gguf, "--html", page, "--force-html"}).status, 0);
  EXPECT_NE(read_whole(page), "old");
}

TEST(HexPicture, TextOfTheFileIsNeverMarkup) {
  GgufBuilder b;
  b.architecture();
  b.f32("</script><img src=x onerror=alert(1)>", 8);
  b.f32("a\"onload=\"x", 8);
  const TempFolder folder;
  const std::string model = folder.write("m<b>.gguf", b.bytes()), page = folder.path("page.html"),
                    map = folder.path("map.svg");
  ASSERT_EQ(apr_command({"hex", model, "--html", page}).status, 0);
  ASSERT_EQ(apr_command({"hex", model, "--svg", map}).status, 0);
  for (const std::string& path : {page, map}) {
    const std::string text = read_whole(path);
    EXPECT_THAT(text, Not(HasSubstr("<img")));
    EXPECT_THAT(text, Not(HasSubstr("\"onload=\"x")));
    EXPECT_THAT(text, Not(HasSubstr("m<b>")));
  }
}

}  // namespace
}  // namespace apr::test
