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
    if (s.begin < s.end)
      kernel(row(op.in, 0) + s.begin, row(op.in2, 0) + s.begin, s.end - s.begin, row(op.out, 0) + s.begin);
  };
  switch (op.kind) {
    case OpKind::Embed: return embed(op, n_rows, w);
    case OpKind::RmsNorm: return rms_norm(op, n_rows, w);
    case OpKind::MatMul: return mat_mul(op, n_rows, w, work);
    case OpKind::Rope: return rope(op, n_rows, w);
    case OpKind::StoreKv: return store_kv(op, n_rows, w);
    case OpKind::Attention: return attention(op, w, work);
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
    ops_.rms_norm(row(op.in, 0) + i * width, weights_.vector(op.weight), 0.0F, op.eps, width,
                  row(op.out, 0) + i * width);
}

namespace {

/// Calls f(token, first group, number of groups, block of the token, its width) for a thread's share of the groups.
template <class F>
void for_groups(std::int64_t n_rows, std::int64_t n_groups, int block_cols, Share s, F&& f) {
  for (std::int64_t t = 0, width = 0; t < n_rows; t += width) {
    width = kernels::block_width(n_rows - t, block_cols);
    for (std::int64_t i = t; i < std::min(t + width, n_rows); ++i) {
      const std::int64_t first = std::max(s.begin, i * n_groups), last = std::min(s.end, (i + 1) * n_groups);
      if (first < last) f(i, first - i * n_groups, last - first, t, static_cast<int>(width));
    }
  }
}

}  // namespace

void FastExecutor::quantize_rows(std::int32_t value, bool remainder, std::int64_t n_rows, Worker w) {
  const std::int64_t width = plan_.values[static_cast<std::size_t>(value)].width, n_groups = width / 32;
  for_groups(n_rows, n_groups, ops_.block_cols, share_of(n_rows * n_groups, w),
             [&](std::int64_t t, std::int64_t group, std::int64_t n, std::int64_t block, int block_width) {
               const std::int64_t at = block * n_groups + group * block_width + t - block;
               const auto quantize = [&](const float* x, std::int64_t n_together, int stride, std::int64_t to,
                                         Term& term) {
                 ops_.quantize_activation(x, n_together, stride, term.q.data() + to * 32, term.scale.data() + to,
                                          term.sum.data() + to, term.sums16.data() + to * 2);
               };
               const float* x = row(value, t) + group * 32;
               quantize(x, n, block_width, at, rounded_);
               // Of one token both terms stand in remainder_ as a block of two, so that a kernel unpacks each weight
               // once.
               const bool pairs = n_rows == 1;
               if (remainder && pairs) quantize(x, n, 2, 2 * at, remainder_);
               for (std::int64_t g = 0; remainder && g < n; ++g, x += 32) {
                 const std::int64_t from = at + g * block_width;
                 const float scale = rounded_.scale[static_cast<std::size_t>(from)];
                 float left[32];
                 for (int i = 0; i < 32; ++i)
                   left[i] = x[i] - scale * static_cast<float>(rounded_.q[static_cast<std::size_t>(from * 32 + i)]);
                 quantize(left, 1, pairs ? 2 : block_width, pairs ? 2 * from + 1 : from, remainder_);
               }
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
  kernels::Activation rounded = activation(rounded_, x, op.n_in), remainder = activation(remainder_, x, op.n_in);
  if (n_rows == 1) rounded.ahead = remainder.ahead = ahead_;
  const bool two_terms = options_.two_terms && takes_two_terms(op, weights_);
  float second[kernels::max_block_cols * kernels::max_lanes];
  const float* bias = weights_.vector(op.bias);
  if (!m.repacked) weights_.make_panel(m, panels.begin, scratch_[w.thread].data());
  for (std::int64_t t = 0, width = 0; t < n_rows; t += width) {
    width = kernels::block_width(n_rows - t, ops_.block_cols);
    const int n_tokens = static_cast<int>(std::min(width, n_rows - t));
    for (std::int64_t p = panels.begin; p < panels.end; ++p) {
      const std::int64_t first = p * ops_.lanes;
      const int n = static_cast<int>(std::min<std::int64_t>(ops_.lanes, op.n_out - first));
      const std::uint8_t* panel =
          m.repacked ? weights_.panel(m, p) : reinterpret_cast<const std::uint8_t*>(scratch_[w.thread].data());
      float* out = row(op.out, t) + first;
      if (two_terms && n_rows == 1) {
        m.kernel->multiply(panel, &remainder, 0, 2, 2, n, second, n);
        for (int r = 0; r < n; ++r) out[r] = second[r] + second[n + r];
      } else {
        m.kernel->multiply(panel, &rounded, t, static_cast<int>(width), n_tokens, n, out, op.n_out);
      }
      if (two_terms && n_rows > 1) {
        m.kernel->multiply(panel, &remainder, t, static_cast<int>(width), n_tokens, n, second, n);
        for (std::int64_t i = 0; i < n_tokens; ++i)
          for (int r = 0; r < n; ++r) out[i * op.n_out + r] += second[i * n + r];
      }
      for (std::int64_t i = 0; bias != nullptr && i < n_tokens; ++i)
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
    const kernels::KvHead head = kv_head(at.sequence, op.layer, i % op.n_kv_heads);
    kv().store(row(op.in, 0) + i * op.head_dim, row(op.in2, 0) + i * op.head_dim, op.head_dim, &head, at.position);
  }
}

/// Jobs are counted from the last tile, which sees the most, to the first.
FastExecutor::AttentionJob FastExecutor::attention_job(const Op& op, std::int64_t index) const {
  const Tile tile = tiles_[tiles_.size() - 1 - static_cast<std::size_t>(index / op.n_kv_heads)];
  const auto position = [this](std::int64_t r) {
    return std::int64_t{batch_.rows[static_cast<std::size_t>(r)].position};
  };
  const std::int64_t first = op.window > 0 ? std::max<std::int64_t>(0, position(tile.begin) + 1 - op.window) : 0;
  return {tile, index % op.n_kv_heads, first, position(tile.end - 1) + 1};
}

void FastExecutor::run_attention(const Op& op, const AttentionJob& job, std::int64_t segment) {
  const std::int64_t group = op.n_heads / op.n_kv_heads,
                     row_heads = std::min<std::int64_t>(group, kernels::max_attention_rows);
  const std::int64_t first_head = job.kv_head * group;
  const kernels::KvHead head =
      kv_head(batch_.rows[static_cast<std::size_t>(job.tile.begin)].sequence, op.layer, job.kv_head);
  kernels::AttentionRow rows[kernels::max_attention_rows];
  for (std::int64_t h = first_head; h < first_head + group; h += row_heads) {
    int n = 0;
    for (std::int64_t t = job.tile.begin; t < job.tile.end; ++t) {
      const std::int64_t last = std::int64_t{batch_.rows[static_cast<std::size_t>(t)].position} + 1;
      const std::int64_t first = op.window > 0 ? std::max<std::int64_t>(0, last - op.window) : 0;
      const std::int64_t at = std::max<std::int64_t>(0, segment - first / kernels::attention_segment) *
                              kernels::attention_part_floats(op.head_dim);
      for (std::int64_t k = h; k < std::min(h + row_heads, first_head + group); ++k)
        rows[n++] = {row(op.in, t) + k * op.head_dim,
                     segment < 0 ? row(op.out, t) + k * op.head_dim : parts_of(t, k) + at, first, last};
    }
    if (segment < 0)
      kv().attention(rows, n, &head, op.head_dim, op.scale);
    else
      kv().attention_part(rows, n, &head, op.head_dim, op.scale, segment);
  }
}

/// Threads take jobs in turn. A few jobs of a long context are cut into their segments, too: the same bits, another
/// share.
void FastExecutor::attention(const Op& op, Worker w, Counter* work) {
  const std::int64_t n_jobs = static_cast<std::int64_t>(tiles_.size()) * op.n_kv_heads;
  if (w.n_threads > 1 && n_jobs < 8 * w.n_threads && static_cast<std::int64_t>(batch_.rows.size()) <= kSplitRows)
    return attention_by_segments(op, work);
  for (std::int64_t i; (i = work->next.fetch_add(1, std::memory_order_relaxed)) < n_jobs;)
    run_attention(op, attention_job(op, i), -1);
}

/// Who ends the last segment of a job merges its rows.
void FastExecutor::attention_by_segments(const Op& op, Counter* work) {
  const std::int64_t n_jobs = static_cast<std::int64_t>(tiles_.size()) * op.n_kv_heads,
                     group = op.n_heads / op.n_kv_heads;
  for (std::int64_t i; (i = work->next.fetch_add(1, std::memory_order_relaxed)) >= 0;) {
    std::int64_t index = 0;
    AttentionJob job{};
    for (; index < n_jobs; ++index) {
      job = attention_job(op, index);
      if (i < job.n_segments()) break;
      i -= job.n_segments();
    }
    if (index == n_jobs) return;
    const std::int64_t n = job.n_segments();
    if (n == 1) {
      run_attention(op, job, -1);
      continue;
    }
    run_attention(op, job, job.first_segment() + i);
    auto& done = segments_done_[static_cast<std::size_t>(index)].next;
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 < n) continue;
    done.store(0, std::memory_order_relaxed);  // of the next attention op, behind a barrier
    for (std::int64_t t = job.tile.begin; t < job.tile.end; ++t) {
      const std::int64_t last = std::int64_t{batch_.rows[static_cast<std::size_t>(t)].position} + 1;
      const std::int64_t first = op.window > 0 ? std::max<std::int64_t>(0, last - op.window) : 0;
      const std::int64_t n_parts = (last - 1) / kernels::attention_segment + 1 - first / kernels::attention_segment;
      for (std::int64_t k = job.kv_head * group; k < (job.kv_head + 1) * group; ++k)
        ops_.attention_merge(parts_of(t, k), n_parts, op.head_dim, row(op.out, t) + k * op.head_dim);
    }
  }
}

}  // namespace apr::engine
