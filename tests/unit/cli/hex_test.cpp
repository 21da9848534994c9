// The modes of `apr hex`: flags that exclude each other, the numbers of JSON and text, files that are wrong or odd.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "apr/core/text.h"
#include "src/cli/hex_modes.h"
#include "src/cli/style.h"
#include "tests/support/apr_builder.h"
#include "tests/support/gguf_builder.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

TEST(HexFlags, ModesExcludeEachOther) {
  const SmallModels m;
  const std::vector<std::vector<std::string>> modes = {{"--header"}, {"--list"}, {"--raw"}, {"--tensor", "*"}};
  for (std::size_t a = 0; a < modes.size(); ++a)
    for (std::size_t b = a + 1; b < modes.size(); ++b) {
      // Reports combine, and --tensor filters a list.
      if (modes[a][0] == "--list" || modes[b][0] == "--list")
        if (modes[a][0] != "--raw" && modes[b][0] != "--raw") continue;
      std::vector<std::string> args = {"hex", m.gguf};
      args.insert(args.end(), modes[a].begin(), modes[a].end());
      args.insert(args.end(), modes[b].begin(), modes[b].end());
      const RunResult result = apr_command(args);
      EXPECT_EQ(result.status, 2) << result.all();
      EXPECT_THAT(result.err, HasSubstr("exclude each other"));
      EXPECT_THAT(result.err, HasSubstr(modes[a][0]));
      EXPECT_THAT(result.err, HasSubstr(modes[b][0]));
    }
}

TEST(HexFlags, ReportsCombineIntoOneTextAndOneDocument) {
  const SmallModels m;
  const auto both = apr_json({"hex", m.gguf, "--header", "--list", "--limit", "2"}, 0);
  EXPECT_EQ(both["schema"], "apr.hex.combined/1");
  const auto header = apr_json({"hex", m.gguf, "--header", "--limit", "2"}, 0);
  EXPECT_EQ(both["header"]["metadata"], header["metadata"]);
  EXPECT_EQ(both["header"]["sections"], header["sections"]);
  EXPECT_EQ(both["list"]["tensors"], apr_json({"hex", m.gguf, "--list"}, 0)["tensors"]);
  const std::string text = apr_command({"hex", m.gguf, "--list", "--header"}).out;
  const std::string list = apr_command({"hex", m.gguf, "--list"}).out;
  EXPECT_EQ(text.find(apr_command({"hex", m.gguf, "--header"}).out), 0U) << text;
  EXPECT_NE(text.find(list.substr(list.find("TENSORS"))), std::string::npos) << text;
  EXPECT_EQ(text.find("small.gguf"), text.rfind("small.gguf")) << "one title";
}

/// Walks hex_modes.def: every mode is in the help, and what a row says it takes is what is taken.
TEST(HexFlags, EveryRowOfTheModeTable) {
  const SmallModels m;
  const std::string help = apr_command({"hex", "--help"}).out;
  for (const cli::HexMode& mode : cli::hex_modes()) {
    SCOPED_TRACE(std::string(mode.name));
    if (!mode.flag.empty()) EXPECT_THAT(help, HasSubstr(std::string(mode.flag)));
    EXPECT_FALSE(mode.help.empty());
    for (const std::string flag : {"--limit", "--tensor"}) {
      if (mode.flag.empty() || !mode.value.empty() || mode.takes(flag)) continue;
      const RunResult result = apr_command({"hex", m.gguf, std::string(mode.flag), flag, "1"});
      EXPECT_EQ(result.status, 2) << result.all();
      EXPECT_THAT(result.err, HasSubstr(flag));
    }
  }
}

TEST(HexFlags, ModifiersOfAnotherModeAreRefused) {
  const SmallModels m;
  const std::vector<std::vector<std::string>> bad = {{"--offset", "1"},
                                                     {"--width", "8"},
                                                     {"--limit", "8"},
                                                     {"--all"},
                                                     {"--role", "ffn_up"},
                                                     {"--sort", "size"},
                                                     {"--slice", "0:4"},
                                                     {"--row", "0"},
                                                     {"--block", "0"},
                                                     {"--bins", "8"},
                                                     {"--file", "0"},
                                                     {"--header", "--tensor", "*"},
                                                     {"--header", "--limit", "8", "--all"},
                                                     {"--list", "--slice", "0:4"},
                                                     {"--list", "--role", "norm", "--tensor", "*"},
                                                     {"--blocks", "--sort", "size"},
                                                     {"--at", "0", "--block", "0"},
                                                     {"--weight", "a[0]", "--limit", "8"},
                                                     {"--stats", "--bins", "8"},
                                                     {"--raw", "--role", "x"},
                                                     {"--raw", "--blocks"},
                                                     {"--list", "--width", "8"},
                                                     {"--header", "--offset", "1"},
                                                     {"--tensor", "*", "--width", "8"},
                                                     {"--raw", "--verify"}};
  for (const auto& flags : bad) {
    std::vector<std::string> args = {"hex", m.apr};
    args.insert(args.end(), flags.begin(), flags.end());
    EXPECT_EQ(apr_command(args).status, 2) << testing::PrintToString(flags);
  }
}

TEST(HexFlags, EveryModifierChangesTheOutput) {
  const SmallModels m;
  const auto out = [](std::vector<std::string> args) {
    const RunResult result = apr_command(args);
    EXPECT_EQ(result.status, 0) << result.all();
    return result.out;
  };
  const std::string raw = out({"hex", m.gguf, "--raw"});
  EXPECT_NE(out({"hex", m.gguf, "--raw", "--offset", "1"}), raw);
  EXPECT_NE(out({"hex", m.gguf, "--raw", "--width", "8"}), raw);
  EXPECT_NE(out({"hex", m.gguf, "--raw", "--limit", "16"}), raw);
  EXPECT_EQ(out({"hex", m.gguf, "--raw", "--offset", "0x10"}), out({"hex", m.gguf, "--raw", "--offset", "16"}));
  EXPECT_NE(out({"hex", m.gguf, "--tensor", "*"}), out({"hex", m.gguf, "--tensor", "*", "--limit", "1"}));
  EXPECT_NE(out({"hex", m.gguf, "--header"}), out({"hex", m.gguf, "--header", "--limit", "1"}));
  EXPECT_NE(out({"hex", m.apr}), out({"hex", m.apr, "--verify"}));
}

TEST(HexRaw, ShowsTheBytesOfAnyFile) {
  const TempFolder folder;
  std::string bytes;
  for (int i = 0; i < 600; ++i) bytes += static_cast<char>(i * 7);
  const std::string path = folder.write("any.bin", bytes);
  const auto document = apr_json({"hex", path, "--raw", "--offset", "5", "--width", "9", "--limit", "400"}, 0);
  std::string hex;
  for (const json& row : document["rows"]) {
    EXPECT_EQ(row["offset"].get<std::size_t>(), 5 + hex.size() / 2);
    hex += row["hex"].get<std::string>();
  }
  ASSERT_EQ(hex.size(), 800U);
  for (std::size_t i = 0; i < 400; ++i)
    EXPECT_EQ(std::stoi(hex.substr(i * 2, 2), nullptr, 16), static_cast<unsigned char>(bytes[i + 5])) << i;
  EXPECT_EQ(document["size_bytes"], 400);

  const std::string text = apr_command({"hex", path, "--raw", "--offset", "590"}).out;
  EXPECT_EQ(text.substr(0, 14), "0000024e  22 2") << text;
  EXPECT_EQ(apr_command({"hex", path, "--raw", "--offset", "600"}).out, "") << "the end itself is allowed";
  EXPECT_EQ(apr_command({"hex", path, "--raw", "--offset", "601"}).status, 2);
  EXPECT_EQ(apr_command({"hex", folder.write("empty", ""), "--raw"}).status, 0);
  EXPECT_EQ(apr_command({"hex", folder.write("cut.gguf", "GGUF\x03"), "--raw"}).status, 0) << "even a broken model";
}

TEST(HexRaw, AllBytesOfALargerFileAreStreamed) {
  const TempFolder folder;
  const std::string path = folder.write("big.bin", std::string(3'000'000, 'x'));
  const RunResult result = apr_command({"hex", path, "--raw", "--limit", "99999999999"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 187500);
}

TEST(HexList, JsonHasEveryTensorAndTextTheSameNumbers) {
  const SmallModels m;
  const auto document = apr_json({"hex", m.gguf, "--list"}, 0);
  EXPECT_EQ(document["schema"], "apr.hex.list/1");
  EXPECT_EQ(document["file"]["format"], "gguf");
  ASSERT_EQ(document["tensors"].size(), 2U);
  const json& q = document["tensors"][1];
  EXPECT_EQ(q["name"], "blk.0.attn_q.weight");
  EXPECT_EQ(q["dtype"], "Q4_K");
  EXPECT_EQ(q["shape"], json({1, 256}));
  EXPECT_EQ(q["n_elements"], 256);
  EXPECT_EQ(q["size_bytes"], 144);
  EXPECT_EQ(q["file_index"], 0);
  EXPECT_EQ(q["readable"], true);
  const std::string bytes = read_whole(m.gguf);
  EXPECT_EQ(bytes.substr(q["offset"].get<std::size_t>(), 4), std::string("\x00\x38\x00\x34", 4)) << "absolute offset";
  const std::string text = apr_command({"hex", m.gguf, "--list"}).out;
  char offset[16];
  snprintf(offset, sizeof offset, "0x%08x", q["offset"].get<unsigned>());
  for (const char* part :
       {"blk.0.attn_q.weight", "Q4_K", "[1, 256]", "144", static_cast<const char*>(offset), "2 tensors"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(HexTensor, ValuesBlocksAndGlobs) {
  const SmallModels m;
  const auto document = apr_json({"hex", m.gguf, "--tensor", "blk.*", "--limit", "4"}, 0);
  ASSERT_EQ(document["tensors"].size(), 1U);
  const json& block = document["tensors"][0]["first_block"];
  EXPECT_EQ(block["fields"][0]["name"], "d");
  EXPECT_EQ(block["fields"][0]["values"], json({0.5}));
  EXPECT_EQ(block["fields"][0]["bytes_hex"], "0038");
  EXPECT_EQ(block["fields"][1]["values"], json({0.25}));
  EXPECT_FALSE(block["fields"][3].contains("values")) << "packed";
  // d * 1 * q - dmin * 5, with q the low nibbles of 0, 1, 2, 3
  EXPECT_EQ(document["tensors"][0]["values"], json({-1.25, -0.75, -0.25, 0.25}));
  EXPECT_EQ(apr_json({"hex", m.gguf, "--tensor", "output_norm.weight"}, 0)["tensors"][0]["values"],
            json({0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5}));
  EXPECT_EQ(apr_json({"hex", m.gguf, "--tensor", "*"}, 0)["tensors"].size(), 2U);
  EXPECT_EQ(apr_json({"hex", m.apr, "--tensor", "*"}, 0)["tensors"].size(), 2U);
  EXPECT_EQ(apr_command({"hex", m.gguf, "--tensor", "nothing*"}).status, 5);
  EXPECT_EQ(apr_command({"hex", m.gguf, "--tensor", ""}).status, 5);
}

TEST(HexTensor, NonFiniteValuesAreNullWithAReason) {
  GgufBuilder b;
  b.architecture();
  b.kv<float>("llama.nan", kF32, std::nanf(""));
  b.info("t", {4}, kGgmlF32, 0);
  const float values[] = {1.0F, std::nanf(""), INFINITY, -INFINITY};
  for (const float v : values) b.data().put(v);
  b.data().text.resize(32);
  const TempFolder folder;
  const std::string path = folder.write("nan.gguf", b.bytes());
  const auto document = apr_json({"hex", path, "--tensor", "t"}, 0);
  EXPECT_EQ(document["tensors"][0]["values"], json({1.0, nullptr, nullptr, nullptr}));
  EXPECT_EQ(document["tensors"][0]["non_finite"].dump(),
            R"([{"index":1,"value":"nan"},{"index":2,"value":"inf"},{"index":3,"value":"-inf"}])");
  EXPECT_THAT(apr_command({"hex", path, "--tensor", "t"}).out, HasSubstr("nan"));
  const auto header = apr_json({"hex", path, "--header"}, 0);
  EXPECT_TRUE(header["metadata"][1]["value"].is_null());
  EXPECT_EQ(header["metadata"][1]["value_reason"], "nan");
}

TEST(HexBigEndian, ValuesAreRight) {
  GgufBuilder b(std::endian::big);
  b.architecture();
  b.info("f", {4}, kGgmlF32, 0);
  b.info("q", {32}, 8, 32);  // Q8_0
  for (const float v : {1.5F, -2.0F, 3.25F, 0.0F}) b.data().put(v);
  b.data().text.resize(32);
  b.data().put<std::uint16_t>(0x3800);  // f16 0.5
  for (int i = 0; i < 32; ++i) b.data().put(static_cast<std::int8_t>(i - 16));
  b.data().text.resize(96);
  const TempFolder folder;
  const std::string path = folder.write("big.gguf", b.bytes());
  const auto document = apr_json({"hex", path, "--tensor", "*", "--limit", "4"}, 0);
  EXPECT_EQ(document["tensors"][0]["values"], json({1.5, -2.0, 3.25, 0.0}));
  EXPECT_EQ(document["tensors"][1]["first_block"]["fields"][0]["values"], json({0.5}));
  EXPECT_EQ(document["tensors"][1]["first_block"]["fields"][0]["bytes_hex"], "3800") << "bytes as they stand";
  EXPECT_EQ(document["tensors"][1]["values"], json({-8.0, -7.5, -7.0, -6.5}));
  EXPECT_EQ(apr_json({"hex", path, "--header"}, 0)["sections"][0]["fields"][1]["value"], 3);
}

/// Nothing that a terminal would act on: no control bytes but newline, and only well-formed UTF-8.
void expect_harmless(const std::string& text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    ASSERT_TRUE((byte >= 0x20 && byte != 0x7F) || byte == '\n') << "byte " << int{byte} << " in: " << text;
  }
  EXPECT_FALSE(invalid_utf8_at(text)) << text;
  EXPECT_THAT(text, Not(HasSubstr("\u009b")));  // C1 CSI
  EXPECT_THAT(text, Not(HasSubstr("\u202e")));  // right-to-left override
}

TEST(HexEscaping, NoByteOfAFileReachesTheTerminalRaw) {
  const std::string evil("\033[31mred\a\0\r\xff\xc3\x28\x7f\xc2\x9b\xe2\x80\xae|end", 24);
  GgufBuilder b;
  b.architecture(evil);
  b.kv_string(evil, evil);
  b.key("list", kArray);
  b.body().u32(kString).u64(1).string(evil);
  b.f32(evil);
  b.f32("plain");
  const TempFolder folder;
  const std::string path = folder.write("evil\033[1m\xff.gguf", b.bytes());
  for (const std::vector<std::string>& mode : std::vector<std::vector<std::string>>{{},
                                                                                    {"--header"},
                                                                                    {"--list"},
                                                                                    {"--tensor", "*"},
                                                                                    {"--raw"},
                                                                                    {"--tensor", evil},
                                                                                    {"--tensor", "\033[2Jx"},
                                                                                    {"--tenso\033[2J"}}) {
    std::vector<std::string> args = {"hex", path};
    for (const std::string& part : mode) args.push_back(part.substr(0, part.find('\0')));
    const RunResult text = apr_command(args);
    expect_harmless(text.out);
    expect_harmless(text.err);
    args.push_back("--json");
    const RunResult document = apr_command(args);
    expect_harmless(document.out);
    EXPECT_FALSE(json::parse(document.out, nullptr, false).is_discarded()) << document.out;
  }
  const json list = json::parse(apr_command({"hex", path, "--list", "--json"}).out);
  std::string hex;
  for (const char c : evil) {
    char two[3];
    snprintf(two, sizeof two, "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    hex += two;
  }
  EXPECT_EQ(list["tensors"][0]["name_hex"], hex) << "the raw bytes of a name that is no UTF-8";
  EXPECT_FALSE(list["tensors"][1].contains("name_hex"));
}

TEST(HexFindings, AnErrorIsShownWithItsOffsetAndFails) {
  GgufBuilder b = small_gguf();
  std::string bytes = b.bytes();
  bytes.resize(bytes.size() - 40);  // the last tensor loses its end
  const TempFolder folder;
  const std::string path = folder.write("cut.gguf", bytes);
  for (const std::vector<std::string>& mode :
       std::vector<std::vector<std::string>>{{}, {"--header"}, {"--list"}, {"--tensor", "*"}}) {
    std::vector<std::string> args = {"hex", path};
    args.insert(args.end(), mode.begin(), mode.end());
    const RunResult text = apr_command(args);
    EXPECT_EQ(text.status, 4) << text.all();
    EXPECT_THAT(text.out, HasSubstr("FINDINGS")) << "what can be read is shown, with what is wrong";
    const auto document = apr_json(args, 4);
    EXPECT_EQ(document["status"], "error");
    ASSERT_FALSE(document["findings"].empty());
    EXPECT_EQ(document["findings"][0]["severity"], "error");
    EXPECT_TRUE(document["findings"][0]["offset"].is_number());
  }
  const auto list = apr_json({"hex", path, "--list"}, 4);
  EXPECT_EQ(list["tensors"][0]["readable"], true);
  EXPECT_EQ(list["tensors"][1]["readable"], false);
  EXPECT_EQ(apr_json({"hex", path, "--tensor", "b"}, 4)["tensors"][0]["values_reason"],
            "its data is not wholly inside the file");
  EXPECT_EQ(apr_command({"hex", path, "--raw"}).status, 0);
}

TEST(HexFindings, AWarningIsShownAndPasses) {
  GgufBuilder b;  // no tensors, no metadata
  const TempFolder folder;
  const std::string path = folder.write("bare.gguf", b.bytes());
  const RunResult text = apr_command({"hex", path});
  EXPECT_EQ(text.status, 0) << text.all();
  EXPECT_THAT(text.out, HasSubstr("warning"));
  const auto document = apr_json({"hex", path}, 0);
  EXPECT_EQ(document["status"], "warning");
  EXPECT_TRUE(document["first_tensor"].is_null());
  for (const char* mode : {"--header", "--list"}) EXPECT_EQ(apr_command({"hex", path, mode}).status, 0);
}

TEST(HexApr, ChecksumsAreComparedAndAWrongOneFails) {
  const SmallModels m;
  const auto field = [](const json& document, std::string_view title, std::string_view name) {
    for (const json& section : document["sections"])
      for (const json& f : section["fields"])
        if (section["title"] == title && f["name"] == name) return f;
    return json();
  };
  const json good = apr_json({"hex", m.apr, "--header"}, 0);
  EXPECT_EQ(field(good, "header", "header_checksum")["value"], field(good, "header", "header_checksum")["computed"]);
  EXPECT_THAT(field(good, "footer", "file_checksum")["meaning"].get<std::string>(), HasSubstr("not verified"));
  EXPECT_THAT(field(apr_json({"hex", m.apr, "--header", "--verify"}, 0), "footer", "file_checksum")["meaning"]
                  .get<std::string>(),
              HasSubstr("correct"));
  EXPECT_EQ(apr_json({"hex", m.apr}, 0)["data_checksum"], "not_verified");
  EXPECT_EQ(apr_json({"hex", m.apr, "--verify"}, 0)["data_checksum"], "correct");

  std::string bytes = read_whole(m.apr);
  bytes[bytes.size() - 70] ^= 1;  // in the data
  const std::string bad = m.folder.write("bad.apr", bytes);
  EXPECT_EQ(apr_command({"hex", bad}).status, 0) << "not looked at without --verify";
  EXPECT_EQ(apr_json({"hex", bad, "--verify"}, 4)["data_checksum"], "wrong");
  EXPECT_THAT(apr_command({"hex", bad, "--verify", "--header"}).out, HasSubstr("WRONG"));
}

TEST(HexShapes, ScalarsEmptyTensorsAndManyDimensions) {
  const TempFolder folder;
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  const std::string path =
      folder.write("odd.safetensors", safetensors(R"({"scalar":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                                                  R"("empty":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]},)"
                                                  R"("wide":{"dtype":"F32","shape":[)" +
                                                      ones + R"(],"data_offsets":[4,8]}})",
                                                  std::string("\0\0\x80\x3f\0\0\0\x40", 8)));
  const auto document = apr_json({"hex", path, "--tensor", "*"}, 0);
  ASSERT_EQ(document["tensors"].size(), 3U);
  for (const json& tensor : document["tensors"]) {
    if (tensor["name"] == "scalar") {
      EXPECT_EQ(tensor["shape"], json::array());
      EXPECT_EQ(tensor["values"], json({1.0}));
    } else if (tensor["name"] == "empty") {
      EXPECT_EQ(tensor["values"], json::array());
      EXPECT_EQ(tensor["values_reason"], "it has no elements");
    } else {
      EXPECT_EQ(tensor["shape"].size(), 65U);
      EXPECT_EQ(tensor["values"], json({2.0}));
    }
  }
  const RunResult text = apr_command({"hex", path, "--list"});
  EXPECT_EQ(text.status, 0) << text.all();
  EXPECT_THAT(text.out, HasSubstr("65 dimensions"));
}

#if defined(__has_feature)  // clang
#if __has_feature(address_sanitizer)
#define APR_TEST_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)  // gcc
#define APR_TEST_SANITIZED 1
#endif
#ifdef APR_TEST_SANITIZED
constexpr std::int64_t kMostMemory = 512LL << 20;  // the sanitizer's own tables
#else
constexpr std::int64_t kMostMemory = 32LL << 20;
#endif

TEST(HexMemory, AFileOfFourGigabytesIsReadByItsHeaderAlone) {
  GgufBuilder b;
  b.architecture();
  b.key("tokenizer.ggml.tokens", kArray);
  b.body().u32(kString).u64(150'000);
  for (int i = 0; i < 150'000; ++i) b.body().string("token" + std::to_string(i));
  constexpr std::uint64_t kTensorBytes = 110 << 20;
  for (std::uint64_t i = 0; i < 40; ++i)
    b.info("blk." + std::to_string(i) + ".weight", {kTensorBytes / 4}, kGgmlF32, i * kTensorBytes);
  const TempFolder folder;
  const std::string path = folder.write("large.gguf", b.bytes());
  ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(b.data_offset() + 40 * kTensorBytes)),
            0);  // a hole: no disk space
  for (const std::vector<std::string>& mode :
       std::vector<std::vector<std::string>>{{},
                                             {"--header"},
                                             {"--list"},
                                             {"--list", "--json"},
                                             {"--at", "4600000000"},
                                             {"--weight", "blk.39.weight[7]"},
                                             {"--blocks"},
                                             {"--raw", "--offset", "4600000000"}}) {
    std::vector<std::string> args = {"hex", path};
    args.insert(args.end(), mode.begin(), mode.end());
    const RunResult result = apr_command(args);
    EXPECT_EQ(result.status, 0) << result.all();
    EXPECT_GT(result.max_rss_bytes, 1 << 20) << "measured at all";
    EXPECT_LT(result.max_rss_bytes, kMostMemory) << testing::PrintToString(mode);
  }
}

TEST(HexLines, FitAHundredColumns) {
  const SmallModels m;
  for (const std::string& file : {m.gguf, m.apr, m.safetensors})
    for (const std::vector<std::string>& mode :
         std::vector<std::vector<std::string>>{{},
                                               {"--header"},
                                               {"--list"},
                                               {"--tensor", "*"},
                                               {"--raw"},
                                               {"--blocks"},
                                               {"--at", "64"},
                                               {"--stats"},
                                               {"--distribution"},
                                               {"--tensor", "*", "--slice", "0:4"},
                                               {"--header", "--all"},
                                               {"--entropy"},
                                               {"--damage"}}) {
      std::vector<std::string> args = {"hex", file.substr(file.rfind('/') + 1)};
      args.insert(args.end(), mode.begin(), mode.end());
      const std::string text = apr_command(args, {.cwd = m.folder.path()}).out;
      EXPECT_FALSE(text.empty()) << testing::PrintToString(args);
      std::istringstream lines(text);
      for (std::string line; std::getline(lines, line);) {
        EXPECT_LE(cli::display_width(line), 100U) << line;
        EXPECT_TRUE(line.empty() || line.back() != ' ') << "blanks at the end: " << line;
      }
    }
}

}  // namespace
}  // namespace apr::test
