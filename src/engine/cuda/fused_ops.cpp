#include "fused_ops.h"

#include <fmt/format.h>

#include "apr/core/error.h"

namespace apr::engine::cuda {
namespace {

using model::kNone;
using model::Op;
using model::OpKind;
using model::Plan;
using model::RowSet;

class Fuser {
 public:
  explicit Fuser(const Plan& plan) : plan_(plan) {}

  std::vector<FusedOp> run() {
    embed();
    while (at_ + 2 < plan_.ops.size()) {
      qkv();
      attend();
      project(true);
      gate_up();
      project(false);
    }
    head();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& expected) const {
    const bool ended = at_ >= plan_.ops.size();
    throw Error(ErrorCode::Unsupported, "the CUDA kernels do not know this order of ops")
        .in(ended ? "end of the plan" : plan_.op_name(plan_.ops[at_]))
        .want(expected)
        .got(ended ? "nothing" : std::string(model::name(plan_.ops[at_].kind)))
        .help("--device cpu runs every model that apr opens");
  }
  [[nodiscard]] bool next_is(OpKind kind) const { return at_ < plan_.ops.size() && plan_.ops[at_].kind == kind; }
  const Op& take(OpKind kind) {
    if (!next_is(kind)) refuse(std::string(model::name(kind)));
    return plan_.ops[at_++];
  }
  /// Refuses the op taken last when it is not connected as the kernels have it.
  void require(bool holds, const char* expected) {
    if (holds) return;
    --at_;
    refuse(expected);
  }
  FusedOp& begin(FusedKind kind) {
    FusedOp& op = out_.emplace_back();
    op.kind = kind;
    op.first = at_;
    return op;
  }
  void end(FusedOp& op) const {
    op.count = at_ - op.first;
    op.logit_rows = plan_.ops[at_ - 1].rows == RowSet::Logits;
  }
  void matrix(FusedOp& op, std::int32_t in) {
    const Op& product = take(OpKind::MatMul);
    require(product.in == in, "a product of the normed row");
    op.matrices[static_cast<std::size_t>(op.n_matrices++)] = &product;
  }
  void norm(FusedOp& op) {
    op.norm = &take(OpKind::RmsNorm);
    require(op.norm->n_heads == 0 && op.norm->in == x_ && op.norm->out != x_, "a norm over the residual row");
  }

  void embed() {
    FusedOp& op = begin(FusedKind::Embed);
    op.matrices[0] = &take(OpKind::Embed);
    op.n_matrices = 1;
    x_ = op.matrices[0]->out;
    end(op);
  }
  void qkv() {
    FusedOp& op = begin(FusedKind::Qkv);
    norm(op);
    for (int i = 0; i < 3; ++i) matrix(op, op.norm->out);
    q_ = op.matrices[0]->out;
    k_ = op.matrices[1]->out;
    v_ = op.matrices[2]->out;
    end(op);
  }
  const Op* head_norm(std::int32_t value) {
    if (!next_is(OpKind::RmsNorm)) return nullptr;
    const Op& op = take(OpKind::RmsNorm);
    require(op.n_heads > 0 && op.in == value && op.out == value, "a norm over the heads of query, then of key");
    return &op;
  }
  void attend() {
    FusedOp& op = begin(FusedKind::Attend);
    op.q_norm = head_norm(q_);
    op.k_norm = head_norm(k_);
    op.rope = &take(OpKind::Rope);
    require(op.rope->in == q_ && op.rope->out == q_, "the rotation of the query");
    const Op& key_rope = take(OpKind::Rope);
    require(key_rope.in == k_ && key_rope.out == k_ && key_rope.rope == op.rope->rope, "the same rotation of the key");
    const Op& store = take(OpKind::StoreKv);
    require(store.in == k_ && store.in2 == v_, "the store of key and value");
    op.n_store_ops = at_ - op.first;
    op.attention = &take(OpKind::Attention);
    require(op.attention->in == q_, "attention of the query");
    projected_ = op.attention->out;
    end(op);
  }
  void project(bool after_attention) {
    FusedOp& op = begin(FusedKind::Project);
    op.after_attention = after_attention;
    while (next_is(OpKind::SelectRows)) {
      const Op& select = take(OpKind::SelectRows);
      require(select.in == select.out && (select.in == x_ || select.in == projected_),
              "rows of the residual or the attention");
    }
    matrix(op, projected_);
    op.n_product_ops = at_ - op.first;
    const std::int32_t y = op.matrices[0]->out;
    if (next_is(OpKind::RmsNorm)) {
      op.post_norm = &take(OpKind::RmsNorm);
      require(op.post_norm->n_heads == 0 && op.post_norm->in == y && op.post_norm->out == y,
              "a norm of the block's result");
    }
    const Op& add = take(OpKind::Add);
    require(add.in == x_ && add.in2 == y && add.out == x_, "the sum with the residual row");
    end(op);
  }
  void gate_up() {
    FusedOp& op = begin(FusedKind::GateUp);
    norm(op);
    for (int i = 0; i < 2; ++i) matrix(op, op.norm->out);
    op.activation = &take(next_is(OpKind::GeluMul) ? OpKind::GeluMul : OpKind::SiluMul);
    require(op.activation->in == op.matrices[0]->out && op.activation->in2 == op.matrices[1]->out,
            "the activation of gate and up");
    projected_ = op.activation->out;
    end(op);
  }
  void head() {
    FusedOp& op = begin(FusedKind::Head);
    norm(op);
    matrix(op, op.norm->out);
    require(op.matrices[0]->out == plan_.logits, "the product that makes the logits");
    end(op);
    if (at_ != plan_.ops.size()) refuse("the end of the plan");
  }

  const Plan& plan_;
  std::size_t at_ = 0;
  std::vector<FusedOp> out_;
  std::int32_t x_ = kNone, q_ = kNone, k_ = kNone, v_ = kNone, projected_ = kNone;
};

}  // namespace

std::vector<FusedOp> fuse(const Plan& plan) { return Fuser(plan).run(); }

}  // namespace apr::engine::cuda
