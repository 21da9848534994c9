// Every instruction set gives the bits of the scalar kernels, for every type, and writes nothing beside its output.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "apr/kernels/dispatch.h"
#include "tests/support/quant_data.h"

namespace apr::kernels {
namespace {

using test::canonical_bits;

constexpr std::size_t kCounts[] = {0, 1, 2, 3, 17, 400};
constexpr std::size_t kGuard = 64;  // elements or bytes after the output that must stay as they are

std::vector<TypeInfo> ggml_types(TypeStatus status) {
  std::vector<TypeInfo> types;
  for (const TypeInfo& type : tensor_types()) {
    if (static_cast<int>(type.type) < n_ggml_types && type.status == status) types.push_back(type);
  }
  return types;
}

/// Canonical bits of the output and of the guard after it. The blocks start at an odd address.
std::vector<std::uint32_t> run_dequantize(const QuantKernels& kernels, const TypeInfo& type,
                                          const std::vector<std::byte>& blocks, std::size_t n_blocks) {
  std::vector<std::byte> unaligned(n_blocks * type.block_bytes + 1);
  std::copy_n(blocks.begin(), n_blocks * type.block_bytes, unaligned.begin() + 1);
  std::vector<float> out(n_blocks * type.block_elements + kGuard, -12345.0f);
  kernels.dequantize(unaligned.data() + 1, out.data(), static_cast<std::int64_t>(n_blocks));
  for (std::size_t i = out.size() - kGuard; i < out.size(); ++i) EXPECT_EQ(out[i], -12345.0f) << type.name;
  std::vector<std::uint32_t> bits(out.size());
  std::transform(out.begin(), out.end(), bits.begin(), canonical_bits);
  return bits;
}

std::vector<std::uint8_t> run_quantize(const QuantKernels& kernels, const TypeInfo& type,
                                       const std::vector<float>& values, std::size_t n_blocks) {
  std::vector<std::uint8_t> out(1 + n_blocks * type.block_bytes + kGuard, 0xA5);
  kernels.quantize(values.data(), out.data() + 1, static_cast<std::int64_t>(n_blocks));
  for (std::size_t i = out.size() - kGuard; i < out.size(); ++i) EXPECT_EQ(out[i], 0xA5) << type.name;
  EXPECT_EQ(out[0], 0xA5);
  return out;
}

/// The golden values with NaN, Inf and huge numbers sown in.
std::vector<float> wild_values(const TypeInfo& type, std::size_t n_blocks) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kMax = std::numeric_limits<float>::max();
  const float wild[] = {std::numeric_limits<float>::quiet_NaN(), kInf, -kInf, kMax, -kMax, 1e-45f, -1e-45f, 1e-38f};
  std::vector<float> values = test::make_values(type, n_blocks);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t dice = test::splitmix64(99, i);
    if ((i / type.block_elements) % 3 == 1 && dice % 16 == 0) values[i] = wild[(dice >> 8) % std::size(wild)];
  }
  return values;
}

TEST(Isa, DequantizersGiveTheSameBits) {
  const KernelTable& scalar = *isa_variants()[0].table;
  for (const TypeInfo& type : ggml_types(TypeStatus::Live)) {
    const auto id = static_cast<std::size_t>(type.type);
    const std::vector<std::byte> blocks = test::make_blocks(type, 400);
    for (const IsaVariant& isa : isa_variants()) {  // scalar, too: its guard counts
      if (!isa.runs_here) continue;
      for (const std::size_t n : kCounts) {
        ASSERT_EQ(run_dequantize(isa.table->quant[id], type, blocks, n),
                  run_dequantize(scalar.quant[id], type, blocks, n))
            << type.name << " on " << isa.name << ", " << n << " blocks";
      }
    }
  }
}

TEST(Isa, QuantizersGiveTheSameBytes) {
  const KernelTable& scalar = *isa_variants()[0].table;
  int n_types = 0;
  for (const TypeInfo& type : ggml_types(TypeStatus::Live)) {
    const auto id = static_cast<std::size_t>(type.type);
    if (scalar.quant[id].quantize == nullptr) continue;
    ++n_types;
    const std::vector<float> values = wild_values(type, 400);
    for (const IsaVariant& isa : isa_variants()) {
      if (!isa.runs_here) continue;
      for (const std::size_t n : kCounts) {
        ASSERT_EQ(run_quantize(isa.table->quant[id], type, values, n), run_quantize(scalar.quant[id], type, values, n))
            << type.name << " on " << isa.name << ", " << n << " blocks";
      }
    }
  }
  EXPECT_EQ(n_types, 28);
}

TEST(Isa, EveryTableHasTheSameKernels) {
  for (const IsaVariant& isa : isa_variants()) {
    for (const TypeInfo& type : ggml_types(TypeStatus::Live)) {
      const auto id = static_cast<std::size_t>(type.type);
      EXPECT_NE(isa.table->quant[id].dequantize, nullptr) << type.name << " on " << isa.name;
      EXPECT_EQ(isa.table->quant[id].quantize == nullptr, isa_variants()[0].table->quant[id].quantize == nullptr);
    }
    for (const TypeInfo& type : ggml_types(TypeStatus::Removed)) {
      const auto id = static_cast<std::size_t>(type.type);
      EXPECT_EQ(isa.table->quant[id].dequantize, nullptr) << type.name << " on " << isa.name;
      EXPECT_EQ(isa.table->quant[id].quantize, nullptr) << type.name << " on " << isa.name;
    }
  }
}

// What a block quantiser does with a value that is no finite number: NaN counts as 0, Inf as the largest float.
TEST(Quantize, NanIsZeroAndInfIsTheLargestFloat) {
  for (const TypeInfo& type : ggml_types(TypeStatus::Live)) {
    const auto id = static_cast<std::size_t>(type.type);
    const QuantKernels& kernels = isa_variants()[0].table->quant[id];
    if (kernels.quantize == nullptr || type.block_elements == 1) continue;
    std::vector<float> wild = test::make_values(type, 40), plain = wild;
    for (std::size_t i = 5; i < wild.size(); i += 29) {
      const bool block_has_inf = i / type.block_elements % 2 == 1;
      wild[i] = block_has_inf ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
      plain[i] = block_has_inf ? std::numeric_limits<float>::max() : 0.0f;
    }
    ASSERT_EQ(run_quantize(kernels, type, wild, 40), run_quantize(kernels, type, plain, 40)) << type.name;
  }
}

TEST(Quantize, IntegersRoundHalvesAwayAndSaturate) {
  const float in[] = {0.5f, -0.5f, 1.4999999f, -2.5f, 126.5f, 127.5f, -128.5f, 1e10f, -1e10f, 0.0f};
  std::int8_t out[std::size(in)];
  quantizer(TensorType::I8)(in, out, std::size(in));
  const std::int8_t expected[] = {1, -1, 1, -3, 127, 127, -128, 127, -128, 0};
  EXPECT_TRUE(std::equal(std::begin(out), std::end(out), expected));
  const float ends[] = {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                        std::numeric_limits<float>::quiet_NaN(), 9.2e18f};
  std::int64_t wide[4];
  quantizer(TensorType::I64)(ends, wide, 4);
  EXPECT_EQ(wide[0], std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(wide[1], std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(wide[2], 0);
  EXPECT_EQ(wide[3], static_cast<std::int64_t>(9.2e18f));
}

TEST(Quantize, EveryF16AndBf16SurvivesTheRoundTrip) {
  for (const TensorType type : {TensorType::F16, TensorType::BF16}) {
    std::vector<std::uint16_t> codes(65536), back(65536, 0xDEAD);
    std::vector<float> values(65536, -12345.0f);
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint16_t>(i);
    dequantizer(type)(codes.data(), values.data(), 65536);
    quantizer(type)(values.data(), back.data(), 65536);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      if (values[i] == values[i]) {
        ASSERT_EQ(back[i], codes[i]) << name(type);
      }
    }
  }
}

}  // namespace
}  // namespace apr::kernels
