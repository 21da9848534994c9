// GGUF: rules on the tensor infos. The numbers are those of the case list in docs/formats/gguf.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

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
using ::testing::HasSubstr;

struct Case {
  test::Opened opened;
  InfoOffsets at;
};

/// A sound tensor, the one under test (tensor[1], with `size` bytes of data), and a sound one behind it.
Case with_tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                 std::uint64_t size) {
  GgufBuilder b;
  b.architecture();
  b.f32("first", 8);
  Case c{};
  c.at = b.tensor(name, dims, type, size);
  b.f32("last", 8);
  c.opened = open_bytes(b.bytes());
  return c;
}
Case with_name(std::string_view name) { return with_tensor(name, {8}, test::kGgmlF32, 32); }
Case with_shape(const std::vector<std::uint64_t>& dims, std::uint32_t type = test::kGgmlF32) {
  return with_tensor("t", dims, type, 0);
}

TEST(GgufTensor, G43EmptyName) {
  const Case c = with_name("");
  EXPECT_TRUE(warned(c.opened, "gguf.tensor.name.empty", c.at.start, "tensor[1].name"));
}

TEST(GgufTensor, G44NameOf63And64And65Bytes) {
  EXPECT_TRUE(clean(with_name(std::string(63, 'n')).opened));
  const Case warns = with_name(std::string(64, 'n'));
  EXPECT_TRUE(warned(warns.opened, "gguf.tensor.name.length", warns.at.start, "tensor[1].name.length"));
  const Case rejects = with_name(std::string(65, 'n'));
  EXPECT_TRUE(rejected(rejects.opened, "gguf.tensor.name.length", rejects.at.start, "tensor[1].name.length"));
  EXPECT_EQ(rejects.opened.model->tensors.size(), 3U);
}

TEST(GgufTensor, NameLengthBeyondTheFile) {
  for (const std::uint64_t length : {~0ULL, 1ULL << 32, 200ULL}) {
    GgufBuilder b;
    b.architecture();
    const std::uint64_t at = b.here();
    b.body().u64(length).text.append(100, 'n');
    b.n_tensors = 1;
    const auto opened = open_bytes(b.header_bytes());
    EXPECT_TRUE(rejected(opened, "gguf.tensor.name.length", at, "tensor[0].name.length")) << length;
    EXPECT_TRUE(opened.model->tensors.empty());
  }
}

TEST(GgufTensor, G45NulInAName) {
  using namespace std::string_view_literals;
  GgufBuilder b;
  b.architecture();
  const InfoOffsets x = b.f32("a\0x"sv);
  b.f32("a\0y"sv);
  const auto opened = open_bytes(b.bytes());
  EXPECT_TRUE(rejected(opened, "gguf.tensor.name.nul", x.start + 8 + 1, "tensor[0].name"));
  EXPECT_EQ(opened.find("gguf.tensor.name.nul")->found, "NUL in name");
}

TEST(GgufTensor, G46NameThatIsNoText) {
  const Case ansi = with_name("x\x1b[2J");
  EXPECT_TRUE(warned(ansi.opened, "gguf.tensor.name.text", ansi.at.start + 8 + 1, "tensor[1].name"));
  const Case utf8 = with_name("xy\xc3(");
  EXPECT_TRUE(warned(utf8.opened, "gguf.tensor.name.text", utf8.at.start + 8 + 2, "tensor[1].name"));
}

TEST(GgufTensor, G47NameThatIsAPathOut) {
  for (const char* name : {"../../x", "/etc/passwd", "a/../../b", "..\\x", "C:\\x", ".."}) {
    const Case c = with_name(name);
    EXPECT_TRUE(warned(c.opened, "gguf.tensor.name.path", c.at.start + 8, "tensor[1].name")) << name;
  }
  for (const char* name : {"a/b", "a..b", "blk.0.attn_q.weight"}) EXPECT_TRUE(clean(with_name(name).opened)) << name;
}

TEST(GgufTensor, G48DuplicateName) {
  const Case c = with_name("first");
  EXPECT_TRUE(rejected(c.opened, "gguf.tensor.name.duplicate", c.at.start, "tensor[1].name"));
  EXPECT_THAT(c.opened.find("gguf.tensor.name.duplicate")->found, HasSubstr("tensor[0]"));
  EXPECT_EQ(c.opened.find("gguf.tensor.name.duplicate")->tensor, "first");
  EXPECT_EQ(c.opened.model->tensors.size(), 3U);
}

TEST(GgufTensor, G49NoDimensionIsOneElement) {
  const Case c = with_tensor("t", {}, test::kGgmlF32, 4);
  EXPECT_TRUE(warned(c.opened, "gguf.tensor.n_dims.zero", c.at.n_dims, "tensor[1].n_dims"));
  EXPECT_EQ(c.opened.model->tensors[1].n_elements, 1U);
  EXPECT_EQ(c.opened.model->tensors[1].size_bytes, 4U);
}

TEST(GgufTensor, G50TooManyDimensions) {
  for (const std::uint32_t n_dims : {5U, 0xFFFFFFFFU}) {
    GgufBuilder b;
    b.architecture();
    b.f32("first", 8);
    b.body().string("t");
    const std::uint64_t at = b.here();
    b.body().u32(n_dims).text.append(200, '\0');
    b.n_tensors = 2;
    const auto opened = open_bytes(b.bytes());
    EXPECT_TRUE(rejected(opened, "gguf.tensor.n_dims", at, "tensor[1].n_dims")) << n_dims;
    EXPECT_EQ(opened.model->tensors.size(), 1U);
    EXPECT_FALSE(opened.model->tensors[0].readable) << "where the data starts is not known";
  }
}

TEST(GgufTensor, G51NegativeDimension) {
  for (std::size_t i = 0; i < 4; ++i) {
    std::vector<std::uint64_t> dims(4, 2);
    dims[i] = ~0ULL;
    const Case c = with_shape(dims);
    EXPECT_TRUE(rejected(c.opened, "gguf.tensor.dim", c.at.dims + 8 * i, "tensor[1].dim[" + std::to_string(i) + "]"));
    EXPECT_EQ(c.opened.find("gguf.tensor.dim")->found, "-1");
    EXPECT_EQ(c.opened.model->tensors.size(), 3U);
    EXPECT_FALSE(c.opened.model->tensors[1].readable);
    EXPECT_TRUE(c.opened.model->tensors[2].readable);
  }
}

TEST(GgufTensor, G52ZeroDimension) {
  for (std::size_t i = 0; i < 4; ++i) {
    std::vector<std::uint64_t> dims(4, 3);
    dims[i] = 0;
    for (const std::uint32_t type : {test::kGgmlF32, test::kGgmlQ4_K}) {
      const Case c = with_shape(dims, type);
      EXPECT_TRUE(
          warned(c.opened, "gguf.tensor.dim.zero", c.at.dims + 8 * i, "tensor[1].dim[" + std::to_string(i) + "]"));
      EXPECT_EQ(c.opened.model->tensors[1].size_bytes, 0U);
      EXPECT_TRUE(c.opened.model->data(c.opened.model->tensors[1]).empty());
    }
  }
}

TEST(GgufTensor, G53To58ElementsThatDoNotFit) {
  constexpr std::uint64_t k32 = 1ULL << 32;
  const struct {
    std::vector<std::uint64_t> dims;
    std::uint32_t type;
  } kCases[] = {
      {{k32, k32}, test::kGgmlF32},                           // G53: wraps to 0
      {{65536, 65536, 65536, 65536}, test::kGgmlF32},         // G54: wraps to 0
      {{1ULL << 40, 1ULL << 40}, test::kGgmlQ4_K},            // G55: wraps to 0
      {{k32, k32 / 2}, test::kGgmlF32},                       // G57: 2^63, one more than fits
      {{k32 + 1, k32}, test::kGgmlF32},                       // G57: wraps to 2^32
      {{4194305, 4194305, 211106198978564}, test::kGgmlF32},  // G58: wraps to 4
  };
  for (const auto& c : kCases) {
    const Case result = with_shape(c.dims, c.type);  // G56: a valid tensor follows at the same offset
    EXPECT_TRUE(rejected(result.opened, "gguf.tensor.elements", result.at.dims, "tensor[1].dims"));
    EXPECT_FALSE(result.opened.model->tensors[1].readable);
    EXPECT_EQ(result.opened.model->tensors[1].size_bytes, 0U);
    EXPECT_EQ(result.opened.model->tensors.size(), 3U);
  }
}

TEST(GgufTensor, G59BytesThatDoNotFit) {
  for (const std::uint64_t n : {1ULL << 61, 1ULL << 60}) {  // 2^64 bytes wrap to 0; 2^63 do not fit in 63 bits
    const Case c = with_shape({n}, test::kGgmlI64);
    EXPECT_TRUE(rejected(c.opened, "gguf.tensor.size", c.at.dims, "tensor[1].dims"));
  }
}

TEST(GgufTensor, G60SizesWhoseSumWraps) {
  GgufBuilder b;
  b.architecture();
  const auto x = b.info("x", {0x7FFFFFFFFFFFFFC0ULL}, test::kGgmlI8, 0);
  const auto y = b.info("y", {0x7FFFFFFFFFFFFFC0ULL}, test::kGgmlI8, 0x7FFFFFFFFFFFFFC0ULL);
  b.data().text.append(64, '\1');
  const auto opened = open_bytes(b.bytes());
  EXPECT_TRUE(rejected(opened, "gguf.tensor.offset.bounds", x.offset, "tensor[0].offset"));
  EXPECT_EQ(opened.model->findings.size(), 2U) << opened.all();
  EXPECT_EQ(opened.model->findings[1].offset, y.offset);
  EXPECT_FALSE(opened.model->tensors[0].readable);
  EXPECT_FALSE(opened.model->tensors[1].readable);
}

TEST(GgufTensor, G61RemovedTypes) {
  for (const std::uint32_t type : {4U, 5U, 31U, 32U, 33U, 36U, 37U, 38U}) {
    const Case c = with_tensor("t", {32}, type, 32);
    EXPECT_TRUE(rejected(c.opened, "gguf.tensor.type.removed", c.at.type, "tensor[1].type")) << type;
    EXPECT_THAT(c.opened.find("gguf.tensor.type.removed")->message, HasSubstr("type " + std::to_string(type)));
    EXPECT_EQ(c.opened.model->tensors[1].raw_type, type);
    EXPECT_FALSE(c.opened.model->tensors[1].readable);
    EXPECT_TRUE(c.opened.model->tensors[2].readable) << "the walk goes on";
    EXPECT_EQ(c.opened.model->findings.size(), 1U) << c.opened.all();
  }
}

TEST(GgufTensor, G62UnknownTypes) {
  for (const std::uint32_t type : {43U, 100U, 255U, 256U, 320U, 0xFFFFU, 0xFFFFFFFFU}) {
    const Case c = with_tensor("t", {32}, type, 32);
    EXPECT_TRUE(rejected(c.opened, "gguf.tensor.type.unknown", c.at.type, "tensor[1].type")) << type;
    EXPECT_EQ(c.opened.model->tensors[1].type, TensorType::Unknown);
    EXPECT_EQ(c.opened.model->tensors[1].raw_type, type);
    EXPECT_EQ(c.opened.model->tensors[2].name, "last");
    EXPECT_TRUE(c.opened.model->tensors[2].readable);
  }
}

TEST(GgufTensor, AFileFullOfANewTypeIsStillListed) {
  GgufBuilder b;
  b.architecture();
  for (int i = 0; i < 500; ++i) b.tensor("t" + std::to_string(i), {32}, 99, 32);
  const auto opened = open_bytes(b.bytes());
  ASSERT_TRUE(opened.model);
  EXPECT_EQ(opened.model->tensors.size(), 500U);
  EXPECT_EQ(opened.model->findings.size(), 101U) << "100 and the line that counts the others";
  EXPECT_THAT(opened.model->findings.back().message, HasSubstr("400 more"));
}

TEST(GgufTensor, GarbageIsGivenUp) {
  GgufBuilder b;
  b.architecture();
  for (int i = 0; i < 500; ++i) b.info("same", {~0ULL}, test::kGgmlF32, 0);
  const auto opened = open_bytes(b.bytes());
  ASSERT_NE(opened.find("gguf.tensor.given_up"), nullptr) << opened.all();
  EXPECT_LE(opened.model->tensors.size(), 100U);
}

TEST(GgufTensor, G63RowsOfBrokenBlocks) {
  for (const auto& [type, row, size] :
       {std::tuple{test::kGgmlQ4_K, 255, 144}, {test::kGgmlQ4_K, 32, 18}, {test::kGgmlQ4_0, 33, 18}}) {
    const Case c = with_tensor("t", {static_cast<std::uint64_t>(row), 256}, type, static_cast<std::uint64_t>(size));
    EXPECT_TRUE(rejected(c.opened, "gguf.tensor.row", c.at.dims, "tensor[1].dim[0]"));
    EXPECT_FALSE(c.opened.model->tensors[1].readable);
  }
}

TEST(GgufTensor, G75SixtyThousandTensorsAreNotQuadratic) {
  GgufBuilder b;
  b.architecture();
  for (int i = 0; i < 60'000; ++i) b.info("tensor." + std::to_string(i), {0}, test::kGgmlF32, 0);
  const std::string bytes = b.bytes();
  const auto start = std::chrono::steady_clock::now();
  const auto opened = open_bytes(bytes);
  const auto took = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(opened.model);
  EXPECT_FALSE(opened.model->has_errors()) << opened.all();
  EXPECT_EQ(opened.model->tensors.size(), 60'000U);
  // 100 ms is the goal on an idle machine; a quadratic scan takes seconds, sanitizers and a busy machine some tenths.
  EXPECT_LT(took, std::chrono::seconds(1));
}

}  // namespace
}  // namespace apr::format
