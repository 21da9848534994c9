// GGUF: what is read before the metadata. The numbers in the names are those of the case list in docs/formats/gguf.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apr/format/model_file.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::format {
namespace {

using test::GgufBuilder;
using test::open_bytes;
using test::rejected;
using test::small_gguf;
using test::warned;
using ::testing::HasSubstr;

TEST(GgufHeader, G01EmptyFile) {
  const auto opened = open_bytes("");
  ASSERT_TRUE(opened.error);
  EXPECT_EQ(opened.error->code, ErrorCode::InvalidFormat);
  EXPECT_EQ(opened.error->offset, 0U);
  EXPECT_THAT(opened.error->found, HasSubstr("0 bytes, need 24"));
}

TEST(GgufHeader, G02EveryLengthBelowTheHeader) {
  const std::string good = small_gguf().bytes();
  for (std::size_t length = 1; length < 24; ++length) {
    const auto opened = open_bytes(good.substr(0, length));
    ASSERT_TRUE(opened.error) << length;
    EXPECT_EQ(opened.error->code, ErrorCode::InvalidFormat) << length;
    ASSERT_TRUE(opened.error->offset) << length;
    if (length < 4) continue;
    EXPECT_EQ(opened.error->offset, length);
    EXPECT_EQ(opened.error->field, "header");
    EXPECT_EQ(opened.error->found, std::to_string(length) + " bytes, need 24");
  }
}

TEST(GgufHeader, G04BigEndianIsDecoded) {
  for (const std::uint32_t version : {2U, 3U}) {
    const auto opened = open_bytes(small_gguf(std::endian::big, version).bytes());
    ASSERT_TRUE(clean(opened));
    EXPECT_EQ(opened.model->byte_order, std::endian::big);
    EXPECT_EQ(opened.model->version, std::to_string(version));
    EXPECT_EQ(opened.model->find_metadata("llama.block_count")->value.as_u64(), 1U);
    EXPECT_EQ(opened.model->tensors[1].shape, (std::vector<std::int64_t>{2, 32}));
  }
}

TEST(GgufHeader, G07VersionsOutOfRange) {
  for (const std::endian order : {std::endian::little, std::endian::big})
    for (const std::uint32_t version : {0U, 1U, 4U, 77U, 0x00030003U}) {
      const auto opened = open_bytes(small_gguf(order, version).bytes());
      ASSERT_TRUE(opened.error) << version;
      EXPECT_EQ(opened.error->code, ErrorCode::InvalidFormat);
      EXPECT_EQ(opened.error->offset, 4U);
      EXPECT_EQ(opened.error->field, "header.version");
      EXPECT_EQ(opened.error->expected, "2 or 3");
      if (order == std::endian::little) {
        EXPECT_EQ(opened.error->found, std::to_string(version));
      }
    }
}

TEST(GgufHeader, G08Version2HasTheLayoutOf3) {
  const auto two = open_bytes(small_gguf(std::endian::little, 2).bytes());
  const auto three = open_bytes(small_gguf(std::endian::little, 3).bytes());
  ASSERT_TRUE(clean(two));
  ASSERT_TRUE(clean(three));
  EXPECT_EQ(two.model->version, "2");
  ASSERT_EQ(two.model->tensors.size(), three.model->tensors.size());
  for (std::size_t i = 0; i < two.model->tensors.size(); ++i)
    EXPECT_EQ(two.model->tensors[i].offset, three.model->tensors[i].offset);
}

TEST(GgufHeader, G09AbsurdTensorCount) {
  // The last one times the 24 bytes of an info wraps to 0.
  for (const std::uint64_t count : {~0ULL, 1ULL << 31, (1ULL << 63) - 1, 1'000'000ULL, 1ULL << 61}) {
    GgufBuilder b = small_gguf();
    b.n_tensors = count;
    const auto opened = open_bytes(b.bytes());
    ASSERT_TRUE(rejected(opened, "gguf.header.n_tensors", 8, "header.tensor_count")) << count;
    EXPECT_EQ(opened.find("gguf.header.n_tensors")->found, std::to_string(count));
    EXPECT_EQ(opened.model->metadata.size(), 3U) << "the metadata does not hang on that count";
    EXPECT_LE(opened.model->tensors.size(), 4U);
  }
}

TEST(GgufHeader, G10AbsurdMetadataCount) {
  // The last one times the 13 bytes of an entry wraps to 10.
  for (const std::uint64_t count : {~0ULL, 1ULL << 31, (1ULL << 63) - 1, 1'000'000ULL, ~0ULL / 13 + 1}) {
    GgufBuilder b = small_gguf();
    b.n_kv = count;
    const auto opened = open_bytes(b.bytes());
    ASSERT_TRUE(rejected(opened, "gguf.header.n_kv", 16, "header.metadata_kv_count")) << count;
    EXPECT_TRUE(opened.model->metadata.empty());
    EXPECT_TRUE(opened.model->tensors.empty());
  }
}

TEST(GgufHeader, CountsMayBeExactlyWhatTheBytesHold) {
  GgufBuilder b;
  b.info("", {}, test::kGgmlF32, 0);  // 24 bytes, the smallest info; its data is missing
  const auto opened = open_bytes(b.header_bytes());
  EXPECT_EQ(opened.find("gguf.header.n_tensors"), nullptr) << opened.all();
  b.n_tensors = 2;
  EXPECT_TRUE(rejected(open_bytes(b.header_bytes()), "gguf.header.n_tensors", 8, "header.tensor_count"));
}

TEST(GgufHeader, G11OneTensorTooMany) {
  GgufBuilder b = small_gguf();
  b.n_tensors = 3;
  const auto opened = open_bytes(b.bytes());
  ASSERT_TRUE(opened.model);
  EXPECT_TRUE(opened.model->has_errors()) << opened.all();
  EXPECT_EQ(opened.model->tensors[0].name, "a");
  EXPECT_EQ(opened.model->tensors[1].name, "b");
}

TEST(GgufHeader, G12OneTensorTooFewLeavesBytesUnexplained) {
  GgufBuilder b = small_gguf();
  b.n_tensors = 1;
  const auto opened = open_bytes(b.bytes());
  ASSERT_TRUE(opened.model);
  EXPECT_FALSE(opened.model->has_errors()) << opened.all();
  ASSERT_NE(opened.find("gguf.trailing"), nullptr) << opened.all();
}

TEST(GgufHeader, G12AHiddenTensorWithoutDataStandsInThePadding) {
  GgufBuilder b;
  b.architecture("llama");
  b.f32("a", 8);
  b.info("z", {0}, test::kGgmlF32, 0);
  b.n_tensors = 1;
  const std::string bytes = b.bytes();
  const auto opened = open_bytes(bytes);
  ASSERT_TRUE(opened.model);
  EXPECT_TRUE(opened.find("gguf.padding.nonzero") || opened.find("gguf.trailing")) << opened.all();
}

TEST(GgufHeader, G13OneEntryTooFewIsNotTakenForATensor) {
  for (const std::uint32_t type : {test::kU8, test::kU32, test::kString, test::kU64, test::kBool, test::kF64}) {
    GgufBuilder b;
    b.architecture();
    b.key("last", type);
    if (type == test::kString)
      b.body().string("text");
    else
      b.body().text.append(type == test::kU8 || type == test::kBool ? 1 : type == test::kU32 ? 4 : 8, '\1');
    b.f32("a", 8);
    b.f32("b", 8);
    b.n_kv = 1;
    const auto opened = open_bytes(b.bytes());
    ASSERT_TRUE(opened.model);
    EXPECT_TRUE(opened.model->has_errors()) << type << opened.all();
  }
}

TEST(GgufHeader, G14OneEntryTooMany) {
  GgufBuilder b = small_gguf();
  b.n_kv = 4;
  const auto opened = open_bytes(b.bytes());
  ASSERT_TRUE(opened.model);
  EXPECT_TRUE(opened.model->has_errors()) << opened.all();
  EXPECT_EQ(opened.model->metadata[0].key, "general.architecture");
}

TEST(GgufHeader, G15NothingInIt) {
  const auto opened = open_bytes(GgufBuilder().header_bytes());
  EXPECT_TRUE(warned(opened, "gguf.tensors.none", 8, "header.tensor_count"));
  EXPECT_EQ(opened.find("gguf.trailing"), nullptr);
}

}  // namespace
}  // namespace apr::format
