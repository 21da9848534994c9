// The structs that `apr hex` prints.
#include "apr/inspect/hex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "apr/core/error.h"
#include "tests/support/apr_builder.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/json_builder.h"
#include "tests/support/small_models.h"

namespace apr::inspect {
namespace {

using test::TempFolder;
using testing::HasSubstr;

struct Opened {
  TempFolder folder;
  format::ModelFile model;
  explicit Opened(const std::string& bytes) : model(format::open_model(folder.write("model.bin", bytes))) {}
  explicit Opened(format::Format format)
      : model((test::write_small_model(format, folder.path("m")), format::open_model(folder.path("m")))) {}
};

TEST(RawRange, IsClampedAndRefusedPastTheEnd) {
  EXPECT_EQ(raw_range("f", 100, 0, 256).size_bytes, 100U);
  EXPECT_EQ(raw_range("f", 100, 90, 5).size_bytes, 5U);
  EXPECT_EQ(raw_range("f", 100, 90, UINT64_MAX).size_bytes, 10U);
  EXPECT_EQ(raw_range("f", 100, 100, 1).size_bytes, 0U);
  try {
    static_cast<void>(raw_range("f", 100, 101, 1));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::Usage);
    EXPECT_THAT(error.expected, HasSubstr("100"));
    EXPECT_THAT(error.found, HasSubstr("101"));
  }
}

TEST(HeaderReport, EveryFieldIsWhatStandsAtItsOffset) {
  for (const format::Format f : {format::Format::Gguf, format::Format::Apr, format::Format::SafeTensors}) {
    SCOPED_TRACE(name(f));
    const Opened opened(f);
    const HeaderReport report = header_report(opened.model);
    const auto file = opened.model.files[0]->bytes();
    ASSERT_FALSE(report.sections.empty());
    for (const HeaderSection& section : report.sections) {
      ASSERT_FALSE(section.fields.empty()) << section.title;
      std::uint64_t next = section.fields[0].offset;
      for (const HeaderField& field : section.fields) {
        EXPECT_EQ(field.offset, next) << field.name << ": fields leave no gap";
        EXPECT_EQ(field.bytes.data(), file.data() + field.offset) << field.name;
        if (field.number) {
          std::uint64_t value = 0;
          for (std::size_t i = field.bytes.size(); i-- > 0;)
            value = value << 8 | std::to_integer<unsigned>(field.bytes[i]);
          EXPECT_EQ(*field.number, value) << field.name;
        }
        next = field.offset + field.bytes.size();
      }
    }
    EXPECT_EQ(report.sections[0].fields[0].offset, 0U);
    EXPECT_EQ(report.metadata->size(), opened.model.metadata.size());
  }
}

TEST(HeaderReport, AprHeaderCovers64BytesAndComparesItsChecksum) {
  const Opened good(format::Format::Apr);
  const HeaderReport report = header_report(good.model);
  std::uint64_t covered = 0;
  for (const HeaderField& field : report.sections[0].fields) covered += field.bytes.size();
  EXPECT_EQ(covered, 64U);
  const auto checksum = [](const HeaderReport& r) {
    for (const HeaderField& field : r.sections[0].fields)
      if (field.name == "header_checksum") return field;
    return HeaderField{};
  };
  ASSERT_TRUE(checksum(report).computed);
  EXPECT_EQ(checksum(report).computed, checksum(report).number);
  std::string bytes = test::read_whole(good.folder.path("m"));
  bytes[40] ^= 1;
  const Opened bad(bytes);
  ASSERT_TRUE(checksum(header_report(bad.model)).computed);
  EXPECT_NE(checksum(header_report(bad.model)).computed, checksum(header_report(bad.model)).number);
  EXPECT_THAT(checksum(header_report(bad.model)).meaning, HasSubstr("WRONG"));
}

TEST(HeaderReport, ALongHeaderIsNotCopied) {
  std::string name(500'000, 'n');
  const Opened opened(
      test::safetensors("{\"" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd"));
  for (const HeaderSection& section : header_report(opened.model).sections)
    for (const HeaderField& field : section.fields) {
      EXPECT_LE(field.value.size(), 4096U);
      EXPECT_EQ(field.cut, field.bytes.size() > field.value.size() && !field.number) << field.name;
    }
}

TEST(HeaderReport, EveryPrefixOfAHeaderIsShownAsFarAsItGoes) {
  for (const format::Format f : {format::Format::Gguf, format::Format::Apr, format::Format::SafeTensors}) {
    const Opened whole(f);
    const std::string bytes = test::read_whole(whole.folder.path("m"));
    std::size_t n_opened = 0;
    for (std::size_t size = 0; size < std::min<std::size_t>(bytes.size(), 600); ++size) {
      try {
        const Opened cut(bytes.substr(0, size));
        ++n_opened;
        static_cast<void>(header_report(cut.model));
        static_cast<void>(summarize(cut.model));
        for (std::size_t i = 0; i < cut.model.tensors.size(); ++i) static_cast<void>(tensor_report(cut.model, i, 8));
      } catch (const Error& error) {
        EXPECT_EQ(error.code, ErrorCode::InvalidFormat) << error.what();
      }
    }
    if (f == format::Format::Gguf) EXPECT_GT(n_opened, 100U) << "a broken GGUF header is still shown";
  }
}

TEST(TensorReport, BlocksAndValuesOfAQuantisedTensor) {
  const Opened opened(format::Format::Gguf);
  const TensorReport report = tensor_report(opened.model, 1, 3);
  ASSERT_TRUE(report.first_block);
  EXPECT_EQ(report.first_block->offset, opened.model.tensors[1].offset);
  ASSERT_EQ(report.first_block->fields.size(), 4U);
  EXPECT_EQ(std::get<float>(report.first_block->fields[0].values.at(0)), 0.5F);
  EXPECT_EQ(report.first_block->fields[2].offset, report.first_block->offset + 4);
  EXPECT_TRUE(report.first_block->fields[2].values.empty()) << "packed";
  ASSERT_EQ(report.values.size(), 3U);
  EXPECT_EQ(std::get<float>(report.values[1]), -0.75F);
  EXPECT_EQ(report.first_bytes.size(), 144U);
  EXPECT_EQ(tensor_report(opened.model, 1, 1'000'000).values.size(), 256U) << "never more than there are";
}

TEST(TensorReport, IntegersStayExact) {
  const Opened opened(test::safetensors(
      R"({"big":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},)"
      R"("wide":{"dtype":"U64","shape":[1],"data_offsets":[16,24]}})",
      test::le<std::int64_t>(-9007199254740993) + test::le<std::int64_t>(1) + test::le<std::uint64_t>(UINT64_MAX)));
  EXPECT_EQ(std::get<std::int64_t>(tensor_report(opened.model, 0, 9).values.at(0)), -9007199254740993);
  EXPECT_EQ(std::get<std::uint64_t>(tensor_report(opened.model, 1, 9).values.at(0)), UINT64_MAX);
}

TEST(TensorReport, EveryLiveTypeHasValuesOrAReason) {
  std::size_t n_types = 0;
  for (const TypeInfo& type : tensor_types()) {
    if (type.status != TypeStatus::Live || static_cast<unsigned>(type.type) >= 256) continue;
    SCOPED_TRACE(type.name);
    for (const std::endian order : {std::endian::little, std::endian::big}) {
      test::GgufBuilder b(order);
      b.architecture();
      b.tensor("t", {type.block_elements}, static_cast<std::uint32_t>(type.type), type.block_bytes);
      const Opened opened(b.bytes());
      const TensorReport report = tensor_report(opened.model, 0, 1U << 16);
      EXPECT_EQ(report.values.size(), type.block_elements) << report.no_values_reason;
      EXPECT_EQ(report.first_block.has_value(), !type.fields.empty());
    }
    ++n_types;
  }
  EXPECT_GT(n_types, 30U);
}

TEST(TensorReport, UnreadableTensorsSayWhy) {
  test::GgufBuilder b;
  b.architecture();
  b.info("removed", {32}, 4, 0);
  b.info("unknown", {32}, 99, 0);
  const Opened opened(b.bytes());
  ASSERT_EQ(opened.model.tensors.size(), 2U);
  EXPECT_THAT(tensor_report(opened.model, 0, 4).no_values_reason, HasSubstr("removed"));
  EXPECT_THAT(tensor_report(opened.model, 1, 4).no_values_reason, HasSubstr("unknown"));
}

TEST(SelectTensors, ExactNameGlobAndNearest) {
  const Opened opened(test::safetensors(R"({"a[0]":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                        R"("a0":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
                                        R"("weight":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                                        std::string(12, '\0')));
  const auto names = [&](std::string_view pattern) {
    std::vector<std::string> result;
    for (const std::size_t i : select_tensors(opened.model, pattern)) result.emplace_back(opened.model.tensors[i].name);
    return result;
  };
  EXPECT_EQ(names("weight"), std::vector<std::string>{"weight"});
  EXPECT_EQ(names("a[0]"), std::vector<std::string>{"a[0]"}) << "an exact name wins over its reading as a glob";
  EXPECT_EQ(names("a?"), std::vector<std::string>{"a0"});
  EXPECT_EQ(names("*").size(), 3U);
  try {
    static_cast<void>(names("wieght"));
    FAIL() << "matched";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::ValidationFailed);
    EXPECT_THAT(error.hint, HasSubstr("weight"));
  }
}

TEST(Summary, SharesAddUp) {
  const Opened opened(format::Format::Gguf);
  const Summary summary = summarize(opened.model);
  EXPECT_EQ(summary.n_tensors, 2U);
  EXPECT_EQ(summary.n_parameters, 264U);
  EXPECT_EQ(summary.tensor_bytes, 176U);
  ASSERT_EQ(summary.types.size(), 2U);
  EXPECT_EQ(summary.types[0].name, "Q4_K") << "the largest first";
  std::uint64_t bytes = 0;
  double share = 0;
  for (const TypeShare& t : summary.types) {
    bytes += t.size_bytes;
    share += t.share;
  }
  EXPECT_EQ(bytes, summary.tensor_bytes);
  EXPECT_TRUE(std::abs(share - 1) <= 1e-12) << share;
  EXPECT_EQ(summary.data_checksum, DataChecksum::NoneInFormat);
  EXPECT_EQ(summary.key_metadata.front()->key, "general.architecture");
}

TEST(Summary, ChecksumStatesOfApr) {
  const Opened opened(format::Format::Apr);
  EXPECT_EQ(summarize(opened.model).data_checksum, DataChecksum::NotVerified);
  const auto verified = format::open_model(opened.folder.path("m"), {.verify_data = true});
  EXPECT_EQ(summarize(verified).data_checksum, DataChecksum::Good);
}

}  // namespace
}  // namespace apr::inspect
