// Moments, extremes, entropies and histograms against direct computation in long double.
#include "apr/inspect/distribution.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "apr/inspect/address.h"
#include "apr/inspect/list.h"
#include "apr/kernels/dispatch.h"
#include "src/inspect/code_counter.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/json_builder.h"
#include "tests/support/quant_data.h"

namespace apr::inspect {
namespace {

using test::GgufBuilder;
using test::TempFolder;

struct Model {
  TempFolder folder;
  format::ModelFile model;
  explicit Model(const GgufBuilder& b) : model(format::open_model(folder.write("m.gguf", b.bytes()))) {}
};

void append_f32(GgufBuilder& b, const std::string& name, const std::vector<float>& values) {
  b.info(name, {values.size()}, test::kGgmlF32, b.data().text.size());
  for (const float v : values) b.data().put(v);
  b.data().text.resize((b.data().text.size() + 31) / 32 * 32);
}

std::vector<float> skewed_values(std::size_t n) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto g = static_cast<float>(test::near_gaussian_at(3, i)) / 40000.0F;
    values[i] = 100.0F + g + 0.3F * g * g;
  }
  return values;
}

/// Moments by their definitions.
struct Direct {
  long double mean = 0, m2 = 0, m3 = 0, m4 = 0;
  explicit Direct(const std::vector<float>& values) {
    for (const float v : values) mean += static_cast<long double>(v);
    mean /= static_cast<long double>(values.size());
    for (const float v : values) {
      const long double d = static_cast<long double>(v) - mean;
      m2 += d * d, m3 += d * d * d, m4 += d * d * d * d;
    }
    const auto n = static_cast<long double>(values.size());
    m2 /= n, m3 /= n, m4 /= n;
  }
};

void expect_near(double found, long double expected, double relative) {
  EXPECT_TRUE(std::fabs(found - static_cast<double>(expected)) <= relative * std::fabs(static_cast<double>(expected)))
      << found << " instead of " << static_cast<double>(expected);
}

// Red with: the kurtosis without its - 3; a sum of squares instead of central moments (the values lie around 100); the
// last chunk left out; a histogram whose last bin does not hold the maximum.
TEST(F_HEX_006, MomentsOfAStreamAreThoseOfTheDefinition) {
  const std::vector<float> values = skewed_values(200'003);  // several chunks and a rest
  GgufBuilder b;
  b.architecture();
  append_f32(b, "t", values);
  const Model m(b);
  const Direct direct(values);
  for (const unsigned n_threads : {1U, 3U}) {
    const Distribution d = distribution_of(m.model, "t", {0}, {n_threads, 50, {}});
    EXPECT_EQ(d.moments.n, values.size());
    expect_near(d.moments.mean, direct.mean, 1e-12);
    expect_near(d.std_deviation(), std::sqrt(direct.m2), 1e-10);
    expect_near(*d.skewness(), direct.m3 / (direct.m2 * std::sqrt(direct.m2)), 1e-8);
    expect_near(*d.excess_kurtosis(), direct.m4 / (direct.m2 * direct.m2) - 3, 1e-8);
    EXPECT_EQ(d.moments.min, static_cast<double>(*std::min_element(values.begin(), values.end())));
    EXPECT_EQ(d.moments.max, static_cast<double>(*std::max_element(values.begin(), values.end())));
    std::vector<std::uint64_t> counts(50);
    const double low = d.moments.min, width = d.moments.max - low;
    for (const float v : values)
      ++counts[std::min<std::size_t>(49, static_cast<std::size_t>((static_cast<double>(v) - low) * (50 / width)))];
    ASSERT_TRUE(d.histogram);
    EXPECT_EQ(d.histogram->counts, counts);
    const std::size_t at = static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
    ASSERT_TRUE(d.abs_max);
    EXPECT_EQ(d.abs_max->element, at);
    EXPECT_EQ(d.abs_max->index, std::vector<std::int64_t>{static_cast<std::int64_t>(at)});
    EXPECT_EQ(d.abs_max->offset, m.model.tensors[0].offset + 4 * at);
    EXPECT_EQ(d.abs_max->value, static_cast<double>(values[at]));
    EXPECT_FALSE(d.code_entropy);
  }
}

TEST(F_HEX_006, NanInfZerosAreCountedAndLeftOutOfTheMoments) {
  std::vector<float> values(70'000, 2.0F);
  values[0] = -0.0F, values[1] = 0.0F, values[69'999] = -8.0F;
  values[65'536] = std::nanf(""), values[5] = INFINITY, values[6] = -INFINITY;
  GgufBuilder b;
  b.architecture();
  append_f32(b, "t", values);
  append_f32(b, "nan", {std::nanf(""), std::nanf("")});
  const Model m(b);
  const Distribution d = distribution_of(m.model, "t", {0}, {2, 10, {}});
  EXPECT_EQ(d.moments.n_nan, 1U);
  EXPECT_EQ(d.moments.n_inf, 2U);
  EXPECT_EQ(d.moments.n_zero, 2U);
  EXPECT_EQ(d.moments.n, values.size() - 3);
  EXPECT_EQ(d.moments.min, -8.0);
  EXPECT_EQ(d.abs_max->value, -8.0);
  EXPECT_EQ(d.abs_max->element, 69'999U);
  EXPECT_EQ(d.histogram->counts.front(), 1U);
  EXPECT_EQ(d.histogram->counts.back(), values.size() - 6);
  const Distribution none = distribution_of(m.model, "nan", {1}, {1, 10, {}});
  EXPECT_EQ(none.moments.n, 0U);
  EXPECT_FALSE(none.abs_max);
  EXPECT_FALSE(none.histogram);
  EXPECT_FALSE(none.skewness());
}

TEST(Distribution, ARoleIsTheUnionOfItsTensors) {
  GgufBuilder b;
  b.architecture();
  const std::vector<float> all = skewed_values(3000);
  append_f32(b, "blk.0.ffn_up.weight", {all.begin(), all.begin() + 1000});
  append_f32(b, "blk.1.ffn_up.weight", {all.begin() + 1000, all.end()});
  append_f32(b, "other", {1, 2, 3});
  const Model m(b);
  for (const char* word : {"blk.*.ffn_up.weight", "ffn_up", "ffn_up.weight"}) {
    const auto groups = select_roles(m.model, word);
    ASSERT_EQ(groups.size(), 1U) << word;
    EXPECT_EQ(groups[0].tensors, (std::vector<std::size_t>{0, 1}));
  }
  for (const char* word : {"ffn", "up.weigh", "", "blk.0.ffn_up.weight"})
    EXPECT_THROW(static_cast<void>(select_roles(m.model, word)), Error) << word;
  const Distribution d = distribution_of(m.model, "r", {0, 1}, {2, 0, {}});
  const Direct direct(all);
  EXPECT_EQ(d.n_elements, 3000U);
  expect_near(d.moments.mean, direct.mean, 1e-12);
  expect_near(*d.excess_kurtosis(), direct.m4 / (direct.m2 * direct.m2) - 3, 1e-8);
  EXPECT_THROW(static_cast<void>(chosen_tensors(m.model, "*", "ffn_up")), Error);
  EXPECT_EQ(chosen_tensors(m.model, std::nullopt, "ffn_up"), (std::vector<std::size_t>{0, 1}));
}

/// Counts by the bit layout, element by element.
TEST(CodeCounter, CountsWhatTheLayoutGathers) {
  for (const TypeInfo& type : tensor_types()) {
    if (type.status != TypeStatus::Live || type.fields.empty()) continue;
    SCOPED_TRACE(std::string(type.name));
    const CodeCounter counter(type);
    const auto blocks = test::make_blocks(type, 20);
    std::vector<std::uint64_t> found(counter.n_codes()), expected(counter.n_codes());
    counter.count(blocks, found);
    for (std::size_t n = 0; n < 20; ++n) {
      std::map<unsigned, std::uint64_t> once;
      const auto block = std::span(blocks).subspan(n * type.block_bytes, type.block_bytes);
      for (std::uint32_t e = 0; e < type.block_elements; ++e) {
        const Element element = read_element(type, block, e);
        for (const Part& part : element.all()) {
          if (type.type == TensorType::TQ1_0 && part.bits.kind == PartKind::Code)
            ++expected[static_cast<std::size_t>(part.value + 1)];
          else if (part.bits.kind == PartKind::Code || part.bits.kind == PartKind::GridIndex)
            once[part.bits.runs[0].first] = part.stored;
        }
      }
      for (const auto& [bit, code] : once) ++expected[code];
    }
    EXPECT_EQ(found, expected);
    EXPECT_GT(counter.n_codes(), 1U);
  }
}

TEST(Distribution, CodeEntropyOfUniformCodesIsTheirWidth) {
  GgufBuilder b;
  b.architecture();
  b.info("q", {32 * 8}, test::kGgmlQ4_0, 0);
  for (int block = 0; block < 8; ++block) {
    b.data().put<std::uint16_t>(0x3C00);
    for (int j = 0; j < 16; ++j) b.data().put(static_cast<std::uint8_t>(j | (15 - j) << 4));
  }
  b.data().text.resize(160);
  const Model m(b);
  const Distribution d = distribution_of(m.model, "q", {0}, {1, 0, {}});
  ASSERT_TRUE(d.code_entropy);
  EXPECT_EQ(*d.code_entropy, 4.0);
  EXPECT_EQ(d.code_bits, 4U);
  EXPECT_EQ(d.value_entropy, 4.0);
}

TEST(ListReport, SortsAndSumsUp) {
  GgufBuilder b;
  b.architecture();
  append_f32(b, "blk.1.b", {1, 2, 3, 4});
  b.info("a", {32, 2}, test::kGgmlQ4_0, b.data().text.size());
  b.data().text.resize(b.data().text.size() + 64);
  append_f32(b, "blk.0.b", {1, 2});
  const Model m(b);
  const auto order = [&](ListOrder o) { return list_report(m.model, {0, 1, 2}, o).tensors; };
  using Order = std::vector<std::size_t>;
  EXPECT_EQ(order(ListOrder::File), (Order{0, 1, 2}));
  EXPECT_EQ(order(ListOrder::Name), (Order{1, 2, 0}));
  EXPECT_EQ(order(ListOrder::Size), (Order{1, 0, 2}));
  EXPECT_EQ(order(ListOrder::Type), (Order{0, 2, 1}));
  EXPECT_EQ(order(ListOrder::Offset), (Order{0, 1, 2}));
  const ListReport report = list_report(m.model, {0, 1, 2}, ListOrder::File);
  ASSERT_EQ(report.roles.size(), 2U);
  EXPECT_EQ(report.roles[1].name, "blk.*.b");
  EXPECT_EQ(report.roles[1].n_tensors, 2U);
  EXPECT_EQ(report.types[0].name, "Q4_0");
  EXPECT_EQ(*report.types[0].bits_per_weight, 4.5);
  EXPECT_EQ(*report.types[1].bits_per_weight, 32);
  EXPECT_EQ(report.total.size_bytes, 36U + 24U);
  EXPECT_EQ(*report.total.bits_per_weight, 8.0 * 60 / 70);
}

}  // namespace
}  // namespace apr::inspect
