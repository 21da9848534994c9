// What every format is read into: files, metadata, one tensor table, and the findings on the way.
#pragma once
#include <bit>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/core/tensor_type.h"
#include "apr/format/value.h"

namespace apr::format {

enum class Format : std::uint8_t { Gguf, SafeTensors, Apr };
[[nodiscard]] std::string_view name(Format format) noexcept;  // "gguf", "safetensors", "apr"

struct MetadataEntry {
  std::string_view key;
  Value value;
  std::uint64_t key_offset = 0;    // first byte of the entry
  std::uint64_t value_offset = 0;  // first byte of the value
  std::uint64_t end_offset = 0;
  std::uint32_t file_index = 0;
};

struct TensorInfo {
  std::string_view name;
  TensorType type = TensorType::Unknown;
  std::uint32_t raw_type = 0;       // the number in the file (GGUF, APR); 0 for SafeTensors
  std::string_view raw_type_name;   // the dtype string in the file (SafeTensors); empty otherwise
  std::vector<std::int64_t> shape;  // outermost dimension first (as NumPy; the reverse of GGUF's order); empty = scalar
  std::uint64_t n_elements = 0;
  std::uint64_t offset = 0;      // absolute byte offset of the data in its file
  std::uint64_t size_bytes = 0;  // stored bytes
  std::uint32_t file_index = 0;
  std::uint64_t info_offset = 0;  // where the entry itself stands in the header
  std::uint64_t info_size = 0;
  bool readable = true;  // false: type unknown or removed, or the data is not wholly inside the file
};

/// A named byte range of a file: "header", "metadata", "tensor index", "tensor data", "padding", "trailing bytes", ...
struct Region {
  std::string name;
  std::uint32_t file_index = 0;
  std::uint64_t offset = 0;
  std::uint64_t size_bytes = 0;
};

struct OpenOptions {
  /// Also verify what costs a pass over the data (APR's footer checksum).
  bool verify_data = false;
};

/// An opened model: one file, or all shards of one. Views stay valid as long as the object lives (it cannot be copied).
class ModelFile {
 public:
  ModelFile() = default;
  ModelFile(ModelFile&&) = default;
  ModelFile& operator=(ModelFile&&) = default;

  Format format = Format::Gguf;
  std::string path;     // what the user named (a file or a directory)
  std::string version;  // "3", "2.0", "" for SafeTensors
  std::endian byte_order = std::endian::little;
  std::uint64_t alignment = 1;    // of tensor data
  std::uint64_t data_offset = 0;  // of the tensor data section in files[0]; 0 = the header broke off before it
  std::vector<std::unique_ptr<MappedFile>> files;  // shards in order; one for a plain file
  std::vector<MetadataEntry> metadata;             // file order
  std::vector<TensorInfo> tensors;                 // file order
  std::vector<Region> regions;                     // by file, then offset; never overlapping
  std::vector<Finding> findings;
  std::vector<std::string> companions;   // paths of config.json, tokenizer.json, ... found beside the file
  std::optional<bool> data_checksum_ok;  // APR footer: nothing = not verified in this run

  /// The first entry or tensor of that name, or null.
  [[nodiscard]] const MetadataEntry* find_metadata(std::string_view key) const;
  [[nodiscard]] const TensorInfo* find_tensor(std::string_view tensor_name) const;
  /// Stored bytes of a tensor. Throws InvalidFormat when it is not readable.
  [[nodiscard]] std::span<const std::byte> data(const TensorInfo& tensor) const;
  [[nodiscard]] std::uint64_t total_bytes() const noexcept;   // of all files
  [[nodiscard]] std::uint64_t n_parameters() const noexcept;  // sum of elements, saturating
  [[nodiscard]] bool has_errors() const noexcept;
  /// Throws the first finding of severity Error: for callers that need a sound file.
  void require_sound() const;
  /// MappedFile::check_intact() of every file.
  void check_intact() const;
  /// Keeps a decoded string alive as long as the model, for values that are no plain view into the file.
  std::string_view keep(std::string text);

 private:
  std::unique_ptr<std::deque<std::string>> kept_;
  // Filled by the find functions, so the first lookup of a new model belongs to one thread.
  mutable std::unordered_map<std::string_view, std::size_t> metadata_index_, tensor_index_;
  mutable std::size_t n_metadata_indexed_ = 0, n_tensors_indexed_ = 0;
};

/// Opens a model of any supported format, recognised by its bytes, never by its name.
/// `path`: a file; a directory with SafeTensors; a `*.safetensors.index.json`; any one shard of `-00001-of-0000N.gguf`.
/// Throws NotFound or Io for a file that cannot be read, InvalidFormat for bytes that are no model (named for what they
/// are: an HTML page, a zip, a pickle, ...) or whose header ends before the magic, version and counts are known.
/// Every other fault is a finding: what could be read is in the tables. Reads the header only: memory is O(header).
[[nodiscard]] ModelFile open_model(const std::string& path, const OpenOptions& options = {});

}  // namespace apr::format
