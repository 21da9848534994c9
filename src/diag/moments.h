// The features of one tensor.
#pragma once
#include <cstdint>
#include <functional>

#include "apr/core/thread_pool.h"
#include "apr/diag/diag.h"
#include "apr/diag/moments.h"

namespace apr::diag {

/// Whether a field of a block scales its elements, and the value of such a field in a little-endian block.
[[nodiscard]] bool is_scale(const BlockField& field);
[[nodiscard]] double scale_value(const std::byte* at, FieldEncoding encoding);

/// Everything about one tensor; `features.name`, `type` and the like are filled, too.
[[nodiscard]] TensorFeatures compute_features(const format::ModelFile& model, const format::TensorInfo& tensor,
                                              ThreadPool& pool, const std::function<void(std::uint64_t)>& bytes_done);

}  // namespace apr::diag
