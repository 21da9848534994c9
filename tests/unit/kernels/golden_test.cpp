// Every live ggml type against ggml's own output (tests/golden/quant), on every instruction set that runs here.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "apr/core/hash.h"
#include "apr/kernels/dispatch.h"
#include "tests/support/golden_quant.h"
#include "tests/support/paths.h"
#include "tests/support/quant_data.h"

namespace apr::kernels {
namespace {

using test::canonical_bits;
using test::GoldenType;

constexpr std::size_t kBlocks = 10000, kChunk = 100;

std::vector<TensorType> live_ggml_types() {
  std::vector<TensorType> types;
  for (const TypeInfo& type : tensor_types()) {
    if (static_cast<int>(type.type) < n_ggml_types && type.status == TypeStatus::Live) types.push_back(type.type);
  }
  return types;
}

class Golden : public testing::TestWithParam<TensorType> {
 protected:
  void SetUp() override {
    std::string file(name(GetParam()));
    std::transform(file.begin(), file.end(), file.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto read = test::read_golden(test::source_dir() + "/tests/golden/quant/" + file + ".txt");
    ASSERT_TRUE(read.has_value()) << file;
    golden_ = *read;
    type_ = find_type(GetParam());
    ASSERT_EQ(golden_.name, type_->name);
    ASSERT_EQ(golden_.bytes, type_->block_bytes);
    ASSERT_EQ(golden_.elements, type_->block_elements);
    ASSERT_EQ(golden_.dequantize_crc.size(), kBlocks / kChunk);
    ASSERT_EQ(golden_.dequantized.size(), 3u);
  }
  GoldenType golden_;
  const TypeInfo* type_ = nullptr;
};

std::vector<float> dequantized(const QuantKernels& kernels, const TypeInfo& type, std::span<const std::byte> blocks) {
  const std::size_t n_blocks = blocks.size() / type.block_bytes;
  std::vector<float> out(n_blocks * type.block_elements, -12345.0f);
  kernels.dequantize(blocks.data(), out.data(), static_cast<std::int64_t>(n_blocks));
  return out;
}

TEST_P(Golden, GeneratorMakesTheSameBlocks) {
  const std::vector<std::byte> blocks = test::make_blocks(*type_, 4);
  for (const test::GoldenBlock& shown : golden_.dequantized) {
    ASSERT_EQ(shown.block.size(), type_->block_bytes);
    const auto* made = reinterpret_cast<const std::uint8_t*>(blocks.data()) + shown.index * type_->block_bytes;
    EXPECT_EQ(shown.block, std::vector<std::uint8_t>(made, made + type_->block_bytes)) << "block " << shown.index;
  }
}

TEST_P(Golden, DequantizesShownBlocks) {
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    for (const test::GoldenBlock& shown : golden_.dequantized) {
      const std::vector<float> out =
          dequantized(isa.table->quant[golden_.id], *type_, std::as_bytes(std::span(shown.block)));
      ASSERT_EQ(out.size(), shown.floats.size());
      for (std::size_t i = 0; i < out.size(); ++i) {
        ASSERT_EQ(canonical_bits(out[i]), shown.floats[i]) << isa.name << " block " << shown.index << " element " << i;
      }
    }
  }
}

TEST_P(Golden, DequantizesAllBlocks) {
  const std::vector<std::byte> blocks = test::make_blocks(*type_, kBlocks);
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    const std::vector<float> out = dequantized(isa.table->quant[golden_.id], *type_, blocks);
    std::vector<std::uint32_t> bits(out.size());
    std::transform(out.begin(), out.end(), bits.begin(), canonical_bits);
    const std::size_t n = kChunk * type_->block_elements;
    for (std::size_t chunk = 0; chunk < kBlocks / kChunk; ++chunk) {
      ASSERT_EQ(crc32(std::as_bytes(std::span(bits).subspan(chunk * n, n))), golden_.dequantize_crc[chunk])
          << isa.name << ": a block of [" << chunk * kChunk << ", " << (chunk + 1) * kChunk << ") differs from ggml";
    }
  }
}

// The types whose quantiser gives ggml's very bytes; the others are judged by their error below.
const std::vector<TensorType>& same_bytes_types() {
  using enum TensorType;
  static const std::vector<TensorType> types = {F16,  BF16, Q4_0, Q4_1,  Q5_0,  Q5_1,  Q8_0, Q8_1,
                                                Q8_K, Q1_0, Q2_0, TQ1_0, TQ2_0, MXFP4, NVFP4};
  return types;
}

class GoldenQuantize : public Golden {};

TEST_P(GoldenQuantize, GivesTheBytesOfGgml) {
  ASSERT_EQ(golden_.quantize_crc.size(), kBlocks / kChunk);
  ASSERT_EQ(golden_.quantized.size(), 3u);
  const std::vector<float> values = test::make_values(*type_, kBlocks);
  for (const IsaVariant& isa : isa_variants()) {
    if (!isa.runs_here) continue;
    std::vector<std::uint8_t> out(kBlocks * type_->block_bytes, 0xA5);
    isa.table->quant[golden_.id].quantize(values.data(), out.data(), kBlocks);
    for (const test::GoldenBlock& shown : golden_.quantized) {
      for (std::size_t i = 0; i < type_->block_elements; ++i) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(values[shown.index * type_->block_elements + i]), shown.floats[i]);
      }
      const auto* made = out.data() + shown.index * type_->block_bytes;
      ASSERT_EQ(std::vector<std::uint8_t>(made, made + type_->block_bytes), shown.block) << "block " << shown.index;
    }
    const std::size_t n = kChunk * type_->block_bytes;
    for (std::size_t chunk = 0; chunk < kBlocks / kChunk; ++chunk) {
      ASSERT_EQ(crc32(std::as_bytes(std::span(out).subspan(chunk * n, n))), golden_.quantize_crc[chunk])
          << isa.name << ": a block of [" << chunk * kChunk << ", " << (chunk + 1) * kChunk << ") differs from ggml";
    }
  }
}

std::string param_name(const testing::TestParamInfo<TensorType>& info) { return std::string(name(info.param)); }
INSTANTIATE_TEST_SUITE_P(Types, Golden, testing::ValuesIn(live_ggml_types()), param_name);
INSTANTIATE_TEST_SUITE_P(Types, GoldenQuantize, testing::ValuesIn(same_bytes_types()), param_name);

}  // namespace
}  // namespace apr::kernels
