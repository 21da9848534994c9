// What a thread does for each op of the plan.
#include <algorithm>
#include <cstring>

#include "src/engine/fast/fast_executor.h"

namespace apr::engine {

using model::kNone;
using model::Op;
using model::OpKind;

void FastExecutor::run_op(const Op& op, const Pass& pass, Worker w, Counter* work) {
  const std::int64_t n_rows = rows_of(op, pass);
  const auto by_elements = [&](auto&& kernel) {  // values of one width: the batch is one run of elements
    const Share s = share_of(n_rows * op.n_out, w);
    if (s.begin < s.end) kernel(row(op.in, 0) + s.begin, row(op.in2, 0) + s.begin, s.end - s.begin, row(op.out, 0) + s.begin);
  };
  switch (op.kind) {
    case OpKind::Embed: return embed(op, n_rows, w);
    case OpKind::RmsNorm: return rms_norm(op, n_rows, w);
    case OpKind::MatMul: return mat_mul(op, n_rows, w, work);
    case OpKind::Rope: return rope(op, n_rows, w);
    case OpKind::StoreKv: return store_kv(op, n_rows, w);
    case OpKind::Attention: return attention(op, work);
    case OpKind::Add: return by_elements(ops_.add);
    case OpKind::SiluMul: return by_elements(ops_.silu_mul);
    case OpKind::GeluMul: return by_elements(ops_.gelu_mul);
    case OpKind::SelectRows:
      // Source and target rows of a thread may overlap with another's only when something moves: one thread does it.
      if (w.thread == 0 && (op.in != op.out || pass.n_logits != pass.n_tokens)) select_rows(op);
      return;
  }
  throw Error(ErrorCode::Internal, fmt::format("the fast executor does not know the op {}", model::name(op.kind)));
}

void FastExecutor::select_rows(const Op& op) {
  for (std::size_t i = 0; i < batch_.logit_rows.size(); ++i)  // rising, so none is overwritten before it is read
    std::memmove(row(op.out, static_cast<std::int64_t>(i)), row(op.in, static_cast<std::int64_t>(batch_.logit_rows[i])),
                 static_cast<std::size_t>(op.n_out) * sizeof(float));
}

void FastExecutor::embed(const Op& op, std::int64_t n_rows, Worker w) {
  const model::Weight& weight = plan_.weights[static_cast<std::size_t>(op.weight)];
  const TypeInfo& type = *find_type(weight.type);
  const kernels::DequantizeFn dequantize = kernels::dequantizer(weight.type);
  std::vector<float> padded(static_cast<std::size_t>(weight.row_stride));
  for (std::int64_t t = w.thread; t < n_rows; t += w.n_threads) {
    const auto token = static_cast<std::uint64_t>(batch_.rows[static_cast<std::size_t>(t)].token);
    dequantize(weight.bytes.data() + token * weight.row_bytes(), padded.data(),
               weight.row_stride / type.block_elements);
    float* out = row(op.out, t);
    for (std::int64_t i = 0; i < op.n_out; ++i) out[i] = (padded[static_cast<std::size_t>(i)] + weight.plus) * op.scale;
  }
}

void FastExecutor::rms_norm(const Op& op, std::int64_t n_rows, Worker w) {
  const std::int64_t width = op.n_heads > 0 ? op.head_dim : op.n_in, per_row = op.n_in / width;
  const Share s = share_of(n_rows * per_row, w);
  for (std::int64_t i = s.begin; i < s.end; ++i)
    ops_.rms_norm(row(op.in, 0) + i * width, weights_.vector(op.weight), 0.0F, op.eps, width, row(op.out, 0) + i * width);
}

namespace {

/// Calls f(token, first group, number of groups, block of the token, its width) for a thread's share of the groups.
template <class F>
void for_groups(std::int64_t n_rows, std::int64_t n_groups, int block_cols, Share s, F&& f) {
  for (std::int64_t t = 0, width = 0; t < n_rows; t += width) {
    width = kernels::block_width(n_rows - t, block_cols);
    for (std::int64_t i = t; i < t + width; ++i) {
      const std::int64_t first = std::max(s.begin, i * n_groups), last = std::min(s.end, (i + 1) * n_groups);
      if (first < last) f(i, first - i * n_groups, last - first, t, static_cast<int>(width));
    }
  }
}

}  // namespace

void FastExecutor::quantize_rows(std::int32_t value, std::int64_t n_rows, Worker w) {
  const std::int64_t width = plan_.values[static_cast<std::size_t>(value)].width, n_groups = width / 32;
  for_groups(n_rows, n_groups, ops_.block_cols, share_of(n_rows * n_groups, w),
             [&](std::int64_t t, std::int64_t group, std::int64_t n, std::int64_t block, int block_width) {
               const std::int64_t at = block * n_groups + group * block_width + t - block;
               ops_.quantize_activation(row(value, t) + group * 32, n, block_width, q_.data() + at * 32, q_scale_.data() + at,
                                        q_sum_.data() + at, q_sums16_.data() + at * 2);
             });
}

void FastExecutor::transpose_rows(std::int32_t value, std::int64_t n_rows, Worker w) {
  const std::int64_t width = plan_.values[static_cast<std::size_t>(value)].width;
  for_groups(n_rows, width, ops_.block_cols, share_of(n_rows * width, w),
             [&](std::int64_t t, std::int64_t first, std::int64_t n, std::int64_t block, int block_width) {
               const float* in = row(value, t) + first;
               float* out = transposed_.data() + block * width + first * block_width + t - block;
               for (std::int64_t i = 0; i < n; ++i) out[i * block_width] = in[i];
             });
}

/// Weights that stay in the second-level cache while all tokens pass, and the least that is worth taking at once.
constexpr std::int64_t kChunkBytes = 256 << 10, kPieceBytes = 64 << 10;

void FastExecutor::mat_mul(const Op& op, std::int64_t n_rows, Worker w, Counter* work) {
  const FastMatrix& m = weights_.matrix(op.weight);
  const std::int64_t bytes = static_cast<std::int64_t>(m.panel_bytes), even = m.n_panels / (8 * w.n_threads);
  const std::int64_t wanted = n_rows == 1 ? kPieceBytes / bytes : std::min(kChunkBytes / bytes, even);
  const std::int64_t piece = m.repacked ? std::max<std::int64_t>(1, wanted) : 1;
  for (unsigned k = 0; k < w.n_threads; ++k) {
    const unsigned owner = (w.thread + k) % w.n_threads;
    const Share s = share_of(m.n_panels, {owner, w.n_threads});
    for (std::int64_t p; (p = s.begin + work[owner].next.fetch_add(piece, std::memory_order_relaxed)) < s.end;)
      mat_mul_panels(op, n_rows, {p, std::min(p + piece, s.end)}, w);
  }
}

void FastExecutor::mat_mul_panels(const Op& op, std::int64_t n_rows, Share panels, Worker w) {
  const FastMatrix& m = weights_.matrix(op.weight);
  const float* x = n_rows > 1 ? transposed_.data() : row(op.in, 0);
  const kernels::Activation activation{x, q_.data(), q_scale_.data(), q_sum_.data(), q_sums16_.data(), op.n_in};
  const float* bias = weights_.vector(op.bias);
  if (!m.repacked) weights_.make_panel(m, panels.begin, scratch_[w.thread].data());
  for (std::int64_t t = 0, width = 0; t < n_rows; t += width) {
    width = kernels::block_width(n_rows - t, ops_.block_cols);
    for (std::int64_t p = panels.begin; p < panels.end; ++p) {
      const std::int64_t first = p * ops_.lanes;
      const int n = static_cast<int>(std::min<std::int64_t>(ops_.lanes, op.n_out - first));
      const std::uint8_t* panel = m.repacked ? weights_.panel(m, p) : reinterpret_cast<const std::uint8_t*>(scratch_[w.thread].data());
      float* out = row(op.out, t) + first;
      m.kernel->multiply(panel, &activation, t, static_cast<int>(width), n, out, op.n_out);
      for (std::int64_t i = 0; bias != nullptr && i < width; ++i)
        for (int r = 0; r < n; ++r) out[i * op.n_out + r] += bias[first + r];
    }
  }
}

void FastExecutor::rope(const Op& op, std::int64_t n_rows, Worker w) {
  const auto index = static_cast<std::size_t>(op.rope);
  const model::Rope& rope = plan_.ropes[index];
  const std::int64_t half = rope.n_rot / 2;
  const bool adjacent = rope.layout == model::RopeLayout::Adjacent;
  const Share s = share_of(n_rows * op.n_heads, w);
  for (std::int64_t i = s.begin; i < s.end; ++i) {
    const float* in = row(op.in, 0) + i * op.head_dim;
    float* out = row(op.out, 0) + i * op.head_dim;
    const float* cosine = cos_[index].data() + i / op.n_heads * half;
    const float* sine = sin_[index].data() + i / op.n_heads * half;
    for (std::int64_t k = 0; k < half; ++k) {
      const std::int64_t a = adjacent ? 2 * k : k, b = adjacent ? a + 1 : k + half;
      const float x = in[a], y = in[b];
      out[a] = x * cosine[k] - y * sine[k];
      out[b] = x * sine[k] + y * cosine[k];
    }
    if (in != out) std::copy(in + rope.n_rot, in + op.head_dim, out + rope.n_rot);
  }
}

void FastExecutor::store_kv(const Op& op, std::int64_t n_rows, Worker w) {
  const Share s = share_of(n_rows * op.n_kv_heads, w);
  for (std::int64_t i = s.begin; i < s.end; ++i) {
    const BatchRow& at = batch_.rows[static_cast<std::size_t>(i / op.n_kv_heads)];
    const kernels::KvHead head = kv_head(at.sequence, op.layer, i % op.n_kv_heads, op.head_dim);
    const std::int64_t position = at.position, in_block = position % kernels::key_block;
    ops_.store_f16(row(op.in, 0) + i * op.head_dim, op.head_dim,
                   const_cast<std::uint16_t*>(head.keys) + (position - in_block) * head.stride + in_block, kernels::key_block);
    ops_.store_f16(row(op.in2, 0) + i * op.head_dim, op.head_dim, const_cast<std::uint16_t*>(head.values) + position * head.stride, 1);
  }
}

void FastExecutor::attention(const Op& op, Counter* work) {
  const std::int64_t group = op.n_heads / op.n_kv_heads, row_heads = std::min<std::int64_t>(group, kernels::max_attention_rows);
  const auto n_tiles = static_cast<std::int64_t>(tiles_.size());
  kernels::AttentionRow rows[kernels::max_attention_rows];
  // Threads take tiles in turn, the late tokens first because they see the most.
  for (std::int64_t i; (i = work->next.fetch_add(1, std::memory_order_relaxed)) < n_tiles * op.n_kv_heads;) {
    const std::int64_t tile = n_tiles - 1 - i / op.n_kv_heads, kv = i % op.n_kv_heads;
    const auto [begin, end] = tiles_[static_cast<std::size_t>(tile)];
    const kernels::KvHead head = kv_head(batch_.rows[static_cast<std::size_t>(begin)].sequence, op.layer, kv, op.head_dim);
    for (std::int64_t h = kv * group; h < (kv + 1) * group; h += row_heads) {
      int n = 0;
      for (std::int64_t t = begin; t < end; ++t)
        for (std::int64_t k = h; k < std::min(h + row_heads, (kv + 1) * group); ++k) {
          const std::int64_t last = std::int64_t{batch_.rows[static_cast<std::size_t>(t)].position} + 1, first = op.window > 0 ? std::max<std::int64_t>(0, last - op.window) : 0;
          rows[n++] = {row(op.in, t) + k * op.head_dim, row(op.out, t) + k * op.head_dim, first, last};
        }
      ops_.attention(rows, n, &head, op.head_dim, op.scale);
    }
  }
}

}  // namespace apr::engine
