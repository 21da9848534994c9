// The quantisers that are apr's own: their error beside that of ggml's reference on the same near-Gaussian values, and
// what they do with values that are no finite numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "apr/kernels/dispatch.h"
#include "tests/support/golden_quant.h"
#include "tests/support/paths.h"
#include "tests/support/quant_data.h"

namespace apr::kernels {
namespace {

double relative_rmse(const TypeInfo& type, const std::vector<float>& values) {
  const auto n_blocks = static_cast<std::int64_t>(values.size() / type.block_elements);
  std::vector<std::byte> blocks(static_cast<std::size_t>(n_blocks) * type.block_bytes);
  std::vector<float> back(values.size(), std::numeric_limits<float>::quiet_NaN());
  quantizer(type.type)(values.data(), blocks.data(), n_blocks);
  dequantizer(type.type)(blocks.data(), back.data(), n_blocks);
  double error = 0, square = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(back[i]) - static_cast<double>(values[i]);
    error += difference * difference;
    square += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  return std::sqrt(error / square);
}

struct Bound {
  TensorType type;
  double largest_ratio;  // of our error to ggml's; the measured one stands in docs/formats/quant-types.md
};

class QuantizeError : public testing::TestWithParam<Bound> {};

TEST_P(QuantizeError, IsBesideThatOfGgml) {
  const TypeInfo& type = *find_type(GetParam().type);
  std::string file(type.name);
  std::transform(file.begin(), file.end(), file.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto golden = test::read_golden(test::source_dir() + "/tests/golden/quant/" + file + ".txt");
  ASSERT_TRUE(golden.has_value() && golden->ggml_relative_rmse.has_value());
  const double ours = relative_rmse(type, test::error_values(type));
  const double ratio = ours / *golden->ggml_relative_rmse;
  std::printf("%s: relative RMSE %.6f, ggml %.6f, ratio %.4f\n", file.c_str(), ours, *golden->ggml_relative_rmse,
              ratio);
  EXPECT_TRUE(ratio <= GetParam().largest_ratio) << ratio;
  EXPECT_TRUE(ratio >= 0.9) << ratio << ": too good to be the same measure";
}

std::string bound_name(const testing::TestParamInfo<Bound>& info) { return std::string(name(info.param.type)); }
using enum TensorType;
INSTANTIATE_TEST_SUITE_P(Types, QuantizeError,
                         testing::Values(Bound{Q2_K, 1.02}, Bound{Q3_K, 1.02}, Bound{Q4_K, 1.02}, Bound{Q5_K, 1.02},
                                         Bound{Q6_K, 1.02}, Bound{IQ4_NL, 1.1}, Bound{IQ4_XS, 1.1}),
                         bound_name);
}  // namespace
}  // namespace apr::kernels
