#include "src/inspect/diff_values.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "apr/core/checked.h"
#include "apr/core/file.h"
#include "apr/kernels/dispatch.h"

namespace apr::inspect {
namespace {

constexpr std::uint64_t kChunkBytes = 1 << 20;
constexpr std::uint64_t kChunkElements = 1 << 18;  // of one piece of work
constexpr std::uint64_t kSpanElements = 1 << 14;   // decoded at once

/// One side, read as rows of f32 in logical order.
class Rows {
 public:
  explicit Rows(const ValueView& view) : view_(view), bytes_(view.model->data(*view.tensor)) {
    const format::TensorInfo& t = *view.tensor;
    type_ = find_type(t.type);
    n_cols_ = t.shape.empty() || view.as_column ? 1 : static_cast<std::uint64_t>(t.shape.back());
    n_rows_ = n_cols_ == 0 ? 0 : t.n_elements / n_cols_;
    stride_ = n_cols_;
    const std::uint64_t block = type_->block_elements;
    const bool padded = block > 1 && !view.as_column && n_cols_ % block != 0 && n_rows_ != 0 &&
                        bytes_.size() == n_rows_ * ((n_cols_ + block - 1) / block) * type_->block_bytes;
    if (padded) stride_ = (n_cols_ + block - 1) / block * block;  // APR pads each row of K-quants to whole blocks
    if (view.model->byte_order == std::endian::big) {
      swapped_.assign(bytes_.begin(), bytes_.end());
      swap_block_bytes(*type_, swapped_);
      bytes_ = swapped_;
    }
  }
  [[nodiscard]] std::uint64_t n_rows() const { return n_rows_; }
  [[nodiscard]] std::uint64_t n_cols() const { return n_cols_; }
  [[nodiscard]] bool can_decode() const {
    float first = 0;
    return view_.tensor->n_elements == 0 || kernels::decode(view_.tensor->type, bytes_, 0, {&first, 1});
  }
  /// Elements [first, first + out.size()) of the logical row.
  void read(std::uint64_t row, std::uint64_t first, std::span<float> out) const {
    const bool done = kernels::decode(view_.tensor->type, bytes_, stored_row(row) * stride_ + first, out);
    APR_CHECK(done);  // can_decode() was asked, and the range lies in the tensor
    if (view_.plus == 0) return;
    for (float& v : out) v += static_cast<float>(view_.plus);
  }

 private:
  /// GGUF stores a head's rows in pairs (j, j + half); the logical order is that of Hugging Face: first all j.
  [[nodiscard]] std::uint64_t stored_row(std::uint64_t row) const {
    if (view_.permuted_heads == 0) return row;
    const std::uint64_t head = n_rows_ / view_.permuted_heads, half = head / 2;
    const std::uint64_t in_head = row % head;
    return row - in_head + 2 * (in_head % half) + in_head / half;
  }

  ValueView view_;
  std::span<const std::byte> bytes_;
  std::vector<std::byte> swapped_;
  const TypeInfo* type_ = nullptr;
  std::uint64_t n_rows_ = 0, n_cols_ = 0, stride_ = 0;
};

struct Sums {
  double error = 0, power = 0;
  ValueDiff diff;
};

void add(Sums& s, float a, float b, std::uint64_t element) {
  const auto x = static_cast<double>(a), y = static_cast<double>(b);
  if (std::isfinite(x)) s.power += x * x;
  const bool same = a == b || (std::isnan(a) && std::isnan(b));
  if (same) return;
  ++s.diff.n_different;
  if (!std::isfinite(x) || !std::isfinite(y)) {
    ++s.diff.n_not_finite;
    return;
  }
  const double d = x - y;
  s.error += d * d;
  if (!(std::fabs(d) > s.diff.largest)) return;
  s.diff.largest = std::fabs(d);
  s.diff.largest_at = element;
  s.diff.a_at_largest = x;
  s.diff.b_at_largest = y;
}

void merge(Sums& all, const Sums& part) {
  all.error += part.error;
  all.power += part.power;
  all.diff.n_different += part.diff.n_different;
  all.diff.n_not_finite += part.diff.n_not_finite;
  if (!(part.diff.largest > all.diff.largest)) return;
  all.diff.largest = part.diff.largest;
  all.diff.largest_at = part.diff.largest_at;
  all.diff.a_at_largest = part.diff.a_at_largest;
  all.diff.b_at_largest = part.diff.b_at_largest;
}

/// Elements [begin, end) in logical order, both sides.
Sums compare_range(const Rows& a, const Rows& b, std::uint64_t begin, std::uint64_t end) {
  Sums sums;
  std::vector<float> left(kSpanElements), right(kSpanElements);
  while (begin < end) {
    const std::uint64_t row = begin / a.n_cols(), col = begin % a.n_cols();
    const std::uint64_t n = std::min({end - begin, a.n_cols() - col, kSpanElements});
    const std::span<float> x(left.data(), static_cast<std::size_t>(n)), y(right.data(), static_cast<std::size_t>(n));
    a.read(row, col, x);
    b.read(row, col, y);
    for (std::size_t i = 0; i < x.size(); ++i) add(sums, x[i], y[i], begin + i);
    begin += n;
  }
  return sums;
}

}  // namespace

ByteDiff compare_bytes(std::span<const std::byte> a, std::span<const std::byte> b, std::uint64_t block_bytes,
                       ThreadPool& pool) {
  ByteDiff all;
  all.n_bytes = a.size();
  all.n_blocks = block_bytes == 0 ? 0 : a.size() / block_bytes;
  const std::uint64_t step =
      block_bytes == 0 ? kChunkBytes : std::max<std::uint64_t>(1, kChunkBytes / block_bytes) * block_bytes;
  const std::uint64_t n_chunks = (a.size() + step - 1) / step;
  std::vector<ByteDiff> parts(static_cast<std::size_t>(n_chunks));
  pool.parallel_for(n_chunks, [&](std::uint64_t i) {
    check_interrupted();
    const auto from = static_cast<std::size_t>(i * step);
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(step, a.size() - from));
    if (std::memcmp(a.data() + from, b.data() + from, n) == 0) return;
    ByteDiff& part = parts[static_cast<std::size_t>(i)];
    std::uint64_t last_block = ~0ULL;
    for (std::size_t k = from; k < from + n; ++k) {
      if (a[k] == b[k]) continue;
      if (part.n_different++ == 0) part.first_different = k;
      if (block_bytes == 0 || k / block_bytes == last_block) continue;
      last_block = k / block_bytes;
      if (part.n_blocks_different++ == 0) part.first_block = last_block;
    }
  });
  for (const ByteDiff& part : parts) {
    if (part.n_different == 0) continue;
    if (all.n_different == 0) all.first_different = part.first_different, all.first_block = part.first_block;
    all.n_different += part.n_different;
    all.n_blocks_different += part.n_blocks_different;
  }
  return all;
}

ValueDiff compare_values(const ValueView& a, const ValueView& b, ThreadPool& pool) {
  ValueDiff none;
  if (a.tensor->shape != b.tensor->shape) {
    none.not_compared_reason = "the shapes differ";
    return none;
  }
  if (!a.tensor->readable || !b.tensor->readable || find_type(a.tensor->type) == nullptr ||
      find_type(b.tensor->type) == nullptr) {
    none.not_compared_reason = "one of the two cannot be read";
    return none;
  }
  const Rows left(a), right(b);
  if (!left.can_decode() || !right.can_decode()) {
    none.not_compared_reason = "one of the two types has no form in f32";
    return none;
  }
  const std::uint64_t n = a.tensor->n_elements, n_chunks = (n + kChunkElements - 1) / kChunkElements;
  std::vector<Sums> parts(static_cast<std::size_t>(n_chunks));
  pool.parallel_for(n_chunks, [&](std::uint64_t i) {
    check_interrupted();
    parts[static_cast<std::size_t>(i)] =
        compare_range(left, right, i * kChunkElements, std::min(n, (i + 1) * kChunkElements));
  });
  Sums all;
  for (const Sums& part : parts) merge(all, part);
  all.diff.n_elements = n;
  if (all.diff.n_not_finite == 0 && (all.power > 0 || all.error == 0))
    all.diff.nmse = all.error == 0 ? 0 : all.error / all.power;
  return all.diff;
}

}  // namespace apr::inspect
