// A small model that is healthy in every respect and whose answers a test decides: the embedding is one-hot (plus
// noise), the layers add next to nothing, and the output matrix says which token follows which.
#pragma once
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/writer.h"
#include "tests/support/golden_model.h"

namespace apr::test {

class BigramModel {
 public:
  static constexpr std::int64_t kLayers = 2, kWidth = 320, kHeads = 10, kKvHeads = 5, kHeadDim = 32, kFfn = 64;
  static constexpr std::int64_t kVocab = 288;
  static constexpr std::int64_t kStart = 285, kEnd = 286;  // <|im_start|>, <|im_end|>

  std::vector<format::WriteEntry> metadata;
  std::vector<PlainTensor> tensors;
  std::vector<std::string> tokens, merges;
  std::vector<std::int64_t> token_types;

  /// Every answer is "QZX!".
  BigramModel() {
    make_vocabulary();
    make_metadata();
    make_tensors();
    follow('\n', 'Q');
    follow('Q', 'Z');
    follow('Z', 'X');
    follow('X', '!');
    follow('!', kEnd);
  }

  PlainTensor& tensor(std::string_view name) {
    for (PlainTensor& t : tensors)
      if (t.name == name) return t;
    ADD_FAILURE() << "no tensor " << name;
    return tensors.front();
  }
  void drop_tensor(std::string_view name) {
    std::erase_if(tensors, [&](const PlainTensor& t) { return t.name == name; });
  }
  void set(std::string_view key, format::WriteValue value) {
    for (format::WriteEntry& entry : metadata)
      if (entry.key == key) {
        entry.value = std::move(value);
        return;
      }
    metadata.push_back({std::string(key), std::move(value)});
  }
  void drop(std::string_view key) {
    std::erase_if(metadata, [&](const format::WriteEntry& e) { return e.key == key; });
  }
  /// `next` becomes by far the most probable token behind `token`.
  void follow(std::int64_t token, std::int64_t next) {
    PlainTensor& output = tensor("output.weight");
    for (std::int64_t row = 0; row < kVocab; ++row) {
      float& weight = output.values[static_cast<std::size_t>(row * kWidth + token)];
      if (weight > 0.5F) weight = 0.05F;
    }
    output.values[static_cast<std::size_t>(next * kWidth + token)] = 1.0F;
  }
  void write(const std::string& path) const {
    auto all = metadata;
    using format::WriteValue;
    if (!tokens.empty()) {
      all.push_back({"tokenizer.ggml.tokens", WriteValue::strings(tokens)});
      all.push_back({"tokenizer.ggml.token_type", WriteValue::i32s(token_types)});
      all.push_back({"tokenizer.ggml.merges", WriteValue::strings(merges)});
    }
    write_model(format::Format::Gguf, path, all, tensors);
  }

 private:
  /// GPT-2's letter for a byte, in UTF-8.
  static std::string letter(int byte) {
    const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
    int code = byte;
    if (!printable(byte)) {
      code = 256;
      for (int b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
    }
    if (code < 128) return std::string(1, static_cast<char>(code));
    return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
  }

  void make_vocabulary() {
    for (int byte = 0; byte < 256; ++byte) tokens.push_back(letter(byte));
    const std::string space = letter(' ');
    for (const auto& [left, right] : std::initializer_list<std::pair<std::string, std::string>>{
             {"t", "h"},    {"th", "e"}, {"a", "n"}, {"an", "d"}, {"e", "r"},    {"i", "n"}, {"o", "u"}, {"w", "a"},
             {"wa", "s"},   {"e", "n"},  {"r", "e"}, {"o", "n"},  {"in", "g"},   {"e", "d"}, {"s", "t"}, {"h", "e"},
             {"i", "t"},    {"o", "r"},  {"l", "l"}, {"c", "h"},  {"o", "w"},    {"a", "t"}, {"e", "a"}, {"a", "r"},
             {"ar", "ing"}, {"m", "o"},  {"b", "r"}, {"s", "h"},  {space, "the"}}) {
      merges.push_back(left + " " + right);
      tokens.push_back(left + right);
    }
    token_types.assign(tokens.size(), 1);
    for (const char* text : {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}) {
      tokens.emplace_back(text);
      token_types.push_back(3);
    }
  }

  void make_metadata() {
    using format::WriteValue;
    metadata = {{"general.architecture", WriteValue::string("llama")},
                {"general.name", WriteValue::string("bigram")},
                {"llama.block_count", WriteValue::u32(kLayers)},
                {"llama.context_length", WriteValue::u32(512)},
                {"llama.embedding_length", WriteValue::u32(kWidth)},
                {"llama.feed_forward_length", WriteValue::u32(kFfn)},
                {"llama.attention.head_count", WriteValue::u32(kHeads)},
                {"llama.attention.head_count_kv", WriteValue::u32(kKvHeads)},
                {"llama.attention.layer_norm_rms_epsilon", WriteValue::f32(1e-5F)},
                {"llama.rope.freq_base", WriteValue::f32(10000.F)},
                {"tokenizer.ggml.model", WriteValue::string("gpt2")},
                {"tokenizer.ggml.pre", WriteValue::string("gpt-2")},
                {"tokenizer.ggml.bos_token_id", WriteValue::u32(287)},
                {"tokenizer.ggml.eos_token_id", WriteValue::u32(kEnd)},
                {"tokenizer.ggml.add_bos_token", WriteValue::boolean(false)},
                {"tokenizer.chat_template", WriteValue::string(kTemplate)}};
  }

  void add(std::string name, std::vector<std::int64_t> shape, float scale, float mean = 0) {
    PlainTensor t{std::move(name), std::move(shape), {}};
    std::size_t n = 1;
    for (const std::int64_t d : t.shape) n *= static_cast<std::size_t>(d);
    for (std::size_t i = 0; i < n; ++i) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;  // Knuth's MMIX
      t.values.push_back(mean + scale * (static_cast<float>(state_ >> 40) / 8388608.F - 1));
    }
    tensors.push_back(std::move(t));
  }

  void make_tensors() {
    add("token_embd.weight", {kVocab, kWidth}, 0.1F);
    add("output.weight", {kVocab, kWidth}, 0.1F);
    add("output_norm.weight", {kWidth}, 0.05F, 1);
    for (std::int64_t layer = 0; layer < kLayers; ++layer) {
      const std::string at = "blk." + std::to_string(layer) + ".";
      add(at + "attn_norm.weight", {kWidth}, 0.05F, 1);
      add(at + "attn_q.weight", {kHeads * kHeadDim, kWidth}, 0.02F);
      add(at + "attn_k.weight", {kKvHeads * kHeadDim, kWidth}, 0.02F);
      add(at + "attn_v.weight", {kKvHeads * kHeadDim, kWidth}, 0.02F);
      add(at + "attn_output.weight", {kWidth, kHeads * kHeadDim}, 0.01F);
      add(at + "ffn_norm.weight", {kWidth}, 0.05F, 1);
      add(at + "ffn_gate.weight", {kFfn, kWidth}, 0.02F);
      add(at + "ffn_up.weight", {kFfn, kWidth}, 0.02F);
      add(at + "ffn_down.weight", {kWidth, kFfn}, 0.01F);
    }
    // A one-hot part for each token, and 32 elements that are the same for all: they carry how frequent a token is.
    std::map<int, int> counts;
    for (const char c : std::string_view(kFrequent)) ++counts[static_cast<unsigned char>(c)];
    for (std::int64_t token = 0; token < kVocab; ++token) {
      float* embedding = tensor("token_embd.weight").values.data() + token * kWidth;
      float* output = tensor("output.weight").values.data() + token * kWidth;
      embedding[token] = 4;
      for (std::int64_t i = kVocab; i < kWidth; ++i) embedding[i] += 0.5F;
      const bool text = token >= 256 && token < kStart;  // the merged ones
      const double count = token < 256 ? counts[static_cast<int>(token)] : text ? 3 : 0;
      for (std::int64_t i = kVocab; i < kWidth; ++i) output[i] += static_cast<float>(std::log(count + 0.05)) / 60.F;
    }
  }

  static constexpr const char* kFrequent =
      "etaoin shrdlu cmfwyp etaoin shr tea one to sea in on at so he as no be we of it is or an do go up my by . ,";
  static constexpr const char* kTemplate =
      "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
      "'\n' }}"
      "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  std::uint64_t state_ = 1;
};

}  // namespace apr::test
