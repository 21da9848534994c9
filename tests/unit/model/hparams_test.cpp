// Each rule of the hyperparameters: one broken value, one refusal that names key, rule, expected and found.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "apr/core/error.h"
#include "apr/model/hparams.h"
#include "tests/support/golden_model.h"
#include "tests/support/json_builder.h"

namespace apr::model {
namespace {

using format::WriteValue;
using nlohmann::json;
using Metadata = std::map<std::string, WriteValue>;

Metadata sound(const std::string& arch = "llama") {
  return {{"general.architecture", WriteValue::string(arch)},
          {arch + ".block_count", WriteValue::u32(2)},
          {arch + ".context_length", WriteValue::u32(64)},
          {arch + ".embedding_length", WriteValue::u32(24)},
          {arch + ".feed_forward_length", WriteValue::u32(40)},
          {arch + ".attention.head_count", WriteValue::u32(6)},
          {arch + ".attention.head_count_kv", WriteValue::u32(3)},
          {arch + ".attention.layer_norm_rms_epsilon", WriteValue::f32(1e-5F)},
          {arch + ".rope.freq_base", WriteValue::f32(10000)}};
}

format::ModelFile gguf_with(const Metadata& metadata, const std::vector<test::PlainTensor>& extra = {}) {
  const test::TempFolder folder;  // the mapping outlives the name
  const std::string path = folder.path("hparams.gguf");
  std::vector<format::WriteEntry> entries;
  for (const auto& [key, value] : metadata) entries.push_back({key, value});
  std::vector<test::PlainTensor> tensors = {{"token_embd.weight", {7, 24}, std::vector<float>(7 * 24)}};
  tensors.insert(tensors.end(), extra.begin(), extra.end());
  test::write_model(format::Format::Gguf, path, entries, tensors);
  return format::open_model(path);
}

std::optional<Error> refusal(const format::ModelFile& file) {
  try {
    (void)read_hparams(file);
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

TEST(HParams, ReadsASoundGguf) {
  const HParams h = read_hparams(gguf_with(sound()));
  EXPECT_EQ(h.arch, "llama");
  EXPECT_EQ(h.n_layers, 2U);
  EXPECT_EQ(h.n_context, 64U);
  EXPECT_EQ(h.n_embd, 24U);
  EXPECT_EQ(h.n_ffn, 40U);
  EXPECT_EQ(h.n_heads, 6U);
  EXPECT_EQ(h.n_kv_heads, 3U);
  EXPECT_EQ(h.head_dim, 4U);
  EXPECT_EQ(h.n_vocab, 7U);  // rows of the embedding
  EXPECT_EQ(h.rope.n_rot, 4U);
  EXPECT_EQ(h.rope.layout, RopeLayout::Halves);  // no attn_q to tell: see the golden models for the others
  EXPECT_TRUE(std::abs(h.attn_scale - 0.5) < 1e-15);
  EXPECT_EQ(h.sliding_window, 0U);
  std::map<std::string, std::string> keys;
  for (const HParamSource& source : h.sources) keys[source.field] = source.key;
  EXPECT_EQ(keys["n_kv_heads"], "llama.attention.head_count_kv");
  EXPECT_EQ(keys["head_dim"], "default: n_embd / n_heads");
  EXPECT_EQ(keys["n_vocab"], "rows of token_embd.weight");
}

struct Rule {
  const char* key;                  // that the refusal names
  std::optional<WriteValue> value;  // nothing: the key is taken away
  const char* found;                // what the refusal shows
  const char* arch = "llama";
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> kRules = {
      {"general.architecture", std::nullopt, "no such key"},
      {"general.architecture", WriteValue::u32(3), "3"},
      {"general.architecture", WriteValue::string("mamba"), "mamba"},
      {"llama.block_count", std::nullopt, "no such key"},
      {"llama.block_count", WriteValue::u32(0), "0"},
      {"llama.block_count", WriteValue::u32(1025), "1025"},
      {"llama.block_count", WriteValue::u32(0xFFFFFFFFU), "4294967295"},
      {"llama.block_count", WriteValue::string("2"), "\"2\""},
      {"llama.block_count", WriteValue::f32(2), "2"},
      {"llama.embedding_length", WriteValue::u32(0), "0"},
      {"llama.embedding_length", WriteValue::u32((1U << 20) + 1), "1048577"},
      {"llama.feed_forward_length", WriteValue::u32(0), "0"},
      {"llama.feed_forward_length", WriteValue::i32s({40, 41}), "a value of type array"},
      {"llama.attention.head_count", WriteValue::u32(0), "0"},
      {"llama.attention.head_count", WriteValue::i32(-6), "-6"},
      {"llama.attention.head_count", WriteValue::u32(9), "9"},  // does not divide 24
      {"llama.attention.head_count_kv", WriteValue::u32(0), "0"},
      {"llama.attention.head_count_kv", WriteValue::u32(4), "4"},    // does not divide 6
      {"llama.attention.head_count_kv", WriteValue::u32(12), "12"},  // more than 6
      {"llama.attention.key_length", WriteValue::u32(5), "5"},       // odd
      {"llama.attention.key_length", WriteValue::u32(1U << 15), "32768"},
      {"llama.attention.value_length", WriteValue::u32(8), "8"},
      {"llama.context_length", WriteValue::u32(0), "0"},
      {"llama.vocab_size", WriteValue::u32(0), "0"},
      {"llama.attention.layer_norm_rms_epsilon", std::nullopt, "no such key"},
      {"llama.attention.layer_norm_rms_epsilon", WriteValue::f32(0), "0"},
      {"llama.attention.layer_norm_rms_epsilon", WriteValue::f32(-1e-5F), "-9.99"},
      {"llama.attention.layer_norm_rms_epsilon", WriteValue::f32(NAN), "nan"},
      {"llama.attention.layer_norm_rms_epsilon", WriteValue::f32(0.02F), "0.0"},
      {"llama.rope.freq_base", WriteValue::f32(0), "0"},
      {"llama.rope.freq_base", WriteValue::f32(-1), "-1"},
      {"llama.rope.freq_base", WriteValue::f32(NAN), "nan"},
      {"llama.rope.freq_base", WriteValue::f32(INFINITY), "inf"},
      {"llama.rope.dimension_count", WriteValue::u32(3), "3"},
      {"llama.rope.dimension_count", WriteValue::u32(6), "6"},
      {"llama.rope.scaling.type", WriteValue::string("yarn"), "\"yarn\""},
      {"llama.rope.scaling.factor", WriteValue::f32(0), "0"},
      {"llama.expert_count", WriteValue::u32(8), "8"},
      {"gemma3.final_logit_softcapping", WriteValue::f32(30), "30", "gemma3"},
      {"gemma3.rope.freq_base_swa", WriteValue::f32(0), "0", "gemma3"},
      {"gemma3.attention.sliding_window_pattern", WriteValue::u32(0), "0", "gemma3"},
      {"gemma3.attention.sliding_window_pattern", WriteValue::i32s({1, 1, 0}), "3", "gemma3"},  // two layers
  };
  return kRules;
}

TEST(HParams, EachRuleOfGgufRefusesByName) {
  for (const Rule& rule : rules()) {
    Metadata metadata = sound(rule.arch);
    if (std::string_view(rule.arch) == "gemma3") metadata["gemma3.attention.sliding_window"] = WriteValue::u32(8);
    metadata.erase(rule.key);
    if (rule.value) metadata[rule.key] = *rule.value;
    const std::optional<Error> error = refusal(gguf_with(metadata));
    ASSERT_TRUE(error) << rule.key << " = " << rule.found;
    EXPECT_EQ(error->code, ErrorCode::ModelLoad);
    EXPECT_EQ(error->field, rule.key) << error->what();
    EXPECT_NE(error->found.find(rule.found), std::string::npos) << rule.key << ": " << error->what();
    EXPECT_FALSE(error->expected.empty() || error->message.empty() || error->file.empty()) << error->what();
    EXPECT_EQ(error->offset.has_value(), rule.value.has_value()) << error->what();
  }
}

TEST(HParams, AFileWithMoreLayersThanItDeclaresIsRefused) {
  const test::PlainTensor third{"blk.2.attn_norm.weight", {24}, std::vector<float>(24)};
  const std::optional<Error> error = refusal(gguf_with(sound(), {third}));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->field, "llama.block_count");
  EXPECT_EQ(error->found, "2");
}

TEST(HParams, DefaultsAreThoseOfTheFormat) {
  Metadata metadata = sound();
  for (const char* key : {"llama.attention.head_count_kv", "llama.rope.freq_base", "llama.context_length"})
    metadata.erase(key);
  metadata["llama.attention.key_length"] = WriteValue::u32(10);
  metadata["llama.rope.dimension_count"] = WriteValue::u32(6);
  metadata["llama.rope.scaling.factor"] = WriteValue::f32(4);
  metadata["llama.vocab_size"] = WriteValue::u32(9);
  const HParams h = read_hparams(gguf_with(metadata));
  EXPECT_EQ(h.n_kv_heads, 6U);
  EXPECT_EQ(h.rope.base, 10000);
  EXPECT_EQ(h.n_context, 0U);
  EXPECT_EQ(h.head_dim, 10U);
  EXPECT_EQ(h.q_width(), 60U);
  EXPECT_EQ(h.rope.n_rot, 6U);
  EXPECT_EQ(h.rope.scaling, RopeScaling::Linear);
  EXPECT_EQ(h.rope.factor, 4);
  EXPECT_EQ(h.n_vocab, 9U);  // what the file declares; the shape check of the plan compares it with the embedding
}

TEST(HParams, GemmaSlidesFiveOfSixAndScalesBySize) {
  Metadata metadata = sound("gemma3");
  metadata["gemma3.block_count"] = WriteValue::u32(13);
  metadata["gemma3.attention.sliding_window"] = WriteValue::u32(8);
  HParams h = read_hparams(gguf_with(metadata));
  ASSERT_EQ(h.layer_slides.size(), 13U);
  for (std::uint32_t i = 0; i < 13; ++i) EXPECT_EQ(h.slides(i), i != 5 && i != 11) << i;
  EXPECT_FALSE(h.slides(13));
  EXPECT_EQ(h.rope.local_base, 10000);
  metadata["gemma3.attention.sliding_window_pattern"] = WriteValue::u32(2);
  EXPECT_FALSE(read_hparams(gguf_with(metadata)).slides(1));
  metadata["gemma3.block_count"] = WriteValue::u32(62);  // the 27B model
  h = read_hparams(gguf_with(metadata));
  EXPECT_TRUE(std::abs(h.attn_scale - 0.5) < 1e-15);  // n_embd / n_heads = 4 here as well
  metadata["gemma3.attention.key_length"] = WriteValue::u32(16);
  EXPECT_TRUE(std::abs(read_hparams(gguf_with(metadata)).attn_scale - 0.5) < 1e-15);
  metadata["gemma3.block_count"] = WriteValue::u32(61);
  EXPECT_TRUE(std::abs(read_hparams(gguf_with(metadata)).attn_scale - 0.25) < 1e-15);
}

/// A folder with the golden model's weights and a changed config.json.
format::ModelFile with_config(const test::TempFolder& folder, const std::string& model,
                              const std::function<void(json&)>& change) {
  std::filesystem::copy(test::golden_folder(model) + "/model.safetensors", folder.path("model.safetensors"),
                        std::filesystem::copy_options::overwrite_existing);
  json config = test::read_json(test::golden_folder(model) + "/config.json");
  change(config);
  folder.write("config.json", config.dump());
  return format::open_model(folder.path());
}

TEST(HParams, EachRuleOfConfigJsonRefusesByName) {
  const test::TempFolder folder;
  struct Case {
    const char *model, *key;
    json value;
  };
  const Case cases[] = {
      {"llama", "num_hidden_layers", 0},
      {"llama", "num_hidden_layers", "3"},
      {"llama", "num_hidden_layers", 2.5},
      {"llama", "num_hidden_layers", 2},  // the file has three
      {"llama", "hidden_size", -64},
      {"llama", "num_attention_heads", 0},
      {"llama", "num_key_value_heads", 3},
      {"llama", "rms_norm_eps", 1},
      {"llama", "hidden_act", "gelu"},
      {"llama", "model_type", "mamba"},
      {"llama", "num_local_experts", 8},
      {"llama", "partial_rotary_factor", 0.5},
      {"qwen2", "use_sliding_window", true},
      {"gemma3", "hidden_activation", "silu"},
      {"gemma3", "query_pre_attn_scalar", 0},
      {"gemma3", "attn_logit_softcapping", 50.0},
      {"gemma3", "layer_types", json::array({"full_attention"})},
      {"gemma3", "use_bidirectional_attention", true},
  };
  for (const Case& c : cases) {
    const auto file = with_config(folder, c.model, [&](json& config) { config[c.key] = c.value; });
    const std::optional<Error> error = refusal(file);
    ASSERT_TRUE(error) << c.model << ' ' << c.key;
    EXPECT_EQ(error->code, ErrorCode::ModelLoad);
    EXPECT_EQ(error->field, c.key) << error->what();
    EXPECT_TRUE(error->file.ends_with("config.json")) << error->what();
    EXPECT_FALSE(error->expected.empty() || error->found.empty()) << error->what();
  }
  for (const auto& [key, value] : std::map<std::string, json>{{"factor", 0},
                                                              {"rope_type", "yarn"},
                                                              {"rope_theta", -1},
                                                              {"low_freq_factor", 9},  // above the high one
                                                              {"original_max_position_embeddings", 0}}) {
    const auto file = with_config(
        folder, "llama", [&, key = key, value = value](json& config) { config["rope_parameters"][key] = value; });
    const std::optional<Error> error = refusal(file);
    ASSERT_TRUE(error) << key;
    EXPECT_TRUE(error->field.starts_with("rope_parameters.")) << error->what();
  }
}

TEST(HParams, OldSpellingsOfConfigJsonMeanTheSame) {
  const test::TempFolder folder;
  const HParams expected = read_hparams(with_config(folder, "llama", [](json&) {}));
  const HParams old = read_hparams(with_config(folder, "llama", [](json& config) {
    json rope = config["rope_parameters"];
    config.erase("rope_parameters");
    config["rope_theta"] = rope["rope_theta"];
    rope.erase("rope_theta");
    config["rope_scaling"] = rope;
    config.erase("model_type");  // the class name says it, too
  }));
  EXPECT_EQ(old.rope.base, expected.rope.base);
  EXPECT_EQ(old.rope.scaling, RopeScaling::Llama3);
  EXPECT_EQ(old.rope.factor, expected.rope.factor);
  EXPECT_EQ(old.rope.original_context, expected.rope.original_context);
  const HParams gemma = read_hparams(with_config(folder, "gemma3", [](json& config) {
    config.erase("layer_types");
    config.erase("rope_parameters");
    config["rope_theta"] = 1e6;
    config["rope_local_base_freq"] = 5000.0;
    config["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
    config["sliding_window_pattern"] = 6;
    config = json{{"model_type", "gemma3"}, {"text_config", config}};
  }));
  EXPECT_EQ(gemma.rope.local_base, 5000);
  EXPECT_EQ(gemma.rope.factor, 4);
  EXPECT_FALSE(gemma.slides(5));
  EXPECT_TRUE(gemma.slides(6));
}

TEST(HParams, ConfigJsonMissingOrBroken) {
  const test::TempFolder folder;
  for (const char* text : {"", "[1]", "{\"a\":", "{}"}) {
    (void)with_config(folder, "llama", [](json&) {});
    folder.write("config.json", text);
    const std::optional<Error> error = refusal(format::open_model(folder.path()));
    ASSERT_TRUE(error) << text;
    EXPECT_EQ(error->code, ErrorCode::ModelLoad);
  }
  std::filesystem::remove(folder.path("config.json"));
  const std::optional<Error> error = refusal(format::open_model(folder.path()));
  ASSERT_TRUE(error);
  EXPECT_NE(error->message.find("config.json"), std::string::npos);
  EXPECT_FALSE(error->hint.empty());
}

}  // namespace
}  // namespace apr::model
