// 20,000 damaged copies of good files: nothing crashes or hangs, and damage is either reported or stays where it is.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "apr/core/checked.h"
#include "apr/diag/diag.h"
#include "apr/format/model_file.h"
#include "apr/model/hparams.h"
#include "apr/model/tokenizer.h"
#include "tests/support/apr_builder.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"

namespace apr::test {
namespace {

using format::MetadataEntry;
using format::ModelFile;
using format::TensorInfo;
using format::Value;

// ---- three good files ----

std::string good_gguf(std::endian order, std::uint32_t alignment) {
  GgufBuilder b(order);
  b.architecture();
  if (alignment != 32) b.declared_alignment(alignment);
  b.kv_string("general.name", "a small model");
  b.kv_u32("llama.block_count", 1);
  b.kv("llama.rope.freq_base", kF32, 10000.0F);
  b.kv("flag", kBool, std::uint8_t{1});
  b.kv("wide", kU64, std::uint64_t{1} << 40);
  b.kv_string("tokenizer.ggml.model", "llama");
  b.key("tokenizer.ggml.tokens", kArray);
  b.body().u32(kString).u64(4).string("<unk>").string("<s>").string("</s>").string("ab");
  b.key("tokenizer.ggml.scores", kArray);
  b.body().u32(kF32).u64(4).put(0.0F).put(0.0F).put(0.0F).put(-1.0F);
  b.key("nested", kArray);
  b.body().u32(kArray).u64(2).u32(kI16).u64(1).put<std::int16_t>(-2).u32(kString).u64(1).string("x");
  b.f32("token_embd.weight", 24);
  b.tensor("blk.0.attn_q.weight", {32, 2}, kGgmlQ4_0, 36);
  b.tensor("blk.0.attn_k.weight", {256, 1}, kGgmlQ4_K, 144);
  b.f32("output_norm.weight", 3);
  return b.bytes();
}

std::string good_safetensors() {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\",\"k\\n\":\"v\\u00e9\"}," +
                       tensor_json("model.embed_tokens.weight", "F32", "[2,3]", 0, 24) + "," +
                       tensor_json("model.norm.weight", "BF16", "[4]", 24, 32) + "," +
                       tensor_json("scalar", "F32", "[]", 32, 36) + "," + tensor_json("none", "F32", "[0,7]", 36, 36) +
                       "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string data(36, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + 1);
  return safetensors(header, data);
}

std::string good_apr() {
  AprParts p;
  p.flags = 0x0420;  // row-major, quantised
  p.metadata = R"({"model_type":"qwen2","hidden_size":64,"license":null,"rope_theta":1e6,"list":[1,"a",{"b":[]}]})";
  p.entries = {{"a", 0, {2, 3}, 0, 24}, {"b", 1, {5}, 64, 10}, {"c", 12, {2, 256}, 128, 288}};
  p.data = AprParts::pad(std::string(24, 'a')) + AprParts::pad(std::string(10, 'b')) + std::string(288, 'c');
  return p.file();
}

// ---- damage ----

struct Damage {
  enum Kind { Flip, Zero, Insert, Delete } kind = Flip;
  std::uint64_t at = 0, size = 0;
  [[nodiscard]] bool moves() const { return kind == Insert || kind == Delete; }
  /// Whether a range of the good file is as it was.
  [[nodiscard]] bool spares(std::uint64_t offset, std::uint64_t bytes) const {
    return moves() ? offset + bytes <= at : offset + bytes <= at || offset >= at + size;
  }
};

std::string damaged(const std::string& good, std::mt19937_64& random, Damage& damage) {
  const auto below = [&random](std::uint64_t n) { return random() % n; };
  std::string bad = good;
  damage.kind = static_cast<Damage::Kind>(below(4));
  // Half of the hits go to the header, which is where most can go wrong.
  damage.at = below(below(2) == 0 ? good.size() : std::min<std::uint64_t>(good.size(), 400));
  damage.size = below(3) == 0 ? 1 + below(16) : 1;
  damage.size = std::min<std::uint64_t>(damage.size, good.size() - damage.at);
  const auto at = static_cast<std::size_t>(damage.at), size = static_cast<std::size_t>(damage.size);
  switch (damage.kind) {
    case Damage::Flip:
      for (std::size_t i = 0; i < size; ++i) bad[at + i] = static_cast<char>(bad[at + i] ^ (1 << below(8)));
      break;
    case Damage::Zero:
      for (std::size_t i = 0; i < size; ++i) bad[at + i] = '\0';
      break;
    case Damage::Insert:
      for (std::size_t i = 0; i < size; ++i) bad.insert(at, 1, static_cast<char>(random()));
      break;
    case Damage::Delete: bad.erase(at, size); break;
  }
  if (bad == good) {  // a zero for a zero
    damage = {Damage::Flip, damage.at, 1};
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
  }
  return bad;
}

// ---- what came of it ----

std::string to_text(const Value& value) {
  if (const auto v = value.as_string()) return "'" + std::string(*v) + "'";
  if (const auto v = value.as_bool()) return *v ? "true" : "false";
  if (const auto v = value.as_u64()) return std::to_string(*v);
  if (const auto v = value.as_i64()) return std::to_string(*v);
  if (const auto v = value.as_f64()) return std::to_string(*v);
  if (const auto* object = value.as_object()) return std::string(object->text);
  const format::ArrayRef* array = value.as_array();
  if (array == nullptr) return "null";
  std::string text = "[";
  array->for_each([&text](std::uint64_t, const Value& element) {
    text += to_text(element) + ",";
    return text.size() < 1 << 20;
  });
  return text + "]";
}

std::string to_text(const TensorInfo& t) {
  std::string text = std::string(t.name) + " " + std::string(name(t.type)) + " [";
  for (const std::int64_t n : t.shape) text += std::to_string(n) + ",";
  return text + "] " + std::to_string(t.n_elements) + " at " + std::to_string(t.offset) + " size " +
         std::to_string(t.size_bytes) + (t.readable ? "" : " unreadable");
}

std::string_view bytes_of(const ModelFile& model, const TensorInfo& t) {
  const auto data = model.data(t);
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

testing::AssertionResult differ(const std::string& was, const std::string& is) {
  return testing::AssertionFailure() << "unnoticed, was: " << was << "\nis: " << is;
}

/// Entries of `some` that the damage spares stand in `others`, too, at the same place. Damage inside of JSON may make
/// one entry of two, or none: so they are found by their place, not by their number.
testing::AssertionResult same_entries(const ModelFile& some, const ModelFile& others, const Damage& damage) {
  std::map<std::uint64_t, const MetadataEntry*> by_place;
  for (const MetadataEntry& entry : others.metadata) by_place[entry.key_offset] = &entry;
  for (const MetadataEntry& entry : some.metadata) {
    if (!damage.spares(entry.key_offset, entry.end_offset - entry.key_offset)) continue;
    const std::string text = std::string(entry.key) + " = " + to_text(entry.value);
    const auto other = by_place.find(entry.key_offset);
    if (other == by_place.end()) return differ(text, "gone");
    const std::string now = std::string(other->second->key) + " = " + to_text(other->second->value);
    if (now != text) return differ(text, now);
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult same_tensors(const ModelFile& good, const ModelFile& bad, const Damage& damage) {
  if (!damage.moves() && good.tensors.size() != bad.tensors.size())
    return testing::AssertionFailure() << "another number of tensors";
  for (std::size_t i = 0; i < good.tensors.size(); ++i) {
    const TensorInfo& before = good.tensors[i];
    if (!damage.spares(before.info_offset, before.info_size)) continue;
    if (i >= bad.tensors.size()) return differ(to_text(before), "gone");
    const TensorInfo& now = bad.tensors[i];
    // What is inserted or taken away moves the data behind it, and with them the offsets in the file.
    if (!damage.moves() && to_text(before) != to_text(now)) return differ(to_text(before), to_text(now));
    if (damage.moves() && (before.name != now.name || before.shape != now.shape || before.type != now.type))
      return differ(to_text(before), to_text(now));
    const std::string_view was = bytes_of(good, before), is = bytes_of(bad, now);
    for (std::uint64_t k = 0; k < was.size(); ++k)
      if (damage.spares(before.offset + k, 1) && (k >= is.size() || was[k] != is[k]))
        return differ(to_text(before) + " byte " + std::to_string(k), "another byte");
  }
  return testing::AssertionSuccess();
}

/// Everything outside of the damage is what it was. `good` has the tables of the unharmed file.
testing::AssertionResult same_outside(const ModelFile& good, const ModelFile& bad, const Damage& damage) {
  if (auto result = same_entries(good, bad, damage); !result) return result;
  if (!damage.moves())
    if (auto result = same_entries(bad, good, damage); !result) return result;
  return same_tensors(good, bad, damage);
}

void look_at_everything(const ModelFile& model) {
  std::size_t n = 0;
  for (const MetadataEntry& entry : model.metadata) n += to_text(entry.value).size();
  for (const TensorInfo& tensor : model.tensors)
    if (tensor.readable)
      for (const char c : bytes_of(model, tensor)) n += static_cast<unsigned char>(c);
  for (const format::Region& region : model.regions)
    EXPECT_TRUE(range_fits(region.offset, region.size_bytes, model.files[region.file_index]->size()));
  std::vector<Finding> findings;
  if (n % 7 == 0) (void)model::parse_hparams(model, findings);
  if (n % 7 == 1) try {
      (void)model::Tokenizer::from_model(model).encode("ab <s>");
    } catch (const Error& error) {
      EXPECT_TRUE(error.code == ErrorCode::ModelLoad || error.code == ErrorCode::Inference) << error.what();
    }
  if (n % 23 == 0) (void)diag::diagnose(model, {});
}

struct Tally {
  int refused = 0, reported = 0, unnoticed = 0;
};

void mutate(const std::string& good_bytes, std::uint64_t seed, int n, bool verify, Tally& tally) {
  const TempFolder folder;
  const format::OpenOptions options{.verify_data = verify};
  const Opened good = open_path(folder.write("good.bin", good_bytes), options);
  ASSERT_TRUE(clean(good));
  std::mt19937_64 random(seed);
  for (int i = 0; i < n && !testing::Test::HasFailure(); ++i) {
    Damage damage;
    const std::string bad = damaged(good_bytes, random, damage);
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(i) + " kind " +
                 std::to_string(damage.kind) + " at " + std::to_string(damage.at) + " size " +
                 std::to_string(damage.size));
    const Opened opened = open_path(folder.write("bad.bin", bad), options);
    if (opened.error) {
      ++tally.refused;
      EXPECT_EQ(opened.error->code, ErrorCode::InvalidFormat);
      ASSERT_TRUE(opened.error->offset) << opened.all();
      EXPECT_LE(*opened.error->offset, bad.size()) << opened.all();
      EXPECT_FALSE(opened.error->file.empty() || opened.error->field.empty());
      continue;
    }
    for (const Finding& finding : opened.model->findings) {
      EXPECT_FALSE(finding.message.empty() || finding.file.empty()) << finding.rule;
      if (finding.offset) EXPECT_LE(*finding.offset, bad.size()) << finding.rule;
    }
    look_at_everything(*opened.model);
    ++(opened.model->findings.empty() ? tally.unnoticed : tally.reported);
    if (opened.model->findings.empty()) EXPECT_TRUE(same_outside(*good.model, *opened.model, damage));
  }
}

TEST(Mutation, TwentyThousandPlaces) {
  Tally gguf, safetensors_tally, apr;
  mutate(good_gguf(std::endian::little, 32), 1, 3500, false, gguf);
  mutate(good_gguf(std::endian::little, 64), 2, 3500, true, gguf);
  mutate(good_gguf(std::endian::big, 32), 3, 2000, true, gguf);
  mutate(good_safetensors(), 4, 5500, false, safetensors_tally);
  mutate(good_apr(), 5, 3500, false, apr);
  mutate(good_apr(), 6, 2000, true, apr);
  int n = 0;
  for (const auto& [name, t] : {std::pair{"gguf", gguf}, {"safetensors", safetensors_tally}, {"apr", apr}}) {
    std::printf("[ %-11s %5d refused, %5d reported, %5d without a finding and unharmed elsewhere ]\n", name, t.refused,
                t.reported, t.unnoticed);
    n += t.refused + t.reported + t.unnoticed;
    EXPECT_GT(t.reported, t.refused);
    EXPECT_GT(t.unnoticed, 0);  // or the comparison never ran
  }
  EXPECT_EQ(n, 20'000);
}

// APR has a checksum over everything: with it verified, no damage goes unnoticed.
TEST(Mutation, TheChecksumOfAprNoticesEverything) {
  Tally tally;
  mutate(good_apr(), 7, 1000, true, tally);
  EXPECT_EQ(tally.unnoticed, 0);
  EXPECT_EQ(tally.refused + tally.reported, 1000);
}

// The comparison must see a difference: a model compared with one that differs in a value, a shape or a byte.
TEST(Mutation, TheComparisonSeesDifferences) {
  const std::string bytes = good_gguf(std::endian::little, 32);
  const Opened good = open_bytes(bytes);
  const Damage nowhere{Damage::Flip, bytes.size() - 1, 1};
  ASSERT_TRUE(same_outside(*good.model, *open_bytes(bytes).model, nowhere));
  const auto changed = [&](std::uint64_t at) {
    std::string other = bytes;
    other[static_cast<std::size_t>(at)] ^= 1;
    return open_bytes(other);
  };
  const TensorInfo& tensor = good.model->tensors[0];
  const Opened value = changed(good.model->find_metadata("llama.block_count")->value_offset);
  const Opened name = changed(tensor.info_offset + 8), data = changed(tensor.offset + 5);
  for (const Opened* other : {&value, &name, &data}) EXPECT_FALSE(same_outside(*good.model, *other->model, nowhere));
  EXPECT_TRUE(same_outside(*good.model, *data.model, {Damage::Flip, tensor.offset + 5, 1}));
}

}  // namespace
}  // namespace apr::test
