#include "src/diag/chunks.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/kernels/dispatch.h"

namespace apr::diag {
namespace {

constexpr std::uint64_t kChunkBytes = 1 << 20;
constexpr std::uint64_t kAprQ8ScaleBytes = 4;  // the scale of the whole tensor stands before its elements

}  // namespace

ChunkReader::ChunkReader(const format::ModelFile& model, const format::TensorInfo& tensor, std::uint64_t step_bytes)
    : type_(*find_type(tensor.type)),
      stored_(model.data(tensor)),
      skipped_bytes_(tensor.type == TensorType::AprQ8 ? kAprQ8ScaleBytes : 0),
      chunk_bytes_(std::max<std::uint64_t>(1, kChunkBytes / step_bytes) * step_bytes),
      big_endian_(model.byte_order == std::endian::big) {
  APR_CHECK(step_bytes % type_.block_bytes == 0);
}

std::uint64_t ChunkReader::n_chunks() const noexcept {
  return (stored_.size() - skipped_bytes_ + chunk_bytes_ - 1) / chunk_bytes_;
}

void ChunkReader::read(std::uint64_t i, const std::function<void(const Chunk&)>& see) const {
  check_interrupted();
  const std::uint64_t begin = i * chunk_bytes_;
  const auto blocks = stored_.subspan(skipped_bytes_);
  Chunk chunk;
  chunk.raw = chunk.blocks = blocks.subspan(begin, std::min<std::uint64_t>(chunk_bytes_, blocks.size() - begin));
  chunk.first_element = begin / type_.block_bytes * type_.block_elements;
  std::vector<std::byte> swapped;
  if (big_endian_) {
    swapped.assign(chunk.raw.begin(), chunk.raw.end());
    swap_block_bytes(type_, swapped);
    chunk.blocks = swapped;
  }
  const std::uint64_t n_blocks = chunk.raw.size() / type_.block_bytes;
  std::vector<float> values(n_blocks * type_.block_elements);
  if (type_.type == TensorType::AprQ8) {
    static_cast<void>(kernels::decode(type_.type, stored_, chunk.first_element, values));
  } else {
    kernels::dequantizer(type_.type)(chunk.blocks.data(), values.data(), static_cast<std::int64_t>(n_blocks));
  }
  chunk.values = values;
  see(chunk);
  release_pages(chunk.raw);
}

}  // namespace apr::diag
