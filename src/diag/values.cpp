#include "apr/diag/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "apr/kernels/dispatch.h"
#include "src/diag/chunks.h"
#include "src/diag/moments.h"

namespace apr::diag {
namespace {

constexpr std::uint64_t kMaxRowBytes = 8u << 20;

/// What a chunk gives, and what is needed to join it to its neighbours.
struct Piece {
  ValueScan scan;
  std::uint64_t first_element = 0;
  std::uint64_t zeros_at_start = 0, zeros_at_end = 0;
};

struct RowShape {
  std::uint64_t stored_elements = 0, bytes = 0;  // 0: no rows are looked at
  std::uint64_t n_cols = 0;                      // without padding
};

RowShape row_shape(const format::TensorInfo& tensor, const TypeInfo& type) {
  if (tensor.shape.size() < 2 || tensor.type == TensorType::AprQ8 || tensor.n_elements == 0) return {};
  const auto cols = static_cast<std::uint64_t>(tensor.shape.back());
  const std::uint64_t n_rows = tensor.n_elements / cols, bytes = tensor.size_bytes / n_rows;
  if (bytes * n_rows != tensor.size_bytes || bytes % type.block_bytes != 0 || bytes > kMaxRowBytes) return {};
  return {bytes / type.block_bytes * type.block_elements, bytes, cols};
}

void see_elements(const Chunk& chunk, std::uint32_t block_elements, Piece& piece) {
  ValueScan& s = piece.scan;
  std::uint64_t zeros = 0, last_bad_block = UINT64_MAX;
  bool any_finite = false, only_zeros = true;
  s.n_elements = chunk.values.size();
  for (std::size_t i = 0; i < chunk.values.size(); ++i) {
    const float v = chunk.values[i];
    const std::uint64_t element = chunk.first_element + i;
    if (v == 0.0F) {
      ++s.n_zero;
      if (++zeros > s.longest_zero_run) {
        s.longest_zero_run = zeros;
        s.zero_run_at = element + 1 - zeros;
      }
      if (only_zeros) piece.zeros_at_start = zeros;
    } else {
      zeros = 0;
      only_zeros = false;
      if (!std::isfinite(v)) {
        (std::isnan(v) ? s.nan : s.inf).add(element);
        const std::uint64_t block = element / block_elements;
        if (block != last_bad_block) s.bad_blocks.add(block);
        last_bad_block = block;
        continue;
      }
      ++s.exponents[std::bit_cast<std::uint32_t>(v) >> 23 & 255];
      if (std::fabs(v) > s.largest) {
        s.largest = std::fabs(v);
        s.largest_at = element;
      }
    }
    s.min = any_finite ? std::min(s.min, v) : v;
    s.max = any_finite ? std::max(s.max, v) : v;
    any_finite = true;
  }
  piece.zeros_at_end = zeros;
}

void see_rows(const Chunk& chunk, std::span<const std::byte> tensor_bytes, const RowShape& row, ValueScan& s) {
  const std::uint64_t first_row = chunk.first_element / row.stored_elements;
  for (std::uint64_t at = 0; at + row.stored_elements <= chunk.values.size(); at += row.stored_elements) {
    const std::uint64_t index = first_row + s.n_rows++;
    const auto values = chunk.values.subspan(at, row.n_cols);
    const bool constant = std::all_of(values.begin(), values.end(), [&](float v) { return v == values[0]; });
    if (constant && values[0] == 0.0F) {
      s.zero_rows.add(index);
      continue;
    }
    if (constant && values.size() > 1) s.constant_rows.add(index);
    const std::byte* stored = tensor_bytes.data() + index * row.bytes;
    if (index > 0 && std::memcmp(stored, stored - row.bytes, row.bytes) == 0) s.repeated_rows.add(index);
  }
}

/// Joins pieces in the order of the data.
void append(Piece& into, const Piece& later) {
  ValueScan& a = into.scan;
  const ValueScan& b = later.scan;
  const std::uint64_t bridge = into.zeros_at_end + later.zeros_at_start;
  if (b.longest_zero_run > a.longest_zero_run) {
    a.longest_zero_run = b.longest_zero_run;
    a.zero_run_at = b.zero_run_at;
  }
  if (bridge > a.longest_zero_run) {
    a.longest_zero_run = bridge;
    a.zero_run_at = later.first_element - into.zeros_at_end;
  }
  into.zeros_at_end = later.zeros_at_start == b.n_elements ? bridge : later.zeros_at_end;
  const std::uint64_t a_finite = a.n_elements - a.nan.count - a.inf.count;
  if (b.n_elements > b.nan.count + b.inf.count) {
    a.min = a_finite > 0 ? std::min(a.min, b.min) : b.min;
    a.max = a_finite > 0 ? std::max(a.max, b.max) : b.max;
  }
  if (b.largest > a.largest) {
    a.largest = b.largest;
    a.largest_at = b.largest_at;
  }
  a.n_elements += b.n_elements;
  a.n_zero += b.n_zero;
  a.n_rows += b.n_rows;
  for (std::size_t i = 0; i < a.exponents.size(); ++i) a.exponents[i] += b.exponents[i];
  for (Occurrences ValueScan::*field : {&ValueScan::nan, &ValueScan::inf, &ValueScan::bad_blocks, &ValueScan::zero_rows,
                                        &ValueScan::constant_rows, &ValueScan::repeated_rows})
    (a.*field).append(b.*field);
}

}  // namespace

ElementPlace place_of(const format::TensorInfo& tensor, std::uint64_t element) noexcept {
  const TypeInfo* type = find_type(tensor.type);
  if (type == nullptr || type->block_elements == 0) return {0, tensor.offset};
  const std::uint64_t block = element / type->block_elements;
  return {block, tensor.offset + block * type->block_bytes + (tensor.type == TensorType::AprQ8 ? 4 : 0)};
}

std::string bad_scale(const format::ModelFile& model, const format::TensorInfo& tensor, std::uint64_t block) {
  const TypeInfo* type = find_type(tensor.type);
  if (type == nullptr || type->fields.empty()) return {};
  const auto stored = model.data(tensor).subspan(block * type->block_bytes, type->block_bytes);
  std::vector<std::byte> bytes(stored.begin(), stored.end());
  if (model.byte_order == std::endian::big) swap_block_bytes(*type, bytes);
  for (const BlockField& field : type->fields) {
    if (!is_scale(field)) continue;
    const double value = scale_value(bytes.data() + field.offset, field.encoding);
    if (!std::isfinite(value)) return fmt::format("scale {} is {}", field.name, std::isnan(value) ? "NaN" : "infinite");
  }
  return {};
}

ValueScan scan_values(const format::ModelFile& model, const format::TensorInfo& tensor, ThreadPool& pool) {
  Piece all;
  const TypeInfo* type = find_type(tensor.type);
  if (!tensor.readable || type == nullptr) {
    all.scan.unread_reason = "the tensor's type or range is not sound";
    return all.scan;
  }
  if (kernels::dequantizer(tensor.type) == nullptr && tensor.type != TensorType::AprQ8) {
    all.scan.unread_reason = fmt::format("{} has no form in f32", name(tensor.type));
    return all.scan;
  }
  const RowShape row = row_shape(tensor, *type);
  const ChunkReader reader(model, tensor, row.bytes > 0 ? row.bytes : type->block_bytes);
  std::vector<Piece> pieces(reader.n_chunks());
  const auto bytes = model.data(tensor);
  pool.parallel_for(reader.n_chunks(), [&](std::uint64_t i) {
    reader.read(i, [&](const Chunk& chunk) {
      pieces[i].first_element = chunk.first_element;
      see_elements(chunk, type->block_elements, pieces[i]);
      if (row.bytes > 0) see_rows(chunk, bytes, row, pieces[i].scan);
    });
  });
  for (const Piece& piece : pieces) append(all, piece);
  return all.scan;
}

}  // namespace apr::diag
