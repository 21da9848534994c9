// A tensor in pieces: as stored, in little-endian blocks, and decoded. Memory is that of the pieces in work.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "apr/core/tensor_type.h"
#include "apr/format/model_file.h"

namespace apr::diag {

struct Chunk {
  std::uint64_t first_element = 0;    // in storage order
  std::span<const std::byte> raw;     // as the file has it
  std::span<const std::byte> blocks;  // the same, little-endian
  std::span<const float> values;
};

/// Cuts a readable tensor, of a type whose blocks have a form in f32, into whole steps of about 1 MiB.
class ChunkReader {
 public:
  /// `step_bytes`: what must not be cut, a block or a row; a multiple of the block's bytes.
  ChunkReader(const format::ModelFile& model, const format::TensorInfo& tensor, std::uint64_t step_bytes);
  [[nodiscard]] std::uint64_t n_chunks() const noexcept;
  /// Decodes chunk `i` and shows it; its memory and its pages are given back afterwards. From any thread. Polls
  /// check_interrupted().
  void read(std::uint64_t i, const std::function<void(const Chunk&)>& see) const;

 private:
  const TypeInfo& type_;
  std::span<const std::byte> stored_;
  std::uint64_t skipped_bytes_;
  std::uint64_t chunk_bytes_;
  bool big_endian_;
};

}  // namespace apr::diag
