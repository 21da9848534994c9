#include "apr/diag/diag.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "apr/format/writer.h"

namespace apr::diag {
namespace {

struct Named {
  std::string name;
  std::vector<float> values;
};

/// A GGUF of f32 tensors, written and opened.
format::ModelFile model_of(const std::vector<Named>& tensors, const std::string& file_name) {
  const std::string path = testing::TempDir() + "/diag_" + file_name + ".gguf";
  auto writer = format::make_writer(format::Format::Gguf, path);
  std::vector<format::TensorDecl> declared;
  for (const Named& t : tensors)
    declared.push_back({t.name, TensorType::F32, {static_cast<std::int64_t>(t.values.size())}});
  writer->begin({{"general.architecture", format::WriteValue::string("llama")}}, declared);
  for (const Named& t : tensors) {
    writer->write(std::as_bytes(std::span(t.values)));
    writer->end_tensor();
  }
  writer->finish();
  return format::open_model(path);
}

std::vector<float> normals(std::size_t n, unsigned seed, float std_dev = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, std_dev);
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

std::vector<Named> healthy_layers() {
  std::vector<Named> tensors;
  for (unsigned layer = 0; layer < 12; ++layer)
    tensors.push_back({"blk." + std::to_string(layer) + ".ffn_up.weight", normals(4096, layer, 0.02F)});
  return tensors;
}

// 300,000 elements are two pieces of work: the merge of moments is in the path.
TEST(Features, AgreeWithADirectComputationInDouble) {
  auto values = normals(300'000, 3, 0.5F);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] += 0.1F * values[i] * values[i] + (i < 150'000 ? 0.3F : 0.0F);
  values[5] = 0;
  const auto model = model_of({{"a.weight", values}}, "moments");
  for (const unsigned n_threads : {1U, 3U}) {
    DiagOptions options;
    options.n_threads = n_threads;
    const DiagReport report = diagnose(model, options);
    ASSERT_EQ(report.tensors.size(), 1U);
    const TensorFeatures& t = report.tensors[0];
    double mean = 0, m2 = 0, m3 = 0, m4 = 0;
    for (const float v : values) mean += static_cast<double>(v);
    const double n = static_cast<double>(values.size());
    mean /= n;
    for (const float v : values) {
      const double d = static_cast<double>(v) - mean;
      m2 += d * d / n;
      m3 += d * d * d / n;
      m4 += d * d * d * d / n;
    }
    EXPECT_NEAR(t.mean, mean, 1e-12);
    EXPECT_NEAR(t.std, std::sqrt(m2), 1e-12);
    EXPECT_NEAR(t.skewness, m3 / std::pow(m2, 1.5), 1e-9);
    EXPECT_NEAR(t.excess_kurtosis, m4 / (m2 * m2) - 3, 1e-9);
    EXPECT_EQ(t.min, static_cast<double>(*std::min_element(values.begin(), values.end())));
    EXPECT_EQ(t.n_zero, 1U);
    EXPECT_GT(t.byte_entropy, 6.0);
    EXPECT_TRUE(report.findings.empty());
  }
}

TEST(Findings, NanInfZeroAndConstantAreNamed) {
  auto sick = normals(1000, 1);
  sick[3] = std::numeric_limits<float>::quiet_NaN();
  sick[4] = -std::numeric_limits<float>::infinity();
  const auto model = model_of({{"sick.weight", sick},
                               {"dead.weight", std::vector<float>(64, 0.0F)},
                               {"flat.weight", std::vector<float>(64, 2.0F)},
                               {"good.weight", normals(64, 2)}},
                              "sick");
  const DiagReport report = diagnose(model, {});
  std::vector<std::string> rules;
  for (const Finding& f : report.findings) rules.push_back(f.rule + " " + f.tensor);
  EXPECT_EQ(rules, (std::vector<std::string>{"diag.values.nan sick.weight", "diag.values.inf sick.weight",
                                             "diag.values.all_zero dead.weight", "diag.values.constant flat.weight"}));
  EXPECT_EQ(report.tensors[0].n_nan, 1U);
  EXPECT_TRUE(std::isfinite(report.tensors[0].mean));
}

TEST(Outliers, AHealthyModelHasNoneAndADamagedLayerIsFound) {
  auto tensors = healthy_layers();
  EXPECT_TRUE(diagnose(model_of(tensors, "healthy"), {}).outliers.empty());
  for (float& v : tensors[7].values) v *= 30;
  const DiagReport report = diagnose(model_of(tensors, "scaled"), {});
  ASSERT_FALSE(report.outliers.empty());
  for (const Outlier& o : report.outliers) EXPECT_EQ(o.tensor, "blk.7.ffn_up.weight") << o.feature;
  ASSERT_TRUE(report.pca.absent_reason.empty());
  EXPECT_EQ(report.pca.scores.front().tensor, "blk.7.ffn_up.weight");
}

TEST(Pca, ComponentsAreOrthonormalAndExplainEverything) {
  const DiagReport report = diagnose(model_of(healthy_layers(), "pca"), {});
  const Pca& pca = report.pca;
  ASSERT_EQ(pca.components.size(), feature_names().size());
  double sum = 0;
  for (const double share : pca.explained) sum += share;
  EXPECT_NEAR(sum, 1, 1e-9);
  EXPECT_TRUE(std::is_sorted(pca.explained.rbegin(), pca.explained.rend()));
  for (std::size_t a = 0; a < pca.components.size(); ++a)
    for (std::size_t b = 0; b < pca.components.size(); ++b) {
      double dot = 0;
      for (std::size_t f = 0; f < pca.components[a].size(); ++f) dot += pca.components[a][f] * pca.components[b][f];
      EXPECT_NEAR(dot, a == b ? 1 : 0, 1e-9);
    }
}

TEST(Pca, TooFewTensorsIsAReasonNotANumber) {
  const DiagReport report = diagnose(model_of({{"a.weight", normals(100, 1)}}, "few"), {});
  EXPECT_FALSE(report.pca.absent_reason.empty());
  EXPECT_TRUE(report.pca.scores.empty());
}

TEST(RoleOf, TakesTheLayerNumberOut) {
  EXPECT_EQ(role_of("blk.12.ffn_up.weight").role, "blk.*.ffn_up.weight");
  EXPECT_EQ(role_of("blk.12.ffn_up.weight").layer, 12U);
  EXPECT_EQ(role_of("model.layers.3.experts.5.w1").role, "model.layers.*.experts.5.w1");
  EXPECT_EQ(role_of("output.weight").role, "output.weight");
  EXPECT_FALSE(role_of("").layer);
}

}  // namespace
}  // namespace apr::diag
