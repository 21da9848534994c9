// GGUF: rules on the key-value pairs. The numbers are those of the case list in docs/formats/gguf.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "apr/format/model_file.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::format {
namespace {

using test::GgufBuilder;
using test::open_bytes;
using test::rejected;
using test::warned;
using ::testing::HasSubstr;

/// A file whose only oddity is one entry, followed by a tensor.
template <class Add>
test::Opened with_entry(Add add, const OpenOptions& options = {}) {
  GgufBuilder b;
  b.architecture();
  add(b);
  b.f32("a", 8);
  return open_bytes(b.bytes(), options);
}

// Offset of the entry under test: behind the header and general.architecture = "llama".
constexpr std::uint64_t kEntry = 24 + 8 + 20 + 4 + 8 + 5;

TEST(GgufMetadata, G16EmptyKey) {
  const auto opened = with_entry([](GgufBuilder& b) { b.kv_u32("", 1); });
  EXPECT_TRUE(rejected(opened, "gguf.metadata.key.empty", kEntry, "metadata[1].key"));
  EXPECT_EQ(opened.model->tensors.size(), 1U) << "what follows is still read";
}

TEST(GgufMetadata, G17KeyLengthBeyondTheFile) {
  for (const bool all_ones : {true, false}) {
    GgufBuilder b;
    b.architecture();
    const std::uint64_t at = b.here();
    b.body().u64(all_ones ? ~0ULL : 101);
    b.body().text.append(100, 'k');
    b.n_kv = 2;
    const auto opened = open_bytes(b.header_bytes());
    ASSERT_EQ(at, kEntry);
    EXPECT_TRUE(rejected(opened, "gguf.metadata.key.length", kEntry, "metadata[1].key.length"));
    EXPECT_EQ(opened.find("gguf.metadata.key.length")->expected, "at most 100 bytes");
    EXPECT_EQ(opened.model->metadata.size(), 1U) << "what stands before the fault is kept";
  }
}

TEST(GgufMetadata, G18KeyOf70000Bytes) {
  const auto opened = with_entry([](GgufBuilder& b) { b.kv_u32(std::string(70'000, 'k'), 1); });
  const Finding* finding = opened.find("gguf.metadata.key.too_long");
  ASSERT_NE(finding, nullptr) << opened.all();
  EXPECT_EQ(finding->severity, Severity::Warning);
  EXPECT_EQ(finding->offset, kEntry);
  EXPECT_LT(finding->field.size(), 200U) << "a long key is cut in the report";
  EXPECT_FALSE(opened.model->has_errors());
  EXPECT_TRUE(clean(with_entry([](GgufBuilder& b) { b.kv_u32(std::string(65'535, 'k'), 1); })));
}

TEST(GgufMetadata, G19KeyThatIsNoText) {
  using namespace std::string_view_literals;
  const struct {
    std::string_view key;
    std::uint64_t bad_byte;
    const char* found;
  } kCases[] = {
      {"a\x1b[31m"sv, 1, "control character 0x1b"}, {"ab\0c"sv, 2, "a NUL byte"}, {"abc\xff"sv, 3, "invalid UTF-8"}};
  for (const auto& c : kCases) {
    const auto opened = with_entry([&](GgufBuilder& b) { b.kv_u32(c.key, 1); });
    EXPECT_TRUE(warned(opened, "gguf.metadata.key.text", kEntry + 8 + c.bad_byte,
                       "metadata[\"" + std::string(c.key) + "\"].key"));
    EXPECT_EQ(opened.find("gguf.metadata.key.text")->found, c.found);
    EXPECT_NE(opened.model->find_metadata(c.key), nullptr);
  }
}

TEST(GgufMetadata, G20KeyCase) {
  const auto upper = with_entry([](GgufBuilder& b) { b.kv_u32("llama.Block", 1); });
  EXPECT_TRUE(warned(upper, "gguf.metadata.key.case", kEntry + 8 + 6, "metadata[\"llama.Block\"].key"));
  const auto space = with_entry([](GgufBuilder& b) { b.kv_u32("a b", 1); });
  EXPECT_TRUE(warned(space, "gguf.metadata.key.case", kEntry + 8 + 1, "metadata[\"a b\"].key"));
  const auto twins = with_entry([](GgufBuilder& b) {
    b.kv_u32("x", 1);
    b.kv_u32("X", 1);
  });
  EXPECT_TRUE(warned(twins, "gguf.metadata.key.case_twin", kEntry + 8 + 1 + 8, "metadata[\"X\"].key"));
  EXPECT_TRUE(clean(with_entry([](GgufBuilder& b) { b.kv_u32("command-r.block_count", 1); })));
}

TEST(GgufMetadata, G21DuplicateKey) {
  const auto opened = with_entry([](GgufBuilder& b) {
    b.kv_u32("k", 1);
    b.kv_u32("k", 2);
  });
  EXPECT_TRUE(rejected(opened, "gguf.metadata.key.duplicate", kEntry + 17, "metadata[\"k\"].key"));
  EXPECT_THAT(opened.find("gguf.metadata.key.duplicate")->found, HasSubstr(std::to_string(kEntry)));
  EXPECT_EQ(opened.model->find_metadata("k")->value.as_u64(), 1U) << "lookups give the first";
}

TEST(GgufMetadata, G22UnknownValueType) {
  for (const std::uint32_t type : {13U, 255U, 0xFFFFFFFFU}) {
    const auto opened = with_entry([&](GgufBuilder& b) { b.kv("k", type, std::uint32_t{1}); });
    EXPECT_TRUE(rejected(opened, "gguf.metadata.type", kEntry + 9, "metadata[\"k\"].type"));
    EXPECT_EQ(opened.find("gguf.metadata.type")->found, std::to_string(type));
  }
}

TEST(GgufMetadata, G23BooleanOf2) {
  const auto scalar = with_entry([](GgufBuilder& b) { b.kv("k", test::kBool, std::uint8_t{2}); });
  EXPECT_TRUE(warned(scalar, "gguf.metadata.bool", kEntry + 13, "metadata[\"k\"].value"));
  EXPECT_EQ(scalar.model->find_metadata("k")->value.as_bool(), true);
  const auto array = with_entry([](GgufBuilder& b) {
    b.key("k", test::kArray);
    b.body().u32(test::kBool).u64(3).text += std::string("\0\1\7", 3);
  });
  EXPECT_TRUE(warned(array, "gguf.metadata.bool", kEntry + 13 + 12 + 2, "metadata[\"k\"].value"));
}

TEST(GgufMetadata, G24G25StringLengthBeyondTheFile) {
  for (const std::uint64_t length : {~0ULL, 1ULL << 30}) {
    const auto opened = with_entry([&](GgufBuilder& b) {
      b.key("k", test::kString);
      b.body().u64(length);
    });
    EXPECT_TRUE(rejected(opened, "gguf.metadata.string.length", kEntry + 13, "metadata[\"k\"].value.length"));
    EXPECT_EQ(opened.find("gguf.metadata.string.length")->found, std::to_string(length));
  }
}

TEST(GgufMetadata, AStringMayReachTheLastByteAndNotOneMore) {
  for (const std::uint64_t extra : {0ULL, 1ULL}) {
    GgufBuilder b;
    b.architecture();
    b.key("k", test::kString);
    b.body().u64(5 + extra).text += "abcde";
    const auto opened = open_bytes(b.header_bytes());
    EXPECT_EQ(opened.find("gguf.metadata.string.length") != nullptr, extra == 1) << opened.all();
  }
}

TEST(GgufMetadata, G26G27ArrayCountBeyondTheFile) {
  for (const auto& [element, count] : {std::pair<std::uint32_t, std::uint64_t>{test::kString, 1ULL << 31},
                                       {test::kU8, ~0ULL},
                                       {test::kU64, (1ULL << 61) + 1},  // times 8 wraps to 8
                                       {test::kArray, 1ULL << 60}}) {
    const auto opened = with_entry([&, e = element, n = count](GgufBuilder& b) {
      b.key("k", test::kArray);
      b.body().u32(e).u64(n);
    });
    EXPECT_TRUE(rejected(opened, "gguf.metadata.array.count", kEntry + 13 + 4, "metadata[\"k\"].value.count"))
        << element;
  }
}

TEST(GgufMetadata, AStringInAnArrayBeyondTheFile) {
  const auto opened = with_entry([](GgufBuilder& b) {
    b.key("k", test::kArray);
    b.body().u32(test::kString).u64(2).string("one").u64(1ULL << 40);
  });
  EXPECT_TRUE(
      rejected(opened, "gguf.metadata.string.length", kEntry + 13 + 12 + 11, "metadata[\"k\"].value[1].length"));
}

TEST(GgufMetadata, G28UnknownElementType) {
  const auto opened = with_entry([](GgufBuilder& b) {
    b.key("k", test::kArray);
    b.body().u32(13).u64(0);
  });
  EXPECT_TRUE(rejected(opened, "gguf.metadata.array.type", kEntry + 13, "metadata[\"k\"].value.element_type"));
}

/// `levels` arrays, each holding the next, around one u8.
test::Opened nested(unsigned levels) {
  return with_entry([&](GgufBuilder& b) {
    b.key("k", test::kArray);
    for (unsigned i = 1; i < levels; ++i) b.body().u32(test::kArray).u64(1);
    b.body().u32(test::kU8).u64(1).text += '\x2a';
  });
}

TEST(GgufMetadata, G29ArraysNestToEightLevels) {
  for (unsigned levels = 1; levels <= 8; ++levels) {
    const auto opened = nested(levels);
    ASSERT_TRUE(clean(opened));
    Value value = opened.model->find_metadata("k")->value;
    for (unsigned i = 0; i < levels; ++i) {
      ASSERT_NE(value.as_array(), nullptr);
      const ArrayRef array = *value.as_array();
      ASSERT_EQ(array.count, 1U);
      array.for_each([&](std::uint64_t, const Value& element) {
        value = element;
        return true;
      });
    }
    EXPECT_EQ(value.as_u64(), 42U);
  }
}

TEST(GgufMetadata, G30DeeperIsRejectedAndHarmless) {
  EXPECT_TRUE(
      rejected(nested(9), "gguf.metadata.array.depth", kEntry + 13 + 7 * 12, "metadata[\"k\"].value.element_type"));
  EXPECT_TRUE(rejected(nested(100'000), "gguf.metadata.array.depth", kEntry + 13 + 7 * 12,
                       "metadata[\"k\"].value.element_type"));
}

TEST(GgufMetadata, G31EmptyArrays) {
  for (std::uint32_t element = 0; element <= 12; ++element)
    EXPECT_TRUE(clean(with_entry([&](GgufBuilder& b) {
      b.key("k", test::kArray);
      b.body().u32(element).u64(0);
    }))) << element;
}

/// general.alignment = `value`; the data really steps by `step`.
test::Opened with_alignment(std::uint32_t value, std::uint64_t step) {
  GgufBuilder b;
  b.architecture();
  b.alignment = step;
  b.kv_u32("general.alignment", value);
  b.f32("a", 8);
  b.f32("b", 8);
  return open_bytes(b.bytes());
}
constexpr const char* kAlignment = "metadata[\"general.alignment\"].value";
constexpr std::uint64_t kAlignmentValue = kEntry + 8 + 17 + 4;

TEST(GgufMetadata, G32G33G36AlignmentThatCannotBe) {
  for (const std::uint32_t value : {0U, 13U, 3U, 6U, 48U, 1U << 31, 1U << 25}) {
    const auto opened = with_alignment(value, 32);
    EXPECT_TRUE(rejected(opened, "gguf.alignment.value", kAlignmentValue, kAlignment)) << value;
    EXPECT_EQ(opened.model->tensors.size(), 2U) << "the infos do not hang on the alignment";
    EXPECT_FALSE(opened.model->tensors[0].readable) << "the place of the data does";
    EXPECT_THROW((void)opened.model->data(opened.model->tensors[0]), Error);
  }
}

TEST(GgufMetadata, G34AlignmentBelowTheFormat) {
  for (const std::uint32_t value : {1U, 2U, 4U})
    EXPECT_TRUE(warned(with_alignment(value, value), "gguf.alignment.multiple_of_8", kAlignmentValue, kAlignment))
        << value;
}

TEST(GgufMetadata, G35AlignmentOf64KiB) {
  for (const std::uint32_t value : {8U, 16U, 64U, 65'536U}) {
    const auto opened = with_alignment(value, value);
    EXPECT_TRUE(clean(opened)) << value;
    EXPECT_EQ(opened.model->alignment, value);
    EXPECT_EQ(opened.model->tensors[1].offset % value, 0U);
  }
}

TEST(GgufMetadata, G37AlignmentOfTheWrongType) {
  const auto u64 = with_entry([](GgufBuilder& b) { b.kv("general.alignment", test::kU64, std::uint64_t{32}); });
  const auto array = with_entry([](GgufBuilder& b) {
    b.key("general.alignment", test::kArray);
    b.body().u32(test::kU32).u64(1).u32(32);
  });
  const auto empty = with_entry([](GgufBuilder& b) {
    b.key("general.alignment", test::kArray);
    b.body().u32(test::kU32).u64(0);
  });
  for (const auto* opened : {&u64, &array, &empty})
    EXPECT_TRUE(rejected(*opened, "gguf.alignment.type", kEntry + 8 + 17, "metadata[\"general.alignment\"].type"));
}

TEST(GgufMetadata, G38NoArchitecture) {
  GgufBuilder b;
  b.f32("a", 8);
  EXPECT_TRUE(warned(open_bytes(b.bytes()), "gguf.architecture.missing", 24, "metadata[\"general.architecture\"]"));
}

TEST(GgufMetadata, G39G40G78KnownKeysOfTheWrongType) {
  GgufBuilder b;
  b.kv_u32("general.architecture", 3);
  const std::uint64_t file_type = b.kv_string("general.file_type", "Q4_K");
  b.key("tokenizer.ggml.scores", test::kArray);
  b.body().u32(test::kI8).u64(1).text += '\1';
  b.key("tokenizer.ggml.token_type", test::kArray);
  b.body().u32(test::kString).u64(1).string("x");
  b.key("tokenizer.ggml.tokens", test::kArray);
  b.body().u32(test::kF32).u64(1).put(1.0f);
  b.f32("a", 8);
  const auto opened = open_bytes(b.bytes());
  ASSERT_TRUE(rejected(opened, "gguf.metadata.known_type", 24 + 8 + 20, "metadata[\"general.architecture\"].type"));
  std::vector<std::string> fields;
  for (const Finding& finding : opened.model->findings) {
    EXPECT_EQ(finding.rule, "gguf.metadata.known_type");
    fields.push_back(finding.field);
    if (finding.field == "metadata[\"general.file_type\"].type") {
      EXPECT_EQ(finding.offset, file_type + 8 + 17);
    }
  }
  EXPECT_THAT(fields, testing::UnorderedElementsAre(
                          "metadata[\"general.architecture\"].type", "metadata[\"general.file_type\"].type",
                          "metadata[\"tokenizer.ggml.scores\"].type", "metadata[\"tokenizer.ggml.token_type\"].type",
                          "metadata[\"tokenizer.ggml.tokens\"].type"));
}

TEST(GgufMetadata, G76SixtyThousandEntriesAreNotQuadratic) {
  GgufBuilder b;
  b.architecture();
  for (int i = 0; i < 60'000; ++i) b.kv_u32("k." + std::to_string(i), 1);
  b.f32("a", 8);
  const std::string bytes = b.bytes();
  const auto start = std::chrono::steady_clock::now();
  const auto opened = open_bytes(bytes);
  const auto took = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(clean(opened));
  EXPECT_EQ(opened.model->metadata.size(), 60'001U);
  // 100 ms is the goal on an idle machine; a quadratic scan takes seconds, sanitizers and a busy machine some tenths.
  EXPECT_LT(took, std::chrono::seconds(1));
}

}  // namespace
}  // namespace apr::format
