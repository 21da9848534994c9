// The GGUF writer: what it writes is read back equal, and what GGUF cannot hold is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "apr/format/model_file.h"
#include "apr/format/writer.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::format {
namespace {

using ::testing::HasSubstr;

class WriterGguf : public testing::Test {
 protected:
  std::string path() const { return folder_.path("out.gguf"); }
  /// Writes the tensors with random bytes in pieces; returns what each holds.
  std::vector<std::string> write(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) {
    const auto writer = make_writer(Format::Gguf, path());
    writer->begin(metadata, tensors);
    std::vector<std::string> contents;
    std::mt19937_64 random(7);
    for (const TensorDecl& tensor : tensors) {
      std::uint64_t n = 1;
      for (const std::int64_t dim : tensor.shape) n *= static_cast<std::uint64_t>(dim);
      const std::uint64_t size =
          stored_bytes(*find_type(tensor.type), n,
                       tensor.shape.empty() ? 1 : static_cast<std::uint64_t>(tensor.shape.back()))
              .value();
      std::string bytes(size, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      const std::size_t half = bytes.size() / 3;
      writer->write(std::as_bytes(std::span(bytes)).first(half));
      writer->write(std::as_bytes(std::span(bytes)).subspan(half));
      writer->end_tensor();
      contents.push_back(std::move(bytes));
    }
    writer->finish();
    return contents;
  }
  /// The failure of begin(), which must be one of usage and leave no file.
  Error refusal(const std::vector<WriteEntry>& metadata, const std::vector<TensorDecl>& tensors) {
    try {
      const auto writer = make_writer(Format::Gguf, path());
      writer->begin(metadata, tensors);
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::Usage) << error.what();
      EXPECT_FALSE(std::filesystem::exists(path()));
      return error;
    }
    ADD_FAILURE() << "begin() took it";
    return Error(ErrorCode::Internal, "");
  }
  Error refused_tensor(const TensorDecl& tensor) { return refusal({}, {{"fine", TensorType::F32, {4}}, tensor}); }
  test::TempFolder folder_;
};

WriteValue typed(ValueType type, decltype(WriteValue::data) data) {
  WriteValue value;
  value.type = type;
  value.data = std::move(data);
  return value;
}
WriteValue array_of(ValueType element, decltype(WriteValue::data) data) {
  WriteValue value = typed(ValueType::Array, std::move(data));
  value.element = element;
  return value;
}

std::vector<WriteEntry> all_kinds() {
  return {{"general.architecture", WriteValue::string("llama")},
          {"u8", WriteValue::u8(255)},
          {"i8", typed(ValueType::I8, std::int64_t{-128})},
          {"u16", typed(ValueType::U16, std::uint64_t{65535})},
          {"i16", typed(ValueType::I16, std::int64_t{-32768})},
          {"u32", WriteValue::u32(~0U)},
          {"i32", WriteValue::i32(std::numeric_limits<std::int32_t>::min())},
          {"f32", WriteValue::f32(0.1f)},
          {"u64", WriteValue::u64(~0ULL)},
          {"i64", typed(ValueType::I64, std::numeric_limits<std::int64_t>::min())},
          {"f64", typed(ValueType::F64, 0.1)},
          {"bool", WriteValue::boolean(true)},
          {"string", WriteValue::string("a\nb\xff")},
          {"strings", WriteValue::strings({"", "x", std::string("\0y", 2)})},
          {"i32s", WriteValue::i32s({-1, 0, 1})},
          {"f32s", WriteValue::f32s({0.5, -0.0, 1e30})},
          {"u8s", array_of(ValueType::U8, std::vector<std::int64_t>{0, 255})},
          {"u64s", array_of(ValueType::U64, std::vector<std::int64_t>{-1, 0})},
          {"bools", array_of(ValueType::Bool, std::vector<std::int64_t>{0, 1})},
          {"f64s", array_of(ValueType::F64, std::vector<double>{0.1})},
          {"empty", WriteValue::i32s({})},
          {"object", WriteValue::json("{\"a\":1}")}};
}

TEST_F(WriterGguf, WhatIsWrittenIsReadBack) {
  const std::vector<TensorDecl> tensors = {{"f", TensorType::F32, {3, 5}},
                                           {"q", TensorType::Q4_K, {2, 1, 256}},
                                           {"scalar", TensorType::F16, {}},
                                           {"nothing", TensorType::F32, {0, 4}},
                                           {std::string(63, 'n'), TensorType::I8, {1, 2, 3, 4}}};
  const auto contents = write(all_kinds(), tensors);
  const auto opened = test::open_path(path(), {.verify_data = true});
  ASSERT_TRUE(opened.model) << opened.all();
  EXPECT_FALSE(opened.model->has_errors()) << opened.all();
  for (const Finding& finding : opened.model->findings)  // the scalar and the empty tensor earn a word
    EXPECT_TRUE(finding.rule == "gguf.tensor.dim.zero" || finding.rule == "gguf.tensor.n_dims.zero") << finding.rule;
  EXPECT_EQ(opened.model->version, "3");
  EXPECT_EQ(opened.model->byte_order, std::endian::little);
  ASSERT_EQ(opened.model->tensors.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = opened.model->tensors[i];
    EXPECT_EQ(tensor.name, tensors[i].name);
    EXPECT_EQ(tensor.type, tensors[i].type);
    EXPECT_EQ(tensor.shape, tensors[i].shape);
    EXPECT_EQ(tensor.offset % 32, 0U);
    const auto bytes = opened.model->data(tensor);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), contents[i]);
  }
}

TEST_F(WriterGguf, EveryKindOfValueComesBackEqual) {
  const std::vector<WriteEntry> metadata = all_kinds();
  write(metadata, {});
  const auto opened = test::open_path(path());
  ASSERT_TRUE(opened.model) << opened.all();
  ASSERT_EQ(opened.model->metadata.size(), metadata.size());
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    const WriteValue back = WriteValue::copy_of(opened.model->metadata[i].value);
    EXPECT_EQ(opened.model->metadata[i].key, metadata[i].key);
    EXPECT_EQ(back.type, metadata[i].value.type) << metadata[i].key;
    if (back.type == ValueType::Array) {
      EXPECT_EQ(back.element, metadata[i].value.element) << metadata[i].key;
    }
    if (metadata[i].key == "f32s")  // stored as float
      EXPECT_EQ(std::get<std::vector<double>>(back.data), (std::vector<double>{0.5, -0.0, double{1e30f}}));
    else
      EXPECT_EQ(back.data, metadata[i].value.data) << metadata[i].key;
  }
}

TEST_F(WriterGguf, CopyingAFileGivesTheSameBytes) {
  const auto contents = write(all_kinds(), {{"f", TensorType::F32, {3, 5}}, {"q", TensorType::Q8_0, {64}}});
  const std::string first = test::read_whole(path());
  const std::string copy_path = folder_.path("copy.gguf");
  const ModelFile model = open_model(path());
  std::vector<WriteEntry> metadata;
  std::vector<TensorDecl> tensors;
  for (const MetadataEntry& entry : model.metadata)
    metadata.push_back({std::string(entry.key), WriteValue::copy_of(entry.value)});
  for (const TensorInfo& tensor : model.tensors)
    tensors.push_back({std::string(tensor.name), tensor.type, tensor.shape});
  const auto writer = make_writer(Format::Gguf, copy_path);
  writer->begin(metadata, tensors);
  for (const TensorInfo& tensor : model.tensors) {
    writer->write(model.data(tensor));
    writer->end_tensor();
  }
  writer->finish();
  EXPECT_EQ(test::read_whole(copy_path), first);
}

TEST_F(WriterGguf, TheBytesAreThoseOfTheFormat) {
  const auto writer = make_writer(Format::Gguf, path());
  writer->begin({{"general.architecture", WriteValue::string("llama")}}, {{"a", TensorType::F32, {1, 8}}});
  const std::string ones(32, '\1');
  writer->write(std::as_bytes(std::span(ones)));
  writer->end_tensor();
  writer->finish();
  test::GgufBuilder b;
  b.architecture();
  b.tensor("a", {8, 1}, test::kGgmlF32, 32);
  EXPECT_EQ(test::read_whole(path()), b.bytes());
}

TEST_F(WriterGguf, ADeclaredAlignmentIsKept) {
  write({{"general.alignment", WriteValue::u32(4096)}}, {{"a", TensorType::I8, {1}}, {"b", TensorType::I8, {1}}});
  const ModelFile model = open_model(path());
  EXPECT_EQ(model.alignment, 4096U);
  EXPECT_EQ(model.tensors[0].offset, 4096U);
  EXPECT_EQ(model.tensors[1].offset, 8192U);
  for (const WriteValue& bad : {WriteValue::u32(0), WriteValue::u32(48), WriteValue::u32(4), WriteValue::u64(32),
                                WriteValue::string("32"), WriteValue::u32(1U << 31)}) {
    std::filesystem::remove(path());
    EXPECT_EQ(refusal({{"general.alignment", bad}}, {}).field, "metadata[\"general.alignment\"]");
  }
}

TEST_F(WriterGguf, WhatGgufCannotHoldIsRefusedByName) {
  EXPECT_THAT(refused_tensor({"t", TensorType::U8, {4}}).field, HasSubstr("\"t\""));
  for (const TensorType type : {TensorType::Bool, TensorType::F8_E4M3, TensorType::C64, TensorType::AprQ4,
                                TensorType::AprQ8, TensorType::Unknown, TensorType::Q4_2, TensorType::Q4_0_4_4})
    EXPECT_EQ(refused_tensor({"t", type, {64}}).message, "GGUF has no such element type");
  EXPECT_THAT(refused_tensor({std::string(64, 'n'), TensorType::F32, {4}}).found, HasSubstr("64 bytes"));
  EXPECT_THAT(refused_tensor({"", TensorType::F32, {4}}).message, HasSubstr("1 to 63"));
  EXPECT_THAT(refused_tensor({std::string("a\0b", 3), TensorType::F32, {4}}).message, HasSubstr("NUL"));
  EXPECT_THAT(refused_tensor({"fine", TensorType::F32, {4}}).message, HasSubstr("two tensors"));
  EXPECT_THAT(refused_tensor({"t", TensorType::F32, {1, 1, 1, 1, 1}}).message, HasSubstr("4 dimensions"));
  EXPECT_THAT(refused_tensor({"t", TensorType::Q4_K, {256, 32}}).message, HasSubstr("whole number of blocks"));
  EXPECT_THAT(refused_tensor({"t", TensorType::F32, {-1}}).message, HasSubstr("negative"));
  EXPECT_THAT(refused_tensor({"t", TensorType::F32, {1LL << 32, 1LL << 32}}).message, HasSubstr("too large"));
}

TEST_F(WriterGguf, MetadataThatGgufCannotHoldIsRefusedByName) {
  const auto refused = [&](const std::string& key, const WriteValue& value) { return refusal({{key, value}}, {}); };
  EXPECT_THAT(refused("", WriteValue::u32(1)).message, HasSubstr("1 to 65535"));
  EXPECT_THAT(refused(std::string(65'536, 'k'), WriteValue::u32(1)).message, HasSubstr("1 to 65535"));
  EXPECT_EQ(refused("k", WriteValue::copy_of(Value())).field, "metadata[\"k\"]");
  EXPECT_EQ(refused("k", typed(ValueType::U8, std::uint64_t{256})).found, "256");
  EXPECT_EQ(refused("k", typed(ValueType::I8, std::int64_t{-129})).found, "-129");
  EXPECT_EQ(refused("k", array_of(ValueType::I32, std::vector<std::int64_t>{1LL << 40})).field, "metadata[\"k\"]");
  EXPECT_THAT(refused("k", typed(ValueType::U32, 1.5)).message, HasSubstr("integer"));
  EXPECT_THAT(refused("k", typed(ValueType::U32, std::string("x"))).message, HasSubstr("declared type"));
  EXPECT_THAT(refused("k", typed(ValueType::U32, std::vector<double>{1})).message, HasSubstr("array"));
  EXPECT_THAT(refused("k", typed(ValueType::Array, std::uint64_t{1})).message, HasSubstr("array"));
  EXPECT_THAT(refusal({{"k", WriteValue::u32(1)}, {"k", WriteValue::u32(2)}}, {}).message, HasSubstr("twice"));
}

TEST_F(WriterGguf, NestedArraysBecomeJsonTextThatGgufRefuses) {
  test::GgufBuilder b;
  b.architecture();
  b.key("k", test::kArray);
  b.body().u32(test::kArray).u64(2).u32(test::kI8).u64(2).text += "\1\xff";
  b.body().u32(test::kString).u64(1).string("q\"");
  b.f32("a", 8);
  const auto opened = test::open_bytes(b.bytes());
  ASSERT_TRUE(clean(opened));
  const WriteValue value = WriteValue::copy_of(opened.model->find_metadata("k")->value);
  EXPECT_TRUE(value.is_json);
  EXPECT_EQ(value.type, ValueType::Array);
  EXPECT_EQ(std::get<std::string>(value.data), "[[1,-1],[\"q\\\"\"]]");
  EXPECT_THAT(refusal({{"k", value}}, {}).found, HasSubstr("nested"));
}

TEST_F(WriterGguf, JsonArraysTakeOneType) {
  const auto copy = [](std::string_view text) {
    ArrayRef array;
    array.encoding = ArrayRef::Encoding::Json;
    array.bytes = std::as_bytes(std::span(text));
    array.count = 2;
    return WriteValue::copy_of(Value(array));
  };
  EXPECT_EQ(std::get<std::vector<double>>(copy("[1, 1.5]").data), (std::vector<double>{1, 1.5}));
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(copy("[1, -2]").data), (std::vector<std::int64_t>{1, -2}));
  EXPECT_EQ(copy("[true, false]").element, ValueType::Bool);
  EXPECT_EQ(std::get<std::vector<std::string>>(copy("[\"a\", \"b\\n\"]").data), (std::vector<std::string>{"a", "b\n"}));
  EXPECT_TRUE(copy("[1, \"a\"]").is_json);
  EXPECT_TRUE(copy("[[1], [2]]").is_json);
  EXPECT_EQ(std::get<std::string>(copy("[1, \"a\"]").data), "[1, \"a\"]");
}

TEST_F(WriterGguf, WrongSizesAreErrorsAndLeaveNothing) {
  const std::string bytes(64, '\1');
  for (const std::size_t size : {31U, 33U}) {
    const auto writer = make_writer(Format::Gguf, path());
    writer->begin({}, {{"a", TensorType::F32, {8}}});
    EXPECT_THROW(
        {
          writer->write(std::as_bytes(std::span(bytes)).first(size));
          writer->end_tensor();
        },
        Error);
  }
  {
    const auto writer = make_writer(Format::Gguf, path());
    writer->begin({}, {{"a", TensorType::F32, {8}}});
    EXPECT_THROW(writer->finish(), Error) << "a tensor is missing";
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace apr::format
