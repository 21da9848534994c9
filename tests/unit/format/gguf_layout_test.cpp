// GGUF: where the tensor data lies. The numbers are those of the case list in docs/formats/gguf.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apr/format/model_file.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::format {
namespace {

using test::GgufBuilder;
using test::InfoOffsets;
using test::open_bytes;
using test::rejected;
using test::warned;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Tensors of 8 floats each at these offsets; then `data_bytes` of data.
struct Placed {
  std::vector<InfoOffsets> at;
  std::uint64_t data_offset = 0;
  test::Opened opened;
};
Placed placed(const std::vector<std::uint64_t>& offsets, std::uint64_t data_bytes, const OpenOptions& options = {}) {
  GgufBuilder b;
  b.architecture();
  Placed p;
  for (std::size_t i = 0; i < offsets.size(); ++i)
    p.at.push_back(b.info(std::string(1, static_cast<char>('a' + i)), {8}, test::kGgmlF32, offsets[i]));
  b.data().text.append(data_bytes, '\5');
  p.data_offset = b.data_offset();
  p.opened = open_bytes(b.bytes(), options);
  return p;
}

TEST(GgufLayout, SoundFilesAreClean) {
  const Placed p = placed({0, 32, 64}, 96);
  EXPECT_TRUE(clean(p.opened));
  EXPECT_EQ(p.opened.model->data_offset, p.data_offset);
  EXPECT_EQ(p.opened.model->tensors[2].offset, p.data_offset + 64);
  EXPECT_EQ(p.opened.model->data(p.opened.model->tensors[2]).size(), 32U);
}

TEST(GgufLayout, G64FirstOffsetNotZero) {
  const Placed p = placed({32, 64}, 96);
  EXPECT_TRUE(warned(p.opened, "gguf.data.gap", p.at[0].offset, "tensor[0].offset"));
  EXPECT_THAT(p.opened.find("gguf.data.gap")->found,
              HasSubstr("32 bytes from file offset " + std::to_string(p.data_offset)));
}

TEST(GgufLayout, G65UnalignedOffset) {
  const Placed p = placed({0, 33}, 96);
  EXPECT_TRUE(rejected(p.opened, "gguf.tensor.offset.aligned", p.at[1].offset, "tensor[1].offset"));
  EXPECT_EQ(p.opened.find("gguf.tensor.offset.aligned")->found, "33");
}

TEST(GgufLayout, G66OffsetThatWraps) {
  for (const std::uint64_t offset : {~0ULL - 31, 1ULL << 63, 1ULL << 32}) {
    const Placed p = placed({0, offset}, 64);
    EXPECT_TRUE(rejected(p.opened, "gguf.tensor.offset.bounds", p.at[1].offset, "tensor[1].offset")) << offset;
    EXPECT_FALSE(p.opened.model->tensors[1].readable);
    EXPECT_THROW((void)p.opened.model->data(p.opened.model->tensors[1]), Error);
    EXPECT_TRUE(p.opened.model->tensors[0].readable);
  }
}

TEST(GgufLayout, G67StoredOutOfOrder) {
  const Placed p = placed({64, 0, 32}, 96);
  EXPECT_TRUE(warned(p.opened, "gguf.data.order", p.at[0].offset, "tensor[0].offset"));
  EXPECT_EQ(p.opened.model->findings.size(), 1U) << p.opened.all();
}

TEST(GgufLayout, G68GapBetweenTensors) {
  const Placed p = placed({0, 32, 96}, 128);
  EXPECT_TRUE(warned(p.opened, "gguf.data.gap", p.at[2].offset, "tensor[2].offset"));
  EXPECT_THAT(p.opened.find("gguf.data.gap")->found, HasSubstr("first 05 05"));
}

TEST(GgufLayout, G69Overlap) {
  for (const auto& offsets : {std::vector<std::uint64_t>{0, 0}, {0, 32, 32}, {32, 32, 0}}) {
    const Placed p = placed(offsets, 96);
    ASSERT_TRUE(p.opened.model);
    const Finding* finding = p.opened.find("gguf.tensor.offset.overlap");
    ASSERT_NE(finding, nullptr) << p.opened.all();
    EXPECT_EQ(finding->severity, Severity::Error);
  }
  const Placed last = placed({0, 32, 32}, 64);
  EXPECT_TRUE(rejected(last.opened, "gguf.tensor.offset.overlap", last.at[2].offset, "tensor[2].offset"));
  EXPECT_THAT(last.opened.find("gguf.tensor.offset.overlap")->expected, HasSubstr("tensor[1] (\"b\")"));
}

TEST(GgufLayout, G69AnOverlapFarBehindIsFoundToo) {
  GgufBuilder b;
  b.architecture();
  b.info("big", {64}, test::kGgmlF32, 0);
  b.info("inside", {8}, test::kGgmlF32, 32);
  const auto later = b.info("also_inside", {8}, test::kGgmlF32, 224);
  b.data().text.append(256, '\1');
  const auto opened = open_bytes(b.bytes());
  ASSERT_TRUE(opened.model);
  EXPECT_EQ(opened.model->findings.size(), 2U) << opened.all();
  EXPECT_EQ(opened.model->findings[1].offset, later.offset);
}

/// One tensor of 4 bytes, 28 bytes of padding and another tensor; `padding` fills header and data padding.
test::Opened with_padding(char padding, const OpenOptions& options) {
  GgufBuilder b;
  b.architecture();
  b.padding_byte = padding;
  b.f32("a", 1);
  b.f32("b", 8);
  return open_bytes(b.bytes(), options);
}

TEST(GgufLayout, G70PaddingThatIsNotZero) {
  const OpenOptions verify{.verify_data = true};
  EXPECT_TRUE(clean(with_padding('\0', verify)));
  const auto header = with_padding('\7', {});
  ASSERT_NE(header.find("gguf.padding.nonzero"), nullptr) << "padding beside the header costs nothing to check";
  EXPECT_EQ(header.model->findings.size(), 1U) << header.all();
  const auto all = with_padding('\7', verify);
  ASSERT_EQ(all.model->findings.size(), 2U) << all.all();
  EXPECT_EQ(all.model->findings[0].offset, header.model->findings[0].offset);
  EXPECT_EQ(all.model->findings[1].offset, all.model->tensors[0].offset + 4);
  EXPECT_FALSE(all.model->has_errors());
}

TEST(GgufLayout, G71LastTensorShort) {
  for (const std::uint64_t missing : {1U, 18U, 31U}) {
    const Placed p = placed({0, 32}, 64 - missing);
    EXPECT_TRUE(rejected(p.opened, "gguf.tensor.offset.bounds", p.at[1].offset, "tensor[1].offset")) << missing;
    EXPECT_TRUE(p.opened.model->tensors[0].readable);
    EXPECT_FALSE(p.opened.model->tensors[1].readable);
  }
}

TEST(GgufLayout, G72NoDataSection) {
  GgufBuilder b;
  b.architecture();
  b.f32("a", 8);
  const std::string header = b.header_bytes();
  const auto opened = open_bytes(header);
  EXPECT_TRUE(rejected(opened, "gguf.data.missing", header.size(), "tensor data"));
  EXPECT_FALSE(opened.model->tensors[0].readable);
}

TEST(GgufLayout, G73TrailingBytes) {
  const Placed p = placed({0, 32}, 64 + 1000);
  EXPECT_TRUE(warned(p.opened, "gguf.trailing", p.data_offset + 64, "trailing bytes"));
  const std::string& found = p.opened.find("gguf.trailing")->found;
  EXPECT_THAT(found, HasSubstr("1000 bytes"));
  EXPECT_THAT(found, HasSubstr("0.0 bits of entropy"));
  EXPECT_THAT(found, HasSubstr("05 05 05"));
}

TEST(GgufLayout, G73AZipBehindTheModelIsNamed) {
  GgufBuilder b;
  b.architecture();
  b.f32("a", 8);
  const auto opened = open_bytes(b.bytes() + "PK\x03\x04" + std::string(40, 'z'));
  ASSERT_NE(opened.find("gguf.trailing"), nullptr) << opened.all();
  EXPECT_THAT(opened.find("gguf.trailing")->found, HasSubstr("a zip archive"));
}

TEST(GgufLayout, PaddingBehindTheLastTensorIsNotTrailing) {
  GgufBuilder b;
  b.architecture();
  b.f32("a", 1);
  const std::string padded = b.bytes();
  EXPECT_TRUE(clean(open_bytes(padded)));
  EXPECT_TRUE(clean(open_bytes(padded.substr(0, padded.size() - 28)))) << "padding at the end may be left out";
}

/// Three tensors of 4 bytes at steps of `real`; the file declares `declared`.
test::Opened with_steps(std::uint64_t real, std::uint32_t declared) {
  GgufBuilder b;
  b.architecture();
  b.alignment = real;
  b.kv_u32("general.alignment", declared);
  b.f32("a", 1);
  b.f32("b", 1);
  b.f32("c", 1);
  return open_bytes(b.bytes());
}

TEST(GgufLayout, G74DeclaredAlignmentIsNotTheRealOne) {
  const auto coarser = with_steps(32, 64);
  ASSERT_TRUE(coarser.model);
  EXPECT_TRUE(coarser.find("gguf.tensor.offset.aligned")) << coarser.all();
  EXPECT_TRUE(coarser.model->has_errors());
  const auto finer = with_steps(64, 32);
  ASSERT_TRUE(finer.find("gguf.alignment.inconsistent")) << finer.all();
  EXPECT_EQ(finer.find("gguf.alignment.inconsistent")->severity, Severity::Error);
  EXPECT_EQ(finer.find("gguf.alignment.inconsistent")->field, "metadata[\"general.alignment\"]");
  EXPECT_THAT(finer.find("gguf.alignment.inconsistent")->expected, HasSubstr("64"));
}

TEST(GgufLayout, G74TheLengthOfTheFileDecidesWhenThereIsOneGap) {
  bool shifted = false, aligned_alike = false;
  for (std::size_t extra = 1; extra < 64; ++extra) {  // moves the end of the infos through all places
    GgufBuilder b;
    b.architecture(std::string(extra, 'x'));
    b.alignment = 64;
    b.f32("a", 1);
    b.f32("b", 1);
    const auto opened = open_bytes(b.bytes());
    ASSERT_NE(opened.find("gguf.data.gap"), nullptr) << opened.all();
    const bool same_start = b.data_offset() == (b.here() + 31) / 32 * 32;
    EXPECT_EQ(opened.find("gguf.alignment.inconsistent") != nullptr, !same_start) << opened.all();
    (same_start ? aligned_alike : shifted) = true;
  }
  EXPECT_TRUE(shifted && aligned_alike) << "both were to be seen";
}

TEST(GgufLayout, ATensorOfUnknownSizeHidesNothingBehindIt) {
  GgufBuilder b;
  b.architecture();
  b.f32("a", 8);
  b.tensor("new", {32}, 99, 512);
  b.f32("c", 8);
  const auto opened = open_bytes(b.bytes());
  ASSERT_TRUE(opened.model);
  EXPECT_EQ(opened.model->findings.size(), 1U) << opened.all();
  EXPECT_TRUE(opened.model->tensors[2].readable);
}

TEST(GgufLayout, RegionsCoverTheFileWithoutOverlap) {
  GgufBuilder b;
  b.architecture();
  b.f32("a", 1);
  const std::string with_more = b.bytes() + std::string(100, 'z');
  const auto opened = open_bytes(with_more);
  ASSERT_TRUE(opened.model);
  std::vector<std::string> names;
  std::uint64_t end = 0;
  for (const Region& region : opened.model->regions) {
    EXPECT_EQ(region.offset, end) << region.name;
    end = region.offset + region.size_bytes;
    names.push_back(region.name);
  }
  EXPECT_EQ(end, with_more.size());
  EXPECT_THAT(names,
              ElementsAre("header", "metadata", "tensor index", "padding", "tensor data", "padding", "trailing bytes"));
}

}  // namespace
}  // namespace apr::format
