// The APR v2 writer: its bytes, what it refuses, and that the reader takes what it wrote.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "apr/core/hash.h"
#include "apr/format/apr_header.h"
#include "apr/format/writer.h"
#include "src/format/readers.h"
#include "tests/support/apr_builder.h"
#include "tests/support/json_builder.h"

namespace apr::format {
namespace {

using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// One tensor `a`, f32 [2] of 1.0 and 2.0, and no metadata: computed by hand from the layout.
std::string known_file() {
  const auto unhex = [](std::string_view hex) {
    std::string out;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
      out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return out;
  };
  const auto line = [&unhex](std::string_view hex, std::size_t size) {
    std::string out = unhex(hex);
    out.resize(size, '\0');
    return out;
  };
  return line(
             "41505200020000040100000040000000000000000200000080000000000000"
             "00c00000000000000027bedda600000000",
             64) +
         line("7b7d", 64) + line("010061000102000000000000000000000000000000080000000000000000", 64) +
         line("0000803f00000040", 64) + unhex("6caab6bd");
}

class AprWriterTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_.path("out.apr"); }
  ModelFile reopen() const { return read_apr(std::make_unique<MappedFile>(path()), path(), {.verify_data = true}); }
  /// Writes tensors whose bytes count up from the tensor's number.
  std::string write(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) {
    const auto writer = make_apr_writer(path());
    writer->begin(metadata, tensors);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      writer->write(bytes_of(data_of(tensors[i], i)));
      writer->end_tensor();
    }
    writer->finish();
    return test::read_whole(path());
  }
  static std::string data_of(const TensorDecl& tensor, std::size_t number) {
    std::string data(apr_stored_bytes(tensor.type, tensor.shape).value(), '\0');
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i + number);
    return data;
  }
  Error refusal(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) {
    try {
      make_apr_writer(path())->begin(metadata, tensors);
    } catch (const Error& error) {
      EXPECT_FALSE(std::filesystem::exists(path()));
      EXPECT_EQ(error.code, ErrorCode::Usage);
      return error;
    }
    ADD_FAILURE() << "was accepted";
    return {ErrorCode::Internal, ""};
  }
  test::TempFolder folder_;
};

TEST_F(AprWriterTest, TheKnownFileByteForByte) {
  const std::string expected = known_file();
  ASSERT_EQ(expected.size(), 260U);
  const auto writer = make_apr_writer(path());
  writer->begin({}, {{"a", TensorType::F32, {2}}});
  const float values[] = {1.0F, 2.0F};
  writer->write(std::as_bytes(std::span(values)));
  writer->end_tensor();
  writer->finish();
  const std::string written = test::read_whole(path());
  ASSERT_EQ(written.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(static_cast<unsigned char>(written[i]), static_cast<unsigned char>(expected[i])) << "at " << i;
  const ModelFile model = reopen();
  EXPECT_TRUE(model.findings.empty());
  EXPECT_EQ(model.data_checksum_ok, true);
  ASSERT_EQ(model.tensors.size(), 1U);
  EXPECT_EQ(model.tensors[0].offset, 192U);
  EXPECT_EQ(model.tensors[0].info_offset, 128U);
  EXPECT_EQ(model.tensors[0].info_size, 29U);
}

TEST_F(AprWriterTest, EveryTypeItTakesComesBack) {
  const std::vector<TensorDecl> tensors = {
      {"z", TensorType::F32, {2, 3}},    {"y", TensorType::F16, {7}},       {"x", TensorType::Q4_K, {3, 512}},
      {"w", TensorType::Q6_K, {2, 256}}, {"v", TensorType::AprQ4, {5, 13}}, {"u", TensorType::AprQ8, {3, 3}},
      {"t", TensorType::Q4_K, {2, 300}}, {"s", TensorType::F32, {}},        {"r", TensorType::F32, {0, 4}},
  };
  write({}, tensors);
  const ModelFile model = reopen();
  EXPECT_FALSE(model.has_errors());
  ASSERT_EQ(model.tensors.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo* tensor = model.find_tensor(tensors[i].name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->type, tensors[i].type);
    EXPECT_EQ(tensor->shape, tensors[i].shape);
    EXPECT_EQ(tensor->offset % 64, 0U);
    const auto data = model.data(*tensor);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(data.data()), data.size()), data_of(tensors[i], i));
  }
  EXPECT_EQ(model.tensors.front().name, "r") << "the index is sorted";
  EXPECT_EQ(model.find_tensor("z")->offset, model.data_offset) << "the data are in the order of declaration";
}

TEST_F(AprWriterTest, FlagsSayWhatIsInside) {
  const auto flags = [](const std::string& file) {
    return static_cast<unsigned>(static_cast<unsigned char>(file[6]) | static_cast<unsigned char>(file[7]) << 8);
  };
  EXPECT_EQ(flags(write({}, {{"a", TensorType::F16, {2}}})), 0x0400U);
  EXPECT_EQ(flags(write({}, {{"a", TensorType::Q4_K, {256}}})), 0x0420U);
  EXPECT_EQ(flags(write({}, {{"a", TensorType::AprQ8, {2}}})), 0x0420U);
  EXPECT_EQ(flags(write({{"tokenizer.vocabulary", WriteValue::strings({"a"})}}, {})), 0x0600U);
}

TEST_F(AprWriterTest, MetadataAreCanonicalAndExact) {
  const std::vector<WriteEntry> metadata = {
      {"architecture", WriteValue::string("qwen2")},
      {"n_embd", WriteValue::u32(896)},
      {"rope_theta", WriteValue::f32(1000000.0F)},
      {"rms_norm_eps", WriteValue::f32(1e-6F)},
      {"big", WriteValue::u64(~0ULL)},
      {"small", WriteValue::i32(-7)},
      {"yes", WriteValue::boolean(true)},
      {"text", WriteValue::string("q\"b\\\x01\x7F\n\xC3\xA9")},
      {"tokens", WriteValue::strings({"a", "", "\t"})},
      {"ids", WriteValue::i32s({1, -2})},
      {"scores", WriteValue::f32s({0.1F, -1.0})},
      {"object", WriteValue::json(R"({"a":[1,null]})")},
  };
  const std::string file = write(metadata, {});
  EXPECT_THAT(file, HasSubstr("\"hidden_size\":896"));
  EXPECT_THAT(file, HasSubstr("\"rope_theta\":1e+06"));
  EXPECT_THAT(file, HasSubstr("\"rms_norm_eps\":1e-06"));
  EXPECT_THAT(file, HasSubstr("\"scores\":[0.1,-1.0]"));
  EXPECT_THAT(file, HasSubstr("\"object\":{\"a\":[1,null]}"));
  const ModelFile model = reopen();
  EXPECT_FALSE(model.has_errors());
  ASSERT_EQ(model.metadata.size(), metadata.size());
  EXPECT_EQ(model.find_metadata("big")->value.as_u64(), ~0ULL);
  EXPECT_EQ(model.find_metadata("small")->value.as_i64(), -7);
  EXPECT_EQ(model.find_metadata("yes")->value.as_bool(), true);
  EXPECT_EQ(model.find_metadata("text")->value.as_string(), "q\"b\\\x01\x7F\n\xC3\xA9");
  EXPECT_EQ(model.find_metadata("rms_norm_eps")->value.as_f64(), 1e-6);
  EXPECT_EQ(model.find_metadata("tokens")->value.as_array()->count, 3U);
}

TEST_F(AprWriterTest, OneFieldUnderTwoNamesIsRefused) {
  EXPECT_THAT(refusal({{"hidden_size", WriteValue::u32(1)}, {"n_embd", WriteValue::u32(1)}}, {}).field,
              HasSubstr("hidden_size"));
  EXPECT_THAT(refusal({{"a", WriteValue::u32(1)}, {"a", WriteValue::u32(1)}}, {}).message, HasSubstr("same field"));
}

TEST_F(AprWriterTest, WhatJsonCannotHoldIsRefused) {
  EXPECT_THAT(refusal({{"x", WriteValue::f32(NAN)}}, {}).message, HasSubstr("NaN"));
  EXPECT_THAT(refusal({{"x", WriteValue::f32s({1, INFINITY})}}, {}).message, HasSubstr("NaN"));
  EXPECT_THAT(refusal({{"x", WriteValue::string("\xFF")}}, {}).message, HasSubstr("UTF-8"));
  EXPECT_THAT(refusal({{"x", WriteValue::json("{,}")}}, {}).message, HasSubstr("JSON"));
}

TEST_F(AprWriterTest, TypesOnWhichReadersDisagreeAreRefusedWithAHint) {
  for (const TypeInfo& type : tensor_types()) {
    if (type.status != TypeStatus::Live) continue;
    const bool taken = type.type == TensorType::F32 || type.type == TensorType::F16 || type.type == TensorType::Q4_K ||
                       type.type == TensorType::Q6_K || type.type == TensorType::AprQ4 ||
                       type.type == TensorType::AprQ8;
    if (taken) continue;
    const Error error = refusal({}, {{"blk.0.w", type.type, {2, 256}}});
    EXPECT_THAT(error.message, HasSubstr("cannot represent exactly")) << type.name;
    EXPECT_THAT(error.field, HasSubstr("blk.0.w"));
    EXPECT_THAT(error.hint, HasSubstr("convert the tensor to"));
  }
  EXPECT_THAT(refusal({}, {{"t", TensorType::Q8_0, {256}}}).hint, HasSubstr("q6_k"));
  EXPECT_THAT(refusal({}, {{"t", TensorType::Q4_0, {256}}}).hint, HasSubstr("q4_k"));
  EXPECT_THAT(refusal({}, {{"t", TensorType::BF16, {256}}}).hint, HasSubstr("f32"));
}

TEST_F(AprWriterTest, DeclarationsThatDoNotFitAreRefused) {
  EXPECT_THAT(refusal({}, {{std::string(257, 'n'), TensorType::F32, {1}}}).message, HasSubstr("too long"));
  EXPECT_THAT(refusal({}, {{"\xFF", TensorType::F32, {1}}}).message, HasSubstr("UTF-8"));
  EXPECT_THAT(refusal({}, {{"a", TensorType::F32, std::vector<std::int64_t>(9, 1)}}).message, HasSubstr("dimensions"));
  EXPECT_THAT(refusal({}, {{"a", TensorType::F32, {-1}}}).message, HasSubstr("negative"));
  EXPECT_THAT(refusal({}, {{"a", TensorType::F32, {1LL << 62}}}).message, HasSubstr("64 bits"));
  EXPECT_THAT(refusal({}, {{"a", TensorType::F32, {1}}, {"a", TensorType::F32, {1}}}).message, HasSubstr("same name"));
}

TEST_F(AprWriterTest, BytesThatDifferFromTheDeclarationAreABug) {
  const auto writer = make_apr_writer(path());
  writer->begin({}, {{"a", TensorType::F32, {2}}});
  writer->write(bytes_of("1234567"));
  EXPECT_THROW(writer->end_tensor(), Error);
  EXPECT_THROW(writer->finish(), Error);
  EXPECT_FALSE(std::filesystem::exists(path()));
}

}  // namespace
}  // namespace apr::format
