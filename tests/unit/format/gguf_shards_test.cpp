// GGUF: models in several files. The last row of the case list in docs/formats/gguf.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apr/format/model_file.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::format {
namespace {

using test::GgufBuilder;
using test::open_path;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Shard `number` of 3, with tensors t<number>.0 and t<number>.1.
struct Shard {
  std::uint16_t no, count = 3;
  std::int32_t tensors_count = 6;
  std::endian order = std::endian::little;
  std::string second_name = {};
  std::string bytes() const {
    GgufBuilder b(order);
    if (no == 0) b.architecture();
    b.kv("split.no", test::kU16, no);
    b.kv("split.count", test::kU16, count);
    b.kv("split.tensors.count", test::kI32, tensors_count);
    const std::string name = "t" + std::to_string(no + 1);
    b.f32(name + ".0", 8);
    b.f32(second_name.empty() ? name + ".1" : second_name, 8);
    return b.bytes();
  }
};

class GgufShards : public testing::Test {
 protected:
  std::string path(int number) const { return folder_.path("model-0000" + std::to_string(number) + "-of-00003.gguf"); }
  void write(int number, const std::string& bytes) const {
    folder_.write("model-0000" + std::to_string(number) + "-of-00003.gguf", bytes);
  }
  void write_all() const {
    for (std::uint16_t no = 0; no < 3; ++no) write(no + 1, Shard{no}.bytes());
  }
  testing::AssertionResult rejected(const test::Opened& opened, std::string_view rule, const std::string& file) const {
    const Finding* finding = opened.find(rule);
    if (finding == nullptr) return testing::AssertionFailure() << "no " << rule << ": " << opened.all();
    if (finding->severity != Severity::Error || finding->file != file)
      return testing::AssertionFailure() << name(finding->severity) << " in " << finding->file << ", not in " << file;
    return testing::AssertionSuccess();
  }
  test::TempFolder folder_;
};

TEST_F(GgufShards, AnyShardOpensTheWholeModel) {
  write_all();
  for (int number = 1; number <= 3; ++number) {
    const auto opened = open_path(path(number));
    ASSERT_TRUE(clean(opened)) << number;
    EXPECT_EQ(opened.model->path, path(number));
    ASSERT_EQ(opened.model->files.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(opened.model->files[i]->path(), path(static_cast<int>(i) + 1));
    std::vector<std::string> names;
    for (const TensorInfo& tensor : opened.model->tensors) {
      names.emplace_back(tensor.name);
      EXPECT_EQ(tensor.name.substr(0, 2), "t" + std::to_string(tensor.file_index + 1));
      EXPECT_EQ(std::to_integer<int>(opened.model->data(tensor)[0]), tensor.name.ends_with("0") ? 1 : 2);
    }
    EXPECT_THAT(names, ElementsAre("t1.0", "t1.1", "t2.0", "t2.1", "t3.0", "t3.1"));
    EXPECT_EQ(opened.model->metadata[0].key, "general.architecture");
    EXPECT_EQ(opened.model->find_metadata("split.no")->value.as_u64(), 0U);
  }
}

TEST_F(GgufShards, AMissingShardIsNamed) {
  write_all();
  std::filesystem::remove(path(2));
  const auto opened = open_path(path(1));
  EXPECT_TRUE(rejected(opened, "gguf.split.missing", path(2)));
  EXPECT_THAT(opened.find("gguf.split.missing")->message, HasSubstr("shard 2 of 3"));
  EXPECT_EQ(opened.model->tensors.size(), 4U) << "what is there is shown";
  EXPECT_EQ(opened.model->tensors[3].file_index, 1U);
  EXPECT_EQ(opened.find("gguf.split.tensors_count"), nullptr) << "the sum says nothing now";
}

TEST_F(GgufShards, AShardThatIsSomethingElseIsNamed) {
  write_all();
  write(3, "<!DOCTYPE html>");
  const auto opened = open_path(path(1));
  EXPECT_TRUE(rejected(opened, "gguf.split.not_gguf", path(3)));
  EXPECT_EQ(opened.find("gguf.split.not_gguf")->found, "an HTML page");
}

TEST_F(GgufShards, AShardCutOffInItsHeaderIsNamed) {
  write_all();
  write(3, Shard{2}.bytes().substr(0, 20));
  const auto opened = open_path(path(1));
  EXPECT_TRUE(rejected(opened, "gguf.split.unreadable", path(3)));
  EXPECT_EQ(opened.find("gguf.split.unreadable")->offset, 20U);
  EXPECT_TRUE(open_path(path(3)).error) << "named itself, it is refused";
}

TEST_F(GgufShards, WrongOrder) {
  write_all();
  write(2, Shard{2}.bytes());
  write(3, Shard{1}.bytes());
  const auto opened = open_path(path(1));
  EXPECT_TRUE(rejected(opened, "gguf.split.no", path(2)));
  EXPECT_EQ(opened.find("gguf.split.no")->field, "metadata[\"split.no\"].value");
  EXPECT_EQ(opened.find("gguf.split.no")->expected, "1");
  EXPECT_EQ(opened.find("gguf.split.no")->found, "2");
  EXPECT_EQ(opened.find("gguf.split.no")->offset, 24U + 8 + 8 + 4);
}

TEST_F(GgufShards, WrongCount) {
  write_all();
  write(2, Shard{1, 4}.bytes());
  EXPECT_TRUE(rejected(open_path(path(1)), "gguf.split.count", path(2)));
}

TEST_F(GgufShards, WrongNumberOfTensors) {
  write_all();
  write(1, Shard{0, 3, 7}.bytes());
  const auto opened = open_path(path(3));
  ASSERT_TRUE(opened.find("gguf.split.tensors_count")) << opened.all();
  EXPECT_EQ(opened.find("gguf.split.tensors_count")->found, "7");
  EXPECT_THAT(opened.find("gguf.split.tensors_count")->expected, HasSubstr("6"));
}

TEST_F(GgufShards, ATensorInTwoShards) {
  write_all();
  write(3, Shard{2, 3, 6, std::endian::little, "t1.0"}.bytes());
  const auto opened = open_path(path(1));
  EXPECT_TRUE(rejected(opened, "gguf.split.duplicate", path(3)));
  EXPECT_EQ(opened.find("gguf.split.duplicate")->tensor, "t1.0");
  EXPECT_THAT(opened.find("gguf.split.duplicate")->found, HasSubstr(path(1)));
}

TEST_F(GgufShards, MixedByteOrders) {
  write_all();
  write(2, Shard{1, 3, 6, std::endian::big}.bytes());
  const auto opened = open_path(path(1));
  EXPECT_TRUE(rejected(opened, "gguf.split.byte_order", path(2)));
  EXPECT_FALSE(opened.model->find_tensor("t2.0")->readable);
}

TEST_F(GgufShards, AShardUnderAnotherNameIsIncomplete) {
  const std::string renamed = folder_.write("renamed.gguf", Shard{0}.bytes());
  EXPECT_TRUE(rejected(open_path(renamed), "gguf.split.name", renamed));
}

TEST_F(GgufShards, ANameAloneMakesNoShard) {
  write(1, test::small_gguf().bytes());
  const auto opened = open_path(path(1));
  EXPECT_TRUE(test::warned(opened, "gguf.split.metadata", 24, "metadata[\"split.count\"]"));
  for (const char* name :
       {"m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-0001-of-0003.gguf", "-00001-of-0000x.gguf"})
    EXPECT_TRUE(clean(open_path(folder_.write(name, test::small_gguf().bytes())))) << name;
  EXPECT_TRUE(clean(open_path(folder_.write("m-00001-of-00001.gguf", test::small_gguf().bytes()))));
}

TEST_F(GgufShards, ACountThatNoDiskHoldsEndsSoon) {
  Shard shard{0, 65535, 6};
  const std::string named = folder_.write("big-00001-of-99999.gguf", shard.bytes());
  const auto opened = open_path(named);
  ASSERT_TRUE(opened.model);
  EXPECT_LT(opened.model->findings.size(), 110U);
  EXPECT_TRUE(opened.model->has_errors());
}

}  // namespace
}  // namespace apr::format
