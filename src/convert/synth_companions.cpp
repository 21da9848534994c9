// config.json, tokenizer.json and tokenizer_config.json as they stand beside a published SafeTensors model.
#include "src/convert/json_text.h"
#include "src/convert/synth_model.h"

namespace apr::convert {
namespace {

// Layers 6, 12, 18, ... of Gemma 3 attend to everything, the others to the window.
constexpr std::uint32_t kGemmaPattern = 6;

// Pre-tokenizer expressions of the published tokenizer.json files.
constexpr std::string_view kQwenSplit =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view kLlama3Split =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

struct HfNames {
  const char* architecture;
  const char* model_type;
  const char* activation;
};
HfNames hf_names(const SynthPreset& p) {
  if (p.arch == "qwen2") return {"Qwen2ForCausalLM", "qwen2", "silu"};
  if (p.arch == "qwen3") return {"Qwen3ForCausalLM", "qwen3", "silu"};
  if (p.arch == "gemma3") return {"Gemma3ForCausalLM", "gemma3_text", "gelu_pytorch_tanh"};
  return {"LlamaForCausalLM", "llama", "silu"};
}

void add_gemma_config(JsonText& json, const SynthPreset& p) {
  json.member("hidden_activation", "gelu_pytorch_tanh");
  json.member("query_pre_attn_scalar", std::uint64_t{p.head_dim});
  json.raw_member("rope_local_base_freq", "10000.0");
  json.member("sliding_window", std::uint64_t{p.sliding_window});
  json.raw_member("attn_logit_softcapping", "null");
  json.raw_member("final_logit_softcapping", "null");
  json.open("layer_types", '[');
  for (std::uint32_t layer = 1; layer <= p.n_layers; ++layer) {
    json.element(layer % kGemmaPattern == 0 ? "full_attention" : "sliding_attention");
  }
  json.close(']');
}

void add_rope_scaling(JsonText& json, const SynthPreset& p) {
  if (p.rope_scaling == 0.0) {
    json.raw_member("rope_scaling", "null");
    return;
  }
  json.open("rope_scaling", '{');
  json.raw_member("factor", std::to_string(static_cast<int>(p.rope_scaling)) + ".0");
  json.raw_member("low_freq_factor", "1.0");
  json.raw_member("high_freq_factor", "4.0");
  json.member("original_max_position_embeddings", std::uint64_t{p.rope_orig_context});
  json.member("rope_type", "llama3");
  json.close('}');
}

void add_split(JsonText& json, std::string_view expression) {
  json.open("pre_tokenizer", '{');
  json.member("type", "Sequence");
  json.open("pretokenizers", '[');
  json.open('{');
  json.member("type", "Split");
  json.open("pattern", '{');
  json.member("Regex", expression);
  json.close('}');
  json.member("behavior", "Isolated");
  json.member("invert", false);
  json.close('}');
  json.open('{');
  json.member("type", "ByteLevel");
  json.member("add_prefix_space", false);
  json.member("trim_offsets", false);
  json.member("use_regex", false);
  json.close('}');
  json.close(']');
  json.close('}');
}

void add_byte_level(JsonText& json, const Vocab& vocab) {
  if (vocab.kind == VocabKind::Qwen) {
    json.open("normalizer", '{');
    json.member("type", "NFC");
    json.close('}');
  } else {
    json.raw_member("normalizer", "null");
  }
  add_split(json, vocab.kind == VocabKind::Qwen ? kQwenSplit : kLlama3Split);
  json.raw_member("post_processor", "null");
  json.open("decoder", '{');
  json.member("type", "ByteLevel");
  json.member("add_prefix_space", false);
  json.member("trim_offsets", false);
  json.member("use_regex", false);
  json.close('}');
}

void add_sentencepiece(JsonText& json) {
  const auto space_rule = [&json](const char* from, const char* to) {
    json.member("type", "Replace");
    json.open("pattern", '{');
    json.member("String", from);
    json.close('}');
    json.member("content", to);
  };
  json.open("normalizer", '{');
  space_rule(" ", "\xE2\x96\x81");
  json.close('}');
  json.open("pre_tokenizer", '{');
  json.member("type", "Split");
  json.open("pattern", '{');
  json.member("String", " ");
  json.close('}');
  json.member("behavior", "MergedWithPrevious");
  json.member("invert", false);
  json.close('}');
  json.raw_member("post_processor", "null");
  json.open("decoder", '{');
  json.member("type", "Sequence");
  json.open("decoders", '[');
  json.open('{');
  space_rule("\xE2\x96\x81", " ");
  json.close('}');
  json.open('{');
  json.member("type", "ByteFallback");
  json.close('}');
  json.open('{');
  json.member("type", "Fuse");
  json.close('}');
  json.close(']');
  json.close('}');
}

bool is_added(TokenKind kind) {
  return kind == TokenKind::Control || kind == TokenKind::UserDefined || kind == TokenKind::Unknown;
}

void add_model(JsonText& json, const Vocab& vocab) {
  const bool gemma = vocab.kind == VocabKind::Gemma;
  json.open("model", '{');
  json.member("type", "BPE");
  json.raw_member("dropout", "null");
  json.raw_member("unk_token", gemma ? "\"<unk>\"" : "null");
  json.raw_member("continuing_subword_prefix", "null");
  json.raw_member("end_of_word_suffix", "null");
  json.member("fuse_unk", gemma);
  json.member("byte_fallback", gemma);
  json.member("ignore_merges", vocab.kind == VocabKind::Llama3);
  json.open("vocab", '{');
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    const TokenKind kind = vocab.kinds[id];
    // Padding ids have no entry in a published tokenizer; Gemma's special tokens stand in both lists.
    if (kind == TokenKind::Unused || (!gemma && is_added(kind))) continue;
    json.member(vocab.tokens[id], std::uint64_t{id});
  }
  json.close('}');
  json.open("merges", '[');
  for (const auto& [left, right] : vocab.merges) json.element(left + " " + right);
  json.close(']');
  json.close('}');
}

}  // namespace

std::string config_json(const SynthPreset& p, const SynthQuant& quant, std::uint64_t seed) {
  const HfNames names = hf_names(p);
  const bool gemma = p.arch == "gemma3";
  JsonText json;
  json.open('{');
  json.open("architectures", '[');
  json.element(names.architecture);
  json.close(']');
  json.member("model_type", names.model_type);
  json.member("_synthetic", "apr synth --preset " + std::string(p.name) + " --seed " + std::to_string(seed));
  json.member("hidden_size", std::uint64_t{p.n_hidden});
  json.member("num_hidden_layers", std::uint64_t{p.n_layers});
  json.member("num_attention_heads", std::uint64_t{p.n_heads});
  json.member("num_key_value_heads", std::uint64_t{p.n_kv_heads});
  if (p.arch != "qwen2") json.member("head_dim", std::uint64_t{p.head_dim});
  json.member("intermediate_size", std::uint64_t{p.n_ffn});
  json.member("vocab_size", std::uint64_t{p.n_vocab});
  json.member("max_position_embeddings", std::uint64_t{p.n_context});
  json.raw_member("rope_theta", std::to_string(static_cast<std::uint64_t>(p.rope_base)) + ".0");
  json.raw_member("rms_norm_eps", p.rms_eps == 1e-5 ? "1e-05" : "1e-06");
  json.member("tie_word_embeddings", p.tied);
  if (!gemma) json.member("hidden_act", names.activation);
  if (p.arch != "qwen2") json.member("attention_bias", false);  // Qwen2 always has its biases
  if (gemma) add_gemma_config(json, p);
  add_rope_scaling(json, p);
  json.member("torch_dtype", quant.name == "f32" ? "float32" : quant.name == "f16" ? "float16" : "bfloat16");
  json.close('}');
  return json.text() + "\n";
}

std::string tokenizer_json(const Vocab& vocab) {
  JsonText json;
  json.open('{');
  json.member("version", "1.0");
  json.raw_member("truncation", "null");
  json.raw_member("padding", "null");
  json.open("added_tokens", '[');
  for (const std::uint32_t id : vocab.special_ids) {
    json.open('{');
    json.member("id", std::uint64_t{id});
    json.member("content", vocab.tokens[id]);
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) json.member(flag, false);
    json.member("special", vocab.kinds[id] != TokenKind::UserDefined);
    json.close('}');
  }
  json.close(']');
  if (vocab.kind == VocabKind::Gemma) {
    add_sentencepiece(json);
  } else {
    add_byte_level(json, vocab);
  }
  add_model(json, vocab);
  json.close('}');
  return json.text() + "\n";
}

std::string tokenizer_config_json(const Vocab& vocab) {
  const bool gemma = vocab.kind == VocabKind::Gemma;
  JsonText json;
  json.open('{');
  json.member("tokenizer_class", gemma ? "GemmaTokenizerFast" : "PreTrainedTokenizerFast");
  json.member("add_bos_token", vocab.add_bos);
  json.member("bos_token", vocab.tokens[vocab.bos]);
  json.member("eos_token", vocab.tokens[vocab.eos]);
  json.member("pad_token", vocab.tokens[vocab.pad]);
  if (gemma) json.member("unk_token", vocab.tokens[vocab.unk]);
  json.member("chat_template", vocab.chat_template);
  json.close('}');
  return json.text() + "\n";
}

}  // namespace apr::convert
