// scan_values: every fact against a plain count over the whole tensor, across the seams of its pieces of work.
#include "apr/diag/values.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "apr/format/writer.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/json_builder.h"

namespace apr::diag {
namespace {

constexpr std::size_t kSeam = 262144;  // elements of F32 in 1 MiB, the size of a piece
constexpr std::int64_t kCols = 256, kRows = 3000;

std::vector<float> plain_values() {
  std::vector<float> values(static_cast<std::size_t>(kCols * kRows));
  std::uint64_t state = 7;
  for (float& v : values) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    v = static_cast<float>(state >> 40) / 8388608.F - 1.00001F;
  }
  return values;
}

class ScanTest : public testing::Test {
 protected:
  test::TempFolder folder_;
  std::vector<float> values_ = plain_values();

  ValueScan scan(unsigned n_threads = 2) {
    const std::string path = folder_.path("model.gguf");
    const auto writer = format::make_writer(format::Format::Gguf, path);
    writer->begin({{"general.architecture", format::WriteValue::string("llama")}},
                  {{"a.weight", TensorType::F32, {kRows, kCols}}});
    writer->write(std::as_bytes(std::span(values_)));
    writer->end_tensor();
    writer->finish();
    const format::ModelFile model = format::open_model(path);
    ThreadPool pool(n_threads);
    return scan_values(model, model.tensors.at(0), pool);
  }
};

TEST_F(ScanTest, CountsWhatIsThere) {
  values_[10] = 0;
  values_[kSeam + 3] = 40;
  values_[2 * kSeam + 1] = -30;
  const ValueScan s = scan();
  EXPECT_EQ(s.n_elements, values_.size());
  EXPECT_EQ(s.n_zero, 1U);
  EXPECT_EQ(s.max, 40);
  EXPECT_EQ(s.min, -30);
  EXPECT_EQ(s.largest_at, kSeam + 3);
  EXPECT_EQ(s.nan.count + s.inf.count + s.bad_blocks.count, 0U);
  EXPECT_EQ(s.n_rows, static_cast<std::uint64_t>(kRows));
  EXPECT_EQ(s.zero_rows.count + s.constant_rows.count + s.repeated_rows.count, 0U);
  std::array<std::uint64_t, 256> exponents{};
  for (const float v : values_)
    if (v != 0) ++exponents[static_cast<std::size_t>(std::ilogb(v) + 127)];
  EXPECT_EQ(s.exponents, exponents);
}

TEST_F(ScanTest, ZerosJoinAcrossSeams) {
  for (std::size_t i = kSeam - 5; i < 2 * kSeam + 9; ++i) values_[i] = 0;  // a whole piece between two others
  const ValueScan s = scan();
  EXPECT_EQ(s.longest_zero_run, kSeam + 14);
  EXPECT_EQ(s.zero_run_at, kSeam - 5);
  EXPECT_EQ(s.zero_rows.count, kSeam / static_cast<std::size_t>(kCols));
  EXPECT_EQ(s.zero_rows.first, kSeam / static_cast<std::size_t>(kCols));
  EXPECT_EQ(s.repeated_rows.count, 0U) << "zero rows are no repetition";
}

TEST_F(ScanTest, FirstNaNAndInfinityAreTheFirstInTheFile) {
  values_[2 * kSeam + 100] = NAN;
  values_[kSeam + 50] = NAN;
  values_[kSeam + 51] = -INFINITY;
  const ValueScan s = scan();
  EXPECT_EQ(s.nan.count, 2U);
  EXPECT_EQ(s.nan.first, kSeam + 50);
  EXPECT_EQ(s.inf.count, 1U);
  EXPECT_EQ(s.inf.first, kSeam + 51);
  EXPECT_EQ(s.bad_blocks.count, 3U);
}

TEST_F(ScanTest, RowsAreComparedAcrossSeams) {
  const std::size_t row = kSeam / static_cast<std::size_t>(kCols);
  for (std::size_t i = 0; i < 256; ++i) {
    values_[row * 256 + i] = values_[(row - 1) * 256 + i];
    values_[5 * 256 + i] = 0.5F;
  }
  const ValueScan s = scan();
  EXPECT_EQ(s.repeated_rows.count, 1U);
  EXPECT_EQ(s.repeated_rows.first, row);
  EXPECT_EQ(s.constant_rows.count, 1U);
  EXPECT_EQ(s.constant_rows.first, 5U);
}

TEST_F(ScanTest, DoesNotDependOnThreads) {
  values_[3] = NAN;
  for (std::size_t i = kSeam - 5; i < kSeam + 9; ++i) values_[i] = 0;
  const ValueScan one = scan(1), four = scan(4);
  EXPECT_EQ(one.longest_zero_run, four.longest_zero_run);
  EXPECT_EQ(one.exponents, four.exponents);
  EXPECT_EQ(one.largest_at, four.largest_at);
  EXPECT_EQ(one.nan.first, four.nan.first);
}

TEST(Scan, ReadsBigEndianFiles) {
  test::GgufBuilder b(std::endian::big);
  b.architecture();
  b.tensor("a", {2, 2}, test::kGgmlF32, 16);
  std::string bytes = b.bytes();
  test::Bytes values(std::endian::big);
  for (const float v : {1.5F, -2.F, 0.F, 7.F}) values.put(v);
  bytes.replace(bytes.size() - 32, 16, values.text);
  const test::TempFolder folder;
  const format::ModelFile model = format::open_model(folder.write("model.gguf", bytes));
  ThreadPool pool(1);
  const ValueScan s = scan_values(model, model.tensors.at(0), pool);
  EXPECT_EQ(s.max, 7);
  EXPECT_EQ(s.min, -2);
  EXPECT_EQ(s.n_zero, 1U);
}

TEST(Scan, PlacesAreBlocks) {
  format::TensorInfo tensor;
  tensor.type = TensorType::Q4_0;  // 18 bytes for 32 elements
  tensor.offset = 1000;
  EXPECT_EQ(place_of(tensor, 31).offset, 1000U);
  EXPECT_EQ(place_of(tensor, 32).offset, 1018U);
  EXPECT_EQ(place_of(tensor, 65).block, 2U);
}

TEST(Scan, SaysWhyATensorWasNotRead) {
  format::ModelFile model;
  format::TensorInfo tensor;
  tensor.readable = false;
  ThreadPool pool(1);
  const ValueScan s = scan_values(model, tensor, pool);
  EXPECT_FALSE(s.unread_reason.empty());
  EXPECT_EQ(s.n_elements, 0U);
}

}  // namespace
}  // namespace apr::diag
