// What a model file must be, byte for byte: SHA-256 of each file and tensor, and a Merkle tree of chunks, so that
// damage is found to within one chunk and only that chunk is fetched again.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apr/core/hash.h"
#include "apr/format/model_file.h"
#include "apr/inspect/scan.h"

namespace apr::inspect {

inline constexpr std::uint64_t kManifestChunkBytes = 1U << 20;

/// Leaf i is SHA-256(0x00, bytes of chunk i), a node is SHA-256(0x01, left, right); a tree of n leaves splits at the
/// largest power of two below n (RFC 6962, 2.1). Chunk i is [i * chunk_bytes, (i + 1) * chunk_bytes), the last is
/// shorter.
struct ManifestFile {
  std::string name;  // without its folder
  std::uint64_t size_bytes = 0;
  Sha256Digest sha256{}, merkle_root{};
  std::vector<Sha256Digest> chunks;  // leaves
};

struct ManifestTensor {
  std::string name;
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0, size_bytes = 0;
  Sha256Digest sha256{};
};

struct Manifest {
  std::uint64_t chunk_bytes = kManifestChunkBytes;
  std::vector<ManifestFile> files;      // shards in order
  std::vector<ManifestTensor> tensors;  // in the order of the model
};

/// The root of RFC 6962 over leaf hashes; of none, SHA-256 of nothing.
[[nodiscard]] Sha256Digest merkle_root(const std::vector<Sha256Digest>& leaves);

/// One pass over every file. Throws what require_sound() throws: a manifest of a damaged model would bless the damage.
[[nodiscard]] Manifest build_manifest(const format::ModelFile& model, unsigned n_threads, const ScanProgress& progress);

/// Damaged bytes as whole chunks, neighbours joined.
struct ChunkRange {
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0, size_bytes = 0;
  bool missing = false;  // the file ends before or inside this range
};

struct TensorCheck {
  std::size_t index = 0;  // in Manifest::tensors
  std::uint64_t n_bad_chunks = 0;
  bool damaged = false;  // its own hash differs; false: only a neighbour in a shared chunk is damaged
};

struct ManifestCheck {
  struct File {
    std::string path;
    std::uint64_t size_bytes = 0;  // found
    std::uint64_t n_bad_chunks = 0;
    std::uint64_t extra_bytes = 0;  // behind the end that the manifest knows
  };
  std::vector<File> files;
  std::vector<ChunkRange> ranges;    // by file, then offset
  std::vector<TensorCheck> tensors;  // those in a bad chunk
  [[nodiscard]] bool intact() const noexcept;
};

/// Compares files with a manifest; `paths` in the order of Manifest::files. The files need not be readable as a model.
[[nodiscard]] ManifestCheck check_manifest(const Manifest& manifest, const std::vector<std::string>& paths,
                                           unsigned n_threads, const ScanProgress& progress);

}  // namespace apr::inspect
