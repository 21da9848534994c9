// Kernels that go over rows of activations: embedding, norm and quantisation, norm before a residual.
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/tile_read.cuh"

namespace apr::kernels::cuda {

/// Grid: (tiles of a row, columns). One thread per element.
APR_KERNEL(embed, EmbedParams, 256, 4) {
  allow_early();
  wait_early();
  const int column = block_y(), col = 256 * block_x() + thread();
  const Column state = global<const Column>(p.columns)[column];
  if (col >= p.n_cols) return;
  const int64_t tile = static_cast<int64_t>(state.token / 16) * ceil_div(p.n_cols, 256) + block_x();
  Global<const uint8_t> tiles = global<const uint8_t>(p.tiles) + tile * tile_bytes_of(p.type);
  const bool known = state.token >= 0 && state.token < p.n_rows;
  const float value = known ? tile_element(p.type, tiles, state.token % 16, thread()) : nan_value();
  global<float>(p.out)[static_cast<int64_t>(column) * p.n_cols + col] = value * p.scale;
}

/// Grid: columns.
APR_KERNEL(prepare, PrepareParams, 256, 4) {
  allow_early();
  wait_early();
  const int column = block_x();
  Global<const float> x = global<const float>(p.x) + static_cast<int64_t>(column) * p.x_stride;
  Global<const float> weight = global<const float>(p.norm_weight);
  const float factor = given(weight) ? norm_factor(x, p.n_cols, p.eps, shared<float>(0)) : 1.0f;
  const ActivationRow out = activation_row(p.out, column);
  for (int group = warp(); group < p.out.stride / 32; group += n_threads() / 32) {
    const int i = 32 * group + lane();
    float value = 0;
    if (i < p.n_cols) value = given(weight) ? x[i] * factor * weight[i] : static_cast<float>(x[i]);
    if (given(out.x)) out.x[i] = value;
    store_quantised(out, group, value);
  }
}

/// Grid: columns.
APR_KERNEL(norm_add, NormAddParams, 256, 4) {
  allow_early();
  wait_early();
  const int64_t at = static_cast<int64_t>(block_x()) * p.stride;
  Global<float> x = global<float>(p.x) + at;
  Global<const float> y = global<const float>(p.y) + at, weight = global<const float>(p.weight);
  const float factor = norm_factor(y, p.n_cols, p.eps, shared<float>(0));
  for (int i = thread(); i < p.n_cols; i += n_threads()) x[i] = x[i] + y[i] * factor * weight[i];
}

}  // namespace apr::kernels::cuda
