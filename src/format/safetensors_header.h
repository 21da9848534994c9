// Reads the JSON header of one SafeTensors file.
#pragma once
#include <algorithm>
#include <string_view>
#include <vector>

#include "src/format/json.h"
#include "src/format/safetensors.h"

namespace apr::format {

/// Reads the header into the model: members and metadata in safetensors_header.cpp, tensors in safetensors_entry.cpp.
class SafeTensorsHeaderReader {
 public:
  SafeTensorsHeaderReader(ModelFile& model, Findings& findings, const MappedFile& file, std::uint64_t header_bytes)
      : model_(model),
        findings_(findings),
        file_index_(static_cast<std::uint32_t>(model.files.size() - 1)),
        truncated_(header_bytes > file.size() - 8),
        text_(reinterpret_cast<const char*>(file.bytes().data()) + 8,
              static_cast<std::size_t>(std::min(header_bytes, file.size() - 8))),
        cursor_(text_, 8),
        data_begin_(8 + header_bytes),
        data_size_(truncated_ ? 0 : file.size() - data_begin_),
        header_end_(8 + text_.size()) {}

  void read();

 private:
  /// The three fields of a tensor's object, as far as they were found.
  struct Entry {
    const SafeTensorsType* dtype = nullptr;
    bool has_dtype = false, has_shape = false, has_offsets = false;
    bool shape_ok = true, offsets_ok = true;
    std::uint64_t begin = 0, end = 0;
    std::uint64_t dtype_at = 0, shape_at = 0, offsets_at = 0;
  };

  std::string_view keep_text() { return cursor_.has_escapes() ? model_.keep(cursor_.text()) : cursor_.raw(); }
  void report_fault();
  bool read_members();
  bool read_metadata(std::uint64_t key_at);
  bool read_tensor(std::string_view name, std::uint64_t key_at);
  bool read_fields(TensorInfo& tensor, Entry& entry);
  bool read_dtype(TensorInfo& tensor, Entry& entry);
  bool read_shape(TensorInfo& tensor, Entry& entry);
  bool read_offsets(TensorInfo& tensor, Entry& entry);
  bool claim_field(bool& seen, const TensorInfo& tensor, std::string_view field);
  void check_name(std::string_view name, std::uint64_t at);
  void check_shape(TensorInfo& tensor, Entry& entry);
  void check_size(TensorInfo& tensor, const Entry& entry);
  void check_metadata_names(std::size_t first);
  void note_alignment(const TensorInfo& tensor, const SafeTensorsType& dtype);
  void finish(std::size_t first_tensor);

  ModelFile& model_;
  Findings& findings_;
  std::uint32_t file_index_;
  bool truncated_;
  std::string_view text_;
  JsonCursor cursor_;
  std::uint64_t data_begin_, data_size_;
  std::uint64_t header_end_;  // behind the root object; of the whole text when that object does not end
  std::vector<std::uint32_t> placed_;
  bool has_metadata_ = false;
  std::uint64_t n_unaligned_ = 0;
  std::string_view first_unaligned_;
  std::uint64_t first_unaligned_at_ = 0;
};

}  // namespace apr::format
