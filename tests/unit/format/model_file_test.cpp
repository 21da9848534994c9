// The tables of an opened model, and what is shared by all readers.
#include "apr/format/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "src/format/readers.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::format {
namespace {

using ::testing::HasSubstr;

TEST(ModelFile, LookupsFindTheFirstOfEqualNamesAndWhatIsAddedLater) {
  ModelFile model;
  model.metadata.push_back({"k", Value(ValueType::U32, std::uint64_t{1})});
  model.metadata.push_back({"k", Value(ValueType::U32, std::uint64_t{2})});
  EXPECT_EQ(model.find_metadata("k")->value.as_u64(), 1U);
  EXPECT_EQ(model.find_metadata("later"), nullptr);
  model.metadata.push_back({"later", Value(true)});
  ASSERT_NE(model.find_metadata("later"), nullptr);
  TensorInfo tensor;
  tensor.name = "t";
  EXPECT_EQ(model.find_tensor("t"), nullptr);
  model.tensors.push_back(tensor);
  EXPECT_EQ(model.find_tensor("t"), &model.tensors[0]);
  const ModelFile moved = std::move(model);
  EXPECT_EQ(moved.find_tensor("t"), &moved.tensors[0]);
}

TEST(ModelFile, ParametersSaturate) {
  ModelFile model;
  TensorInfo tensor;
  tensor.n_elements = std::numeric_limits<std::uint64_t>::max() - 1;
  model.tensors = {tensor, tensor};
  EXPECT_EQ(model.n_parameters(), std::numeric_limits<std::uint64_t>::max());
}

TEST(ModelFile, RequireSoundThrowsTheFirstError) {
  ModelFile model;
  Findings findings("some.gguf");
  findings.warning("a.warning", "not so nice");
  findings.error("an.error", "broken").at(12).in("header").want("1").got("2");
  findings.error("another.error", "more broken");
  model.findings = findings.take();
  EXPECT_TRUE(model.has_errors());
  try {
    model.require_sound();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::InvalidFormat);
    EXPECT_EQ(error.message, "broken");
    EXPECT_EQ(error.file, "some.gguf");
    EXPECT_EQ(error.offset, 12U);
    EXPECT_EQ(error.field, "header");
    EXPECT_EQ(error.expected, "1");
    EXPECT_EQ(error.found, "2");
  }
  model.findings.resize(1);
  EXPECT_FALSE(model.has_errors());
  EXPECT_NO_THROW(model.require_sound());
}

TEST(ModelFile, KeptTextStaysWhereItIs) {
  ModelFile model;
  const std::string_view first = model.keep("first");
  const char* address = first.data();
  for (int i = 0; i < 1000; ++i) (void)model.keep(std::string(100, 'x'));
  const ModelFile moved = std::move(model);
  EXPECT_EQ(first.data(), address);
  EXPECT_EQ(first, "first");
}

TEST(ModelFile, AFileThatShrinksWhileOpenIsNoticed) {  // G87
  const test::TempFolder folder;
  test::GgufBuilder b;
  b.architecture();
  b.tensor("a", {1 << 16}, test::kGgmlF32, 4 << 16);
  const std::string path = folder.write("m.gguf", b.bytes());
  const ModelFile model = open_model(path);
  EXPECT_NO_THROW(model.check_intact());
  std::filesystem::resize_file(path, 100);
  std::uint64_t sum = 0;
  for (const std::byte byte : model.data(model.tensors[0])) sum += std::to_integer<unsigned>(byte);
  EXPECT_EQ(sum, 0U) << "gone pages read as zero";
  try {
    model.check_intact();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::Io);
  }
}

TEST(ModelFile, WhatIsNoRegularFileIsNotFound) {  // G88
  const auto missing = test::open_path("/nonexistent/model.gguf");
  ASSERT_TRUE(missing.error);
  EXPECT_EQ(missing.error->code, ErrorCode::NotFound);
  const auto device = test::open_path("/dev/zero");
  ASSERT_TRUE(device.error);
  EXPECT_EQ(device.error->code, ErrorCode::NotFound);
}

TEST(Findings, OfOneRuleAHundredAreKeptAndTheOthersCounted) {
  Findings findings("f");
  for (int i = 0; i < 250; ++i) findings.warning("many", "one of many").at(static_cast<std::uint64_t>(i));
  findings.error("few", "one");
  EXPECT_TRUE(findings.has_errors());
  const std::vector<Finding> all = findings.take();
  ASSERT_EQ(all.size(), 102U);
  EXPECT_EQ(all[99].offset, 99U);
  EXPECT_EQ(all[100].rule, "few");
  EXPECT_EQ(all[101].rule, "many");
  EXPECT_EQ(all[101].severity, Severity::Warning);
  EXPECT_THAT(all[101].message, HasSubstr("150 more"));
}

TEST(Findings, AnErrorBeyondTheHundredthIsStillAnError) {
  Findings findings("f");
  for (int i = 0; i < 100; ++i) findings.warning("mixed", "x");
  findings.error("mixed", "x");
  EXPECT_TRUE(findings.has_errors());
  EXPECT_EQ(findings.take().back().severity, Severity::Error);
}

TEST(Value, NumbersConvertOnlyWhereTheyFit) {
  const Value negative(ValueType::I32, std::int64_t{-1});
  EXPECT_FALSE(negative.as_u64());
  EXPECT_EQ(negative.as_i64(), -1);
  EXPECT_EQ(negative.as_f64(), -1.0);
  const Value huge(ValueType::U64, ~std::uint64_t{0});
  EXPECT_EQ(huge.as_u64(), ~std::uint64_t{0});
  EXPECT_FALSE(huge.as_i64());
  const Value flag(true);
  EXPECT_FALSE(flag.as_u64());
  EXPECT_EQ(flag.as_bool(), true);
  const Value text(std::string_view("7"));
  EXPECT_FALSE(text.as_u64());
  EXPECT_FALSE(text.as_f64());
  EXPECT_EQ(text.as_string(), "7");
  EXPECT_EQ(Value().type(), ValueType::Null);
}

TEST(Value, EveryTypeHasItsName) {
  std::vector<std::string> names;
  for (int type = 0; type <= 14; ++type) names.emplace_back(name(static_cast<ValueType>(type)));
  EXPECT_THAT(names, testing::ElementsAre("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array",
                                          "u64", "i64", "f64", "null", "object"));
}

}  // namespace
}  // namespace apr::format
