// The summary of a model file.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "apr/core/checked.h"
#include "apr/inspect/hex.h"

namespace apr::inspect {
namespace {

using format::ModelFile;

/// Keys worth a line in a summary, in the order in which they are shown. A leading '*' stands for the architecture.
constexpr std::array kKeys = {
    "general.architecture", "general.name", "general.basename", "general.size_label", "general.license",
    "general.file_type", "general.quantization_version", "*.block_count", "*.context_length", "*.embedding_length",
    "*.feed_forward_length", "*.attention.head_count", "*.attention.head_count_kv", "*.rope.freq_base",
    "*.expert_count", "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
    // APR and SafeTensors
    "architecture", "name", "model_type", "license", "original_format", "num_layers", "max_position_embeddings",
    "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "vocab_size", "rope_theta", "format"};

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return checked_add(a, b).value_or(std::numeric_limits<std::uint64_t>::max());
}

std::string type_name_of(const format::TensorInfo& tensor) {
  if (tensor.type != TensorType::Unknown) return std::string(name(tensor.type));
  if (!tensor.raw_type_name.empty()) return fmt::format("unknown ({})", tensor.raw_type_name);
  return fmt::format("unknown ({})", tensor.raw_type);
}

std::vector<TypeShare> type_shares(const ModelFile& model, std::uint64_t tensor_bytes) {
  std::map<std::string, TypeShare> by_name;
  for (const format::TensorInfo& tensor : model.tensors) {
    TypeShare& share = by_name[type_name_of(tensor)];
    ++share.n_tensors;
    share.n_elements = saturating_add(share.n_elements, tensor.n_elements);
    share.size_bytes = saturating_add(share.size_bytes, tensor.size_bytes);
  }
  std::vector<TypeShare> shares;
  for (auto& [type_name, share] : by_name) {
    share.name = type_name;
    if (tensor_bytes > 0) share.share = static_cast<double>(share.size_bytes) / static_cast<double>(tensor_bytes);
    shares.push_back(share);
  }
  std::stable_sort(shares.begin(), shares.end(),
                   [](const TypeShare& a, const TypeShare& b) { return a.size_bytes > b.size_bytes; });
  return shares;
}

std::vector<const format::MetadataEntry*> key_metadata(const ModelFile& model) {
  std::string_view architecture;
  if (const auto* entry = model.find_metadata("general.architecture"))
    architecture = entry->value.as_string().value_or("");
  std::vector<const format::MetadataEntry*> entries;
  for (const std::string_view key : kKeys) {
    const std::string full = key[0] == '*' ? std::string(architecture) + std::string(key.substr(1)) : std::string(key);
    if (const auto* entry = model.find_metadata(full)) entries.push_back(entry);
  }
  return entries;
}

}  // namespace

Summary summarize(const ModelFile& model) {
  Summary summary;
  summary.total_bytes = model.total_bytes();
  summary.n_parameters = model.n_parameters();
  summary.n_tensors = model.tensors.size();
  for (const format::TensorInfo& tensor : model.tensors) {
    summary.tensor_bytes = saturating_add(summary.tensor_bytes, tensor.size_bytes);
    if (!tensor.readable) ++summary.n_unreadable;
  }
  summary.types = type_shares(model, summary.tensor_bytes);
  summary.key_metadata = key_metadata(model);
  if (model.format == format::Format::Apr) {
    summary.data_checksum = !model.data_checksum_ok   ? DataChecksum::NotVerified
                            : *model.data_checksum_ok ? DataChecksum::Good
                                                      : DataChecksum::Bad;
  }
  return summary;
}

}  // namespace apr::inspect
