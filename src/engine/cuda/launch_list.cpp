#include "launch_list.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "apr/core/error.h"

namespace apr::engine::cuda {

namespace kc = kernels::cuda;
using model::Op;
using model::OpKind;
using B = DeviceBuffers;

/// Appends the launches of one pass.
class LaunchList::Builder {
 public:
  Builder(const LaunchList& list, PassShape pass) : l_(list), h_(list.plan_.hparams), pass_(pass) {}

  void embed(const FusedOp& op) {
    kc::EmbedParams p{};
    const Op& embed = *op.matrices[0];
    const kc::Matrix table = l_.weights_.matrix(l_.pool_, embed, 0);
    p.tiles = table.tiles;
    p.type = table.type;
    p.n_rows = static_cast<std::int32_t>(h_.n_vocab);
    p.n_cols = n_embd();
    p.columns = at(B::Columns);
    p.out = at(B::X);
    p.n_columns = pass_.n_columns;
    p.scale = embed.scale;
    add(kc::launch_embed(p), op.first, op.count, p.out, static_cast<std::uint64_t>(p.n_columns) * h_.n_embd);
  }

  void qkv(const FusedOp& op) {
    kc::LinearParams p = normed(op, 0, pass_.n_columns);
    std::int32_t offset = 0;
    for (std::int32_t i = 0; i < op.n_matrices; ++i) {
      const Op& product = *op.matrices[static_cast<std::size_t>(i)];
      p.matrix[i] = l_.weights_.matrix(l_.pool_, product, offset);
      offset += static_cast<std::int32_t>(product.n_out);
    }
    p.output = kc::LinearOutput::Store;
    p.out = at(B::Qkv);
    p.out_stride = offset;
    linear(p, op.first, op.count, p.out, static_cast<std::uint64_t>(p.n_columns) * static_cast<std::uint64_t>(offset));
  }

  void attend(const FusedOp& op) {
    const Op& attention = *op.attention;
    kc::AttentionParams p{};
    p.head = heads(op);
    p.out = attended(0);
    p.partial = at(B::Partial);
    p.tickets = at(B::Tickets);
    p.n_splits = l_.buffers_.n_splits();
    p.window = static_cast<std::int32_t>(attention.window);
    p.fused = pass_.apart ? 1 : 0;
    p.scale = attention.scale;
    const std::uint64_t elements =
        static_cast<std::uint64_t>(pass_.n_columns - 1) * static_cast<std::uint64_t>(p.out.stride) + h_.q_width();
    const std::size_t n_stored = pass_.apart ? 0 : op.n_store_ops;
    if (!pass_.apart) add(kc::launch_store_kv({p.head}), op.first, n_stored, 0, 0);
    const std::size_t first = op.first + n_stored, count = op.count - n_stored;
    if (prefill_attends()) {
      const kc::PrefillAttentionParams prefill{p.head, p.out, p.window, p.scale};
      return add(kc::launch_prefill_attention(prefill), first, count, p.out.x, elements);
    }
    // Some columns at a time: as many as `partial` has room for.
    for (std::int32_t column = 0; column < pass_.n_columns; column += kAttentionColumns) {
      kc::AttentionParams piece = p;
      piece.head.n_columns = std::min(kAttentionColumns, pass_.n_columns - column);
      piece.head.columns += static_cast<std::uint64_t>(column) * sizeof(kc::Column);
      piece.head.qkv +=
          static_cast<std::uint64_t>(column) * static_cast<std::uint64_t>(p.head.qkv_stride) * sizeof(float);
      piece.out = attended(column);
      const bool last = column + kAttentionColumns >= pass_.n_columns;
      add(kc::launch_attention(piece, l_.shape_), first, last ? count : 0, last ? p.out.x : 0, last ? elements : 0);
    }
  }

  void project(const FusedOp& op) {
    const std::int32_t first = op.logit_rows ? pass_.n_columns - pass_.n_logits : 0;
    const std::int32_t n_columns = pass_.n_columns - first;
    const auto width = static_cast<std::int32_t>(op.matrices[0]->n_in);
    kc::LinearParams p{};
    p.n_matrices = 1;
    p.n_cols = width;
    p.n_columns = n_columns;
    p.matrix[0] = l_.weights_.matrix(l_.pool_, *op.matrices[0], 0);
    // Behind GateUp the rows of the logits were moved to the front by it.
    p.ready = l_.buffers_.activations(l_.pool_, op.after_attention ? B::AttendedQ : B::GatedQ, width,
                                      op.after_attention ? first : 0);
    p.input = kc::LinearInput::Ready;
    if (op.after_attention && !quantised_by_attention()) quantise_attended(p, width);
    p.x_stride = p.ready.stride;
    const DevicePtr x = at(B::X) + static_cast<std::uint64_t>(first) * h_.n_embd * sizeof(float);
    p.out_stride = n_embd();
    const std::uint64_t elements = static_cast<std::uint64_t>(n_columns) * h_.n_embd;
    if (op.post_norm == nullptr) {
      p.output = kc::LinearOutput::Residual;
      p.out = p.residual = x;
      return linear(p, op.first, op.count, x, elements);
    }
    p.output = kc::LinearOutput::Store;
    p.out = at(B::Y);
    linear(p, op.first, op.n_product_ops, p.out, elements);
    kc::NormAddParams n{};
    n.x = x;
    n.y = at(B::Y);
    n.weight = l_.weights_.vector(l_.pool_, op.post_norm->weight);
    n.n_cols = n.stride = n_embd();
    n.n_columns = n_columns;
    n.eps = op.post_norm->eps;
    add(kc::launch_norm_add(n), op.first + op.n_product_ops, op.count - op.n_product_ops, x, elements);
  }

  void gate_up(const FusedOp& op) {
    const std::int32_t first = op.logit_rows ? pass_.n_columns - pass_.n_logits : 0;
    kc::LinearParams p = normed(op, first, pass_.n_columns - first);
    for (std::int32_t i = 0; i < 2; ++i)
      p.matrix[i] = l_.weights_.matrix(l_.pool_, *op.matrices[static_cast<std::size_t>(i)], 0);
    p.output = op.activation->kind == OpKind::SiluMul ? kc::LinearOutput::SiluMul : kc::LinearOutput::GeluMul;
    p.ready_out = l_.buffers_.activations(l_.pool_, B::GatedQ, static_cast<std::int32_t>(h_.n_ffn), 0);
    linear(p, op.first, op.count, 0, 0);
  }

  void head(const FusedOp& op, std::int32_t first, std::int32_t n_rows) {
    kc::LinearParams p = normed(op, pass_.n_columns - pass_.n_logits + first, n_rows);
    p.matrix[0] = l_.weights_.matrix(l_.pool_, *op.matrices[0], 0);
    p.output = kc::LinearOutput::Store;
    p.out = at(B::Logits);
    p.out_stride = static_cast<std::int32_t>(h_.n_vocab);
    linear(p, op.first, op.count, p.out, static_cast<std::uint64_t>(n_rows) * h_.n_vocab);
  }

  [[nodiscard]] std::vector<PlannedLaunch> take() { return std::move(out_); }

 private:
  [[nodiscard]] DevicePtr at(B::Region region) const { return l_.buffers_.at(l_.pool_, region); }
  [[nodiscard]] std::int32_t n_embd() const { return static_cast<std::int32_t>(h_.n_embd); }

  void add(const kc::Launch& launch, std::size_t first, std::size_t count, DevicePtr out, std::uint64_t elements) {
    out_.push_back({launch, first, count, out, elements});
  }

  /// A product of residual rows [first, first + n_columns), normed by its blocks (one column) or by a launch in front.
  kc::LinearParams normed(const FusedOp& op, std::int32_t first, std::int32_t n_columns) {
    kc::LinearParams p{};
    p.n_matrices = op.n_matrices;
    p.n_cols = n_embd();
    p.n_columns = n_columns;
    p.x = at(B::X) + static_cast<std::uint64_t>(first) * h_.n_embd * sizeof(float);
    p.x_stride = n_embd();
    p.norm_weight = l_.weights_.vector(l_.pool_, op.norm->weight);
    p.eps = op.norm->eps;
    p.input = kc::LinearInput::Norm;
    p.ready = l_.buffers_.activations(l_.pool_, B::InputQ, n_embd(), 0);
    if (n_columns > 1) {
      kc::PrepareParams q{};
      q.x = p.x;
      q.norm_weight = p.norm_weight;
      q.out = p.ready;
      q.n_cols = n_embd();
      q.x_stride = n_embd();
      q.n_columns = n_columns;
      q.eps = p.eps;
      add(kc::launch_prepare(q), op.first, 1, 0, 0);
      p.input = kc::LinearInput::Ready;
      n_prepared_ops_ = 1;
    }
    return p;
  }

  /// The attention left f32 rows alone: a block quantises them itself, or a launch does in place.
  void quantise_attended(kc::LinearParams& p, std::int32_t width) {
    p.x = p.ready.x;
    p.input = kc::LinearInput::Plain;
    if (p.n_columns == 1) return;
    kc::PrepareParams q{};
    q.x = p.ready.x;
    q.out = p.ready;
    q.out.x = 0;  // they are there
    q.n_cols = width;
    q.x_stride = p.ready.stride;
    q.n_columns = p.n_columns;
    add(kc::launch_prepare(q), 0, 0, 0, 0);
    p.input = kc::LinearInput::Ready;
  }

  void linear(const kc::LinearParams& p, std::size_t first, std::size_t count, DevicePtr out, std::uint64_t elements) {
    const std::size_t done = std::exchange(n_prepared_ops_, 0);
    const kc::Launch launch =
        pass_.is_prompt() ? kc::launch_linear_prompt(p, l_.shape_) : kc::launch_linear(p, l_.shape_);
    add(launch, first + done, count - done, out, elements);
  }

  [[nodiscard]] kc::Activations attended(std::int32_t first) const {
    return l_.buffers_.activations(l_.pool_, B::AttendedQ, static_cast<std::int32_t>(h_.q_width()), first);
  }
  [[nodiscard]] bool prefill_attends() const { return pass_.is_prompt() && kc::prefill_attends(head_shape()); }
  [[nodiscard]] bool quantised_by_attention() const {
    return !prefill_attends() && kc::attention_quantises(head_shape());
  }
  [[nodiscard]] kc::HeadParams head_shape() const {
    kc::HeadParams head{};
    head.n_heads = static_cast<std::int32_t>(h_.n_heads);
    head.n_kv_heads = static_cast<std::int32_t>(h_.n_kv_heads);
    head.head_dim = static_cast<std::int32_t>(h_.head_dim);
    head.kv_type = static_cast<std::int32_t>(l_.options_.kv_type);
    return head;
  }

  [[nodiscard]] kc::HeadParams heads(const FusedOp& op) const {
    const model::Rope& rope = l_.plan_.ropes.at(static_cast<std::size_t>(op.rope->rope));
    kc::HeadParams p{};
    p.qkv = at(B::Qkv);
    p.columns = at(B::Columns);
    if (op.q_norm != nullptr) {
      p.q_norm = l_.weights_.vector(l_.pool_, op.q_norm->weight);
      p.eps = op.q_norm->eps;
    }
    if (op.k_norm != nullptr) p.k_norm = l_.weights_.vector(l_.pool_, op.k_norm->weight);
    p.rope_coarse = l_.buffers_.rope_coarse(l_.pool_, op.rope->rope);
    p.rope_fine = l_.buffers_.rope_fine(l_.pool_, op.rope->rope);
    const DeviceBuffers::Cache cache = l_.buffers_.cache(l_.pool_, op.attention->layer);
    p.k_cache = cache.keys;
    p.v_cache = cache.values;
    p.k_scales = cache.key_scales;
    p.v_scales = cache.value_scales;
    p.kv_type = static_cast<std::int32_t>(l_.options_.kv_type);
    p.qkv_stride = static_cast<std::int32_t>(h_.q_width() + 2 * h_.kv_width());
    p.n_columns = pass_.n_columns;
    p.n_heads = static_cast<std::int32_t>(h_.n_heads);
    p.n_kv_heads = static_cast<std::int32_t>(h_.n_kv_heads);
    p.head_dim = static_cast<std::int32_t>(h_.head_dim);
    p.n_ctx = static_cast<std::int32_t>(l_.options_.n_ctx);
    p.n_rot = rope.n_rot;
    p.adjacent = rope.layout == model::RopeLayout::Adjacent ? 1 : 0;
    return p;
  }

  const LaunchList& l_;
  const model::HParams& h_;
  PassShape pass_;
  std::size_t n_prepared_ops_ = 0;  // ops of the running group that a launch in front did
  std::vector<PlannedLaunch> out_;
};

std::vector<PlannedLaunch> LaunchList::body(PassShape pass) const {
  Builder builder(*this, pass);
  for (const FusedOp& op : ops_) {
    if (pass.n_logits == 0 && op.logit_rows) break;
    switch (op.kind) {
      case FusedKind::Embed: builder.embed(op); break;
      case FusedKind::Qkv: builder.qkv(op); break;
      case FusedKind::Attend: builder.attend(op); break;
      case FusedKind::Project: builder.project(op); break;
      case FusedKind::GateUp: builder.gate_up(op); break;
      case FusedKind::Head: break;
    }
  }
  return builder.take();
}

std::vector<PlannedLaunch> LaunchList::head(PassShape pass, std::int32_t first, std::int32_t n_rows) const {
  APR_CHECK(n_rows > 0 && n_rows <= kLogitRows && first + n_rows <= pass.n_logits);
  Builder builder(*this, pass);
  builder.head(ops_.back(), first, n_rows);
  return builder.take();
}

std::vector<PlannedLaunch> LaunchList::body_and_head(PassShape pass) const {
  std::vector<PlannedLaunch> out = body(pass);
  if (pass.n_logits == 0) return out;
  const auto of_head = head(pass, 0, std::min(pass.n_logits, buffers_.n_logit_rows()));
  out.insert(out.end(), of_head.begin(), of_head.end());
  return out;
}

}  // namespace apr::engine::cuda
