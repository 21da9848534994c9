#include "src/diag/moments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "apr/core/bytes.h"
#include "apr/kernels/dispatch.h"
#include "apr/kernels/scan.h"
#include "src/diag/chunks.h"

namespace apr::diag {
namespace {

/// What one chunk of a tensor gives.
struct Piece {
  Moments moments;
  std::array<std::uint64_t, 256> bytes{};
  ScaleFeatures scales;
  double scale_sum = 0;
};

double f16_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return mantissa != 0 ? std::nan("") : sign * HUGE_VAL;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24) : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

void add_scales(const TypeInfo& type, std::span<const std::byte> blocks, Piece& piece) {
  ScaleFeatures& s = piece.scales;
  for (const BlockField& field : type.fields) {
    if (!is_scale(field)) continue;
    for (std::size_t at = 0; at + type.block_bytes <= blocks.size(); at += type.block_bytes) {
      const double value = scale_value(blocks.data() + at + field.offset, field.encoding);
      ++s.n_scales;
      if (!std::isfinite(value)) {
        ++s.n_not_finite;
        continue;
      }
      const bool first = s.n_scales - s.n_not_finite == 1;
      s.n_zero += value == 0 ? 1 : 0;
      s.min = first ? value : std::min(s.min, value);
      s.max = first ? value : std::max(s.max, value);
      piece.scale_sum += value;
    }
  }
}

void merge_scales(Piece& into, const Piece& from) {
  ScaleFeatures& a = into.scales;
  const ScaleFeatures& b = from.scales;
  const bool a_empty = a.n_scales == a.n_not_finite, b_empty = b.n_scales == b.n_not_finite;
  if (!b_empty) {
    a.min = a_empty ? b.min : std::min(a.min, b.min);
    a.max = a_empty ? b.max : std::max(a.max, b.max);
  }
  a.n_scales += b.n_scales;
  a.n_zero += b.n_zero;
  a.n_not_finite += b.n_not_finite;
  into.scale_sum += from.scale_sum;
}

Piece read_piece(const TypeInfo& type, const Chunk& chunk) {
  Piece piece;
  for (const std::byte b : chunk.raw) ++piece.bytes[static_cast<std::size_t>(b)];
  piece.moments.add(chunk.values);
  add_scales(type, chunk.blocks, piece);
  return piece;
}

double entropy_of(const std::array<std::uint64_t, 256>& counts) {
  double total = 0, entropy = 0;
  for (const std::uint64_t n : counts) total += static_cast<double>(n);
  for (const std::uint64_t n : counts)
    if (n > 0) entropy -= static_cast<double>(n) / total * std::log2(static_cast<double>(n) / total);
  return entropy;
}

void fill(TensorFeatures& features, const Piece& all) {
  const Moments& m = all.moments;
  features.n_nan = m.n_nan;
  features.n_inf = m.n_inf;
  features.n_zero = m.n_zero;
  features.min = m.min;
  features.max = m.max;
  features.mean = m.mean;
  if (m.n > 0) {
    const double n = static_cast<double>(m.n), variance = m.m2 / n;
    features.std = std::sqrt(variance);
    if (variance > 0) {
      features.skewness = m.m3 / n / (variance * features.std);
      features.excess_kurtosis = m.m4 / n / (variance * variance) - 3;
    }
  }
  features.byte_entropy = entropy_of(all.bytes);
  if (all.scales.n_scales > 0) {
    features.scales = all.scales;
    const auto n_finite = all.scales.n_scales - all.scales.n_not_finite;
    features.scales->mean = n_finite > 0 ? all.scale_sum / static_cast<double>(n_finite) : 0;
  }
}

}  // namespace

double scale_value(const std::byte* at, FieldEncoding encoding) {
  if (encoding == FieldEncoding::F16) return f16_value(load<std::uint16_t>(at));
  if (encoding == FieldEncoding::F32) return static_cast<double>(load<float>(at));
  return std::ldexp(1.0, static_cast<int>(*at) - 127);  // E8M0
}

bool is_scale(const BlockField& field) {
  return field.encoding == FieldEncoding::F16 || field.encoding == FieldEncoding::F32 ||
         field.encoding == FieldEncoding::E8M0;
}

void Moments::add(std::span<const float> values) {
  constexpr std::size_t kPiece = 4096;  // floats: both passes find them in the first-level cache
  constexpr std::uint32_t kInfinity = 0x7F800000;
  const kernels::ScanKernels& kernels = kernels::active_scan();
  std::vector<float> finite;
  for (std::size_t at = 0; at < values.size(); at += kPiece) {
    auto piece = values.subspan(at, std::min(kPiece, values.size() - at));
    Moments part;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(piece.data());
    if (kernels.max_abs_32(bytes, static_cast<std::int64_t>(piece.size())) >= kInfinity) {
      finite.clear();
      for (const float v : piece) {
        if (std::isfinite(v))
          finite.push_back(v);
        else
          ++(std::isnan(v) ? part.n_nan : part.n_inf);
      }
      piece = finite;
    }
    part.n = piece.size();
    if (part.n > 0) {
      kernels::MomentSums sums;
      kernels.moments(piece.data(), static_cast<std::int64_t>(piece.size()), &sums);
      part.n_zero = static_cast<std::uint64_t>(sums.n_zero);
      part.min = static_cast<double>(sums.min);
      part.max = static_cast<double>(sums.max);
      part.mean = sums.mean;
      part.m2 = sums.m2, part.m3 = sums.m3, part.m4 = sums.m4;
    }
    merge(part);
  }
}

void Moments::merge(const Moments& b) {
  n_nan += b.n_nan;
  n_inf += b.n_inf;
  n_zero += b.n_zero;
  if (b.n == 0) return;
  if (n == 0) {
    min = b.min, max = b.max, mean = b.mean, m2 = b.m2, m3 = b.m3, m4 = b.m4, n = b.n;
    return;
  }
  const double na = static_cast<double>(n), nb = static_cast<double>(b.n), total = na + nb, delta = b.mean - mean;
  const double d = delta / total, d2 = d * d;
  m4 += b.m4 + delta * delta * d2 / total * na * nb * (na * na - na * nb + nb * nb) +
        6 * d2 * (na * na * b.m2 + nb * nb * m2) + 4 * d * (na * b.m3 - nb * m3);
  m3 += b.m3 + delta * d2 * na * nb * (na - nb) + 3 * d * (na * b.m2 - nb * m2);
  m2 += b.m2 + delta * d * na * nb;
  mean += d * nb;
  min = std::min(min, b.min);
  max = std::max(max, b.max);
  n += b.n;
}

TensorFeatures compute_features(const format::ModelFile& model, const format::TensorInfo& tensor, ThreadPool& pool,
                                const std::function<void(std::uint64_t)>& bytes_done) {
  TensorFeatures features;
  features.name = tensor.name;
  RoleName role = role_of(tensor.name);
  features.role = std::move(role.role);
  features.layer = role.layer;
  features.type = apr::name(tensor.type);
  features.n_elements = tensor.n_elements;
  const TypeInfo* type = find_type(tensor.type);
  if (!tensor.readable || type == nullptr) {
    features.unread_reason = "the tensor's type or range is not sound";
    return features;
  }
  if (kernels::dequantizer(tensor.type) == nullptr || tensor.type == TensorType::AprQ8) {
    features.unread_reason = fmt::format("{} has no form in f32 that can be read in blocks", features.type);
    return features;
  }
  const ChunkReader reader(model, tensor, type->block_bytes);
  std::vector<Piece> pieces(reader.n_chunks());
  pool.parallel_for(reader.n_chunks(), [&](std::uint64_t i) {
    reader.read(i, [&](const Chunk& chunk) { pieces[i] = read_piece(*type, chunk); });
  });
  Piece all;
  for (const Piece& piece : pieces) {
    all.moments.merge(piece.moments);
    for (std::size_t b = 0; b < 256; ++b) all.bytes[b] += piece.bytes[b];
    merge_scales(all, piece);
  }
  fill(features, all);
  bytes_done(tensor.size_bytes);
  return features;
}

}  // namespace apr::diag
