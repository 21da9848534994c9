#include "apr/inspect/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apr/core/checked.h"
#include "apr/core/file.h"
#include "apr/core/thread_pool.h"
#include "apr/kernels/dispatch.h"

namespace apr::inspect {
namespace {

using format::ModelFile;
using format::TensorInfo;

constexpr std::size_t kSpanElements = 1 << 14;

StripColumn column_of(std::span<const std::byte> bytes) {
  std::array<std::uint64_t, 256> counts{};
  for (const std::byte b : bytes) ++counts[std::to_integer<std::size_t>(b)];
  StripColumn column;
  const auto n = static_cast<double>(bytes.size());
  for (const std::uint64_t count : counts)
    if (count != 0) column.entropy -= static_cast<double>(count) / n * std::log2(static_cast<double>(count) / n);
  column.zero_share = static_cast<double>(counts[0]) / n;
  return column;
}

/// Column i of n ends where column i + 1 begins, whatever the size.
std::uint64_t column_begin(std::uint64_t size, std::uint64_t i, std::uint64_t n) {
  return size / n * i + size % n * i / n;
}

PictureFile draw_file(const MappedFile& file, const PictureOptions& options, ThreadPool& pool) {
  PictureFile out{file.path(), file.size(), {}};
  const std::uint64_t n = std::min<std::uint64_t>(options.n_columns, file.size());
  out.strip.resize(static_cast<std::size_t>(n));
  pool.parallel_for(n, [&](std::uint64_t i) {
    check_interrupted();
    const std::uint64_t begin = column_begin(file.size(), i, n), end = column_begin(file.size(), i + 1, n);
    const auto part = file.bytes().subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    out.strip[static_cast<std::size_t>(i)] = column_of(part);
    release_pages(part);
  });
  return out;
}

/// Calls visit with the values of a tensor, a span at a time. False when they have no form in f32.
template <class Visit>
bool for_values(const ModelFile& model, const TensorInfo& tensor, const Visit& visit) {
  const TypeInfo* type = find_type(tensor.type);
  const auto data = model.data(tensor);
  if (type == nullptr || type->block_bytes == 0) return false;
  // A span is whole blocks, so that bytes of the other order can be turned block by block.
  const std::uint64_t n_blocks = std::max<std::uint64_t>(1, kSpanElements / type->block_elements);
  std::vector<float> values(static_cast<std::size_t>(n_blocks * type->block_elements));
  std::vector<std::byte> swapped;
  if (tensor.type == TensorType::AprQ8) return false;  // one scale for the whole tensor
  for (std::uint64_t at = 0; at < data.size(); at += n_blocks * type->block_bytes) {
    auto blocks =
        data.subspan(static_cast<std::size_t>(at),
                     static_cast<std::size_t>(std::min<std::uint64_t>(n_blocks * type->block_bytes, data.size() - at)));
    if (model.byte_order == std::endian::big) {
      swapped.assign(blocks.begin(), blocks.end());
      swap_block_bytes(*type, swapped);
      blocks = swapped;
    }
    const std::span<float> out(values.data(), blocks.size() / type->block_bytes * type->block_elements);
    if (!kernels::decode(tensor.type, blocks, 0, out)) return false;
    visit(std::span<const float>(out));
  }
  return true;
}

void draw_values(const ModelFile& model, const TensorInfo& tensor, PicturePart& part) {
  if (!tensor.readable) {
    part.no_values_reason = "the tensor cannot be read";
    return;
  }
  double mean = 0, m2 = 0;
  std::uint64_t n = 0;
  const bool decoded = for_values(model, tensor, [&](std::span<const float> values) {
    check_interrupted();
    for (const float value : values) {
      const auto v = static_cast<double>(value);
      if (!std::isfinite(v)) {
        ++part.n_not_finite;
        continue;
      }
      part.min = n == 0 ? v : std::min(part.min, v);
      part.max = n == 0 ? v : std::max(part.max, v);
      const double d = v - mean;
      mean += d / static_cast<double>(++n);
      m2 += d * (v - mean);
    }
  });
  if (!decoded) {
    part.no_values_reason = "the type has no form in f32 that can be read in blocks";
    return;
  }
  part.n_values = n;
  part.mean = mean;
  part.std = n > 0 ? std::sqrt(m2 / static_cast<double>(n)) : 0;
  if (n == 0) part.no_values_reason = "no finite value";
  if (n == 0) return;
  const double width = (part.max - part.min) / static_cast<double>(kHistogramBins);
  (void)for_values(model, tensor, [&](std::span<const float> values) {
    for (const float value : values) {
      const auto v = static_cast<double>(value);
      if (!std::isfinite(v)) continue;
      const double bin = width > 0 ? (v - part.min) / width : 0;
      ++part.bins[std::min(kHistogramBins - 1, static_cast<std::size_t>(bin))];
    }
  });
}

std::string shape_of(const TensorInfo& tensor) { return fmt::format("[{}]", fmt::join(tensor.shape, ", ")); }

std::vector<PicturePart> list_parts(const ModelFile& model) {
  std::vector<PicturePart> parts;
  for (const TensorInfo& tensor : model.tensors) {
    PicturePart part;
    part.name = tensor.name;
    part.type =
        find_type(tensor.type) != nullptr ? std::string(apr::name(tensor.type)) : fmt::format("? {}", tensor.raw_type);
    part.shape = shape_of(tensor);
    part.is_tensor = true;
    part.readable = tensor.readable;
    part.file_index = tensor.file_index;
    part.offset = tensor.offset;
    part.size_bytes = tensor.size_bytes;
    parts.push_back(std::move(part));
  }
  for (const format::Region& region : model.regions) {
    if (region.name == "tensor data") continue;  // its tensors stand for it
    PicturePart part;
    part.name = region.name;
    part.file_index = region.file_index;
    part.offset = region.offset;
    part.size_bytes = region.size_bytes;
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

Picture make_picture(const ModelFile& model, const PictureOptions& options) {
  Picture picture;
  picture.title = model.path;
  picture.format = format::name(model.format);
  ThreadPool pool(options.n_threads);
  for (const auto& file : model.files) picture.files.push_back(draw_file(*file, options, pool));
  picture.parts = list_parts(model);
  std::uint64_t total = 0, done = 0;
  for (const PicturePart& part : picture.parts) total += part.size_bytes;
  pool.parallel_for(model.tensors.size(), [&](std::uint64_t i) {
    draw_values(model, model.tensors[static_cast<std::size_t>(i)], picture.parts[static_cast<std::size_t>(i)]);
  });
  for (PicturePart& part : picture.parts) {
    const auto bytes = model.files[part.file_index]->bytes();
    if (range_fits(part.offset, 0, bytes.size())) {
      const std::uint64_t n = std::min<std::uint64_t>({options.n_bytes, part.size_bytes, bytes.size() - part.offset});
      const auto first = bytes.subspan(static_cast<std::size_t>(part.offset), static_cast<std::size_t>(n));
      part.first_bytes.assign(first.begin(), first.end());
    }
    done += part.size_bytes;
    if (options.progress) options.progress(done, total);
  }
  std::stable_sort(picture.parts.begin(), picture.parts.end(), [](const PicturePart& a, const PicturePart& b) {
    return a.file_index != b.file_index ? a.file_index < b.file_index : a.offset < b.offset;
  });
  return picture;
}

}  // namespace apr::inspect
