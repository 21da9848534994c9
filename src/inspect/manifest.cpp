// Hashing of whole files by all threads in one pass, and the comparison with what was hashed before.
#include "apr/inspect/manifest.h"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <memory>

#include "apr/core/file.h"
#include "apr/core/thread_pool.h"

namespace apr::inspect {
namespace {

// What the threads share before they meet again: small enough to stay in the cache while three hashes read it.
constexpr std::uint64_t kStepBytes = 16U << 20;

Sha256Digest leaf_hash(std::span<const std::byte> chunk) {
  constexpr std::byte prefix[1] = {std::byte{0}};
  Sha256 hash;
  hash.update(prefix);
  hash.update(chunk);
  return hash.finish_digest();
}

Sha256Digest root_of(std::span<const Sha256Digest> leaves) {
  if (leaves.size() == 1) return leaves[0];
  const std::size_t split = std::bit_floor(leaves.size() - 1);
  constexpr std::byte prefix[1] = {std::byte{1}};
  Sha256 hash;
  hash.update(prefix);
  hash.update(root_of(leaves.first(split)));
  hash.update(root_of(leaves.subspan(split)));
  return hash.finish_digest();
}

std::uint64_t n_chunks(std::uint64_t size_bytes, std::uint64_t chunk_bytes) {
  return size_bytes / chunk_bytes + (size_bytes % chunk_bytes != 0 ? 1 : 0);
}

std::span<const std::byte> chunk_of(std::span<const std::byte> file, std::uint64_t index, std::uint64_t chunk_bytes) {
  const std::uint64_t at = index * chunk_bytes;
  return file.subspan(at, std::min<std::uint64_t>(chunk_bytes, file.size() - at));
}

/// The part of a tensor that lies in [begin, end) of its file.
std::span<const std::byte> part_of(std::span<const std::byte> file, const ManifestTensor& tensor, std::uint64_t begin,
                                   std::uint64_t end) {
  const std::uint64_t first = std::max(begin, tensor.offset);
  const std::uint64_t last = std::min(end, tensor.offset + tensor.size_bytes);
  return first < last ? file.subspan(first, last - first) : std::span<const std::byte>{};
}

/// One file: its own hash is one task of a step, each tensor in the step one, each chunk one.
class FileHasher {
 public:
  FileHasher(const MappedFile& file, std::uint32_t index, Manifest& manifest)
      : bytes_(file.bytes()), manifest_(manifest), out_(manifest.files[index]) {
    out_.name = std::filesystem::path(file.path()).filename().string();
    out_.size_bytes = bytes_.size();
    out_.chunks.resize(n_chunks(bytes_.size(), manifest.chunk_bytes));
    for (std::size_t i = 0; i < manifest.tensors.size(); ++i)
      if (manifest.tensors[i].file_index == index) tensors_.push_back(i);
    std::sort(tensors_.begin(), tensors_.end(),
              [&](std::size_t a, std::size_t b) { return manifest.tensors[a].offset < manifest.tensors[b].offset; });
    hashes_.resize(tensors_.size());
  }

  void step(ThreadPool& pool, std::uint64_t begin, std::uint64_t end) {
    std::vector<std::size_t> touched;
    for (; first_ < tensors_.size(); ++first_)  // tensors that ended before this step are done
      if (const ManifestTensor& t = manifest_.tensors[tensors_[first_]]; t.offset + t.size_bytes > begin) break;
    for (std::size_t i = first_; i < tensors_.size() && manifest_.tensors[tensors_[i]].offset < end; ++i)
      touched.push_back(i);
    const std::uint64_t first_chunk = begin / manifest_.chunk_bytes;
    const std::uint64_t n_leaves = n_chunks(end - begin, manifest_.chunk_bytes);
    pool.parallel_for(1 + touched.size() + n_leaves, [&](std::uint64_t task) {
      if (task == 0) {
        file_hash_.update(bytes_.subspan(begin, end - begin));
      } else if (task <= touched.size()) {
        const std::size_t i = touched[task - 1];
        if (!hashes_[i]) hashes_[i] = std::make_unique<Sha256>();
        hashes_[i]->update(part_of(bytes_, manifest_.tensors[tensors_[i]], begin, end));
        finish_tensor(i, end);
      } else {
        const std::uint64_t chunk = first_chunk + task - 1 - touched.size();
        out_.chunks[chunk] = leaf_hash(chunk_of(bytes_, chunk, manifest_.chunk_bytes));
      }
    });
  }

  void finish() {
    out_.sha256 = file_hash_.finish_digest();
    out_.merkle_root = merkle_root(out_.chunks);
    for (std::size_t i = 0; i < tensors_.size(); ++i)  // those without a byte were in no step
      if (manifest_.tensors[tensors_[i]].size_bytes == 0)
        manifest_.tensors[tensors_[i]].sha256 = Sha256().finish_digest();
  }

 private:
  void finish_tensor(std::size_t i, std::uint64_t end) {
    ManifestTensor& tensor = manifest_.tensors[tensors_[i]];
    if (tensor.size_bytes == 0 || tensor.offset + tensor.size_bytes > end) return;
    tensor.sha256 = hashes_[i]->finish_digest();
    hashes_[i].reset();
  }

  std::span<const std::byte> bytes_;
  Manifest& manifest_;
  ManifestFile& out_;
  Sha256 file_hash_;
  std::vector<std::size_t> tensors_;  // of this file, by offset
  std::vector<std::unique_ptr<Sha256>> hashes_;
  std::size_t first_ = 0;
};

/// Bad chunks of one file, and the ranges that they make.
std::vector<std::uint64_t> bad_chunks(const ManifestFile& want, std::span<const std::byte> bytes,
                                      std::uint64_t chunk_bytes, ThreadPool& pool,
                                      const std::function<void(std::uint64_t)>& advanced) {
  std::vector<std::uint8_t> bad(want.chunks.size(), 1);  // poisoned: what is not compared is bad
  const std::uint64_t step = kStepBytes / std::min(kStepBytes, chunk_bytes);
  for (std::uint64_t begin = 0; begin < bad.size(); begin += step) {
    check_interrupted();
    const std::uint64_t count = std::min<std::uint64_t>(step, bad.size() - begin);
    pool.parallel_for(count, [&](std::uint64_t k) {
      const std::uint64_t at = (begin + k) * chunk_bytes;
      const std::uint64_t size = std::min(chunk_bytes, want.size_bytes - at);
      if (at > bytes.size() || size > bytes.size() - at) return;
      bad[begin + k] = leaf_hash(bytes.subspan(at, size)) == want.chunks[begin + k] ? 0 : 1;
    });
    advanced(count * chunk_bytes);
  }
  std::vector<std::uint64_t> indices;
  for (std::uint64_t i = 0; i < bad.size(); ++i)
    if (bad[i] != 0) indices.push_back(i);
  return indices;
}

void append_ranges(const ManifestFile& want, std::uint32_t file_index, const std::vector<std::uint64_t>& bad,
                   std::uint64_t chunk_bytes, std::uint64_t found_bytes, std::vector<ChunkRange>& ranges) {
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const std::uint64_t at = bad[i] * chunk_bytes;
    const std::uint64_t size = std::min(chunk_bytes, want.size_bytes - at);
    const bool missing = size > found_bytes || at > found_bytes - size;
    if (i > 0 && bad[i - 1] + 1 == bad[i] && ranges.back().missing == missing)
      ranges.back().size_bytes += size;
    else
      ranges.push_back({file_index, at, size, missing});
  }
}

/// How many of the sorted chunk numbers lie in [first, last].
std::uint64_t count_between(const std::vector<std::uint64_t>& bad, std::uint64_t first, std::uint64_t last) {
  return static_cast<std::uint64_t>(std::upper_bound(bad.begin(), bad.end(), last) -
                                    std::lower_bound(bad.begin(), bad.end(), first));
}

}  // namespace

Sha256Digest merkle_root(const std::vector<Sha256Digest>& leaves) {
  return leaves.empty() ? Sha256().finish_digest() : root_of(leaves);
}

bool ManifestCheck::intact() const noexcept {
  return ranges.empty() && std::all_of(files.begin(), files.end(), [](const File& f) { return f.extra_bytes == 0; });
}

Manifest build_manifest(const format::ModelFile& model, unsigned n_threads, const ScanProgress& progress) {
  model.require_sound();
  Manifest manifest;
  manifest.files.resize(model.files.size());
  for (const format::TensorInfo& tensor : model.tensors)
    manifest.tensors.push_back({std::string(tensor.name), tensor.file_index, tensor.offset, tensor.size_bytes, {}});
  ThreadPool pool(n_threads);
  const std::uint64_t total = model.total_bytes();
  std::uint64_t done = 0;
  for (std::uint32_t f = 0; f < model.files.size(); ++f) {
    FileHasher hasher(*model.files[f], f, manifest);
    const std::uint64_t size = model.files[f]->size();
    for (std::uint64_t begin = 0; begin < size; begin += kStepBytes) {
      check_interrupted();
      const std::uint64_t end = std::min(size, begin + kStepBytes);
      hasher.step(pool, begin, end);
      done += end - begin;
      if (progress) progress(done, total);
    }
    hasher.finish();
  }
  return manifest;
}

ManifestCheck check_manifest(const Manifest& manifest, const std::vector<std::string>& paths, unsigned n_threads,
                             const ScanProgress& progress) {
  APR_CHECK(paths.size() == manifest.files.size());
  ThreadPool pool(n_threads);
  ManifestCheck check;
  std::uint64_t total = 0;
  for (const ManifestFile& file : manifest.files) total += file.size_bytes;
  std::uint64_t done = 0;
  for (std::uint32_t f = 0; f < paths.size(); ++f) {
    const MappedFile file(paths[f]);
    const ManifestFile& want = manifest.files[f];
    const auto bytes = file.bytes();
    const auto bad = bad_chunks(want, bytes, manifest.chunk_bytes, pool, [&](std::uint64_t n) {
      done = std::min(total, done + n);
      if (progress) progress(done, total);
    });
    check.files.push_back({paths[f], file.size(), bad.size(), file.size() - std::min(file.size(), want.size_bytes)});
    append_ranges(want, f, bad, manifest.chunk_bytes, file.size(), check.ranges);
    for (std::size_t t = 0; t < manifest.tensors.size(); ++t) {
      const ManifestTensor& tensor = manifest.tensors[t];
      if (tensor.file_index != f || tensor.size_bytes == 0) continue;
      const std::uint64_t n_bad = count_between(bad, tensor.offset / manifest.chunk_bytes,
                                                (tensor.offset + tensor.size_bytes - 1) / manifest.chunk_bytes);
      if (n_bad == 0) continue;
      const bool inside = tensor.size_bytes <= bytes.size() && tensor.offset <= bytes.size() - tensor.size_bytes;
      Sha256 hash;
      if (inside) hash.update(bytes.subspan(tensor.offset, tensor.size_bytes));
      check.tensors.push_back({t, n_bad, !inside || hash.finish_digest() != tensor.sha256});
    }
    file.check_intact();
  }
  return check;
}

}  // namespace apr::inspect
