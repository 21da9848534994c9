// Where heads lie, in the rows of a product and in the cache.
#pragma once
#include "apr/kernels/cuda_params.h"
#include "kernels/cuda/shim.h"

namespace apr::kernels::cuda {

APR_DEVICE float minus_infinity() { return as_float(0xFF800000u); }

/// The row of the cache that a position of a kv head has.
APR_DEVICE int64_t cache_row(const HeadParams& p, int slot, int kv_head, int position) {
  return (static_cast<int64_t>(slot) * p.n_kv_heads + kv_head) * p.n_ctx + position;
}
APR_DEVICE Global<const float> qkv_head(const HeadParams& p, int column, int head) {
  return global<const float>(p.qkv) + static_cast<int64_t>(column) * p.qkv_stride + head * p.head_dim;
}

}  // namespace apr::kernels::cuda
