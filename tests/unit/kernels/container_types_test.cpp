// The element types that only SafeTensors and APR have.
#include "kernels/container_types.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "apr/kernels/dispatch.h"
#include "tests/support/golden_quant.h"
#include "tests/support/paths.h"
#include "tests/support/quant_data.h"

namespace apr::kernels {
namespace {

using test::canonical_bits;

template <typename T>
std::vector<float> dequantized(TensorType type, const std::vector<T>& stored, std::size_t n_blocks) {
  std::vector<float> out(n_blocks * find_type(type)->block_elements, -12345.0f);
  EXPECT_NE(dequantizer(type), nullptr);
  dequantizer(type)(stored.data(), out.data(), static_cast<std::int64_t>(n_blocks));
  return out;
}

/// All codes of a small float format, packed as its type stores them.
std::vector<std::uint8_t> all_codes(TensorType type, std::size_t n_codes) {
  std::vector<std::uint8_t> bytes;
  if (n_codes == 256) {
    for (std::size_t i = 0; i < 256; ++i) bytes.push_back(static_cast<std::uint8_t>(i));
  } else if (type == TensorType::F4) {
    for (std::size_t i = 0; i < 16; i += 2) bytes.push_back(static_cast<std::uint8_t>(i | ((i + 1) << 4)));
  } else {
    for (std::size_t i = 0; i < 64; i += 4) {
      const std::size_t packed = i | ((i + 1) << 6) | ((i + 2) << 12) | ((i + 3) << 18);
      for (int k = 0; k < 3; ++k) bytes.push_back(static_cast<std::uint8_t>(packed >> (8 * k)));
    }
  }
  return bytes;
}

TEST(ContainerTypes, SmallFloatsDecodeAsMlDtypesDoes) {
  std::ifstream file(test::source_dir() + "/tests/golden/quant/small_floats.txt");
  ASSERT_TRUE(file);
  int n_formats = 0;
  for (std::string text; std::getline(file, text); ++n_formats) {
    std::istringstream line(text);
    std::string type_name;
    line >> type_name;
    const TypeInfo* type = find_type(type_name);
    ASSERT_NE(type, nullptr) << type_name;
    const std::vector<std::uint32_t> expected = test::hex_words(line);
    const std::vector<std::uint8_t> codes = all_codes(type->type, expected.size());
    const std::vector<float> values = dequantized(type->type, codes, expected.size() / type->block_elements);
    ASSERT_EQ(values.size(), expected.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(canonical_bits(values[i]), expected[i]) << type_name << " code " << i;
    }
  }
  EXPECT_EQ(n_formats, 8);
}

TEST(ContainerTypes, Integers) {
  EXPECT_EQ(dequantized<std::uint8_t>(TensorType::Bool, {0, 1, 2, 255}, 4), (std::vector<float>{0, 1, 1, 1}));
  EXPECT_EQ(dequantized<std::uint8_t>(TensorType::U8, {0, 1, 255}, 3), (std::vector<float>{0, 1, 255}));
  EXPECT_EQ(dequantized<std::uint16_t>(TensorType::U16, {0, 65535}, 2), (std::vector<float>{0, 65535}));
  EXPECT_EQ(dequantized<std::uint32_t>(TensorType::U32, {7, 0xFFFFFFFFu}, 2), (std::vector<float>{7, 4294967296.0f}));
  EXPECT_EQ(dequantized<std::uint64_t>(TensorType::U64, {7, ~std::uint64_t{0}}, 2),
            (std::vector<float>{7, 18446744073709551616.0f}));
}

std::vector<float> apr_q4_block(std::uint16_t scale) {
  std::vector<std::uint8_t> block(18);
  std::memcpy(block.data(), &scale, 2);
  for (std::size_t j = 0; j < 16; ++j) block[2 + j] = static_cast<std::uint8_t>(j | ((15 - j) << 4));
  return dequantized(TensorType::AprQ4, block, 1);
}

TEST(ContainerTypes, AprQ4InterleavesNibbles) {
  const std::vector<float> x = apr_q4_block(0x3800);  // 0.5
  for (std::size_t j = 0; j < 16; ++j) {
    EXPECT_EQ(x[2 * j], 0.5f * (static_cast<float>(j) - 8.0f)) << j;
    EXPECT_EQ(x[2 * j + 1], 0.5f * (7.0f - static_cast<float>(j))) << j;
  }
}

TEST(ContainerTypes, AprQ4TakesBrokenScalesAsZero) {
  for (const int bits : {0x7C00, 0xFC00, 0x7E00, 0x7C01, 0x0000, 0x03FF, 0x8001}) {
    const auto scale = static_cast<std::uint16_t>(bits);
    for (const float value : apr_q4_block(scale)) EXPECT_EQ(value, 0.0f) << scale;
  }
  EXPECT_EQ(apr_q4_block(0x0400)[1], 7.0f * 0x1p-14f) << "the smallest normal half counts";
}

TEST(ContainerTypes, EveryLiveTypeWithAnF32FormHasADequantizer) {
  for (const TypeInfo& type : tensor_types()) {
    const bool none =
        type.status == TypeStatus::Removed || type.type == TensorType::C64 || type.type == TensorType::AprQ8;
    EXPECT_EQ(dequantizer(type.type) == nullptr, none) << type.name;
  }
}

}  // namespace
}  // namespace apr::kernels
