// Models from one format into another: the bytes of every tensor are the same ones.
#include "apr/convert/copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "apr/convert/apr_names.h"
#include "apr/core/hash.h"
#include "tests/support/apr_builder.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/json_builder.h"

namespace apr::convert {
namespace {

using format::Format;
using format::ModelFile;
using format::open_model;
using format::TensorInfo;
using test::GgufBuilder;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr std::uint32_t kF16 = 1, kQ4K = 12, kQ6K = 14;

/// Appends a tensor whose bytes differ from place to place and from tensor to tensor.
void add_tensor(GgufBuilder& b, std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                std::uint64_t size) {
  const std::size_t begin = b.data().text.size();
  b.tensor(name, dims, type, size);
  for (std::size_t i = 0; i < size; ++i)
    b.data().text[begin + i] = static_cast<char>((i * 131 + begin * 7 + (i >> 8)) & 0xFF);
}

GgufBuilder qwen2(std::endian order = std::endian::little) {
  GgufBuilder b(order);
  b.architecture("qwen2");
  b.declared_alignment(32);
  b.kv_u32("qwen2.embedding_length", 256);
  b.kv_u32("qwen2.block_count", 1);
  b.kv_u32("qwen2.attention.head_count", 4);
  b.kv("qwen2.rope.freq_base", test::kF32, 1000000.0F);
  b.kv("qwen2.attention.layer_norm_rms_epsilon", test::kF32, 1e-6F);
  b.kv_u32("qwen2.rope.scaling.unknown", 3);
  b.kv_string("tokenizer.ggml.model", "gpt2");
  b.key("tokenizer.ggml.tokens", test::kArray);
  b.body().u32(test::kString).u64(3).string("a").string("\"b\\").string("\xC4\xA0");
  b.kv_u32("tokenizer.ggml.eos_token_id", 2);
  add_tensor(b, "token_embd.weight", {256, 3}, kQ6K, 3 * 210);
  add_tensor(b, "blk.0.attn_q.weight", {256, 256}, kQ4K, 256 * 144);
  add_tensor(b, "blk.0.attn_norm.weight", {256}, test::kGgmlF32, 1024);
  add_tensor(b, "blk.0.attn_q.bias", {5}, kF16, 10);
  add_tensor(b, "output_norm.weight", {256}, test::kGgmlF32, 1024);
  return b;
}

std::map<std::string, std::string> digests(const ModelFile& model) {
  std::map<std::string, std::string> out;
  for (const TensorInfo& tensor : model.tensors) out[std::string(tensor.name)] = sha256(model.data(tensor));
  return out;
}

class Copy : public ::testing::Test {
 protected:
  ModelFile source(const GgufBuilder& b) { return open_model(folder_.write("source", b.bytes())); }
  std::string target() const { return folder_.path("target"); }
  test::TempFolder folder_;
};

TEST_F(Copy, GgufToAprHasTheSameBytesUnderTheNamesOfTheContract) {
  const ModelFile gguf = source(qwen2());
  const CopyReport report = copy_model(gguf, Format::Apr, target());
  const ModelFile apr = open_model(target(), {.verify_data = true});
  EXPECT_TRUE(apr.findings.empty()) << apr.findings.front().rule;
  EXPECT_EQ(apr.format, Format::Apr);
  EXPECT_EQ(apr.data_checksum_ok, true);
  const auto before = digests(gguf), after = digests(apr);
  ASSERT_EQ(before.size(), 5U);
  ASSERT_EQ(after.size(), before.size());
  for (const TensorInfo& tensor : gguf.tensors) {
    const TensorInfo* copy = apr.find_tensor(apr_name_of("qwen2", tensor.name));
    ASSERT_NE(copy, nullptr) << tensor.name;
    EXPECT_EQ(copy->type, tensor.type);
    EXPECT_EQ(copy->shape, tensor.shape);
    EXPECT_EQ(after.at(std::string(copy->name)), before.at(std::string(tensor.name))) << tensor.name;
  }
  EXPECT_EQ(report.n_tensors, 5U);
  EXPECT_EQ(report.tensor_bytes, 3U * 210 + 256 * 144 + 1024 + 10 + 1024);
  EXPECT_EQ(report.renamed.size(), 5U);
  EXPECT_THAT(report.renamed, Contains(Pair("token_embd.weight", "model.embed_tokens.weight")));
  EXPECT_THAT(report.dropped_metadata, ::testing::ElementsAre("general.alignment"));
}

TEST_F(Copy, GgufMetadataUnderTheKeysOfApr) {
  copy_model(source(qwen2()), Format::Apr, target());
  const ModelFile apr = open_model(target());
  const auto number = [&apr](std::string_view key) {
    const auto* entry = apr.find_metadata(key);
    return entry == nullptr ? std::nullopt : entry->value.as_f64();
  };
  const auto text = [&apr](std::string_view key) {
    const auto* entry = apr.find_metadata(key);
    return entry == nullptr ? std::nullopt : entry->value.as_string();
  };
  EXPECT_EQ(text("model_type"), "qwen2");
  EXPECT_EQ(text("architecture"), "qwen2");
  EXPECT_EQ(text("name"), "qwen2");
  EXPECT_EQ(text("original_format"), "gguf");
  EXPECT_EQ(number("hidden_size"), 256);
  EXPECT_EQ(number("num_layers"), 1);
  EXPECT_EQ(number("num_heads"), 4);
  EXPECT_EQ(number("rope_theta"), 1e6);
  EXPECT_EQ(number("rms_norm_eps"), 1e-6);
  EXPECT_EQ(number("rope_type"), 2);
  EXPECT_EQ(number("vocab_size"), 3);
  EXPECT_EQ(number("tokenizer.eos_token_id"), 2);
  EXPECT_EQ(text("tokenizer.model"), "gpt2");
  EXPECT_EQ(text("tokenizer.model_type"), "gpt2");
  EXPECT_EQ(number("qwen2.rope.scaling.unknown"), 3) << "nothing is lost that has no name in APR";
  std::vector<std::string> tokens;
  apr.find_metadata("tokenizer.vocabulary")
      ->value.as_array()
      ->for_each([&tokens](std::uint64_t, const format::Value& v) {
        tokens.emplace_back(v.as_string().value());
        return true;
      });
  EXPECT_THAT(tokens, ::testing::ElementsAre("a", "\"b\\", "\xC4\xA0"));
}

TEST_F(Copy, GgufToGgufIsTheSameModel) {
  const ModelFile first = source(qwen2());
  EXPECT_TRUE(copy_model(first, Format::Gguf, target()).dropped_metadata.empty());
  const ModelFile second = open_model(target());
  EXPECT_FALSE(second.has_errors());
  EXPECT_EQ(digests(first), digests(second));
  ASSERT_EQ(first.metadata.size(), second.metadata.size());
  for (std::size_t i = 0; i < first.metadata.size(); ++i) {
    EXPECT_EQ(first.metadata[i].key, second.metadata[i].key);
    EXPECT_EQ(first.metadata[i].value.type(), second.metadata[i].value.type());
  }
  EXPECT_EQ(test::read_whole(folder_.path("source")), test::read_whole(target()));
}

TEST_F(Copy, BigEndianBecomesLittle) {
  GgufBuilder big(std::endian::big);
  big.architecture("llama");
  big.info("x", {3}, test::kGgmlF32, 0);
  big.data().put(1.5F).put(-2.0F).put(3.0F).text.append(20, '\0');
  const CopyReport report = copy_model(source(big), Format::Apr, target());
  EXPECT_TRUE(report.renamed.empty());
  const ModelFile apr = open_model(target());
  float values[3] = {9, 9, 9};
  const auto data = apr.data(*apr.find_tensor("x"));
  ASSERT_EQ(data.size(), sizeof values);
  std::memcpy(values, data.data(), sizeof values);
  EXPECT_THAT(values, ::testing::ElementsAre(1.5F, -2.0F, 3.0F));
}

TEST_F(Copy, ThroughSafeTensorsAndBack) {
  GgufBuilder b;
  b.architecture("llama");
  add_tensor(b, "a", {4, 3}, test::kGgmlF32, 48);
  add_tensor(b, "b", {6}, kF16, 12);
  const ModelFile gguf = source(b);
  copy_model(gguf, Format::SafeTensors, target());
  const ModelFile safetensors = open_model(target());
  EXPECT_FALSE(safetensors.has_errors());
  EXPECT_EQ(digests(gguf), digests(safetensors));
  EXPECT_EQ(safetensors.find_tensor("a")->shape, (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(safetensors.find_metadata("general.architecture")->value.as_string(), "llama");
  copy_model(safetensors, Format::Apr, folder_.path("apr"));
  const ModelFile apr = open_model(folder_.path("apr"));
  EXPECT_EQ(digests(gguf), digests(apr));
  EXPECT_THAT(std::string(apr.find_metadata("source_metadata")->value.as_object()->text), HasSubstr("llama"));
  copy_model(apr, Format::Gguf, folder_.path("gguf"));
  EXPECT_EQ(digests(gguf), digests(open_model(folder_.path("gguf"))));
}

TEST_F(Copy, WhatTheTargetCannotHoldIsRefusedAndNothingIsLeft) {
  GgufBuilder b;
  b.architecture("llama");
  add_tensor(b, "w", {32}, test::kGgmlQ4_0, 18);
  const ModelFile gguf = source(b);
  for (const Format format : {Format::Apr, Format::SafeTensors}) {
    try {
      copy_model(gguf, format, target());
      ADD_FAILURE() << "was written";
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::Usage);
      EXPECT_THAT(error.field, HasSubstr("\"w\""));
      EXPECT_FALSE(error.hint.empty());
    }
    EXPECT_FALSE(std::filesystem::exists(target()));
  }
}

TEST_F(Copy, AModelWithErrorsIsNotCopied) {
  std::string bytes = qwen2().bytes();
  bytes.resize(bytes.size() - 600);
  const ModelFile cut = open_model(folder_.write("cut", bytes));
  EXPECT_THROW(copy_model(cut, Format::Apr, target()), Error);
  EXPECT_FALSE(std::filesystem::exists(target()));
  test::AprParts parts;
  parts.entries = {{"a", 0, {2}, 0, 8}};
  parts.data = "12345678";
  std::string wrong = parts.file();
  wrong[40] ^= 1;  // the checksum of the header: every tensor is there, and yet the file cannot be trusted
  const ModelFile edited = open_model(folder_.write("edited", wrong));
  EXPECT_TRUE(edited.tensors.at(0).readable);
  EXPECT_THROW(copy_model(edited, Format::Gguf, target()), Error);
  EXPECT_FALSE(std::filesystem::exists(target()));
}

TEST_F(Copy, ProgressEndsAtTheTotal) {
  std::uint64_t done = 0, total = 1;
  CopyOptions options;
  options.progress = [&](std::uint64_t d, std::uint64_t t) {
    EXPECT_GT(d, done);
    done = d;
    total = t;
  };
  const CopyReport report = copy_model(source(qwen2()), Format::Apr, target(), options);
  EXPECT_EQ(done, total);
  EXPECT_EQ(total, report.tensor_bytes);
}

}  // namespace
}  // namespace apr::convert
