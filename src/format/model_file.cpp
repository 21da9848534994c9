#include "apr/format/model_file.h"

#include <limits>

#include "apr/core/checked.h"

namespace apr::format {
namespace {

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept {
  return checked_add(a, b).value_or(std::numeric_limits<std::uint64_t>::max());
}

}  // namespace

std::string_view name(Format format) noexcept {
  switch (format) {
    case Format::Gguf: return "gguf";
    case Format::SafeTensors: return "safetensors";
    case Format::Apr: return "apr";
  }
  return "unknown";
}

const MetadataEntry* ModelFile::find_metadata(std::string_view key) const {
  for (; n_metadata_indexed_ < metadata.size(); ++n_metadata_indexed_)  // of equal keys, the first one counts
    metadata_index_.emplace(metadata[n_metadata_indexed_].key, n_metadata_indexed_);
  const auto found = metadata_index_.find(key);
  return found == metadata_index_.end() ? nullptr : &metadata[found->second];
}

const TensorInfo* ModelFile::find_tensor(std::string_view tensor_name) const {
  for (; n_tensors_indexed_ < tensors.size(); ++n_tensors_indexed_)
    tensor_index_.emplace(tensors[n_tensors_indexed_].name, n_tensors_indexed_);
  const auto found = tensor_index_.find(tensor_name);
  return found == tensor_index_.end() ? nullptr : &tensors[found->second];
}

std::span<const std::byte> ModelFile::data(const TensorInfo& tensor) const {
  APR_CHECK(tensor.file_index < files.size());
  const MappedFile& file = *files[tensor.file_index];
  if (!tensor.readable || !range_fits(tensor.offset, tensor.size_bytes, file.size()))
    throw Error(ErrorCode::InvalidFormat, "the data of this tensor cannot be read")
        .at(file.path(), tensor.info_offset)
        .in("tensor \"" + std::string(tensor.name) + "\"")
        .help("`apr hex --list` shows what is wrong with it");
  return file.bytes().subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.size_bytes));
}

std::uint64_t ModelFile::total_bytes() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& file : files) sum = saturating_add(sum, file->size());
  return sum;
}

std::uint64_t ModelFile::n_parameters() const noexcept {
  std::uint64_t sum = 0;
  for (const TensorInfo& tensor : tensors) sum = saturating_add(sum, tensor.n_elements);
  return sum;
}

bool ModelFile::has_errors() const noexcept {
  for (const Finding& finding : findings)
    if (finding.severity == Severity::Error) return true;
  return false;
}

void ModelFile::require_sound() const {
  for (const Finding& finding : findings)
    if (finding.severity == Severity::Error) throw to_error(finding);
}

void ModelFile::check_intact() const {
  for (const auto& file : files) file->check_intact();
}

std::string_view ModelFile::keep(std::string text) {
  if (!kept_) kept_ = std::make_unique<std::deque<std::string>>();
  return kept_->emplace_back(std::move(text));
}

}  // namespace apr::format
