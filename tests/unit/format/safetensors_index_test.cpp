// SafeTensors in several files: the index, folders, and what can be wrong between them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "apr/format/model_file.h"
#include "tests/support/json_builder.h"

namespace apr::format {
namespace {

using test::tensor_json;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class SafeTensorsIndex : public ::testing::Test {
 protected:
  /// A shard with tensors of four bytes each.
  void shard(const std::string& name, const std::vector<std::string>& tensors) {
    std::string header = "{";
    for (std::size_t i = 0; i < tensors.size(); ++i)
      header += (i > 0 ? "," : "") + tensor_json(tensors[i], "F32", "[1]", 4 * i, 4 * i + 4);
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    folder_.write(name, test::safetensors(header, std::string(4 * tensors.size(), 'd')));
  }
  std::string index(const std::string& json) { return folder_.write("model.safetensors.index.json", json); }
  /// Two sound shards; the index is the test's.
  ModelFile with_index(const std::string& json) {
    shard("s1.safetensors", {"a", "b"});
    shard("s2.safetensors", {"c"});
    index(json);
    return open_model(folder_.path());
  }
  static const Finding* find(const ModelFile& model, std::string_view rule) {
    for (const Finding& finding : model.findings)
      if (finding.rule == rule) return &finding;
    return nullptr;
  }
  void expect_error(const std::string& json, std::string_view rule) {
    SCOPED_TRACE(json);
    const ModelFile model = with_index(json);
    EXPECT_TRUE(model.has_errors());
    const Finding* finding = find(model, rule);
    ASSERT_NE(finding, nullptr);
    EXPECT_EQ(finding->severity, Severity::Error);
    EXPECT_THAT(finding->file, EndsWith(".json"));
    EXPECT_FALSE(finding->field.empty());
  }
  test::TempFolder folder_;
};

constexpr const char* kGood = R"({"metadata":{"total_size":12},
  "weight_map":{"a":"s1.safetensors","b":"s1.safetensors","c":"s2.safetensors"}})";

TEST_F(SafeTensorsIndex, OpensByFolderAndByIndexFile) {
  folder_.write("config.json", "{}");
  folder_.write("tokenizer.json", "{}");
  const ModelFile model = with_index(kGood);
  EXPECT_TRUE(model.findings.empty());
  EXPECT_EQ(model.format, Format::SafeTensors);
  EXPECT_EQ(model.files.size(), 2U);
  ASSERT_EQ(model.tensors.size(), 3U);
  EXPECT_EQ(model.find_tensor("c")->file_index, 1U);
  EXPECT_EQ(model.data(*model.find_tensor("c")).size(), 4U);
  EXPECT_THAT(model.companions, ElementsAre(EndsWith("/config.json"), EndsWith("/tokenizer.json")));
  const ModelFile by_file = open_model(folder_.path("model.safetensors.index.json"));
  EXPECT_EQ(by_file.tensors.size(), 3U);
  EXPECT_EQ(by_file.path, folder_.path("model.safetensors.index.json"));
}

TEST_F(SafeTensorsIndex, S34WhatIsWrongIsNamed) {
  expect_error(R"({"weight_map":{"a":"s1.safetensors","b":"s1.safetensors","c":"s3.safetensors"}})",
               "safetensors.index.shard_missing");
  expect_error(R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors"}})",
               "safetensors.index.tensor_missing");
  expect_error(
      R"({"weight_map":{"a":"s1.safetensors","b":"s1.safetensors","c":"s2.safetensors","d":"s2.safetensors"}})",
      "safetensors.index.tensor_missing");
  expect_error(R"({"metadata":{"total_size":13},
      "weight_map":{"a":"s1.safetensors","b":"s1.safetensors","c":"s2.safetensors"}})",
               "safetensors.index.total_size");
  expect_error(R"({"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}})", "safetensors.index.unique");
  expect_error(R"({"weight_map":{"a":3}})", "safetensors.index.weight_map");
  expect_error(R"({"weight_map":[]})", "safetensors.index.weight_map");
  expect_error(R"({"metadata":{}})", "safetensors.index.weight_map");
  expect_error(R"(["weight_map"])", "safetensors.index.object");
  expect_error(R"({"weight_map":{"a":"s1.safetensors")", "safetensors.index.json");
}

TEST_F(SafeTensorsIndex, S34ShardsElsewhereAreNotOpened) {
  for (const char* name : {"../s1.safetensors", "/etc/passwd", "sub/s1.safetensors", "..", "", "a\\\\b", "s1\\u0000"}) {
    SCOPED_TRACE(name);
    std::filesystem::create_directories(folder_.path("sub"));
    shard("sub/s1.safetensors", {"a"});
    expect_error(R"({"weight_map":{"a":")" + std::string(name) + R"("}})", "safetensors.index.shard_name");
    EXPECT_TRUE(open_model(folder_.path()).files.empty());
  }
}

TEST_F(SafeTensorsIndex, S34ATensorInTwoShards) {
  shard("s1.safetensors", {"a", "b"});
  shard("s2.safetensors", {"c", "b"});
  index(R"({"weight_map":{"a":"s1.safetensors","b":"s1.safetensors","c":"s2.safetensors"}})");
  const ModelFile model = open_model(folder_.path());
  const Finding* finding = find(model, "safetensors.index.tensor_in_two_shards");
  ASSERT_NE(finding, nullptr);
  EXPECT_EQ(finding->tensor, "b");
  EXPECT_THAT(finding->file, EndsWith("s2.safetensors"));
  EXPECT_THAT(finding->found, EndsWith("s1.safetensors"));
}

TEST_F(SafeTensorsIndex, ATensorThatTheIndexDoesNotListIsAWarning) {
  const ModelFile model = with_index(R"({"weight_map":{"a":"s1.safetensors","c":"s2.safetensors"}})");
  EXPECT_FALSE(model.has_errors());
  ASSERT_NE(find(model, "safetensors.index.unlisted"), nullptr);
  EXPECT_EQ(find(model, "safetensors.index.unlisted")->tensor, "b");
}

TEST_F(SafeTensorsIndex, AShardThatIsNoSafeTensorsIsRefusedByName) {
  shard("s1.safetensors", {"a"});
  folder_.write("s2.safetensors", "<html>not found</html>");
  index(R"({"weight_map":{"a":"s1.safetensors","c":"s2.safetensors"}})");
  try {
    (void)open_model(folder_.path());
    ADD_FAILURE() << "was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::InvalidFormat);
    EXPECT_THAT(error.file, EndsWith("s2.safetensors"));
  }
}

TEST_F(SafeTensorsIndex, FoldersWithoutAnIndex) {
  EXPECT_THROW((void)open_model(folder_.path()), Error) << "an empty folder is no model";
  shard("weights.safetensors", {"a"});
  const ModelFile single = open_model(folder_.path());
  EXPECT_TRUE(single.findings.empty());
  EXPECT_EQ(single.path, folder_.path());
  shard("more.safetensors", {"b"});
  const ModelFile several = open_model(folder_.path());
  EXPECT_EQ(several.tensors.size(), 2U);
  EXPECT_FALSE(several.has_errors());
  ASSERT_NE(find(several, "safetensors.index.none"), nullptr);
  shard("clash.safetensors", {"b"});
  EXPECT_NE(find(open_model(folder_.path()), "safetensors.index.tensor_in_two_shards"), nullptr);
  shard("model.safetensors", {"z"});
  const ModelFile named = open_model(folder_.path());
  EXPECT_EQ(named.tensors.size(), 1U) << "model.safetensors is the model when it is there";
}

TEST_F(SafeTensorsIndex, EveryPrefixOfAnIndexIsNamed) {
  const std::string whole = kGood;
  for (std::size_t n = whole.find("weight_map") + 12; n < whole.size(); ++n) {
    const ModelFile model = with_index(whole.substr(0, n));
    EXPECT_TRUE(model.has_errors()) << n;
    for (const Finding& finding : model.findings)
      if (finding.rule == "safetensors.index.json") EXPECT_LE(*finding.offset, n);
  }
}

}  // namespace
}  // namespace apr::format
