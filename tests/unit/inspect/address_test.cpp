// What a byte means and where a weight stands: the two are inverse, for every type in every format.
#include "apr/inspect/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "apr/core/error.h"
#include "apr/format/writer.h"
#include "apr/kernels/dispatch.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/json_builder.h"
#include "tests/support/quant_data.h"
#include "tests/support/small_models.h"

namespace apr::inspect {
namespace {

using test::TempFolder;
using testing::HasSubstr;

/// One tensor of random blocks per type that the format can hold; rows of two blocks, or of one and a half where rows
/// are padded (APR).
struct AllTypes {
  TempFolder folder;
  format::ModelFile model;
  explicit AllTypes(format::Format f) : model(make(folder, f)) {}

 private:
  static bool holds(format::Format f, const TypeInfo& type) {
    if (type.status != TypeStatus::Live) return false;
    const auto id = static_cast<unsigned>(type.type);
    if (f == format::Format::Gguf) return id < 256;
    using enum TensorType;
    if (f == format::Format::Apr)
      return type.type == F32 || type.type == F16 || type.type == Q4_K || type.type == Q6_K || type.type == AprQ4 ||
             type.type == AprQ8;
    return (id >= 256 && id < 320) || type.type == F32 || type.type == F16 || type.type == BF16 || type.type == I64;
  }
  static format::ModelFile make(const TempFolder& folder, format::Format f) {
    const std::string path = folder.path("all");
    std::vector<format::TensorDecl> decls;
    std::vector<std::vector<std::byte>> data;
    for (const TypeInfo& type : tensor_types()) {
      if (!holds(f, type)) continue;
      const bool padded = f == format::Format::Apr && (type.type == TensorType::Q4_K || type.type == TensorType::Q6_K);
      const std::uint64_t row = padded ? 384 : 2ULL * type.block_elements;
      decls.push_back({"t." + std::string(type.name), type.type, {3, static_cast<std::int64_t>(row)}});
      std::vector<std::byte> bytes = test::make_blocks(type, 6);
      if (type.type == TensorType::AprQ8) {
        bytes = test::make_blocks(*find_type(TensorType::I8), 6 + 4);
        const float scale = 0.75F;
        std::memcpy(bytes.data(), &scale, 4);
      }
      data.push_back(std::move(bytes));
    }
    if (f == format::Format::Apr) {  // its index is sorted by name
      std::vector<std::size_t> order(decls.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::sort(order.begin(), order.end(),
                [&](std::size_t a, std::size_t b) { return decls[a].name < decls[b].name; });
      std::vector<format::TensorDecl> d;
      std::vector<std::vector<std::byte>> b;
      for (const std::size_t i : order) d.push_back(decls[i]), b.push_back(data[i]);
      decls = d, data = b;
    }
    std::vector<format::WriteEntry> metadata;
    if (f == format::Format::Gguf)
      metadata = {{"general.architecture", format::WriteValue::string("llama")},
                  {"list", format::WriteValue::strings({"a", "", "long text"})}};
    else
      metadata = {{"format", format::WriteValue::string("pt")}};
    const auto writer = format::make_writer(f, path);
    writer->begin(metadata, decls);
    for (const auto& bytes : data) {
      writer->write(bytes);
      writer->end_tensor();
    }
    writer->finish();
    return format::open_model(path);
  }
};

std::vector<format::Format> formats() {
  return {format::Format::Gguf, format::Format::Apr, format::Format::SafeTensors};
}

bool stands_on(const WeightPlace& weight, std::uint64_t offset) {
  for (const PartPlace& part : weight.parts)
    for (const FileBits& bits : part.bits)
      if (bits.offset == offset) return true;
  return false;
}

// Red when big_endian_byte, BlockGrid::stored or any layout is off by one: each was tried.
TEST(Address, ByteAndWeightAreInverseOnRandomBytesOfEveryType) {
  for (const format::Format f : formats()) {
    const AllTypes all(f);
    ASSERT_FALSE(all.model.has_errors());
    const AddressMap map(all.model);
    std::mt19937_64 random(7);
    ASSERT_GT(all.model.tensors.size(), 5U);
    for (std::size_t t = 0; t < all.model.tensors.size(); ++t) {
      const format::TensorInfo& tensor = all.model.tensors[t];
      SCOPED_TRACE(std::string(format::name(f)) + " " + std::string(tensor.name));
      std::uint64_t n_checked = 0;
      for (int k = 0; k < 60; ++k) {
        const std::uint64_t offset = tensor.offset + random() % tensor.size_bytes;
        const Address address = map.at(offset, 0, UINT64_MAX);
        ASSERT_TRUE(address.tensor);
        EXPECT_FALSE(address.header);
        ASSERT_NE(address.region, nullptr);
        EXPECT_EQ(address.region->name, "tensor data");
        EXPECT_EQ(address.tensor->tensor, t);
        EXPECT_EQ(address.tensor->n_weights, address.tensor->weights.size());
        for (const WeightPlace& weight : address.tensor->weights) {
          EXPECT_TRUE(stands_on(weight, offset)) << "a weight that the byte changes stands on it";
          EXPECT_EQ(map.weight(t, weight.element).index, weight.index);
          ++n_checked;
        }
        // No other weight of the tensor stands on this byte.
        const std::uint64_t element = random() % tensor.n_elements;
        const WeightPlace other = map.weight(t, element);
        bool listed = false;
        for (const WeightPlace& weight : address.tensor->weights) listed = listed || weight.element == element;
        EXPECT_EQ(stands_on(other, offset), listed) << element;
      }
      EXPECT_GT(n_checked, 0U);
      for (int k = 0; k < 40; ++k) {  // and from the weight to its bytes
        const WeightPlace weight = map.weight(t, random() % tensor.n_elements);
        for (const PartPlace& part : weight.parts)
          for (const FileBits& bits : part.bits) {
            const Address address = map.at(bits.offset, 0, UINT64_MAX);
            ASSERT_TRUE(address.tensor);
            const auto& found = address.tensor->weights;
            EXPECT_TRUE(std::any_of(found.begin(), found.end(),
                                    [&](const WeightPlace& w) { return w.element == weight.element; }));
            const bool used =
                std::any_of(address.tensor->uses.begin(), address.tensor->uses.end(), [&](const BitUse& u) {
                  return u.kind == part.kind && u.first_bit == bits.first_bit && u.width == bits.width;
                });
            EXPECT_TRUE(used) << name(part.kind);
          }
      }
    }
  }
}

TEST(Address, TheBitsOfAWeightGiveItsStoredNumbersAndItsDecodedValue) {
  for (const format::Format f : formats()) {
    const AllTypes all(f);
    const AddressMap map(all.model);
    const auto file = all.model.files[0]->bytes();
    for (std::size_t t = 0; t < all.model.tensors.size(); ++t) {
      const format::TensorInfo& tensor = all.model.tensors[t];
      SCOPED_TRACE(std::string(format::name(f)) + " " + std::string(tensor.name));
      const auto grid = block_grid(tensor);
      ASSERT_TRUE(grid);
      for (std::uint64_t e = 0; e < tensor.n_elements; ++e) {
        const WeightPlace weight = map.weight(t, e);
        for (const PartPlace& part : weight.parts) {
          std::uint64_t stored = 0;
          unsigned to = 0;
          for (const FileBits& bits : part.bits) {
            const auto byte = std::to_integer<std::uint64_t>(file[bits.offset]);
            stored |= (byte >> bits.first_bit & ((1U << bits.width) - 1)) << to;
            to += bits.width;
          }
          ASSERT_EQ(stored, part.stored) << name(part.kind) << " of element " << e;
        }
        float expected = 0;
        const bool decoded =
            kernels::decode(tensor.type, all.model.data(tensor), grid->stored(e), std::span(&expected, 1));
        if (tensor.type == TensorType::Bool) continue;  // the byte itself is shown, the kernels give 0 or 1
        if (tensor.type == TensorType::C64) {
          EXPECT_FALSE(weight.value);
          continue;
        }
        ASSERT_TRUE(decoded);
        ASSERT_TRUE(weight.value);
        const float found = std::visit([](const auto v) { return static_cast<float>(v); }, *weight.value);
        ASSERT_EQ(test::canonical_bits(found), test::canonical_bits(expected)) << e;
      }
    }
  }
}

TEST(Address, BigEndianFilesHaveTheirBytesTurned) {
  test::GgufBuilder b(std::endian::big);
  b.architecture();
  b.info("q", {256, 2}, 12, 0);  // Q4_K
  b.info("f", {4}, 0, 288);
  std::vector<std::byte> blocks = test::make_blocks(*find_type(TensorType::Q4_K), 2);
  swap_block_bytes(*find_type(TensorType::Q4_K), blocks);
  b.data().text.assign(reinterpret_cast<const char*>(blocks.data()), blocks.size());
  for (const float v : {1.5F, -2.0F, 3.25F, 0.0F}) b.data().put(v);
  b.data().text.resize(320);
  const TempFolder folder;
  const format::ModelFile model = format::open_model(folder.write("big.gguf", b.bytes()));
  const AddressMap map(model);
  const WeightPlace d = map.weight(0, 300);
  EXPECT_EQ(d.parts[0].bits[0].offset, d.block_offset + 1) << "the low byte of a big-endian f16 stands second";
  EXPECT_EQ(d.parts[0].bits[1].offset, d.block_offset);
  EXPECT_EQ(std::get<float>(*map.weight("f[2]").value), 3.25F);
  for (std::uint64_t offset = model.tensors[0].offset; offset < model.tensors[0].offset + 288; ++offset) {
    const Address address = map.at(offset, 0, UINT64_MAX);
    ASSERT_FALSE(address.tensor->weights.empty());
    for (const WeightPlace& weight : address.tensor->weights) EXPECT_TRUE(stands_on(weight, offset));
  }
}

/// Every byte in front of the data has a field whose range holds it, or lies in padding.
TEST(Address, EveryByteOfTheHeaderHasAFieldOrIsPadding) {
  for (const format::Format f : formats()) {
    SCOPED_TRACE(format::name(f));
    const AllTypes all(f);
    const AddressMap map(all.model);
    std::uint64_t n_fields = 0, n_json = 0;
    for (std::uint64_t at = 0; at < all.model.files[0]->size(); ++at) {
      const Address address = map.at(at);
      if (address.tensor) continue;
      ASSERT_TRUE(address.region != nullptr || address.header || f == format::Format::Apr) << at;
      if (!address.header) {
        const std::string region = address.region == nullptr ? "" : address.region->name;
        const bool json = f != format::Format::Gguf && (region == "header" || region == "metadata");
        EXPECT_TRUE(json || region.find("padding") != std::string::npos || region == "tensor data" || region.empty())
            << at << " in " << region;
        n_json += json;
        continue;
      }
      EXPECT_LE(address.header->field.offset, at);
      EXPECT_LT(at, address.header->field.offset + address.header->field.bytes.size());
      ++n_fields;
    }
    EXPECT_GT(n_fields, 40U);
    EXPECT_EQ(f == format::Format::Apr, n_json > 0) << "JSON of APR's metadata has bytes between its entries";
  }
}

TEST(Address, FieldsOfAGgufHeaderAreNamed) {
  const AllTypes all(format::Format::Gguf);
  const AddressMap map(all.model);
  EXPECT_EQ(map.at(0).header->field.name, "magic");
  EXPECT_EQ(map.at(9).header->field.name, "tensor_count");
  const format::MetadataEntry& list = *all.model.find_metadata("list");
  EXPECT_EQ(map.at(list.key_offset).header->field.name, "key.length");
  EXPECT_EQ(map.at(list.key_offset).header->entry, "list");
  EXPECT_EQ(map.at(list.key_offset + 8).header->field.name, "key");
  EXPECT_EQ(map.at(list.value_offset).header->field.name, "value.element_type");
  const HeaderByte last = *map.at(list.end_offset - 1).header;
  EXPECT_EQ(last.field.name, "value[2]");
  EXPECT_EQ(last.field.value, "long text");
  const HeaderByte offset = *map.at(all.model.tensors[3].info_offset + all.model.tensors[3].info_size - 1).header;
  EXPECT_EQ(offset.field.name, "offset");
  EXPECT_EQ(offset.entry, all.model.tensors[3].name);
}

ErrorCode code_of(const AddressMap& map, std::string_view address) {
  try {
    static_cast<void>(map.weight(address));
  } catch (const Error& error) {
    return error.code;
  }
  return ErrorCode::Internal;
}

TEST(Address, WrongAddressesAreRefused) {
  const AllTypes all(format::Format::Gguf);
  const AddressMap map(all.model);
  for (const char* bad : {"t.F32", "t.F32[", "t.F32[0]", "t.F32[0,0,0]", "t.F32[3,0]", "t.F32[0,2]", "t.F32[a,0]",
                          "t.F32[-1,0]", "t.F32[0,18446744073709551616]", "", "]", "t.*[0,0]"})
    EXPECT_EQ(code_of(map, bad), ErrorCode::Usage) << bad;
  EXPECT_EQ(code_of(map, "t.F99[0,0]"), ErrorCode::ValidationFailed);
  EXPECT_EQ(map.weight("t.F32[2, 1]").element, 5U);
  EXPECT_THROW(static_cast<void>(map.at(all.model.files[0]->size())), Error);
  EXPECT_THROW(static_cast<void>(map.at(0, 1)), Error);
  EXPECT_THROW(static_cast<void>(map.weight(0, all.model.tensors[0].n_elements)), Error);
}

}  // namespace
}  // namespace apr::inspect
