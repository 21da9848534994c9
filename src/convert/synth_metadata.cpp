// Metadata of the GGUF and of the APR file that synth writes.
#include "src/convert/json_text.h"
#include "src/convert/synth_model.h"

namespace apr::convert {
namespace {

using format::WriteEntry;
using format::WriteValue;

std::string full_name(const SynthPreset& p) { return std::string(p.title) + " (synthetic)"; }

std::string description(const SynthPreset& p, std::uint64_t seed) {
  return "Random weights of true shape, not a trained model: apr synth --preset " + std::string(p.name) + " --seed " +
         std::to_string(seed);
}

std::vector<std::int64_t> kind_numbers(const Vocab& vocab) {
  std::vector<std::int64_t> numbers;
  for (const TokenKind kind : vocab.kinds) numbers.push_back(static_cast<std::int64_t>(kind));
  return numbers;
}

std::vector<std::string> merge_lines(const Vocab& vocab) {
  std::vector<std::string> lines;
  for (const auto& [left, right] : vocab.merges) lines.push_back(left + " " + right);
  return lines;
}

WriteValue f64(double value) {
  WriteValue written;
  written.type = format::ValueType::F64;
  written.data = value;
  return written;
}

void add_tokenizer(std::vector<WriteEntry>& out, const Vocab& vocab) {
  const bool gemma = vocab.kind == VocabKind::Gemma;
  out.push_back({"tokenizer.ggml.model", WriteValue::string(gemma ? "llama" : "gpt2")});
  out.push_back({"tokenizer.ggml.pre", WriteValue::string(std::string(vocab.pre))});
  out.push_back({"tokenizer.ggml.tokens", WriteValue::strings(vocab.tokens)});
  if (gemma) out.push_back({"tokenizer.ggml.scores", WriteValue::f32s(vocab.scores)});
  out.push_back({"tokenizer.ggml.token_type", WriteValue::i32s(kind_numbers(vocab))});
  if (!gemma) out.push_back({"tokenizer.ggml.merges", WriteValue::strings(merge_lines(vocab))});
  out.push_back({"tokenizer.ggml.bos_token_id", WriteValue::u32(vocab.bos)});
  out.push_back({"tokenizer.ggml.eos_token_id", WriteValue::u32(vocab.eos)});
  if (gemma) out.push_back({"tokenizer.ggml.unknown_token_id", WriteValue::u32(vocab.unk)});
  out.push_back({"tokenizer.ggml.padding_token_id", WriteValue::u32(vocab.pad)});
  out.push_back({"tokenizer.ggml.add_bos_token", WriteValue::boolean(vocab.add_bos)});
  if (gemma) out.push_back({"tokenizer.ggml.add_eos_token", WriteValue::boolean(false)});
  out.push_back({"tokenizer.chat_template", WriteValue::string(std::string(vocab.chat_template))});
  if (gemma) out.push_back({"tokenizer.ggml.add_space_prefix", WriteValue::boolean(false)});
}

std::string special_tokens_json(const Vocab& vocab) {
  JsonText json;
  json.open('{');
  json.member("bos_token", vocab.tokens[vocab.bos]);
  json.member("eos_token", vocab.tokens[vocab.eos]);
  json.member("pad_token", vocab.tokens[vocab.pad]);
  if (vocab.kind == VocabKind::Gemma) json.member("unk_token", vocab.tokens[vocab.unk]);
  json.close('}');
  return json.text();
}

}  // namespace

std::vector<WriteEntry> gguf_metadata(const SynthPreset& p, const SynthQuant& quant, std::uint64_t seed,
                                      const Vocab& vocab) {
  std::vector<WriteEntry> out;
  const auto number = [&](const char* key, std::uint32_t value) {
    out.push_back({std::string(p.arch) + key, WriteValue::u32(value)});
  };
  const auto real = [&](const char* key, double value) {
    out.push_back({std::string(p.arch) + key, WriteValue::f32(static_cast<float>(value))});
  };
  const WriteEntry file_type{"general.file_type", WriteValue::u32(quant.file_type)};
  const WriteEntry version{"general.quantization_version", WriteValue::u32(2)};  // GGML_QNT_VERSION of ggml.h
  const bool is_mix = find_type(quant.base)->block_elements > 1;
  out.push_back({"general.architecture", WriteValue::string(std::string(p.arch))});
  out.push_back({"general.type", WriteValue::string("model")});
  out.push_back({"general.name", WriteValue::string(full_name(p))});
  out.push_back({"general.description", WriteValue::string(description(p, seed))});
  out.push_back({"general.size_label", WriteValue::string(std::string(p.size_label))});
  number(".block_count", p.n_layers);
  number(".context_length", p.n_context);
  number(".embedding_length", p.n_hidden);
  number(".feed_forward_length", p.n_ffn);
  number(".attention.head_count", p.n_heads);
  number(".attention.head_count_kv", p.n_kv_heads);
  real(".rope.freq_base", p.rope_base);
  if (p.sliding_window != 0) real(".rope.freq_base_swa", 10000.0);  // rope_local_base_freq of every Gemma 3
  real(".attention.layer_norm_rms_epsilon", p.rms_eps);
  if (p.arch != "qwen2") {  // whose configuration has no head_dim
    number(".attention.key_length", p.head_dim);
    number(".attention.value_length", p.head_dim);
  }
  if (!is_mix) out.push_back(file_type);
  if (p.arch == "llama") {
    number(".vocab_size", p.n_vocab);
    number(".rope.dimension_count", p.head_dim);
  }
  if (p.sliding_window != 0) number(".attention.sliding_window", p.sliding_window);
  if (!is_mix) out.push_back(version);
  add_tokenizer(out, vocab);
  if (is_mix) out.insert(out.end(), {version, file_type});  // llama-quantize sets both anew, which moves them here
  return out;
}

std::vector<WriteEntry> apr_metadata(const SynthPreset& p, const SynthQuant& quant, std::uint64_t seed,
                                     const Vocab& vocab, std::uint64_t n_parameters) {
  const bool gemma = vocab.kind == VocabKind::Gemma;
  std::vector<WriteEntry> out{
      {"model_type", WriteValue::string(std::string(p.arch))},
      {"name", WriteValue::string(full_name(p))},
      {"description", WriteValue::string(description(p, seed))},
      {"data_source", WriteValue::string("synthetic")},
      {"version", WriteValue::string("1.0.0")},
      {"original_format", WriteValue::string("synthetic")},
      {"param_count", WriteValue::u64(n_parameters)},
      {"architecture", WriteValue::string(std::string(p.arch))},
      {"hidden_size", WriteValue::u32(p.n_hidden)},
      {"num_layers", WriteValue::u32(p.n_layers)},
      {"num_heads", WriteValue::u32(p.n_heads)},
      {"num_kv_heads", WriteValue::u32(p.n_kv_heads)},
      {"vocab_size", WriteValue::u32(p.n_vocab)},
      {"intermediate_size", WriteValue::u32(p.n_ffn)},
      {"max_position_embeddings", WriteValue::u32(p.n_context)},
      {"rope_theta", f64(p.rope_base)},
      {"rope_type", WriteValue::u32(p.arch == "llama" ? 0 : 2)},  // 0: adjacent pairs, 2: halves
      {"rms_norm_eps", f64(p.rms_eps)},
      {"head_dim", WriteValue::u32(p.head_dim)},
  };
  if (p.sliding_window != 0) out.push_back({"sliding_window", WriteValue::u32(p.sliding_window)});
  out.push_back({"synth.quant", WriteValue::string(std::string(quant.name))});
  out.push_back({"chat_template", WriteValue::string(std::string(vocab.chat_template))});
  out.push_back({"chat_format", WriteValue::string(vocab.kind == VocabKind::Qwen ? "chatml" : "custom")});
  out.push_back({"special_tokens", WriteValue::json(special_tokens_json(vocab))});
  out.push_back({"tokenizer.model_type", WriteValue::string(gemma ? "llama" : "gpt2")});
  out.push_back({"tokenizer.pre_type", WriteValue::string(std::string(vocab.pre))});
  out.push_back({"tokenizer.vocab_size", WriteValue::u32(p.n_vocab)});
  out.push_back({"tokenizer.vocabulary", WriteValue::strings(vocab.tokens)});
  out.push_back({"tokenizer.token_type", WriteValue::i32s(kind_numbers(vocab))});
  if (gemma) out.push_back({"tokenizer.scores", WriteValue::f32s(vocab.scores)});
  if (!gemma) out.push_back({"tokenizer.merges", WriteValue::strings(merge_lines(vocab))});
  out.push_back({"tokenizer.bos_token_id", WriteValue::u32(vocab.bos)});
  out.push_back({"tokenizer.eos_token_id", WriteValue::u32(vocab.eos)});
  out.push_back({"tokenizer.padding_token_id", WriteValue::u32(vocab.pad)});
  out.push_back({"tokenizer.add_bos_token", WriteValue::boolean(vocab.add_bos)});
  return out;
}

}  // namespace apr::convert
