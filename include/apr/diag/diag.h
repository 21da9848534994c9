// What the numbers of a model say about its health: features of every tensor, and those that stand out among their
// kind.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apr/format/model_file.h"

namespace apr::diag {

/// The scales that a block type stores ("d", "m", "dmin" of block_fields.def), over all blocks of a tensor.
struct ScaleFeatures {
  std::uint64_t n_scales = 0, n_zero = 0, n_not_finite = 0;
  double min = 0, max = 0, mean = 0;  // of the finite ones; 0 when there is none
};

/// Of all elements of one tensor, decoded to f32. Moments are of the finite elements, in double.
struct TensorFeatures {
  std::string name;
  std::string role;                    // the name with its layer number as "*": tensors of one role are compared
  std::optional<std::uint64_t> layer;  // the layer number
  std::string type;
  std::uint64_t n_elements = 0;
  std::uint64_t n_nan = 0, n_inf = 0, n_zero = 0;
  double min = 0, max = 0, mean = 0, std = 0;
  double skewness = 0;         // third standardised moment
  double excess_kurtosis = 0;  // fourth standardised moment - 3: 0 for a normal distribution
  double byte_entropy = 0;     // of the stored bytes, bits per byte, 0 to 8
  std::optional<ScaleFeatures> scales;
  std::string unread_reason;  // not empty: the tensor could not be decoded and nothing above was computed
};

/// The names of the features that outliers and the PCA look at, in order.
[[nodiscard]] const std::vector<std::string>& feature_names();

/// A tensor whose feature is far from those of the same role in the other layers.
struct Outlier {
  std::string tensor, role, feature;
  double value = 0;
  double median = 0;    // of the role
  double robust_z = 0;  // (value - median) / (1.4826 * median absolute deviation), bounded to +-1e6
};

/// Principal components of the features, each standardised within its role; roles with fewer than 4 tensors are left
/// out.
struct Pca {
  std::vector<double> explained;                // share of the variance of each component, largest first
  std::vector<std::vector<double>> components;  // [component][feature]: unit vectors
  struct Score {
    std::string tensor;
    double pc1 = 0, pc2 = 0;
    double distance = 0;  // from the origin in units of the components' spread (Mahalanobis)
  };
  std::vector<Score> scores;  // farthest first
  std::string absent_reason;  // not empty: too few tensors for a PCA
};

struct DiagOptions {
  unsigned n_threads = 1;
  double outlier_z = 8;  // |robust_z| from which a feature is an outlier
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes
};

struct DiagReport {
  std::vector<TensorFeatures> tensors;  // file order
  std::vector<Outlier> outliers;        // largest |robust_z| first
  Pca pca;
  std::vector<Finding> findings;  // NaN and Inf: error; all zero, constant, a scale that is not finite: warning
  std::uint64_t n_decoded = 0;    // tensors that were decoded; 0 means that nothing was diagnosed
};

/// Reads the whole file once. Polls check_interrupted().
[[nodiscard]] DiagReport diagnose(const format::ModelFile& model, const DiagOptions& options);

/// "blk.12.ffn_up.weight" -> {"blk.*.ffn_up.weight", 12}; a name without a number component is its own role.
struct RoleName {
  std::string role;
  std::optional<std::uint64_t> layer;
};
[[nodiscard]] RoleName role_of(std::string_view tensor_name);

}  // namespace apr::diag
