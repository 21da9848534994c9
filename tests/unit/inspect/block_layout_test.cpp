// The bits of every block type: rebuilt values against the kernels, coverage of the bits, and known blocks by hand.
#include "apr/inspect/block_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "apr/kernels/codebook.h"
#include "apr/kernels/dispatch.h"
#include "tests/support/quant_data.h"

namespace apr::inspect {
namespace {

/// Types with blocks of their own, or with more than one number in a byte.
std::vector<const TypeInfo*> block_types() {
  std::vector<const TypeInfo*> types;
  for (const TypeInfo& type : tensor_types())
    if (type.status == TypeStatus::Live && kernels::dequantizer(type.type) != nullptr) types.push_back(&type);
  return types;
}

const Part& part_of(const Element& element, PartKind kind) {
  for (const Part& part : element.all())
    if (part.bits.kind == kind) return part;
  ADD_FAILURE() << "no part of kind " << name(kind);
  return element.parts[0];
}

// Red with any one of: Q5_K's high bit taken from byte 16 + j + 1; Q3_K's scale without its upper bits; the eighth sign
// of IQ2_XXS always plus; Q6_K's scale read as unsigned.
TEST(F_HEX_003, EveryValueRebuiltFromTheFieldsIsTheDequantisedOneBitForBit) {
  constexpr std::size_t kBlocks = 400;
  std::size_t n_types = 0, n_values = 0;
  for (const TypeInfo* type : block_types()) {
    SCOPED_TRACE(std::string(type->name));
    const std::vector<std::byte> blocks = test::make_blocks(*type, kBlocks);
    std::vector<float> expected(kBlocks * type->block_elements, -12345.0F);
    kernels::dequantizer(type->type)(blocks.data(), expected.data(), kBlocks);
    for (std::size_t b = 0; b < kBlocks; ++b)
      for (std::uint32_t e = 0; e < type->block_elements; ++e) {
        const auto block = std::span(blocks).subspan(b * type->block_bytes, type->block_bytes);
        const float found = read_element(*type, block, e).value;
        ASSERT_EQ(test::canonical_bits(found), test::canonical_bits(expected[b * type->block_elements + e]))
            << "block " << b << " element " << e << ": " << found;
        ++n_values;
      }
    ++n_types;
  }
  EXPECT_GE(n_types, 40U);
  EXPECT_GT(n_values, 1'000'000U);
}

// Red when scale s >= 4 takes its upper bits from byte s (that of the minima) instead of byte s - 4.
TEST(F_HEX_002, TheSixBitScalesAndMinimaOfQ4KAreThoseOfAHandPackedBlock) {
  const TypeInfo& type = *find_type(TensorType::Q4_K);
  std::vector<std::byte> block(type.block_bytes, std::byte{0});
  const unsigned scale[8] = {1, 20, 43, 63, 17, 34, 51, 62}, min[8] = {2, 31, 5, 60, 33, 18, 47, 9};
  block[1] = std::byte{0x38};  // d = f16 0.5
  block[3] = std::byte{0x34};  // dmin = f16 0.25
  for (unsigned j = 0; j < 4; ++j) {
    block[4 + j] = static_cast<std::byte>(scale[j] | (scale[j + 4] >> 4) << 6);
    block[8 + j] = static_cast<std::byte>(min[j] | (min[j + 4] >> 4) << 6);
    block[12 + j] = static_cast<std::byte>((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
  }
  for (unsigned i = 0; i < 128; ++i) block[16 + i] = static_cast<std::byte>((i * 7 + 3) & 0xFF);
  for (std::uint32_t e = 0; e < 256; ++e) {
    const Element element = read_element(type, block, e);
    const unsigned s = e / 32, byte = ((s / 2) * 32 + e % 32) * 7 + 3, q = s % 2 == 0 ? byte & 15 : byte >> 4 & 15;
    EXPECT_EQ(part_of(element, PartKind::Scale).value, 0.5);
    EXPECT_EQ(part_of(element, PartKind::Minimum).value, 0.25);
    EXPECT_EQ(part_of(element, PartKind::SubScale).stored, scale[s]) << e;
    EXPECT_EQ(part_of(element, PartKind::SubMin).stored, min[s]) << e;
    EXPECT_EQ(part_of(element, PartKind::Code).stored, q) << e;
    EXPECT_EQ(element.value,
              0.5F * static_cast<float>(scale[s]) * static_cast<float>(q) - 0.25F * static_cast<float>(min[s]));
  }
}

TEST(F_HEX_003, ScalesOfQ6KAreSignedAndThoseOfQ3KHaveTheirOffset) {
  const TypeInfo& q6 = *find_type(TensorType::Q6_K);
  std::vector<std::byte> block(q6.block_bytes, std::byte{0});
  for (unsigned s = 0; s < 16; ++s)
    block[192 + s] = static_cast<std::byte>(static_cast<std::uint8_t>(static_cast<int>(s * 16) - 128));
  for (std::uint32_t e = 0; e < 256; ++e)
    EXPECT_EQ(part_of(read_element(q6, block, e), PartKind::SubScale).value, static_cast<int>(e / 16 * 16) - 128);
  const TypeInfo& q3 = *find_type(TensorType::Q3_K);
  block.assign(q3.block_bytes, std::byte{0});
  block[96] = std::byte{0x21};   // scale 0: low bits 1; scale 8: low bits 2
  block[104] = std::byte{0x13};  // scale 0: upper bits 3; scale 8 (bits 4..5): 1
  EXPECT_EQ(part_of(read_element(q3, block, 0), PartKind::SubScale).value, (1 | 3 << 4) - 32);
  EXPECT_EQ(part_of(read_element(q3, block, 128), PartKind::SubScale).value, (2 | 1 << 4) - 32);
}

/// A bit that no element uses would be one that nobody sees change.
TEST(BlockLayout, EveryBitOfABlockBelongsToAPart) {
  for (const TypeInfo* type : block_types()) {
    SCOPED_TRACE(std::string(type->name));
    std::vector<int> owners(type->block_bytes * 8);
    for (std::uint32_t e = 0; e < type->block_elements; ++e) {
      std::set<unsigned> own;
      const ElementBits bits = element_bits(*type, e);
      ASSERT_GT(bits.n_parts, 0);
      for (const PartBits& part : bits.all()) {
        unsigned covered = 0;
        for (std::size_t r = 0; r < part.n_runs; ++r) {
          EXPECT_EQ(part.runs[r].to, covered) << "the runs of a number are in the order of its bits";
          covered += part.runs[r].width;
          for (unsigned i = 0; i < part.runs[r].width; ++i) {
            const unsigned bit = part.runs[r].first + i;
            ASSERT_LT(bit, owners.size());
            EXPECT_TRUE(own.insert(bit).second) << "bit " << bit << " twice in element " << e;
            ++owners[bit];
          }
        }
      }
    }
    for (std::size_t bit = 0; bit < owners.size(); ++bit) {
      const BlockField* field = field_at(*type, static_cast<std::uint32_t>(bit / 8));
      const bool for_dot_products = field != nullptr && (field->name == "s" || field->name == "bsums");
      EXPECT_EQ(owners[bit] == 0, for_dot_products) << "bit " << bit % 8 << " of byte " << bit / 8;
    }
  }
}

TEST(BlockLayout, CodesBelongToOneElementUnlessTheyAreTritsOrGridIndices) {
  for (const TypeInfo* type : block_types()) {
    if (type->type == TensorType::TQ1_0) continue;
    std::set<unsigned> seen;
    for (std::uint32_t e = 0; e < type->block_elements; ++e) {
      const ElementBits bits = element_bits(*type, e);
      for (const PartBits& part : bits.all())
        for (std::size_t r = 0; part.kind == PartKind::Code && r < part.n_runs; ++r)
          for (unsigned i = 0; i < part.runs[r].width; ++i)
            EXPECT_TRUE(seen.insert(part.runs[r].first + i).second) << type->name << " element " << e;
    }
  }
}

TEST(BlockLayout, SubBlocksAreAsDrawn) {
  const std::pair<TensorType, std::uint32_t> expected[] = {
      {TensorType::Q2_K, 16},   {TensorType::Q3_K, 16},  {TensorType::Q4_K, 32},    {TensorType::Q5_K, 32},
      {TensorType::Q6_K, 16},   {TensorType::IQ1_M, 16}, {TensorType::IQ1_S, 32},   {TensorType::IQ2_XXS, 32},
      {TensorType::IQ2_XS, 16}, {TensorType::IQ2_S, 16}, {TensorType::IQ3_XXS, 32}, {TensorType::IQ3_S, 32},
      {TensorType::IQ4_XS, 32}, {TensorType::NVFP4, 16}, {TensorType::Q4_0, 32},    {TensorType::TQ1_0, 256}};
  for (const auto& [type, n] : expected) EXPECT_EQ(sub_block_elements(*find_type(type)), n) << name(type);
}

TEST(BlockLayout, ABigEndianBlockIsTheSwappedLittleEndianOne) {
  for (const TypeInfo* type : block_types()) {
    const std::vector<std::byte> little = test::make_blocks(*type, 1);
    std::vector<std::byte> big = little;
    swap_block_bytes(*type, big);
    for (std::uint32_t b = 0; b < type->block_bytes; ++b) {
      EXPECT_EQ(big[big_endian_byte(*type, b)], little[b]) << type->name << " byte " << b;
      EXPECT_EQ(big_endian_byte(*type, big_endian_byte(*type, b)), b);
    }
  }
}

TEST(Codebook, GridsEndWhereTheyEnd) {
  std::size_t n_grids = 0;
  for (const TypeInfo& type : tensor_types()) {
    const std::uint32_t n = kernels::grid_size(type.type);
    EXPECT_TRUE(kernels::grid_values(type.type, n).empty()) << type.name;
    if (n > 0) EXPECT_FALSE(kernels::grid_values(type.type, n - 1).empty()) << type.name;
    n_grids += n > 0;
  }
  EXPECT_EQ(n_grids, 7U);
}

}  // namespace
}  // namespace apr::inspect
