// The SafeTensors writer: its bytes, what it refuses, and that the reader takes what it wrote.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "apr/format/writer.h"
#include "src/format/readers.h"
#include "src/format/safetensors.h"
#include "tests/support/json_builder.h"

namespace apr::format {
namespace {

using ::testing::HasSubstr;

class SafeTensorsWriterTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_.path("out.safetensors"); }
  ModelFile reopen() const { return read_safetensors(std::make_unique<MappedFile>(path()), path(), {}); }
  std::string write(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors,
                    const std::vector<std::string>& data) {
    const auto writer = make_safetensors_writer(path());
    writer->begin(metadata, tensors);
    for (const std::string& bytes : data) {
      writer->write(std::as_bytes(std::span(bytes.data(), bytes.size())));
      writer->end_tensor();
    }
    writer->finish();
    return test::read_whole(path());
  }
  Error refusal(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) {
    try {
      make_safetensors_writer(path())->begin(metadata, tensors);
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::Usage);
      EXPECT_FALSE(std::filesystem::exists(path()));
      return error;
    }
    ADD_FAILURE() << "was accepted";
    return {ErrorCode::Internal, ""};
  }
  test::TempFolder folder_;
};

TEST_F(SafeTensorsWriterTest, BytesAreAsDrawn) {
  const std::string header =
      R"({"__metadata__":{"format":"pt","n":"3"},"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
      R"("a":{"dtype":"U8","shape":[],"data_offsets":[4,5]}})";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(write({{"format", WriteValue::string("pt")}, {"n", WriteValue::u32(3)}},
                  {{"b", TensorType::F16, {2}}, {"a", TensorType::U8, {}}}, {"1234", "5"}),
            test::safetensors(header + padding, "12345"));
}

TEST_F(SafeTensorsWriterTest, EveryDtypeAndOddNamesComeBack) {
  std::vector<TensorDecl> tensors;
  std::vector<std::string> data;
  for (const SafeTensorsType& row : safetensors_types()) {
    tensors.push_back({"weight.\"\\\n\x01" + std::string(row.name), row.type, {2, 4}});
    data.emplace_back(row.bits, static_cast<char>(data.size()));
  }
  write({{"k\t", WriteValue::strings({"a", "b"})}}, tensors, data);
  const ModelFile model = reopen();
  EXPECT_FALSE(model.has_errors());
  ASSERT_EQ(model.tensors.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(model.tensors[i].name, tensors[i].name);
    EXPECT_EQ(model.tensors[i].type, tensors[i].type);
    EXPECT_EQ(model.tensors[i].shape, tensors[i].shape);
    const auto bytes = model.data(model.tensors[i]);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), data[i]);
  }
  EXPECT_EQ(model.data_offset % 8, 0U);
  ASSERT_EQ(model.metadata.size(), 1U);
  EXPECT_EQ(model.metadata[0].key, "k\t");
  EXPECT_EQ(model.metadata[0].value.as_string(), R"(["a","b"])");
}

TEST_F(SafeTensorsWriterTest, WhatTheFormatLacksIsRefused) {
  const Error type = refusal({}, {{"w", TensorType::Q4_K, {256}}});
  EXPECT_THAT(type.message, HasSubstr("cannot represent"));
  EXPECT_THAT(type.field, HasSubstr("\"w\""));
  EXPECT_FALSE(type.hint.empty());
  EXPECT_THAT(refusal({}, {{"w", TensorType::F4, {3}}}).message, HasSubstr("whole bytes"));
  EXPECT_THAT(refusal({}, {{"__metadata__", TensorType::F32, {3}}}).message, HasSubstr("reserved"));
  EXPECT_THAT(refusal({}, {{"w", TensorType::F32, {-3}}}).message, HasSubstr("negative"));
  EXPECT_THAT(refusal({}, {{"w", TensorType::F32, {1LL << 62}}}).message, HasSubstr("64 bits"));
  EXPECT_THAT(refusal({}, {{"\xC0", TensorType::F32, {1}}}).message, HasSubstr("UTF-8"));
  EXPECT_THAT(refusal({}, {{"w", TensorType::F32, {1}}, {"w", TensorType::U8, {1}}}).message, HasSubstr("same name"));
  EXPECT_THAT(refusal({{"k", WriteValue::u8(1)}, {"k", WriteValue::u8(1)}}, {}).message, HasSubstr("same key"));
}

TEST_F(SafeTensorsWriterTest, BytesThatDifferFromTheDeclarationAreABug) {
  const auto writer = make_safetensors_writer(path());
  writer->begin({}, {{"a", TensorType::F32, {2}}});
  const char bytes[7] = {};
  writer->write(std::as_bytes(std::span(bytes)));
  EXPECT_THROW(writer->end_tensor(), Error);
  EXPECT_THROW(writer->finish(), Error);
  EXPECT_FALSE(std::filesystem::exists(path()));
}

}  // namespace
}  // namespace apr::format
