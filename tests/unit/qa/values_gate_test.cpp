// Every rule about values turns red by its own damage, and names the place.
#include <bit>

#include "qa_fixture.h"

namespace apr::qa {
namespace {

using testing::HasSubstr;

class ValuesGate : public QaTest {
 protected:
  static constexpr const char* kTensor = "blk.1.ffn_down.weight";  // 320 rows of 64
  float& element(std::size_t i) { return model_.tensor(kTensor).values.at(i); }

  /// Red by that rule, in kTensor, at that element: what stands in the file at the offset is what was put there.
  void expect_red(const std::string& rule, std::size_t at) {
    const GateResult result = run_only("values");
    EXPECT_TRUE(red(result, "qa.values." + rule));
    const Finding* finding = find(result, "qa.values." + rule);
    ASSERT_NE(finding, nullptr);
    EXPECT_EQ(finding->tensor, kTensor);
    EXPECT_EQ(finding->field, "block[" + std::to_string(at) + "]");
    ASSERT_TRUE(finding->offset.has_value());
    const std::string bytes = test::read_whole(path_);
    EXPECT_EQ(bytes.substr(*finding->offset, 4), test::le(std::bit_cast<std::uint32_t>(element(at))));
    EXPECT_FALSE(finding->found.empty());
  }
};

TEST_F(ValuesGate, ComparesEveryElement) {
  std::uint64_t n = 0;
  for (const auto& t : model_.tensors) n += t.values.size();
  const GateResult result = run_only("values");
  EXPECT_TRUE(green(result));
  EXPECT_EQ(result.n_compared, n);
}

TEST_F(ValuesGate, NaN) {
  element(777) = NAN;
  element(900) = NAN;
  expect_red("nan", 777);
}
TEST_F(ValuesGate, Infinity) {
  element(1) = -INFINITY;
  expect_red("inf", 1);
}
TEST_F(ValuesGate, AllZero) {
  for (float& v : model_.tensor(kTensor).values) v = 0;
  expect_red("all_zero", 0);
}
TEST_F(ValuesGate, Constant) {
  for (float& v : model_.tensor(kTensor).values) v = 0.25F;
  expect_red("constant", 0);
}
TEST_F(ValuesGate, ConstantRow) {
  for (std::size_t i = 0; i < 64; ++i) element(128 + i) = 0.01F;
  expect_red("constant_rows", 128);
}
TEST_F(ValuesGate, RepeatedRow) {
  for (std::size_t i = 0; i < 64; ++i) element(640 + i) = element(576 + i);
  expect_red("repeated_rows", 640);
}
TEST_F(ValuesGate, ZeroedPage) {
  for (std::size_t i = 0; i < 1024; ++i) element(3001 + i) = 0;
  expect_red("zero_run", 3001);
  for (std::size_t i = 0; i < 1024; ++i) element(3001 + i) = i == 500 ? 0.01F : 0;
  EXPECT_TRUE(green(run_only("values")));
}
TEST_F(ValuesGate, Extreme) {
  element(5) = 1e7F;
  expect_red("extreme", 5);
}
TEST_F(ValuesGate, Isolated) {
  element(4000) *= 65536;  // the top exponent bit of a half
  expect_red("isolated", 4000);
}
TEST_F(ValuesGate, AHeavyTailIsNotIsolated) {
  float size = 0.01F;
  for (std::size_t i = 0; i < 12; ++i, size *= 2) element(i * 100) = size;  // up to 20, each power of two taken
  EXPECT_TRUE(green(run_only("values")));
}
TEST_F(ValuesGate, SwappedBytesOfANorm) {
  auto& norm = model_.tensor("blk.0.attn_norm.weight").values;
  for (float& v : norm) {  // as from BF16, then swapped: denormal
    const auto bits = std::bit_cast<std::uint32_t>(v) & 0xFFFF0000U;
    v = std::bit_cast<float>(__builtin_bswap32(bits));
  }
  EXPECT_TRUE(red(run_only("values"), "qa.values.vanishing"));
}
TEST_F(ValuesGate, AZeroBiasIsOnlyOdd) {
  model_.tensors.push_back({"blk.0.attn_q.bias", {320}, std::vector<float>(320, 0.F)});
  const GateResult result = run_only("values");
  EXPECT_TRUE(green(result));
  EXPECT_NE(find(result, "qa.values.all_zero"), nullptr);
}
TEST_F(ValuesGate, RowsOfUnusedTokensMayBeAlike) {
  auto& embedding = model_.tensor("token_embd.weight").values;
  for (std::size_t i = 0; i < 4 * 320; ++i) embedding[20 * 320 + i] = 0;
  const GateResult result = run_only("values");
  EXPECT_TRUE(green(result));
  EXPECT_NE(find(result, "qa.values.zero_run"), nullptr);
}

TEST_F(ValuesGate, NamesTheScaleOfABlock) {
  // One Q8_0 matrix in a file of its own: 4 rows of 64, and the scale of block 5 is NaN.
  const auto writer = format::make_writer(format::Format::Gguf, path_);
  writer->begin({{"general.architecture", format::WriteValue::string("llama")}},
                {{"a.weight", TensorType::Q8_0, {4, 64}}});
  std::string blocks;
  for (int block = 0; block < 8; ++block) {
    blocks += test::le<std::uint16_t>(block == 5 ? 0x7E00 : 0x2000);
    for (int i = 0; i < 32; ++i) blocks += static_cast<char>(i * 5 + block);
  }
  writer->write(std::as_bytes(std::span(blocks)));
  writer->end_tensor();
  writer->finish();
  const GateResult result = run_file("values");
  EXPECT_TRUE(red(result, "qa.values.nan"));
  const Finding* finding = find(result, "qa.values.nan");
  ASSERT_NE(finding, nullptr);
  EXPECT_EQ(finding->field, "block[5]");
  EXPECT_THAT(finding->found, HasSubstr("32 of 256 elements in 1 blocks"));
  EXPECT_THAT(finding->found, HasSubstr("scale d is NaN"));
  EXPECT_EQ(test::read_whole(path_).substr(finding->offset.value_or(0), 2), test::le<std::uint16_t>(0x7E00));
}

}  // namespace
}  // namespace apr::qa
