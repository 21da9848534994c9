// The table of element types: consistent in itself, and of ggml's sizes (tests/golden/quant/sizes.txt).
#include "apr/core/tensor_type.h"
#include "tests/support/paths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace apr {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

TEST(TensorTypes, NamesAndIdsAreUnique) {
  std::set<std::string> names;
  std::set<unsigned> ids;
  for (const TypeInfo& type : tensor_types()) {
    EXPECT_TRUE(names.insert(lower(type.name)).second) << type.name;
    EXPECT_TRUE(ids.insert(static_cast<unsigned>(type.type)).second) << type.name;
    EXPECT_NE(type.type, TensorType::Unknown);
  }
  EXPECT_EQ(names.size(), 59u);
}

TEST(TensorTypes, FieldsCoverTheBlockWithoutGap) {
  int n_blocks = 0;
  for (const TypeInfo& type : tensor_types()) {
    if (type.status == TypeStatus::Removed) {
      EXPECT_EQ(type.block_elements, 0u) << type.name;
      EXPECT_EQ(type.block_bytes, 0u) << type.name;
      EXPECT_TRUE(type.fields.empty()) << type.name;
      continue;
    }
    ASSERT_GT(type.block_elements, 0u) << type.name;
    ASSERT_GT(type.block_bytes, 0u) << type.name;
    if (type.block_elements <= 4) continue;  // plain and sub-byte types have no fields
    ++n_blocks;
    std::size_t at = 0;
    for (const BlockField& field : type.fields) {
      EXPECT_EQ(field.offset, at) << type.name << "." << field.name;
      EXPECT_GT(field.bytes, 0u) << type.name << "." << field.name;
      at += field.bytes;
    }
    EXPECT_EQ(at, type.block_bytes) << type.name;
  }
  EXPECT_EQ(n_blocks, 28);
}

TEST(TensorTypes, FieldsHoldWholeNumbersOfTheirEncoding) {
  for (const TypeInfo& type : tensor_types()) {
    for (const BlockField& field : type.fields) {
      const bool two = field.encoding == FieldEncoding::F16 || field.encoding == FieldEncoding::U16 ||
                       field.encoding == FieldEncoding::I16;
      const std::size_t width = field.encoding == FieldEncoding::F32 ? 4 : (two ? 2 : 1);
      EXPECT_EQ(field.bytes % width, 0u) << type.name << "." << field.name;
    }
  }
}

TEST(TensorTypes, SizesAreThoseOfGgml) {
  std::ifstream file(test::source_dir() + "/tests/golden/quant/sizes.txt");
  ASSERT_TRUE(file);
  std::set<unsigned> seen;
  for (std::string text; std::getline(file, text);) {
    if (text.starts_with("#")) continue;
    std::istringstream line(text);
    std::uint32_t id = 0, elements = 0, bytes = 0;
    std::string type_name;
    ASSERT_TRUE(line >> id >> type_name >> elements >> bytes) << text;
    const TypeInfo* type = find_ggml_type(id);
    ASSERT_NE(type, nullptr) << text;
    EXPECT_EQ(lower(type->name), lower(type_name));
    EXPECT_EQ(type->block_elements, elements) << type_name;
    EXPECT_EQ(type->block_bytes, bytes) << type_name;
    EXPECT_EQ(type->status, TypeStatus::Live) << type_name;
    seen.insert(id);
  }
  EXPECT_EQ(seen.size(), 35u);
  for (const TypeInfo& type : tensor_types()) {
    const auto id = static_cast<unsigned>(type.type);
    if (id < 256) {
      EXPECT_EQ(seen.contains(id), type.status == TypeStatus::Live) << type.name;
    }
  }
}

TEST(TensorTypes, LookUps) {
  EXPECT_EQ(find_type(TensorType::Q4_K)->name, "Q4_K");
  EXPECT_EQ(find_type("q4_k")->type, TensorType::Q4_K);
  EXPECT_EQ(find_type("f8_e4m3")->type, TensorType::F8_E4M3);
  EXPECT_EQ(find_type("q4_"), nullptr);
  EXPECT_EQ(find_type(""), nullptr);
  EXPECT_EQ(find_type(TensorType::Unknown), nullptr);
  EXPECT_EQ(find_ggml_type(12)->type, TensorType::Q4_K);
  EXPECT_EQ(find_ggml_type(4)->status, TypeStatus::Removed);
  for (const std::uint32_t id : {43u, 255u, 256u, 320u, 0xFFFFu, 0xFFFFFFFFu})
    EXPECT_EQ(find_ggml_type(id), nullptr) << id;
  EXPECT_EQ(name(TensorType::Unknown), "unknown");
  EXPECT_EQ(name(TensorType::IQ2_XXS), "IQ2_XXS");
}

TEST(TensorTypes, StoredBytes) {
  const TypeInfo& q4_k = *find_type(TensorType::Q4_K);
  EXPECT_EQ(stored_bytes(q4_k, 512, 256), 288u);
  EXPECT_EQ(stored_bytes(q4_k, 0, 256), 0u);
  EXPECT_EQ(stored_bytes(q4_k, 512, 128), std::nullopt) << "a row that is no whole number of blocks";
  EXPECT_EQ(stored_bytes(q4_k, 300, 256), std::nullopt);
  const TypeInfo& f64 = *find_type(TensorType::F64);
  const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(stored_bytes(f64, huge, 1), std::nullopt) << "overflow";
  EXPECT_EQ(stored_bytes(f64, huge / 8, 1), huge / 8 * 8);
  EXPECT_EQ(stored_bytes(*find_type(TensorType::Q4_2), 32, 32), std::nullopt) << "removed";
  EXPECT_EQ(stored_bytes(*find_type(TensorType::AprQ4), 33, 11), 36u) << "the last block is padded";
  EXPECT_EQ(stored_bytes(*find_type(TensorType::AprQ8), 33, 11), 37u) << "one scale for the tensor";
  EXPECT_EQ(stored_bytes(*find_type(TensorType::AprQ8), huge, 1), std::nullopt);
  EXPECT_EQ(stored_bytes(*find_type(TensorType::F4), 6, 6), 3u);
  EXPECT_EQ(stored_bytes(*find_type(TensorType::F4), 5, 5), std::nullopt);
  EXPECT_EQ(stored_bytes(*find_type(TensorType::F6_E2M3), 8, 8), 6u);
}

TEST(TensorTypes, ByteOrderIsSwappedFieldByField) {
  const TypeInfo& q4_k = *find_type(TensorType::Q4_K);
  std::vector<std::byte> blocks(2 * 144);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::byte>(i);
  const std::vector<std::byte> original = blocks;
  swap_block_bytes(q4_k, blocks);
  for (const std::size_t block : {0u, 144u}) {
    EXPECT_EQ(blocks[block], original[block + 1]);
    EXPECT_EQ(blocks[block + 1], original[block]);
    EXPECT_EQ(blocks[block + 2], original[block + 3]);
    EXPECT_TRUE(std::equal(blocks.begin() + static_cast<long>(block) + 4,
                           blocks.begin() + static_cast<long>(block) + 144,
                           original.begin() + static_cast<long>(block) + 4))
        << "packed bytes stay";
  }
  for (const TypeInfo& type : tensor_types()) {  // twice is the identity
    if (type.status == TypeStatus::Removed) continue;
    std::vector<std::byte> bytes(3 * type.block_bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37 + 11);
    const std::vector<std::byte> before = bytes;
    swap_block_bytes(type, bytes);
    swap_block_bytes(type, bytes);
    EXPECT_EQ(bytes, before) << type.name;
  }
  std::array<std::byte, 8> value = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                                    std::byte{5}, std::byte{6}, std::byte{7}, std::byte{8}};
  swap_block_bytes(*find_type(TensorType::F64), value);
  EXPECT_EQ(value[0], std::byte{8});
  swap_block_bytes(*find_type(TensorType::C64), value);  // two floats
  EXPECT_EQ(value[0], std::byte{5});
}

}  // namespace
}  // namespace apr
