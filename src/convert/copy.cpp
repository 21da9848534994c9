#include "apr/convert/copy.h"

#include <algorithm>
#include <bit>

#include "apr/convert/apr_names.h"
#include "apr/core/error.h"
#include "apr/core/file.h"
#include "apr/format/writer.h"
#include "src/convert/json_text.h"

namespace apr::convert {
namespace {

using format::Format;
using format::MetadataEntry;
using format::ModelFile;
using format::TensorDecl;
using format::TensorInfo;
using format::ValueType;
using format::WriteEntry;
using format::WriteValue;

constexpr std::uint64_t kChunkBytes = 8 * 1024 * 1024;

/// The metadata of a SafeTensors file are free text: APR keeps them apart from its own fields.
std::vector<WriteEntry> apr_metadata_of_safetensors(const ModelFile& model) {
  std::vector<WriteEntry> out{{"original_format", WriteValue::string("safetensors")},
                              {"param_count", WriteValue::u64(model.n_parameters())}};
  if (model.metadata.empty()) return out;
  JsonText json;
  json.open('{');
  for (const MetadataEntry& entry : model.metadata) json.member(entry.key, entry.value.as_string().value_or(""));
  json.close('}');
  out.push_back({"source_metadata", WriteValue::json(json.text())});
  return out;
}

bool gguf_holds(const WriteValue& value) {
  if (value.type == ValueType::Null || value.type == ValueType::Object) return false;
  return value.type != ValueType::Array || (!value.is_json && value.element != ValueType::Array);
}

/// Of a model in several files each may have the same entry; the first one counts.
std::vector<WriteEntry> metadata_for(const ModelFile& model, Format target, CopyReport& report) {
  if (target == Format::Apr && model.format == Format::Gguf) return apr_metadata_of(model, report.dropped_metadata);
  if (target == Format::Apr && model.format == Format::SafeTensors) return apr_metadata_of_safetensors(model);
  std::vector<WriteEntry> out;
  for (const MetadataEntry& entry : model.metadata) {
    if (model.find_metadata(entry.key) != &entry) continue;
    WriteValue value = WriteValue::copy_of(entry.value);
    const bool is_split = model.files.size() > 1 && entry.key.starts_with("split.");
    const bool is_alignment = target != Format::Gguf && entry.key == "general.alignment";
    if (is_split || is_alignment || (target == Format::Gguf && !gguf_holds(value)))
      report.dropped_metadata.emplace_back(entry.key);
    else
      out.push_back({std::string(entry.key), std::move(value)});
  }
  return out;
}

std::vector<TensorDecl> declarations(const ModelFile& model, Format target, CopyReport& report) {
  std::string_view arch;
  if (const MetadataEntry* entry = model.find_metadata("general.architecture"))
    arch = entry->value.as_string().value_or("");
  const bool rename = target == Format::Apr && model.format == Format::Gguf;
  std::vector<TensorDecl> out;
  for (const TensorInfo& tensor : model.tensors) {
    std::string name = rename ? apr_name_of(arch, tensor.name) : std::string(tensor.name);
    if (name != tensor.name) report.renamed.emplace_back(tensor.name, name);
    out.push_back({std::move(name), tensor.type, tensor.shape});
  }
  return out;
}

/// Gives a tensor to the writer piece by piece, each in little-endian order.
class TensorCopier {
 public:
  TensorCopier(const ModelFile& model, format::ModelWriter& writer, const CopyOptions& options, std::uint64_t total)
      : model_(model), writer_(writer), options_(options), total_(total) {}

  void copy(const TensorInfo& tensor) {
    const TypeInfo& type = *find_type(tensor.type);
    auto rest = model_.data(tensor);
    const std::uint64_t block = std::max<std::uint32_t>(type.block_bytes, 1);
    const auto chunk = static_cast<std::size_t>(kChunkBytes / block * block);
    while (!rest.empty()) {
      check_interrupted();
      const auto piece = rest.first(std::min(rest.size(), chunk));
      rest = rest.subspan(piece.size());
      write(type, piece);
      done_ += piece.size();
      if (options_.progress) options_.progress(done_, total_);
    }
    writer_.end_tensor();
  }

 private:
  void write(const TypeInfo& type, std::span<const std::byte> piece) {
    if (model_.byte_order == std::endian::little) return writer_.write(piece);
    swapped_.assign(piece.begin(), piece.end());
    swap_block_bytes(type, swapped_);
    writer_.write(swapped_);
  }

  const ModelFile& model_;
  format::ModelWriter& writer_;
  const CopyOptions& options_;
  std::uint64_t total_, done_ = 0;
  std::vector<std::byte> swapped_;
};

}  // namespace

CopyReport copy_model(const ModelFile& model, Format target, const std::string& path, const CopyOptions& options) {
  model.require_sound();
  CopyReport report;
  report.from = model.format;
  report.to = target;
  report.path = path;
  report.n_tensors = model.tensors.size();
  for (const TensorInfo& tensor : model.tensors) report.tensor_bytes += tensor.size_bytes;
  const std::vector<WriteEntry> metadata = metadata_for(model, target, report);
  const std::vector<TensorDecl> tensors = declarations(model, target, report);
  const auto writer = format::make_writer(target, path);
  writer->begin(metadata, tensors);
  TensorCopier copier(model, *writer, options, report.tensor_bytes);
  for (const TensorInfo& tensor : model.tensors) copier.copy(tensor);
  model.check_intact();  // a file that changed meanwhile must not become a copy that looks sound
  writer->finish();
  return report;
}

}  // namespace apr::convert
