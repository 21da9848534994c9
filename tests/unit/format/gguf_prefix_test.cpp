// GGUF: every prefix of a sound file, every single byte of its header changed, and the values of random metadata.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "apr/format/model_file.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::format {
namespace {

using test::GgufBuilder;
using test::open_bytes;
using test::small_gguf;

/// Looks at everything that a caller may look at.
void visit_all(const ModelFile& model) {
  std::uint64_t n = 0;
  for (const MetadataEntry& entry : model.metadata) {
    const std::function<void(const Value&)> visit = [&](const Value& value) {
      if (const auto text = value.as_string())
        for (const char c : *text) n += static_cast<unsigned char>(c);
      if (const ArrayRef* array = value.as_array())
        array->for_each([&](std::uint64_t, const Value& element) {
          visit(element);
          return true;
        });
    };
    visit(entry.value);
  }
  for (const TensorInfo& tensor : model.tensors) {
    ASSERT_NE(model.find_tensor(tensor.name), nullptr);
    if (tensor.readable)
      for (const std::byte b : model.data(tensor)) n += std::to_integer<unsigned>(b);
  }
  for (const Region& region : model.regions) {
    ASSERT_LE(region.offset, model.files[region.file_index]->size());
    ASSERT_LE(region.size_bytes, model.files[region.file_index]->size() - region.offset);
  }
  volatile std::uint64_t sink = n;  // the reads above must happen
  (void)sink;
}

class GgufPrefix : public testing::TestWithParam<std::pair<std::endian, std::uint32_t>> {};

TEST_P(GgufPrefix, OpensWithFindingsOrIsRefusedWithAnOffset) {
  const GgufBuilder b = small_gguf(GetParam().first, GetParam().second);
  const std::string good = b.bytes();
  ASSERT_TRUE(clean(open_bytes(good)));
  std::size_t n_thrown = 0, n_opened = 0;
  for (std::size_t length = 0; length < good.size(); ++length) {
    const auto opened = open_bytes(good.substr(0, length));
    if (opened.error) {
      ++n_thrown;
      EXPECT_EQ(opened.error->code, ErrorCode::InvalidFormat) << length;
      ASSERT_TRUE(opened.error->offset) << length;
      EXPECT_LE(*opened.error->offset, length);
      EXPECT_LT(length, 24U) << opened.all();
      continue;
    }
    ++n_opened;
    bool has_place = false;
    for (const Finding& finding : opened.model->findings)
      has_place |= finding.severity == Severity::Error && finding.offset && *finding.offset <= length;
    // The zeros behind the last tensor may be missing: 28 of them.
    EXPECT_TRUE(has_place || length + 28 >= good.size()) << length << opened.all();
    if (length > 80) visit_all(*opened.model);
  }
  EXPECT_EQ(n_thrown, 24U);
  EXPECT_EQ(n_opened, good.size() - 24);
}

TEST_P(GgufPrefix, AnyByteOfTheHeaderMayChange) {
  const GgufBuilder b = small_gguf(GetParam().first, GetParam().second);
  const std::string good = b.bytes();
  std::size_t n_noticed = 0;
  for (std::size_t at = 0; at < b.here(); ++at)
    for (const char value : {'\0', '\1', '\x7f', '\x80', '\xff'}) {
      std::string bad = good;
      if (bad[at] == value) continue;
      bad[at] = value;
      const auto opened = open_bytes(bad);
      n_noticed += opened.error || !opened.model->findings.empty();
      if (opened.model && !opened.model->metadata.empty()) visit_all(*opened.model);
    }
  EXPECT_GT(n_noticed, b.here()) << "a header is mostly lengths, types and offsets";
}

INSTANTIATE_TEST_SUITE_P(AllKinds, GgufPrefix,
                         testing::Values(std::pair{std::endian::little, 2U}, std::pair{std::endian::little, 3U},
                                         std::pair{std::endian::big, 2U}, std::pair{std::endian::big, 3U}),
                         [](const auto& kind) {
                           return std::string(kind.param.first == std::endian::big ? "BigEndian" : "LittleEndian") +
                                  std::to_string(kind.param.second);
                         });

// ---- values: random metadata of all types, nested arrays included, against what was put in ----

/// What was written, as text; the reader's view is turned into the same text.
class RandomValues {
 public:
  RandomValues(std::endian order, std::uint64_t seed) : builder_(order), random_(seed) {}

  std::string add(int index) {
    const std::uint32_t type = pick(13);
    builder_.key("key." + std::to_string(index), type);
    return value(type, 1);
  }
  GgufBuilder& builder() { return builder_; }

 private:
  std::uint32_t pick(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }
  template <class T>
  std::string number() {
    T v;
    const std::uint64_t bits = random_();
    std::memcpy(&v, &bits, sizeof(T));
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(v)) v = 0;
    builder_.body().put(v);
    if constexpr (std::is_floating_point_v<T>) return std::to_string(static_cast<double>(v));
    return std::to_string(v);
  }
  std::string value(std::uint32_t type, unsigned depth) {
    switch (type) {
      case test::kU8: return number<std::uint8_t>();
      case test::kI8: return number<std::int8_t>();
      case test::kU16: return number<std::uint16_t>();
      case test::kI16: return number<std::int16_t>();
      case test::kU32: return number<std::uint32_t>();
      case test::kI32: return number<std::int32_t>();
      case test::kF32: return number<float>();
      case test::kU64: return number<std::uint64_t>();
      case test::kI64: return number<std::int64_t>();
      case test::kF64: return number<double>();
      case test::kBool: {
        const std::uint32_t v = pick(2);
        builder_.body().put(static_cast<std::uint8_t>(v));
        return v != 0 ? "true" : "false";
      }
      case test::kString: {
        std::string text(pick(20), '\0');
        for (char& c : text) c = static_cast<char>(random_());
        builder_.body().string(text);
        return "'" + text + "'";
      }
      default: {
        const std::uint32_t element = depth < 8 ? pick(13) : pick(9);
        const std::uint32_t count = pick(4);
        builder_.body().u32(element).u64(count);
        std::string text = "[";
        for (std::uint32_t i = 0; i < count; ++i) text += value(element, depth + 1) + ",";
        return text + "]";
      }
    }
  }
  GgufBuilder builder_;
  std::mt19937_64 random_;
};

std::string to_text(const Value& value) {
  if (const auto v = value.as_string()) return "'" + std::string(*v) + "'";
  if (const auto v = value.as_bool()) return *v ? "true" : "false";
  if (const auto v = value.as_u64()) return std::to_string(*v);
  if (const auto v = value.as_i64()) return std::to_string(*v);
  if (const auto v = value.as_f64()) return std::to_string(*v);
  const ArrayRef* array = value.as_array();
  if (array == nullptr) return "?";
  std::string text = "[";
  std::uint64_t next = 0;
  array->for_each([&](std::uint64_t index, const Value& element) {
    EXPECT_EQ(index, next++);
    text += to_text(element) + ",";
    return true;
  });
  EXPECT_EQ(next, array->count);
  return text + "]";
}

TEST(GgufValues, RandomMetadataComesBack) {
  std::size_t n_nested = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomValues random(seed % 2 == 0 ? std::endian::little : std::endian::big, seed);
    std::vector<std::string> expected;
    for (int i = 0; i < 40; ++i) expected.push_back(random.add(i));
    random.builder().architecture();
    random.builder().f32("a", 8);
    const auto opened = open_bytes(random.builder().bytes());
    ASSERT_TRUE(clean(opened)) << seed;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const MetadataEntry& entry = opened.model->metadata[i];
      EXPECT_EQ(entry.key, "key." + std::to_string(i));
      EXPECT_EQ(to_text(entry.value), expected[i]);
      EXPECT_EQ(entry.end_offset, opened.model->metadata[i + 1].key_offset);
      n_nested += expected[i].starts_with("[[");
    }
  }
  EXPECT_GT(n_nested, 20U);
}

TEST(GgufValues, AWalkStopsWhenItIsTold) {
  const auto opened = open_bytes(small_gguf().bytes());
  int n = 0;
  opened.model->find_metadata("list")->value.as_array()->for_each([&](std::uint64_t, const Value&) { return ++n < 2; });
  EXPECT_EQ(n, 2);
}

TEST(GgufValues, OffsetsPointIntoTheFile) {
  GgufBuilder b;
  const std::uint64_t first = b.architecture("abc");
  const std::uint64_t second = b.kv_u32("n", 7);
  b.f32("a", 8);
  const auto opened = open_bytes(b.bytes());
  EXPECT_EQ(opened.model->metadata[0].key_offset, first);
  EXPECT_EQ(opened.model->metadata[0].value_offset, second - 3 - 8);
  EXPECT_EQ(opened.model->metadata[0].end_offset, second);
  EXPECT_EQ(opened.model->metadata[1].value_offset, second + 8 + 1 + 4);
}

}  // namespace
}  // namespace apr::format
