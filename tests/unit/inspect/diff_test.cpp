// Two files compared: equal, damaged in one byte, of another type, of another format with other names and orders.
#include "apr/inspect/diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"

namespace apr::inspect {
namespace {

using format::WriteEntry;
using format::WriteValue;
using test::PlainTensor;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Diff : public testing::Test {
 protected:
  format::ModelFile gguf(const std::vector<PlainTensor>& tensors, const std::vector<WriteEntry>& more = {}) {
    const std::string path = folder_.path("m" + std::to_string(++n_) + ".gguf");
    std::vector<WriteEntry> metadata = {{"general.architecture", WriteValue::string("llama")}};
    metadata.insert(metadata.end(), more.begin(), more.end());
    test::write_model(format::Format::Gguf, path, metadata, tensors);
    return format::open_model(path);
  }
  /// Q8_0 rows of 32, from bytes.
  format::ModelFile blocks(const std::string& bytes) {
    const std::string path = folder_.path("m" + std::to_string(++n_) + ".gguf");
    const auto writer = format::make_writer(format::Format::Gguf, path);
    writer->begin({{"general.architecture", WriteValue::string("llama")}},
                  {{"w", TensorType::Q8_0, {static_cast<std::int64_t>(bytes.size() / 34), 32}}});
    writer->write(std::as_bytes(std::span(bytes.data(), bytes.size())));
    writer->end_tensor();
    writer->finish();
    return format::open_model(path);
  }
  test::TempFolder folder_;
  int n_ = 0;
};

std::vector<float> ramp(std::size_t n) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i) * 0.25F - 3;
  return values;
}

TEST_F(Diff, AFileComparedWithItselfIsEqual) {
  for (const std::string_view golden : test::kGoldenModels) {
    const auto a = format::open_model(test::golden_folder(golden)), b = format::open_model(test::golden_folder(golden));
    const DiffReport report = diff(a, b);
    EXPECT_TRUE(report.equal()) << golden;
    EXPECT_EQ(report.n_same, a.tensors.size());
    std::uint64_t bytes = 0;
    for (const auto& tensor : a.tensors) bytes += tensor.size_bytes;
    EXPECT_EQ(report.bytes_compared, bytes) << "nothing may be left out";
    EXPECT_GT(report.n_same, 0U);
  }
}

TEST_F(Diff, OneChangedByteIsFoundWithItsPlaceAndWeight) {
  std::string bytes;
  for (int block = 0; block < 100'000; ++block) bytes += test::le<std::uint16_t>(0x3C00) + std::string(32, '\2');
  const auto a = blocks(bytes);
  constexpr std::size_t kAt = 77'777 * 34 + 2 + 5;
  bytes[kAt] = '\5';
  const auto b = blocks(bytes);
  for (const unsigned n_threads : {1U, 3U}) {
    const DiffReport report = diff(a, b, {.n_threads = n_threads, .progress = {}});
    EXPECT_FALSE(report.equal());
    ASSERT_EQ(report.tensors.size(), 1U);
    const TensorDiff& t = report.tensors[0];
    ASSERT_TRUE(t.bytes && t.values);
    EXPECT_EQ(t.bytes->n_different, 1U);
    EXPECT_EQ(t.bytes->first_different, kAt);
    EXPECT_EQ(t.bytes->n_blocks_different, 1U);
    EXPECT_EQ(t.bytes->first_block, 77'777U);
    EXPECT_EQ(t.bytes->n_blocks, 100'000U);
    EXPECT_EQ(t.values->n_different, 1U);
    EXPECT_EQ(t.values->largest_at, 77'777U * 32 + 5);
    EXPECT_EQ(t.values->a_at_largest, 2);
    EXPECT_EQ(t.values->b_at_largest, 5);
    ASSERT_TRUE(t.values->nmse);
    EXPECT_NEAR(*t.values->nmse, 9.0 / (4.0 * 3'200'000), 1e-15);
  }
}

TEST_F(Diff, ABlockThatStraddlesPiecesOfWorkIsCountedOnce) {
  std::string bytes;
  for (int block = 0; block < 70'000; ++block) bytes += test::le<std::uint16_t>(0x3C00) + std::string(32, '\1');
  const auto a = blocks(bytes);
  for (char& c : bytes) c = static_cast<char>(c ^ 1);  // every byte
  const auto b = blocks(bytes);
  const DiffReport report = diff(a, b, {.n_threads = 2, .progress = {}});
  EXPECT_EQ(report.tensors.at(0).bytes->n_different, bytes.size());
  EXPECT_EQ(report.tensors.at(0).bytes->n_blocks_different, 70'000U);
}

TEST_F(Diff, AddedRemovedTypeShapeAndMetadata) {
  const auto a = gguf({{"same", {8}, ramp(8)}, {"gone", {2}, ramp(2)}, {"shape", {2, 4}, ramp(8)}},
                      {{"x", WriteValue::u32(1)}, {"only.a", WriteValue::string("a")}, {"same", WriteValue::u32(7)}});
  const auto b = gguf({{"same", {8}, ramp(8)}, {"new", {2}, ramp(2)}, {"shape", {4, 2}, ramp(8)}},
                      {{"x", WriteValue::u32(2)}, {"only.b", WriteValue::string("b")}, {"same", WriteValue::u32(7)}});
  const DiffReport report = diff(a, b);
  EXPECT_EQ(report.n_same, 1U);
  ASSERT_EQ(report.only_in_a.size(), 1U);
  EXPECT_EQ(report.only_in_a[0]->name, "gone");
  ASSERT_EQ(report.only_in_b.size(), 1U);
  EXPECT_EQ(report.only_in_b[0]->name, "new");
  ASSERT_EQ(report.tensors.size(), 1U);
  EXPECT_TRUE(report.tensors[0].shape_changed);
  EXPECT_EQ(report.tensors[0].values->not_compared_reason, "the shapes differ");
  std::vector<std::string> keys;
  for (const MetadataDiff& m : report.metadata)
    keys.push_back(m.key + " " + m.a.value_or("-") + " " + m.b.value_or("-"));
  EXPECT_THAT(keys, ElementsAre("only.a \"a\" -", "only.b - \"b\"", "x 1 2"));
  EXPECT_EQ(report.n_metadata_same, 2U);
}

TEST_F(Diff, NotANumberNeverPasses) {
  auto values = ramp(64), other = values;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  other[7] = kNan;
  const auto a = gguf({{"w", {64}, values}}), b = gguf({{"w", {64}, other}});
  for (const bool swapped : {false, true}) {
    const DiffReport report = swapped ? diff(b, a) : diff(a, b);
    ASSERT_EQ(report.tensors.size(), 1U);
    EXPECT_EQ(report.tensors[0].values->n_not_finite, 1U);
    EXPECT_EQ(report.tensors[0].values->n_different, 1U);
    EXPECT_FALSE(report.tensors[0].values->nmse) << "a number would be a lie";
  }
  EXPECT_TRUE(diff(b, gguf({{"w", {64}, other}})).equal()) << "the same bytes are equal";
  const auto zero = gguf({{"w", {64}, std::vector<float>(64, 0)}});
  EXPECT_FALSE(diff(zero, a).tensors.at(0).values->nmse) << "nothing to relate the error to";
}

// GGUF and SafeTensors of the same weights: other names, rows of query and key in another order, norms less one.
TEST_F(Diff, AcrossFormatsTheSameWeightsAreTheSame) {
  for (const std::string_view golden : {"llama", "qwen2", "qwen3", "gemma3"}) {
    SCOPED_TRACE(golden);
    const std::string path = folder_.path(std::string(golden) + ".gguf");
    test::write_golden_gguf(golden, path);
    const auto hf = format::open_model(test::golden_folder(golden)), gguf_file = format::open_model(path);
    for (const bool swapped : {false, true}) {
      const DiffReport report = swapped ? diff(gguf_file, hf) : diff(hf, gguf_file);
      std::size_t n_permuted = 0, n_plus = 0;
      for (const TensorDiff& t : report.tensors) {
        EXPECT_TRUE(t.renamed) << t.name_a;
        n_permuted += t.permuted ? 1 : 0;
        n_plus += t.plus_a + t.plus_b > 0 ? 1 : 0;
        if (t.name_a.find("q_norm") != std::string::npos && golden == "gemma3")
          continue;  // scaled by the test's writer
        EXPECT_TRUE(t.same_values()) << t.name_a << " " << t.name_b << " " << (t.values ? t.values->largest : -1)
                                     << t.values->not_compared_reason;
      }
      EXPECT_EQ(report.tensors.size(), hf.tensors.size());
      EXPECT_EQ(n_permuted > 0, golden == "llama");
      EXPECT_EQ(n_plus > 0, golden == "gemma3");
      // rope_freqs.weight follows from the configuration and is in GGUF only.
      for (const auto* tensor : swapped ? report.only_in_a : report.only_in_b)
        EXPECT_EQ(tensor->name, "rope_freqs.weight");
      EXPECT_TRUE((swapped ? report.only_in_b : report.only_in_a).empty());
    }
  }
}

// Without the order of the rows the comparison would be worthless: a model with unpermuted rows must differ.
TEST_F(Diff, AQueryInTheWrongOrderIsADifference) {
  const std::string path = folder_.path("wrong.gguf");
  const auto hf = format::open_model(test::golden_folder("llama"));
  const auto plain = test::plain_tensors(hf);
  test::write_golden_gguf("llama", path, [&plain](std::vector<PlainTensor>& tensors) {
    for (PlainTensor& t : tensors)
      if (t.name == "blk.0.attn_q.weight")
        for (const PlainTensor& p : plain)
          if (p.name == "model.layers.0.self_attn.q_proj.weight") t.values = p.values;
  });
  const auto wrong = format::open_model(path);
  int n = 0;
  for (const TensorDiff& t : diff(hf, wrong).tensors)
    if (!t.same_values()) {
      ++n;
      EXPECT_EQ(t.name_b, "blk.0.attn_q.weight");
    }
  EXPECT_EQ(n, 1);
}

TEST_F(Diff, ProgressEndsAtTheSize) {
  const auto a = gguf({{"w", {64}, ramp(64)}, {"v", {8}, ramp(8)}});
  std::uint64_t done = 0, total = 0;
  DiffOptions options;
  options.progress = [&](std::uint64_t d, std::uint64_t t) { done = d, total = t; };
  (void)diff(a, a, options);
  EXPECT_EQ(done, 72U * 4);
  EXPECT_EQ(total, done);
}

}  // namespace
}  // namespace apr::inspect
