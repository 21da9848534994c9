// The choice of the instruction set, and decode() of any range of any tensor.
#include "apr/kernels/dispatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "apr/core/cpu_info.h"
#include "apr/core/error.h"
#include "kernels/isa_choice.h"
#include "tests/support/quant_data.h"

namespace apr::kernels {
namespace {

using test::canonical_bits;

class ForcedIsa : public testing::Test {
 protected:
  void TearDown() override { force_isa(best_variant(isa_variants())->isa); }
};

TEST_F(ForcedIsa, IsTheOneThatRuns) {
  int n_forced = 0;
  for (const IsaVariant& variant : isa_variants()) {
    if (!variant.runs_here) continue;
    force_isa(variant.name);
    EXPECT_EQ(active().isa, variant.name);
    EXPECT_EQ(dequantizer(TensorType::Q4_K), variant.table->quant[12].dequantize);
    EXPECT_EQ(quantizer(TensorType::Q4_K), variant.table->quant[12].quantize);
    ++n_forced;
  }
  EXPECT_GE(n_forced, 1);
}

TEST_F(ForcedIsa, EveryVariantHasItsOwnKernels) {
  const auto variants = isa_variants();
  for (std::size_t a = 0; a < variants.size(); ++a) {
    for (std::size_t b = a + 1; b < variants.size(); ++b) {
      EXPECT_NE(variants[a].table->quant[12].dequantize, variants[b].table->quant[12].dequantize)
          << variants[a].name << " and " << variants[b].name;
    }
  }
}

TEST_F(ForcedIsa, VariantsFollowTheCpu) {
  ASSERT_FALSE(isa_variants().empty());
  EXPECT_EQ(isa_variants()[0].name, "scalar");
  EXPECT_TRUE(isa_variants()[0].runs_here);
  for (const IsaVariant& variant : isa_variants()) {
    EXPECT_EQ(variant.name, variant.table->isa);
    if (variant.name == "avx2") {
      EXPECT_EQ(variant.runs_here, cpu_info().avx2 && cpu_info().fma && cpu_info().f16c && cpu_info().os_saves_ymm);
    }
    if (variant.name == "avx512_vnni" && variant.runs_here) {
      EXPECT_TRUE(cpu_info().avx512vnni && cpu_info().os_saves_zmm);
    }
  }
}

// A machine that lacks the last variant, whatever this one has.
class IsaChoice : public testing::Test {
 protected:
  static KernelTable named(const char* isa) {
    KernelTable table{};
    table.isa = isa;
    return table;
  }
  KernelTable plain_ = named("scalar"), fast_ = named("avx2"), faster_ = named("avx512");
  std::vector<IsaVariant> variants_ = {{"scalar", &plain_, true}, {"avx2", &fast_, true}, {"avx512", &faster_, false}};
};

TEST_F(IsaChoice, TakesTheBestThatRuns) {
  EXPECT_EQ(best_variant(variants_), &fast_);
  variants_[2].runs_here = true;
  EXPECT_EQ(best_variant(variants_), &faster_);
}

TEST_F(IsaChoice, RefusesWhatTheMachineLacks) {
  EXPECT_EQ(named_variant(variants_, "scalar"), &plain_);
  try {
    (void)named_variant(variants_, "avx512");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::Unsupported);
    EXPECT_THAT(error.message, testing::HasSubstr("avx512"));
    EXPECT_THAT(error.hint, testing::HasSubstr("avx2"));
  }
}

TEST_F(IsaChoice, NamesTheNearestForAnUnknownOne) {
  for (const std::string_view name : {"avx3", "AVX2", "", "avx2 "}) {
    try {
      (void)named_variant(variants_, name);
      FAIL() << "not refused: " << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::Usage) << name;
      EXPECT_EQ(error.expected, "scalar, avx2, avx512");
      if (name == "avx3") {
        EXPECT_THAT(error.hint, testing::HasSubstr("avx2"));
      }
    }
  }
}

// --- decode ----------------------------------------------------------------------------------------------------------

constexpr float kPoison = -12345.0f;

std::vector<float> decoded(TensorType type, std::span<const std::byte> bytes, std::uint64_t first, std::size_t n) {
  std::vector<float> out(n, kPoison);
  EXPECT_TRUE(decode(type, bytes, first, out)) << name(type) << " [" << first << ", +" << n << ")";
  return out;
}

TEST(Decode, AnyRangeIsThatPartOfTheWhole) {
  int n_types = 0;
  for (const TypeInfo& type : tensor_types()) {
    if (dequantizer(type.type) == nullptr) continue;
    ++n_types;
    const std::size_t n_blocks = 9, n = n_blocks * type.block_elements;
    const std::vector<std::byte> bytes = test::make_blocks(type, n_blocks);
    std::vector<float> whole(n, kPoison);
    dequantizer(type.type)(bytes.data(), whole.data(), static_cast<std::int64_t>(n_blocks));
    for (std::uint64_t k = 0; k < 300; ++k) {
      const std::size_t first = test::splitmix64(7, 2 * k) % (n + 1);
      const std::size_t count = test::splitmix64(7, 2 * k + 1) % (n - first + 1);
      const std::vector<float> part = decoded(type.type, bytes, first, count);
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(canonical_bits(part[i]), canonical_bits(whole[first + i]))
            << type.name << " [" << first << ", +" << count << ") element " << i;
      }
    }
  }
  EXPECT_GE(n_types, 49);
}

TEST(Decode, RefusesWhatLiesOutside) {
  const TypeInfo& type = *find_type(TensorType::Q4_0);
  const std::vector<std::byte> bytes = test::make_blocks(type, 2);
  std::vector<float> out(32, kPoison);
  EXPECT_TRUE(decode(type.type, bytes, 32, out));
  out.assign(32, kPoison);
  for (const std::uint64_t first :
       {std::uint64_t{33}, std::uint64_t{64}, std::uint64_t{1} << 40, std::numeric_limits<std::uint64_t>::max(),
        std::numeric_limits<std::uint64_t>::max() - 31}) {
    EXPECT_FALSE(decode(type.type, bytes, first, out)) << first;
  }
  EXPECT_FALSE(decode(type.type, std::span(bytes).first(35), 32, out)) << "a block that is cut off does not count";
  EXPECT_FALSE(decode(type.type, {}, 0, out));
  EXPECT_EQ(out, std::vector<float>(32, kPoison));
}

TEST(Decode, RefusesTypesWithoutNumbers) {
  const std::vector<std::byte> bytes(1024);
  std::vector<float> out(2, kPoison);
  for (const TensorType type : {TensorType::C64, TensorType::Q4_2, TensorType::Q4_0_8_8, TensorType::Unknown}) {
    EXPECT_FALSE(decode(type, bytes, 0, out)) << name(type);
    EXPECT_EQ(dequantizer(type), nullptr);
    EXPECT_EQ(quantizer(type), nullptr);
  }
  EXPECT_EQ(out, std::vector<float>(2, kPoison));
}

TEST(Decode, AprQ8HasOneScaleForTheTensor) {
  const float scale = 0.5f;
  std::vector<std::byte> bytes(4 + 5);
  std::memcpy(bytes.data(), &scale, 4);
  const std::int8_t codes[] = {-128, -1, 0, 1, 127};
  std::memcpy(bytes.data() + 4, codes, 5);
  EXPECT_EQ(decoded(TensorType::AprQ8, bytes, 0, 5), (std::vector<float>{-64.0f, -0.5f, 0.0f, 0.5f, 63.5f}));
  EXPECT_EQ(decoded(TensorType::AprQ8, bytes, 3, 2), (std::vector<float>{0.5f, 63.5f}));
  std::vector<float> out(1, kPoison);
  EXPECT_FALSE(decode(TensorType::AprQ8, bytes, 5, out));
  EXPECT_FALSE(decode(TensorType::AprQ8, std::span(bytes).first(3), 0, out));
  EXPECT_EQ(dequantizer(TensorType::AprQ8), nullptr);
}

}  // namespace
}  // namespace apr::kernels
