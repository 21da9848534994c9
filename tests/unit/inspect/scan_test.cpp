// Entropy report and damage map on sound weights and on weights damaged on purpose.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "apr/inspect/damage.h"
#include "src/inspect/scan_layout.h"
#include "tests/support/weights_file.h"

namespace apr::inspect {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr TensorType kTypes[] = {TensorType::Q4_K, TensorType::Q8_0, TensorType::Q6_K, TensorType::Q4_0,
                                 TensorType::F16,  TensorType::BF16, TensorType::F32};

std::string noise(std::size_t n, std::uint64_t state) {
  std::string bytes(n, '\0');
  for (char& b : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    b = static_cast<char>(state >> 57 << 1 ^ state >> 40);
  }
  return bytes;
}

struct Weights {
  test::TempFolder folder;
  std::string path = folder.path("w.gguf");
  std::string bytes;
  std::uint64_t offset = 0, size = 0;  // of blk.2.ffn_up.weight
  std::uint32_t block = 0;

  explicit Weights(TensorType type) {
    test::write_weights(path, type);
    bytes = test::read_whole(path);
    const auto model = format::open_model(path);
    const format::TensorInfo* tensor = model.find_tensor("blk.2.ffn_up.weight");
    offset = tensor->offset;
    size = tensor->size_bytes;
    block = find_type(type)->block_bytes;
  }
  /// Puts `patch` at `at` and runs the report on it.
  DamageReport damage(std::uint64_t at, const std::string& patch) const {
    std::string changed = bytes;
    changed.replace(at, patch.size(), patch);
    const format::ModelFile model = format::open_model(folder.write("damaged.gguf", changed));
    return damage_report(model, 2, {});
  }
  EntropyReport entropy(std::uint64_t at, const std::string& patch) const {
    std::string changed = bytes;
    changed.replace(at, patch.size(), patch);
    const format::ModelFile model = format::open_model(folder.write("damaged.gguf", changed));
    return entropy_report(model, 2, {});
  }
};

/// The suspicious ranges that overlap a region.
std::vector<DamageRange> hits(const DamageReport& report, std::uint64_t at, std::uint64_t size) {
  std::vector<DamageRange> found;
  for (const DamageRange& r : report.ranges)
    if (r.suspicious && r.offset < at + size && at < r.offset + r.size_bytes) found.push_back(r);
  return found;
}

void expect_found(const DamageReport& report, DamageCause cause, std::uint64_t at, std::uint64_t size,
                  std::uint64_t slack) {
  const auto found = hits(report, at, size);
  ASSERT_FALSE(found.empty()) << "nothing was found";
  EXPECT_EQ(report.n_suspicious, found.size()) << "alarms elsewhere";
  const auto named = std::find_if(found.begin(), found.end(), [&](const DamageRange& r) { return r.cause == cause; });
  ASSERT_NE(named, found.end()) << name(found[0].cause) << ": " << found[0].evidence;
  EXPECT_LE(named->offset, at + slack);
  EXPECT_GE(named->offset + slack, at);
  EXPECT_LE(named->offset + named->size_bytes, at + size + slack);
  EXPECT_FALSE(named->evidence.empty());
}

TEST(Damage, SoundWeightsOfEveryTypeAreSound) {
  for (const TensorType type : kTypes) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    const DamageReport report = weights.damage(0, "");
    EXPECT_EQ(report.ranges.size(), 0U) << report.ranges.at(0).evidence;
    EXPECT_TRUE(report.complete);
    EXPECT_GE(report.n_bytes, 4 * weights.size);
    EXPECT_EQ(report.damaged_bytes, 0U);
    EXPECT_THAT(weights.entropy(0, "").anomalies, IsEmpty());
  }
}

TEST(Damage, ZerosConstantsTextAndDiceAreNamedToTheByte) {
  for (const TensorType type : kTypes) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    const std::uint64_t page = (weights.offset / 4096 + 9) * 4096;
    expect_found(weights.damage(page, std::string(4096, '\0')), DamageCause::ZeroFill, page, 4096, 4);
    const std::uint64_t odd = weights.offset + 30'001;
    expect_found(weights.damage(odd, std::string(1000, '\x5A')), DamageCause::Constant, odd, 1000, 4);
    std::string text = "<!DOCTYPE html><html>";
    for (int i = 0; i < 60; ++i) text += "No server is available, number " + std::to_string(i) + ".\n";
    expect_found(weights.damage(odd, text), DamageCause::Text, odd, text.size(), 4);
    EXPECT_THAT(weights.damage(odd, text).ranges.at(0).evidence, HasSubstr("HTML"));
    expect_found(weights.damage(odd, noise(20'000, 3)), DamageCause::RandomBytes, odd, 20'000, 4096);
  }
}

// Across the end of a window, too. Red with: a last chunk that is not looked at.
TEST(Damage, TheShortestRunsAreFoundWhereverTheyStand) {
  for (const TensorType type : {TensorType::Q4_K, TensorType::Q6_K, TensorType::F32}) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    const std::uint64_t page = (weights.offset / 4096 + 9) * 4096;
    const std::string words = "The quick brown fox jumps over the lazy dog, and then it goes home. ";
    std::string sentence = words + words + words;
    sentence.resize(192);
    for (std::uint64_t at = page - 400; at < page + 200; at += 7) {
      const auto found = hits(weights.damage(at, sentence), at, 192);
      EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](const DamageRange& r) {
        return r.cause == DamageCause::Text;
      })) << static_cast<std::int64_t>(at - page);
    }
  }
}

TEST(Damage, ARangeNamesItsTensorBlocksAndRows) {
  const Weights weights(TensorType::Q4_K);
  const std::uint64_t at = weights.offset + 144 * 40;  // 4 blocks a row: row 10
  const DamageReport report = weights.damage(at, std::string(144 * 8, '\0'));
  ASSERT_EQ(report.n_suspicious, 1U);
  const DamageRange& range = report.ranges[0];
  EXPECT_EQ(range.offset, at);
  EXPECT_EQ(range.size_bytes, 144U * 8);
  EXPECT_EQ(range.place.first_block, 40U);
  EXPECT_EQ(range.place.last_block, 47U);
  EXPECT_EQ(range.place.first_row, 10U);
  EXPECT_EQ(range.place.last_row, 11U);
  EXPECT_EQ(range.certainty, Certainty::Exact);
  EXPECT_EQ(report.layers, std::vector<int>{2});
  EXPECT_EQ(report.damaged_bytes, 144U * 8);
  EXPECT_NEAR(report.share, 144.0 * 8 / static_cast<double>(report.tensor_bytes), 1e-12);
}

TEST(Damage, AShiftIsNamedWithItsBytes) {
  for (const TensorType type :
       {TensorType::Q4_K, TensorType::Q8_0, TensorType::Q6_K, TensorType::Q4_0, TensorType::F32}) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    const std::uint64_t at = weights.offset + 40'000, rest = weights.size - 40'000;
    const DamageReport report = weights.damage(at, noise(3, 5) + weights.bytes.substr(at, rest - 3));
    expect_found(report, DamageCause::Shifted, at, rest, 4096);
    const auto found = hits(report, at, rest);
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found[0].shift_bytes, 3);
  }
}

TEST(Damage, TheWrongByteOrderIsNamed) {
  for (const TensorType type :
       {TensorType::Q4_K, TensorType::Q8_0, TensorType::F16, TensorType::BF16, TensorType::F32}) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    std::string data = weights.bytes.substr(weights.offset, weights.size);
    const std::size_t width = type == TensorType::F32 ? 4 : 2;
    for (std::size_t i = 0; i + width <= data.size(); i += width)
      std::reverse(data.begin() + static_cast<std::ptrdiff_t>(i),
                   data.begin() + static_cast<std::ptrdiff_t>(i + width));
    expect_found(weights.damage(weights.offset, data), DamageCause::ByteSwapped, weights.offset, weights.size, 4096);
  }
}

TEST(Damage, RepeatedBlocksRowsAndCopiesAreNamed) {
  const Weights weights(TensorType::Q4_K);
  const std::uint64_t at = weights.offset + 144 * 100;
  std::string repeated;
  for (int i = 0; i < 20; ++i) repeated += weights.bytes.substr(at, 144);
  expect_found(weights.damage(at, repeated), DamageCause::RepeatedBlock, at, repeated.size(), 144);
  std::string rows;
  for (int i = 0; i < 6; ++i) rows += weights.bytes.substr(weights.offset, 576);
  expect_found(weights.damage(weights.offset, rows), DamageCause::RepeatedBlock, weights.offset, rows.size(), 576);
  const format::ModelFile model = format::open_model(weights.path);
  const std::uint64_t other = model.find_tensor("blk.0.ffn_up.weight")->offset;
  const DamageReport copied = weights.damage(weights.offset + 14'400, weights.bytes.substr(other + 28'800, 57'600));
  ASSERT_EQ(copied.n_suspicious, 2U) << "both places of a copy are named";
  EXPECT_EQ(copied.ranges[0].offset, other + 28'800);
  EXPECT_EQ(copied.ranges[1].offset, weights.offset + 14'400);
  EXPECT_EQ(copied.ranges[1].size_bytes, 57'600U);
  EXPECT_EQ(copied.ranges[1].other_offset, other + 28'800);
}

TEST(Damage, OneImpossibleScaleOrWeightIsFound) {
  const Weights q4(TensorType::Q4_K);
  const std::uint64_t at = q4.offset + 144 * 77;
  expect_found(q4.damage(at, std::string("\x00\x7E", 2)), DamageCause::NonFinite, at, 2, 0);
  std::string scale = q4.bytes.substr(at, 2);
  scale[1] = static_cast<char>(scale[1] | 0x40);  // the highest bit of the exponent
  expect_found(q4.damage(at, scale), DamageCause::ScaleOutlier, at, 2, 0);
  const Weights f16(TensorType::F16);
  expect_found(f16.damage(f16.offset + 5002, std::string("\x00\xFC", 2)), DamageCause::NonFinite, f16.offset + 5002, 2,
               0);
  expect_found(f16.damage(f16.offset + 5002, std::string("\x00\x70", 2)), DamageCause::ValueOutlier, f16.offset + 5002,
               2, 0);
}

TEST(Damage, CodesAloneAreFoundWhereTheScalesAreSound) {
  for (const TensorType type : {TensorType::Q4_K, TensorType::Q8_0}) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    const std::size_t codes = type == TensorType::Q4_K ? 16 : 2, n_blocks = 40'000 / weights.block;
    const std::uint64_t at = weights.offset + 10ULL * weights.block;
    std::string patch = weights.bytes.substr(at, n_blocks * weights.block);
    for (std::size_t b = 0; b < n_blocks; ++b)
      patch.replace(b * weights.block + codes, weights.block - codes, noise(weights.block - codes, b + 1));
    expect_found(weights.damage(at, patch), DamageCause::RandomBytes, at, patch.size(), 4096);
  }
}

// As trained models have them. Red with: narrow fields judged like the others.
TEST(Damage, ScalesOfSubBlocksDoNotSpeakAlone) {
  const Weights weights(TensorType::Q6_K);
  const std::size_t scales = 192, n_blocks = 100;
  const std::uint64_t at = weights.offset + 10ULL * weights.block;
  std::string patch = weights.bytes.substr(at, n_blocks * weights.block);
  for (std::size_t b = 0; b < n_blocks; ++b) patch.replace(b * weights.block + scales, 16, noise(16, b + 1));
  EXPECT_EQ(weights.damage(at, patch).ranges.size(), 0U);
}

/// Codes of blocks [first, first + n) of the tensor become bytes of two nibbles that have the high bit: nothing else is
/// as unlike weights and no run of any kind.
std::string crowded_codes(const Weights& weights, std::uint64_t first, std::uint64_t n, std::size_t at,
                          std::size_t width) {
  std::string patch = weights.bytes.substr(weights.offset + first * weights.block, n * weights.block);
  std::string codes = noise(n * width, first + 1);
  for (char& c : codes) c = static_cast<char>(0x88 | (c & 0x11));
  for (std::size_t b = 0; b < n; ++b) patch.replace(b * weights.block + at, width, codes, b * width, width);
  return patch;
}

// The end of a tensor is a window of its own, and a block or two are no distribution. Red with: kFewUnits 1.
TEST(Damage, AFewBlocksInTheLastWindowDoNotSpeakAlone) {
  const Weights weights(TensorType::Q4_K);
  const std::uint64_t end = weights.offset + weights.size, n_blocks = weights.size / weights.block;
  const std::uint64_t few = (end - end / 4096 * 4096) / weights.block;  // that start in the last window
  ASSERT_GE(few, 2U);
  ASSERT_LT(few, 8U);
  const auto damage_of_last = [&](std::uint64_t n) {
    return weights.damage(end - n * weights.block, crowded_codes(weights, n_blocks - n, n, 16, 128));
  };
  EXPECT_EQ(damage_of_last(few).ranges.size(), 0U);
  const std::uint64_t many = few + 28;  // and a whole window before it
  expect_found(damage_of_last(many), DamageCause::ForeignBytes, end - many * weights.block, many * weights.block, 4096);
}

/// `n` rows whose blocks hold one weight `times` as large as the greatest other: their codes crowd in the middle.
std::string rows_with_outliers(TensorType type, std::int64_t first, std::int64_t n, float times) {
  std::vector<float> values =
      test::near_gaussian(static_cast<std::size_t>(n * test::kWeightColumns), static_cast<std::uint64_t>(first) + 77);
  for (std::size_t b = 0; b < values.size(); b += 32) values[b + b / 32 % 32] = times * 0.03F;
  const TypeInfo& info = *find_type(type);
  std::string blocks(values.size() / info.block_elements * info.block_bytes, '\0');
  kernels::quantizer(type)(values.data(), reinterpret_cast<std::byte*>(blocks.data()),
                           static_cast<std::int64_t>(values.size() / info.block_elements));
  return blocks;
}

// As Gemma 3 has them. Red with: kForeignCodes 1.
TEST(Damage, RowsWithAnOutlierAreUnusualAndNoDamage) {
  const Weights weights(TensorType::Q5_0);
  const std::uint64_t row = test::kWeightColumns / 32 * weights.block, at = weights.offset + 40 * row;
  const auto rows = [&](float times) { return rows_with_outliers(TensorType::Q5_0, 40, 24, times); };
  EXPECT_FALSE(weights.entropy(at, rows(3)).anomalies.empty()) << "beyond the limit of one window";
  EXPECT_EQ(weights.damage(at, rows(3)).ranges.size(), 0U);
  expect_found(weights.damage(at, rows(8)), DamageCause::ForeignBytes, at, 24 * row, 4096);
}

// Red with: kSingleWindow 1.
TEST(Damage, OneWindowALittleOffSaysNothing) {
  const Weights weights(TensorType::BF16);
  const std::uint64_t page = (weights.offset / 4096 + 9) * 4096;
  const auto nearly_zeros = [&](std::size_t n_bytes) {  // three of ten weights, where one of four is the limit
    std::string patch = weights.bytes.substr(page, n_bytes);
    for (std::size_t i = 0; i < n_bytes / 2; ++i)
      if (i % 10 < 3) patch[2 * i + 1] = static_cast<char>(0x0F);
    return patch;
  };
  EXPECT_FALSE(weights.entropy(page, nearly_zeros(4096)).anomalies.empty());
  EXPECT_EQ(weights.damage(page, nearly_zeros(4096)).ranges.size(), 0U);
  expect_found(weights.damage(page, nearly_zeros(8192)), DamageCause::ForeignBytes, page, 8192, 4096);
}

// A scale of the minima is octaves above the scale itself: a flip that reaches it is found. Red with: one peak for
// both.
TEST(Damage, AScaleIsComparedWithItsOwnKind) {
  const Weights weights(TensorType::Q4_K);
  const std::uint64_t at = weights.offset + 144 * 77;
  std::string scale = weights.bytes.substr(at, 2);
  ASSERT_EQ(scale[1] & 0x20, 0);
  scale[1] = static_cast<char>(scale[1] | 0x20);  // 256 times as large
  expect_found(weights.damage(at, scale), DamageCause::ScaleOutlier, at, 2, 0);
}

// Red with: anchors that are chosen by chance, one in 4096 bytes.
TEST(Damage, ACopyIsFoundWhereverItStands) {
  for (const TensorType type : {TensorType::Q4_K, TensorType::BF16}) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    const std::uint64_t other = format::open_model(weights.path).find_tensor("blk.0.ffn_up.weight")->offset;
    const std::uint64_t step = type == TensorType::Q4_K ? 144 : 64, size = 10'240 / step * step;
    for (std::uint64_t i = 0; i < 40; ++i) {
      const std::uint64_t from = other + (i * 17) % 200 * step, to = weights.offset + (i * 29 + 7) % 400 * step;
      EXPECT_EQ(weights.damage(to, weights.bytes.substr(from, size)).n_suspicious, 2U) << i;
    }
  }
}

// Red with: all that two vocabulary tensors share taken for tied weights.
TEST(Damage, APartOfTheEmbeddingInTheOutputIsNoTiedWeight) {
  const test::TempFolder folder;
  const std::string path = folder.path("v.gguf");
  const std::int64_t rows = 512, columns = 256;
  const auto write = [&](std::int64_t first, std::int64_t n) {  // rows of the embedding that the output has, too
    const auto writer = format::make_writer(format::Format::Gguf, path);
    writer->begin(
        {{"general.architecture", format::WriteValue::string("llama")}},
        {{"token_embd.weight", TensorType::F32, {rows, columns}}, {"output.weight", TensorType::F32, {rows, columns}}});
    std::vector<float> values = test::near_gaussian(static_cast<std::size_t>(rows * columns), 1);
    writer->write(std::as_bytes(std::span(values)));
    writer->end_tensor();
    std::vector<float> output = test::near_gaussian(static_cast<std::size_t>(rows * columns), 2);
    std::copy_n(values.begin() + first * columns, n * columns, output.begin() + first * columns);
    writer->write(std::as_bytes(std::span(output)));
    writer->end_tensor();
    writer->finish();
    return damage_report(format::open_model(path), 1, {});
  };
  EXPECT_EQ(write(0, 0).ranges.size(), 0U);
  EXPECT_EQ(write(100, 16).n_suspicious, 2U);
  EXPECT_EQ(write(0, rows).n_suspicious, 0U) << "tied, and written twice";
  EXPECT_EQ(write(0, rows).ranges.size(), 2U) << "noteworthy";
  EXPECT_EQ(write(10, 400).n_suspicious, 0U) << "tied but for a few rows";
}

TEST(Damage, RangesStandInTheOrderOfTheFileWhoeverFoundThem) {
  const Weights weights(TensorType::Q4_K);
  const std::uint64_t zeros = weights.offset + 144 * 300;
  std::string patch = weights.bytes.substr(weights.offset, 144 * 310);
  patch.replace(0, 2, std::string("\x00\x7E", 2));          // found last
  patch.replace(144 * 300, 1000, std::string(1000, '\0'));  // found first
  const DamageReport report = weights.damage(weights.offset, patch);
  ASSERT_EQ(report.ranges.size(), 2U);
  EXPECT_EQ(report.ranges[0].offset, weights.offset);
  EXPECT_EQ(report.ranges[1].offset, zeros);
  EXPECT_EQ(report.damaged_bytes, report.ranges[0].size_bytes + report.ranges[1].size_bytes);
}

TEST(Damage, ACutFileNamesTheTensorsItCuts) {
  const Weights weights(TensorType::Q8_0);
  const std::uint64_t cut = weights.offset + 1000;
  const format::ModelFile model = format::open_model(weights.folder.write("cut.gguf", weights.bytes.substr(0, cut)));
  const DamageReport report = damage_report(model, 1, {});
  ASSERT_EQ(report.n_suspicious, 3U) << "this one, and the two behind it";
  EXPECT_EQ(report.ranges[0].cause, DamageCause::Truncated);
  EXPECT_EQ(report.ranges[0].offset, cut);
  EXPECT_EQ(report.ranges[0].size_bytes, weights.size - 1000);
}

TEST(Damage, TheListOfAFileFullOfDamageEnds) {
  const Weights weights(TensorType::F32);
  std::string stripes;
  for (std::size_t i = 0; i * 600 + 600 < 4 * weights.size / 2; ++i) stripes += std::string(300, '\0') + noise(300, i);
  const DamageReport report = weights.damage(weights.offset - weights.size, stripes.substr(0, weights.size * 2));
  EXPECT_FALSE(report.complete);
  EXPECT_LE(report.ranges.size(), 2010U);
  EXPECT_GT(report.ranges.size(), 1000U);
}

TEST(Damage, AnyNumberOfThreadsReportsTheSame) {
  const Weights weights(TensorType::Q6_K);
  std::string changed = weights.bytes;
  changed.replace(weights.offset + 9000, 30'000, noise(30'000, 1));
  const format::ModelFile model = format::open_model(weights.folder.write("d.gguf", changed));
  const DamageReport one = damage_report(model, 1, {}), four = damage_report(model, 4, {});
  ASSERT_EQ(one.ranges.size(), four.ranges.size());
  ASSERT_FALSE(one.ranges.empty());
  for (std::size_t i = 0; i < one.ranges.size(); ++i) {
    EXPECT_EQ(one.ranges[i].offset, four.ranges[i].offset);
    EXPECT_EQ(one.ranges[i].evidence, four.ranges[i].evidence);
  }
}

TEST(Entropy, F_HEX_004_AZeroedPageHasZeroBitsAndIsFlagged) {
  for (const TensorType type : kTypes) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    const std::uint64_t page = (weights.offset / 4096 + 5) * 4096;
    const EntropyReport report = weights.entropy(page - 512, std::string(4096 + 1024, '\0'));
    const auto zeroed = std::find_if(report.anomalies.begin(), report.anomalies.end(), [&](const Anomaly& a) {
      return a.offset <= page && page + 4096 <= a.offset + a.size_bytes;
    });
    ASSERT_NE(zeroed, report.anomalies.end());
    EXPECT_EQ(zeroed->bits_per_byte, 0.0);
    EXPECT_EQ(zeroed->kind, AnomalyKind::LowBits);
    EXPECT_GT(zeroed->usual, 5.0);
    for (const RegionEntropy& region : report.regions)
      if (region.name == "tensor data") EXPECT_EQ(region.lowest, 0.0);
  }
}

TEST(Entropy, F_HEX_004_PatternsTextShiftsAndOtherDataAreFlagged) {
  for (const TensorType type : kTypes) {
    SCOPED_TRACE(std::string(name(type)));
    const Weights weights(type);
    const std::uint64_t at = weights.offset + 20'000;
    std::string pattern, text;
    while (pattern.size() < 8192) pattern += noise(64, 9);
    while (text.size() < 8192) text += "The quick brown fox jumps over the lazy dog. ";
    const std::string shifted = "x" + weights.bytes.substr(at, 16'384);
    const Weights other(type == TensorType::Q8_0 ? TensorType::Q4_K : TensorType::Q8_0);
    for (const std::string& patch : {pattern, text, shifted, other.bytes.substr(other.offset, 16'384)}) {
      const EntropyReport report = weights.entropy(at, patch);
      ASSERT_FALSE(report.anomalies.empty()) << (patch == pattern) << (patch == text) << (patch == shifted);
      EXPECT_LE(report.anomalies[0].offset, at + 4096);
      EXPECT_GE(report.anomalies[0].offset + 4096, at);
      EXPECT_EQ(report.anomalies[0].place.tensor, 5U);
    }
  }
}

TEST(Entropy, FieldsAreStreamsOfTheirOwn) {
  const Weights weights(TensorType::Q4_K);
  const EntropyReport report = weights.entropy(0, "");
  std::vector<std::string> fields;
  for (const FieldEntropy& f : report.fields)
    if (f.role == "blk.*.ffn_up.weight") fields.push_back(f.field);
  EXPECT_THAT(fields, testing::UnorderedElementsAre("scales", "qs", "d", "dmin"));
  for (const FieldEntropy& f : report.fields) {
    EXPECT_EQ(f.n_tensors, 4U);
    if (f.field == "qs") {
      EXPECT_EQ(f.n_bytes, 4U * 192 * 4 * 128);
      EXPECT_GT(f.bits_per_byte, 7.0);
      EXPECT_LT(f.bits_per_byte, 7.95);
    }
    if (f.field == "d") EXPECT_LT(f.bits_per_byte, 3.0);
  }
}

TEST(ScanLayout, EveryByteOfEveryTypeBelongsToOneStream) {
  std::size_t n_types = 0;
  for (const TypeInfo& type : tensor_types()) {
    if (type.status != TypeStatus::Live) continue;
    const ScanLayout layout = scan_layout(type);
    std::uint32_t bytes = 0;
    for (const ScanStream& s : layout.streams)
      bytes += layout.period > 0 ? layout.unit_bytes / static_cast<unsigned>(layout.period) : s.width;
    for (const ScanScale& s : layout.scales) bytes += s.count * s.width();
    EXPECT_EQ(bytes, type.block_bytes) << type.name;
    ++n_types;
  }
  EXPECT_GT(n_types, 40U);
  EXPECT_EQ(tensor_role("model.layers.12.mlp.up_proj.weight"), "model.layers.*.mlp.up_proj.weight");
  EXPECT_EQ(tensor_layer("blk.31.ffn_up.weight"), 31);
  EXPECT_EQ(tensor_layer("output.weight"), -1);
}

}  // namespace
}  // namespace apr::inspect
