// Malformed GGUF: G41 to G42 and G77 to G86, sound files that cannot be the model they say.
#include <cmath>
#include <limits>

#include "tests/support/gguf_builder.h"
#include "tests/unit/hostile/corpus.h"

namespace apr::test {
namespace {

using namespace std::string_literals;

/// A value with its GGUF type number, as bytes.
struct Number {
  std::uint32_t type;
  std::string bytes;
};
Number u32(std::uint32_t v) { return {kU32, le(v)}; }
Number f32(float v) { return {kF32, le(v)}; }

const std::pair<const char*, Number> kSound[] = {
    {"llama.block_count", u32(2)},
    {"llama.context_length", u32(64)},
    {"llama.embedding_length", u32(24)},
    {"llama.feed_forward_length", u32(40)},
    {"llama.attention.head_count", u32(6)},
    {"llama.attention.head_count_kv", u32(3)},
    {"llama.attention.layer_norm_rms_epsilon", f32(1e-5F)},
    {"llama.rope.freq_base", f32(10000)},
};

/// A llama whose hyperparameters are sound but for one; `at` is where its value stands.
std::string hparams_file(const std::string& key, const Number& number, std::uint64_t& at) {
  GgufBuilder b;
  b.architecture();
  const auto put = [&b](const std::string& name, const Number& n) {
    b.key(name, n.type);
    const std::uint64_t value_at = b.here();
    b.body().text += n.bytes;
    return value_at;
  };
  bool replaced = false;
  for (const auto& [name, number_of] : kSound) {
    const std::uint64_t value_at = put(name, name == key ? number : number_of);
    if (name == key) at = value_at, replaced = true;
  }
  if (!replaced) at = put(key, number);
  b.tensor("token_embd.weight", {24, 7}, kGgmlF32, 24 * 7 * 4);
  return b.bytes();
}

Case hparam(const char* id, const char* variant, const char* key, Number number, const char* found,
            const char* rule = "model.hparams") {
  return {id, variant, [=](const TempFolder&) {
            std::uint64_t at = 0;
            const std::string bytes = hparams_file(key, number, at);
            return error(bytes, rule, at, key, found).at_stage(Stage::Hparams);
          }};
}

void add_hparams(Cases& all) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  all.push_back({"G41", "sound", [](const TempFolder&) {  // so that the rows below fail by their one value
                   std::uint64_t at = 0;
                   return clean(hparams_file("llama.block_count", u32(2), at)).at_stage(Stage::Hparams);
                 }});
  all.push_back(hparam("G41", "0", "llama.block_count", u32(0), "0"));
  all.push_back(hparam("G41", "2_32_minus_1", "llama.block_count", u32(0xFFFFFFFF), "4294967295"));
  all.push_back(hparam("G42", "no_heads", "llama.attention.head_count", u32(0), "0"));
  all.push_back(hparam("G42", "heads_do_not_divide", "llama.attention.head_count", u32(9), "9", "model.hparams.heads"));
  all.push_back(
      hparam("G42", "more_kv_heads", "llama.attention.head_count_kv", u32(12), "12", "model.hparams.kv_heads"));
  all.push_back(
      hparam("G42", "kv_heads_do_not_divide", "llama.attention.head_count_kv", u32(4), "4", "model.hparams.kv_heads"));
  all.push_back(hparam("G83", "theta_0", "llama.rope.freq_base", f32(0), "0"));
  all.push_back(hparam("G83", "theta_nan", "llama.rope.freq_base", f32(kNan), "nan"));
  all.push_back(hparam("G83", "theta_minus_1", "llama.rope.freq_base", f32(-1), "-1"));
  all.push_back(hparam("G83", "eps_0", "llama.attention.layer_norm_rms_epsilon", f32(0), "0"));
  all.push_back(hparam("G83", "eps_nan", "llama.attention.layer_norm_rms_epsilon", f32(kNan), "nan"));
  all.push_back(hparam("G83", "eps_inf", "llama.attention.layer_norm_rms_epsilon",
                       f32(std::numeric_limits<float>::infinity()), "inf"));
  all.push_back(hparam("G83", "experts", "llama.expert_count", u32(2), "2"));
  // Beyond the list: integers whose products would wrap in 32 bits, and values of another type.
  all.push_back(hparam("X09", "heads_2_31", "llama.attention.head_count", u32(1U << 31), "2147483648"));
  all.push_back(hparam("X09", "embedding_2_32_minus_1", "llama.embedding_length", u32(0xFFFFFFFF), "4294967295"));
  all.push_back(
      hparam("X09", "u64_that_is_2_in_32_bits", "llama.block_count", {kU64, le((1ULL << 32) + 2)}, "4294967298"));
  all.push_back(hparam("X09", "heads_minus_6", "llama.attention.head_count", {kI32, le(-6)}, "-6"));
  all.push_back(hparam("X09", "heads_as_float", "llama.attention.head_count", f32(6), "6"));
  all.push_back(hparam("X09", "key_length_odd", "llama.attention.key_length", u32(5), "5", "model.hparams.head_dim"));
}

/// A vocabulary in the metadata; each part can be replaced.
struct Vocabulary {
  std::string model = "llama";
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "a", "b", "ab"};
  std::optional<std::size_t> n_scores, n_types;  // as many as tokens when not said
  std::uint32_t score_type = kF32, kind_type = kI32;
  std::int32_t last_kind = 1;
  std::vector<std::string> merges = {"a b"};
  std::optional<std::int64_t> eos;
  std::uint64_t embedding_rows = 6;
};
struct VocabularyOffsets {
  std::uint64_t scores = 0, kinds = 0, merges = 0, eos = 0;  // of the values
};

std::string vocabulary_file(const Vocabulary& v, VocabularyOffsets& at) {
  GgufBuilder b;
  b.architecture();
  for (const auto& [name, n] : kSound) {
    b.key(name, n.type);
    b.body().text += n.bytes;
  }
  b.kv_string("tokenizer.ggml.model", v.model);
  if (v.model == "gpt2") b.kv_string("tokenizer.ggml.pre", "default");
  const auto strings = [&b](const char* key, const std::vector<std::string>& texts) {
    b.key(key, kArray);
    const std::uint64_t value = b.here();
    b.body().u32(kString).u64(texts.size());
    for (const std::string& text : texts) b.body().string(text);
    return value;
  };
  strings("tokenizer.ggml.tokens", v.tokens);
  const auto numbers = [&b](const char* key, std::uint32_t type, std::size_t n, const std::string& one,
                            const std::string& last) {
    b.key(key, kArray);
    const std::uint64_t value = b.here();
    b.body().u32(type).u64(n);
    for (std::size_t i = 0; i < n; ++i) b.body().text += i + 1 < n ? one : last;
    return value;
  };
  const bool byte_scores = v.score_type == kI8;
  const std::string score = byte_scores ? "\1"s : le(-1.0F);
  at.scores = numbers("tokenizer.ggml.scores", v.score_type, v.n_scores.value_or(v.tokens.size()), score, score);
  const bool text_kinds = v.kind_type == kString;
  const std::string kind = text_kinds ? le<std::uint64_t>(1) + "1" : le<std::int32_t>(1);
  at.kinds = numbers("tokenizer.ggml.token_type", v.kind_type, v.n_types.value_or(v.tokens.size()), kind,
                     text_kinds ? kind : le(v.last_kind));
  at.merges = strings("tokenizer.ggml.merges", v.merges);
  if (v.eos) {
    b.key("tokenizer.ggml.eos_token_id", kI64);
    at.eos = b.here();
    b.body().put(*v.eos);
  }
  b.tensor("token_embd.weight", {24, v.embedding_rows}, kGgmlF32, 24 * v.embedding_rows * 4);
  return b.bytes();
}

/// Changed(vocabulary) is refused; the value of `key` at the offset that `place` names is to blame.
template <class Change>
Case refused_vocabulary(const char* id, const char* variant, Change change, const char* message,
                        std::uint64_t VocabularyOffsets::*place, const char* key, const char* found) {
  return {id, variant, [=](const TempFolder&) {
            Vocabulary v;
            change(v);
            VocabularyOffsets at;
            const std::string bytes = vocabulary_file(v, at);
            return refused(bytes, message, at.*place, key, found)
                .with_code(ErrorCode::ModelLoad)
                .at_stage(Stage::Tokenizer);
          }};
}
template <class Change>
Case odd_vocabulary(const char* id, const char* variant, Change change, const char* rule, const char* field,
                    const char* found) {
  return {id, variant, [=](const TempFolder&) {
            Vocabulary v;
            change(v);
            VocabularyOffsets at;
            return warning(vocabulary_file(v, at), rule, std::nullopt, field, found).at_stage(Stage::Tokenizer);
          }};
}

void add_vocabulary(Cases& all) {
  using V = Vocabulary;
  using At = VocabularyOffsets;
  const char* fewer = "has fewer elements than there are tokens";
  all.push_back(refused_vocabulary(
      "G77", "scores", [](V& v) { v.n_scores = 5; }, fewer, &At::scores, "tokenizer.ggml.scores", "5 elements"));
  all.push_back(refused_vocabulary(
      "G77", "types", [](V& v) { v.n_types = 1; }, fewer, &At::kinds, "tokenizer.ggml.token_type", "1 elements"));
  const auto wrong_type = [](const char* variant, const char* key, bool scores, const char* found) -> Case {
    return {"G78", variant, [=](const TempFolder&) {
              Vocabulary v;
              if (scores) v.score_type = kI8;
              if (!scores) v.kind_type = kString;
              At at;
              const std::string bytes = vocabulary_file(v, at);
              return error(bytes, "gguf.metadata.known_type", (scores ? at.scores : at.kinds) - 4,
                           "metadata[\""s + key + "\"].type", found);
            }};
  };
  all.push_back(wrong_type("scores_i8", "tokenizer.ggml.scores", true, "array of 6 i8"));
  all.push_back(wrong_type("token_type_string", "tokenizer.ggml.token_type", false, "array of 6 string"));
  const char* no_pair = "has an element that is no pair";
  const auto merge = [](std::vector<std::string> merges) {
    return [merges](V& v) {
      v.model = "gpt2";
      v.eos = 2;
      v.merges = merges;
    };
  };
  all.push_back(refused_vocabulary("G79", "one_part", merge({"a b", "ab"}), no_pair, &At::merges,
                                   "tokenizer.ggml.merges", "\"ab\" at index 1"));
  all.push_back(refused_vocabulary("G79", "empty", merge({""}), no_pair, &At::merges, "tokenizer.ggml.merges",
                                   "\"\" at index 0"));
  all.push_back(refused_vocabulary("G79", "nothing_behind_the_space", merge({"a "}), no_pair, &At::merges,
                                   "tokenizer.ggml.merges", "\"a \" at index 0"));
  all.push_back(
      odd_vocabulary("G79", "unknown_tokens", merge({"a b", "x y"}), "tokenizer.merges.token", "merges[1]", "x y"));
  const char* no_token = "is no token of the vocabulary";
  for (const auto& [variant, id] : {std::pair<const char*, std::int64_t>{"vocab", 6},
                                    {"minus_1", -1},
                                    {"2_32", 1LL << 32},
                                    {"2_63", std::numeric_limits<std::int64_t>::min()}})
    all.push_back(refused_vocabulary(
        "G80", variant, [id = id](V& v) { v.eos = id; }, no_token, &At::eos, "tokenizer.ggml.eos_token_id", ""));
  for (const std::uint64_t rows : {5U, 8U})
    all.push_back({"G81", std::to_string(rows) + "_rows_6_tokens", [rows](const TempFolder&) {
                     Vocabulary v;
                     v.embedding_rows = rows;
                     At at;
                     const std::string bytes = vocabulary_file(v, at);
                     Made made = warning(bytes, "model.vocab.rows", 0, "token_embd.weight", "6 tokens");
                     made.offset = bytes.find("token_embd.weight") - 8;
                     return std::move(made).at_stage(Stage::Hparams);
                   }});
  const auto last = [](std::string token, std::int32_t kind) {
    return [=](V& v) {
      v.tokens.back() = token;
      v.last_kind = kind;
    };
  };
  const char* tokens = "tokenizer.ggml.tokens";
  all.push_back(
      odd_vocabulary("G82", "minus_1", last("<0x-1>", 6), "tokenizer.tokens.byte", tokens, "\"<0x-1>\" at index 5"));
  all.push_back(odd_vocabulary("G82", "GG", last("<0xGG>", 6), "tokenizer.tokens.byte", tokens, "\"<0xGG>\""));
  all.push_back(odd_vocabulary("G82", "100", last("<0x100>", 6), "tokenizer.tokens.byte", tokens, "\"<0x100>\""));
  all.push_back({"G82", "token_of_1_MB", [last](const TempFolder&) {
                   Vocabulary v;
                   last(std::string(1'000'000, 'x'), 1)(v);
                   At at;
                   return refused(vocabulary_file(v, at), "a token is too long", std::nullopt, "tokens[5]", "1000000")
                       .with_code(ErrorCode::ModelLoad)
                       .at_stage(Stage::Tokenizer);
                 }});
  all.push_back(odd_vocabulary(
      "G82", "empty_tokens", [](V& v) { v.tokens = {"<unk>", "<s>", "</s>", "", "", ""}; }, "tokenizer.tokens.empty",
      tokens, "3 tokens"));
}

Case chat_template(const char* variant, std::string source, const char* message, const char* place,
                   ErrorCode code = ErrorCode::Inference) {
  return {"G84", variant, [=](const TempFolder&) {
            GgufBuilder b;
            b.architecture();
            b.kv_string("tokenizer.chat_template", source);
            b.f32("a", 8);
            return refused(b.bytes(), message, std::nullopt, "tokenizer.chat_template: "s + place)
                .at_stage(Stage::Template)
                .with_code(code);
          }};
}

void add_templates(Cases& all) {
  std::string ifs;
  for (int i = 0; i < 10'000; ++i) ifs += "{% if 1 %}";
  all.push_back(chat_template("range", "{% for i in range(1000000000) %}{{ i }}{% endfor %}", "Range too big",
                              "line 1, column 18"));
  all.push_back(chat_template("nested_ifs", ifs, "nested deeper than 150 levels", "line 1, column 1497",
                              ErrorCode::InvalidFormat));
  all.push_back(chat_template("recursive_macro", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
                              "the template exceeds its limit of depth", "line 1, column 16"));
  all.push_back(chat_template("dunder_class", "{{ ''.__class__.__mro__[1].__subclasses__() }}",
                              "'__class__' of 'str' object is unsafe", "line 1, column 16"));
}

void add_values(Cases& all) {
  // Two Q4_0 blocks of 18 bytes; the scale of the second one is replaced.
  const auto q4_0 = [](std::uint16_t scale, std::uint64_t& data) {
    GgufBuilder b;
    b.architecture();
    b.info("w", {64}, kGgmlQ4_0, 0);
    const std::string block = le<std::uint16_t>(0x3C00) + std::string(16, '\x5A');
    b.data().text = block + le(scale) + block.substr(2);
    data = b.data_offset();
    return b.bytes();
  };
  for (const auto& [variant, scale] : {std::pair<const char*, std::uint16_t>{"nan", 0x7E00}, {"inf", 0x7C00}})
    all.push_back({"G85", variant, [=, scale = scale](const TempFolder&) {
                     std::uint64_t data = 0;
                     const std::string bytes = q4_0(scale, data);
                     return error(bytes, "diag.scales.not_finite", data, "", "1 of 2").at_stage(Stage::Values);
                   }});
  for (const auto& [variant, scale] :
       {std::pair<const char*, std::uint16_t>{"nan_block", 0x7E00}, {"inf_block", 0x7C00}})
    all.push_back({"G85", variant, [=, scale = scale](const TempFolder&) {
                     std::uint64_t data = 0;
                     const std::string bytes = q4_0(scale, data);  // the second block of 18 bytes
                     const bool is_nan = scale > 0x7C00;
                     return error(bytes, is_nan ? "qa.values.nan" : "qa.values.inf", data + 18, "block[1]",
                                  "scale d is")
                         .at_stage(Stage::Gate);
                   }});
  const auto weights = [&](const char* variant, std::vector<float> values, const char* rule, std::uint64_t element,
                           const char* found) {
    all.push_back({"G86", variant, [=](const TempFolder&) {
                     GgufBuilder b;
                     b.architecture();
                     b.info("w", {4, 2}, kGgmlF32, 0);
                     for (const float v : values) b.data().text += le(v);
                     return error(b.bytes(), rule, b.data_offset() + 4 * element,
                                  "block[" + std::to_string(element) + "]", found)
                         .at_stage(Stage::Gate);
                   }});
  };
  weights("all_zero", std::vector<float>(8), "qa.values.all_zero", 0, "8 elements");
  weights("constant", std::vector<float>(8, 0.5F), "qa.values.constant", 0, "0.5");
  weights("1e20", {0.5F, -0.25F, 1, 0.125F, -1, 1e20F, 0.75F, -0.5F}, "qa.values.extreme", 5, "1e+20 at element 5");
  weights("minus_1e20", {0.5F, -0.25F, 1, -1e20F, -1, 2, 0.75F, -0.5F}, "qa.values.extreme", 3, "1e+20 at element 3");
}

}  // namespace

Cases gguf_model_cases() {
  Cases all;
  add_hparams(all);
  add_vocabulary(all);
  add_templates(all);
  add_values(all);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Model, GgufCorpus, testing::ValuesIn(gguf_model_cases()), case_name);

}  // namespace apr::test
