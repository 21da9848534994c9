// The keys of GGUF metadata under APR's names.
#include <algorithm>
#include <optional>
#include <set>

#include "apr/convert/apr_names.h"
#include "apr/format/apr_header.h"

namespace apr::convert {
namespace {

using format::MetadataEntry;
using format::Value;
using format::ValueType;
using format::WriteEntry;
using format::WriteValue;

enum class Kind : std::uint8_t { Text, Integer, Number, Flag, Array };
struct KeyRow {
  std::string_view gguf, apr;  // "{arch}" stands for general.architecture
  Kind kind;                   // an entry of another kind keeps its own key
};

/// One GGUF key may have several names in APR: each of the two known readers looks for its own.
constexpr KeyRow kKeys[] = {
    {"general.architecture", "model_type", Kind::Text},
    {"general.architecture", "architecture", Kind::Text},
    {"general.name", "name", Kind::Text},
    {"general.description", "description", Kind::Text},
    {"general.author", "author", Kind::Text},
    {"general.license", "license", Kind::Text},
    {"general.version", "version", Kind::Text},
    {"general.source.url", "source", Kind::Text},
    {"{arch}.embedding_length", "hidden_size", Kind::Integer},
    {"{arch}.block_count", "num_layers", Kind::Integer},
    {"{arch}.attention.head_count", "num_heads", Kind::Integer},
    {"{arch}.attention.head_count_kv", "num_kv_heads", Kind::Integer},
    {"{arch}.feed_forward_length", "intermediate_size", Kind::Integer},
    {"{arch}.context_length", "max_position_embeddings", Kind::Integer},
    {"{arch}.rope.freq_base", "rope_theta", Kind::Number},
    {"{arch}.attention.layer_norm_rms_epsilon", "rms_norm_eps", Kind::Number},
    {"{arch}.attention.key_length", "head_dim", Kind::Integer},
    {"{arch}.expert_count", "num_experts", Kind::Integer},
    {"{arch}.expert_used_count", "num_experts_per_tok", Kind::Integer},
    {"{arch}.expert_feed_forward_length", "moe_intermediate_size", Kind::Integer},
    {"{arch}.vocab_size", "vocab_size", Kind::Integer},
    {"tokenizer.ggml.model", "tokenizer.model", Kind::Text},
    {"tokenizer.ggml.model", "tokenizer.model_type", Kind::Text},
    {"tokenizer.ggml.pre", "tokenizer.pre_type", Kind::Text},
    {"tokenizer.ggml.tokens", "tokenizer.vocabulary", Kind::Array},
    {"tokenizer.ggml.merges", "tokenizer.merges", Kind::Array},
    {"tokenizer.ggml.scores", "tokenizer.scores", Kind::Array},
    {"tokenizer.ggml.token_type", "tokenizer.token_type", Kind::Array},
    {"tokenizer.ggml.bos_token_id", "tokenizer.bos_token_id", Kind::Integer},
    {"tokenizer.ggml.eos_token_id", "tokenizer.eos_token_id", Kind::Integer},
    {"tokenizer.ggml.padding_token_id", "tokenizer.padding_token_id", Kind::Integer},
    {"tokenizer.ggml.add_bos_token", "tokenizer.add_bos_token", Kind::Flag},
    {"tokenizer.chat_template", "chat_template", Kind::Text},
    {"tokenizer.chat_template", "tokenizer.chat_template", Kind::Text},
};

/// rope_type of APR: 0 rotates adjacent pairs, 2 the two halves. Source: llama_model_rope_type of llama.cpp.
std::optional<std::uint32_t> rope_type(std::string_view arch) {
  constexpr std::string_view adjacent[] = {"llama", "deci", "minicpm", "granite", "command-r", "olmo"};
  constexpr std::string_view halves[] = {"qwen", "qwen2",    "qwen3",  "gemma",   "gemma2",     "gemma3", "phi2",
                                         "phi3", "stablelm", "falcon", "gptneox", "starcoder2", "olmo2"};
  if (std::find(std::begin(adjacent), std::end(adjacent), arch) != std::end(adjacent)) return 0;
  if (std::find(std::begin(halves), std::end(halves), arch) != std::end(halves)) return 2;
  return std::nullopt;
}

bool matches(std::string_view pattern, std::string_view arch, std::string_view key) {
  constexpr std::string_view mark = "{arch}";
  if (!pattern.starts_with(mark)) return pattern == key;
  return !arch.empty() && key.starts_with(arch) && key.substr(arch.size()) == pattern.substr(mark.size());
}

bool has_kind(const Value& value, Kind kind) {
  switch (kind) {
    case Kind::Text: return value.as_string().has_value();
    case Kind::Integer: return value.as_i64().has_value() || value.as_u64().has_value();
    case Kind::Number: return value.as_f64().has_value();
    case Kind::Flag: return value.as_bool().has_value();
    case Kind::Array: return value.as_array() != nullptr;
  }
  return false;
}

/// Keys that describe a GGUF file and not the model in it.
bool is_file_layout(std::string_view key) { return key == "general.alignment" || key.starts_with("split."); }

class Mapping {
 public:
  explicit Mapping(const format::ModelFile& gguf) : gguf_(gguf) {
    const MetadataEntry* entry = gguf.find_metadata("general.architecture");
    if (entry != nullptr) arch_ = entry->value.as_string().value_or("");
  }
  std::vector<WriteEntry> run(std::vector<std::string>& dropped);

 private:
  bool add(std::string_view key, WriteValue value) {
    if (!taken_.insert(std::string(format::apr_canonical_key(key))).second) return false;
    out_.push_back({std::string(key), std::move(value)});
    return true;
  }
  bool map(const MetadataEntry& entry);
  void add_derived();

  const format::ModelFile& gguf_;
  std::string_view arch_;
  std::vector<WriteEntry> out_;
  std::set<std::string> taken_;
};

bool Mapping::map(const MetadataEntry& entry) {
  bool mapped = false;
  for (const KeyRow& row : kKeys)
    if (matches(row.gguf, arch_, entry.key) && has_kind(entry.value, row.kind))
      mapped = add(row.apr, WriteValue::copy_of(entry.value)) || mapped;
  return mapped;
}

/// What APR states and GGUF leaves to be counted.
void Mapping::add_derived() {
  add("original_format", WriteValue::string("gguf"));
  add("param_count", WriteValue::u64(gguf_.n_parameters()));
  if (!arch_.empty()) add("name", WriteValue::string(std::string(arch_)));
  if (const auto type = rope_type(arch_)) add("rope_type", WriteValue::u32(*type));
  const MetadataEntry* tokens = gguf_.find_metadata("tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->value.as_array() == nullptr) return;
  add("vocab_size", WriteValue::u64(tokens->value.as_array()->count));
  add("tokenizer.vocab_size", WriteValue::u64(tokens->value.as_array()->count));
}

std::vector<WriteEntry> Mapping::run(std::vector<std::string>& dropped) {
  std::vector<const MetadataEntry*> others;
  for (const MetadataEntry& entry : gguf_.metadata)
    if (!map(entry)) others.push_back(&entry);
  add_derived();
  for (const MetadataEntry* entry : others)
    if (is_file_layout(entry->key) || !add(entry->key, WriteValue::copy_of(entry->value)))
      dropped.emplace_back(entry->key);
  return std::move(out_);
}

}  // namespace

std::vector<WriteEntry> apr_metadata_of(const format::ModelFile& gguf, std::vector<std::string>& dropped) {
  return Mapping(gguf).run(dropped);
}

}  // namespace apr::convert
