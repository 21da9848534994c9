// The APR v2 reader: the header, its sections, the tensor index, the data and their checksums.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "apr/format/apr_header.h"
#include "apr/format/model_file.h"
#include "src/format/readers.h"
#include "tests/support/apr_builder.h"
#include "tests/support/json_builder.h"

namespace apr::format {
namespace {

using test::AprEntry;
using test::AprParts;

const Finding* find(const ModelFile& model, std::string_view rule) {
  for (const Finding& finding : model.findings)
    if (finding.rule == rule) return &finding;
  return nullptr;
}

std::string all_rules(const ModelFile& model) {
  std::string out;
  for (const Finding& finding : model.findings) out += finding.rule + "; ";
  return out;
}

class Apr : public ::testing::Test {
 protected:
  ModelFile open(std::string_view bytes, bool verify = true) {
    const std::string path = folder_.write("m" + std::to_string(++n_) + ".apr", bytes);
    return read_apr(std::make_unique<MappedFile>(path), path, {verify});
  }
  test::TempFolder folder_;
  int n_ = 0;
};

/// Two tensors, `a` f32 [2,3] and `b` f16 [5].
AprParts good() {
  AprParts parts;
  parts.metadata = R"({"model_type":"qwen2","hidden_size":64,"license":null,"rope_theta":1e6})";
  parts.entries = {{"a", 0, {2, 3}, 0, 24}, {"b", 1, {5}, 64, 10}};
  parts.data = AprParts::pad(std::string(24, 'a')) + std::string(10, 'b');
  return parts;
}

TEST_F(Apr, AGoodFileHasNoFindings) {
  const std::string bytes = good().file();
  const ModelFile model = open(bytes);
  EXPECT_TRUE(model.findings.empty()) << all_rules(model);
  EXPECT_EQ(model.version, "2.0");
  EXPECT_EQ(model.data_checksum_ok, true);
  ASSERT_EQ(model.tensors.size(), 2U);
  EXPECT_EQ(model.tensors[0].name, "a");
  EXPECT_EQ(model.tensors[0].type, TensorType::F32);
  EXPECT_EQ(model.tensors[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(model.tensors[0].n_elements, 6U);
  EXPECT_EQ(model.tensors[0].offset, model.data_offset);
  EXPECT_EQ(model.tensors[1].raw_type, 1U);
  EXPECT_EQ(model.tensors[1].offset, model.data_offset + 64);
  EXPECT_EQ(static_cast<char>(model.data(model.tensors[1])[9]), 'b');
  ASSERT_EQ(model.metadata.size(), 4U);
  EXPECT_EQ(model.metadata[1].key, "hidden_size");
  EXPECT_EQ(model.metadata[1].value.as_u64(), 64U);
  EXPECT_EQ(model.metadata[2].value.type(), ValueType::Null);
  EXPECT_EQ(model.metadata[3].value.as_f64(), 1e6);
  EXPECT_EQ(model.metadata[1].value_offset, bytes.find("64,"));
  std::uint64_t covered = 0;
  for (const Region& region : model.regions) {
    EXPECT_EQ(region.offset, covered) << region.name;
    covered += region.size_bytes;
  }
  EXPECT_EQ(covered, bytes.size());
}

TEST_F(Apr, TheChecksumOfTheDataIsVerifiedOnRequestOnly) {
  std::string bytes = good().file();
  EXPECT_EQ(open(bytes, false).data_checksum_ok, std::nullopt);
  bytes[bytes.size() - 70] ^= 1;
  const ModelFile unverified = open(bytes, false);
  EXPECT_FALSE(unverified.has_errors());
  const ModelFile verified = open(bytes);
  EXPECT_EQ(verified.data_checksum_ok, false);
  ASSERT_NE(find(verified, "apr.footer.crc"), nullptr);
  EXPECT_EQ(find(verified, "apr.footer.crc")->offset, bytes.size() - 4);
}

TEST_F(Apr, TheChecksumRunsOverFilesOfManyPieces) {
  AprParts parts;
  parts.entries = {{"a", 7, {40 << 20}, 0, 40 << 20}};
  parts.data.assign(40 << 20, 'x');
  std::string bytes = parts.file();
  EXPECT_EQ(open(bytes).data_checksum_ok, true);
  bytes[1000] ^= 1;
  EXPECT_EQ(open(bytes).data_checksum_ok, false);
}

TEST_F(Apr, EveryBitOfTheFileIsCoveredByAChecksum) {
  const std::string whole = good().file();
  for (std::size_t i = 4; i < whole.size(); ++i) {
    std::string bad = whole;
    bad[i] ^= static_cast<char>(1 << (i % 8));
    EXPECT_TRUE(open(bad).has_errors()) << i;
    if (i < kAprHeaderBytes) EXPECT_TRUE(open(bad, false).has_errors()) << i;
  }
}

TEST_F(Apr, EveryPrefixOpensWithErrorsOrIsRefused) {
  const std::string whole = good().file();
  for (std::size_t n = 4; n < whole.size(); ++n) {
    SCOPED_TRACE(n);
    try {
      const ModelFile model = open(std::string_view(whole).substr(0, n), false);
      EXPECT_TRUE(model.has_errors());
      for (const Finding& finding : model.findings) {
        EXPECT_TRUE(finding.offset.has_value() && *finding.offset <= n) << finding.rule;
        EXPECT_FALSE(finding.file.empty());
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::InvalidFormat);
      EXPECT_LT(n, kAprHeaderBytes);
      EXPECT_EQ(error.offset, n);
    }
  }
}

TEST_F(Apr, EveryByteMayHaveAnyValue) {
  const std::string whole = good().file();
  for (std::size_t i = 4; i < whole.size() - 132; ++i)
    for (const int byte : {0x00, 0x01, 0x40, 0x7F, 0x80, 0xFF}) {
      std::string bad = whole;
      bad[i] = static_cast<char>(byte);
      const ModelFile model = open(bad, false);
      for (const TensorInfo& tensor : model.tensors)
        if (tensor.readable) EXPECT_LE(model.data(tensor).size(), bad.size());
    }
}

struct Case {
  const char* name;
  AprParts parts;
  Severity severity;
  const char* rule;
  std::optional<std::uint64_t> at;
};

/// `good()` with one change.
template <class Change>
AprParts with(const Change& change) {
  AprParts parts = good();
  change(parts);
  return parts;
}

constexpr std::uint64_t kIndex = 192, kData = 320;  // of good(): 72 bytes of metadata, 66 of entries

std::vector<Case> header_cases() {
  using P = AprParts;
  return {
      {"A04 major 1", with([](P& p) { p.major = 1; }), Severity::Error, "apr.header.version", 4},
      {"minor 1", with([](P& p) { p.minor = 1; }), Severity::Warning, "apr.header.version", 5},
      {"reserved", with([](P& p) { p.reserved[3] = 1; }), Severity::Warning, "apr.header.reserved", 44},
      {"unknown flag", with([](P& p) { p.flags |= 0x4000; }), Severity::Warning, "apr.flags.unknown", 6},
      {"column major", with([](P& p) { p.flags |= 0x0800; }), Severity::Error, "apr.flags.layout", 6},
      {"no layout", with([](P& p) { p.flags = 0; }), Severity::Info, "apr.flags.layout", 6},
      {"encrypted", with([](P& p) { p.flags |= 4; }), Severity::Error, "apr.encrypted", 6},
      {"signed", with([](P& p) { p.flags |= 8; }), Severity::Info, "apr.flags.signed", 6},
      {"sharded", with([](P& p) { p.flags |= 0x10; }), Severity::Warning, "apr.sharded", 6},
      {"sharding", with([](P& p) { p.metadata = R"({"sharding":{"shard_count":4}})"; }), Severity::Warning,
       "apr.sharded", 64 + 12},
      {"quantized", with([](P& p) { p.flags |= 0x20; }), Severity::Info, "apr.flags.quantized", 6},
      {"A06 has_vocab", with([](P& p) { p.flags |= 0x200; }), Severity::Warning, "apr.flags.has_vocab", 6},
      {"A06 no has_vocab", with([](P& p) { p.metadata = R"({"tokenizer.vocabulary":["a"]})"; }), Severity::Warning,
       "apr.flags.has_vocab", 6},
      {"LZ4 bit, raw", with([](P& p) { p.flags |= 1; }), Severity::Warning, "apr.flags.compressed", 6},
      {"ZSTD bit, not raw", with([](P& p) { p.flags |= 2, p.metadata = "\x28\xB5\x2F\xFD"; }), Severity::Error,
       "apr.compressed", 6},
      {"metadata offset 0", with([](P& p) { p.metadata_offset = 0; }), Severity::Error, "apr.sections.order", 12},
      {"metadata offset 2^64-2", with([](P& p) { p.metadata_offset = -2; }), Severity::Error,
       "apr.sections.inside_file", 12},
      {"metadata size", with([](P& p) { p.metadata_size = 0xFFFFFFFF; }), Severity::Error, "apr.metadata.inside_file",
       20},
      {"metadata size in the index", with([](P& p) { p.metadata_size = 129; }), Severity::Error, "apr.sections.order",
       24},
      {"index before metadata", with([](P& p) { p.index_offset = 64; }), Severity::Error, "apr.sections.order", 24},
      {"index unaligned", with([](P& p) { p.index_offset = kIndex + 1; }), Severity::Error, "apr.sections.aligned", 24},
      {"data before index", with([](P& p) { p.data_offset = 128; }), Severity::Error, "apr.sections.order", 32},
      {"data unaligned", with([](P& p) { p.data_offset = kData + 8; }), Severity::Error, "apr.sections.aligned", 32},
      {"data 2^64-64", with([](P& p) { p.data_offset = -64; }), Severity::Error, "apr.sections.inside_file", 32},
      {"missing index", with([](P& p) { p.index_offset = kData; }), Severity::Error, "apr.index.count", 8},
      {"count too many", with([](P& p) { p.count = 3; }), Severity::Error, "apr.index.sorted", kIndex + 66},
      {"count 2^32-1", with([](P& p) { p.count = 0xFFFFFFFF; }), Severity::Error, "apr.index.count", 8},
      {"count too few", with([](P& p) { p.count = 1; }), Severity::Error, "apr.index.extra", kIndex + 37},
      {"no tensors", with([](P& p) { p.entries.clear(), p.data.clear(); }), Severity::Warning, "apr.tensors.none", 8},
      {"extra index bytes",
       with([](P& p) { p.index_extra = std::string(70, '\0'); }),
       Severity::Error,
       "apr.index.extra",
       {}},
      {"nonzero index padding", with([](P& p) { p.index_extra = "x"; }), Severity::Error, "apr.index.extra", {}},
  };
}

std::vector<Case> metadata_cases() {
  const auto json = [](std::string text) { return with([&text](AprParts& p) { p.metadata = std::move(text); }); };
  return {
      {"empty", json(""), Severity::Error, "apr.metadata.json", 64},
      {"no object", json("[1]"), Severity::Error, "apr.metadata.object", 64},
      {"broken", json("{\"a\":1,}"), Severity::Error, "apr.metadata.json", 64 + 7},
      {"NaN", json("{\"a\":NaN}"), Severity::Error, "apr.metadata.json", 64 + 5},
      {"not UTF-8", json("{\"a\":\"\xC0\x80\"}"), Severity::Error, "apr.metadata.json", 64 + 6},
      {"text behind", json("{} {}"), Severity::Error, "apr.metadata.json", 64 + 3},
      {"deep", json("{\"a\":" + std::string(5000, '[')), Severity::Error, "apr.metadata.json", 64 + 5 + 95},
      {"duplicate", json("{\"a\":1,\"a\":2}"), Severity::Warning, "apr.metadata.duplicate", 64 + 7},
      {"alias", json("{\"hidden_size\":1,\"n_embd\":1}"), Severity::Warning, "apr.metadata.alias", 64 + 17},
      {"alias eps", json("{\"norm_eps\":1,\"rms_norm_eps\":1}"), Severity::Warning, "apr.metadata.alias", 64 + 14},
  };
}

std::vector<Case> index_cases() {
  using P = AprParts;
  const auto first = [](AprEntry entry) { return with([&entry](P& p) { p.entries[0] = std::move(entry); }); };
  return {
      {"A05 unsorted", with([](P& p) { std::swap(p.entries[0], p.entries[1]); }), Severity::Error, "apr.index.sorted",
       kIndex + 29 + 0},
      {"A05 duplicate", with([](P& p) { p.entries[1].name = "a"; }), Severity::Error, "apr.index.unique", kIndex + 37},
      {"A05 beyond the file", first({"a", 0, {2, 3}, 1 << 20, 24}), Severity::Error, "apr.tensor.inside_file",
       kIndex + 21},
      {"A05 data that end behind the file", first({"a", 0, {1000}, 0, 4000}), Severity::Error, "apr.tensor.inside_file",
       kIndex + 13},
      {"offset 2^64-64", first({"a", 0, {2, 3}, ~63ULL, 24}), Severity::Error, "apr.tensor.inside_file", kIndex + 21},
      {"size 2^64-1", first({"a", 0, {2, 3}, 0, ~0ULL}), Severity::Error, "apr.tensor.size", kIndex + 29},
      {"unaligned", first({"a", 0, {2, 3}, 8, 24}), Severity::Error, "apr.tensor.aligned", kIndex + 21},
      {"size", first({"a", 0, {2, 3}, 0, 20}), Severity::Error, "apr.tensor.size", kIndex + 29},
      {"overlap", with([](P& p) { p.entries[1].offset = 0; }), Severity::Error, "apr.data.no_overlap", kData},
      {"gap", with([](P& p) { p.entries[1].offset = 128, p.data.insert(64, 64, '\0'); }), Severity::Warning,
       "apr.data.gap", kData + 24},
      {"name no UTF-8", first({"\xFF", 0, {2, 3}, 0, 24}), Severity::Error, "apr.tensor.name_utf8", kIndex},
      {"name empty", first({"", 0, {2, 3}, 0, 24}), Severity::Warning, "apr.tensor.name", kIndex},
      {"name ANSI", first({"\x1b[1m", 0, {2, 3}, 0, 24}), Severity::Warning, "apr.tensor.name", kIndex},
      {"name 300 bytes", first({std::string(300, 'a'), 0, {2, 3}, 0, 24}), Severity::Warning, "apr.tensor.name_length",
       kIndex},
      {"ndim 9", first({"a", 0, {1, 1, 1, 1, 1, 1, 1, 2, 3}, 0, 24}), Severity::Error, "apr.tensor.ndim", kIndex + 4},
      {"ndim 255", first({"a", 0, std::vector<std::uint64_t>(255, 1), 0, 4}), Severity::Error, "apr.tensor.ndim",
       kIndex + 4},
      {"product wraps to 0", first({"a", 0, {1ULL << 32, 1ULL << 32}, 0, 0}), Severity::Error,
       "apr.tensor.shape_overflow", kIndex + 5},
      {"dim 2^63", first({"a", 0, {1ULL << 63}, 0, 0}), Severity::Error, "apr.tensor.shape_overflow", kIndex + 5},
      {"bytes overflow", first({"a", 0, {1ULL << 62}, 0, 0}), Severity::Error, "apr.tensor.size", {}},
      {"zero dim", first({"a", 0, {0, 3}, 0, 0}), Severity::Warning, "apr.tensor.empty", kIndex + 5},
      {"unknown dtype", first({"a", 99, {2, 3}, 0, 24}), Severity::Error, "apr.tensor.dtype", kIndex + 3},
      {"dtype 13", first({"a", 13, {256}, 0, 176}), Severity::Error, "apr.tensor.dtype", kIndex + 3},
      {"A07 dtype 10", first({"a", 10, {256}, 0, 84}), Severity::Error, "apr.tensor.dtype", kIndex + 3},
      {"dtype 3", first({"a", 3, {3}, 0, 24}), Severity::Warning, "apr.tensor.dtype_ambiguous", kIndex + 3},
      {"dtype 3 with the size of Q4_1", first({"a", 3, {32}, 0, 20}), Severity::Error, "apr.tensor.size", {}},
      {"dtype 8", first({"a", 8, {32}, 0, 18}), Severity::Warning, "apr.tensor.dtype_ambiguous", kIndex + 3},
      {"dtype 9", first({"a", 9, {20}, 0, 24}), Severity::Warning, "apr.tensor.dtype_ambiguous", kIndex + 3},
  };
}

TEST_F(Apr, Cases) {
  for (const auto& list : {header_cases(), metadata_cases(), index_cases()})
    for (const Case& c : list) {
      SCOPED_TRACE(c.name);
      const ModelFile model = open(c.parts.file(), false);
      const Finding* finding = find(model, c.rule);
      ASSERT_NE(finding, nullptr) << all_rules(model);
      EXPECT_EQ(finding->severity, c.severity);
      EXPECT_EQ(model.has_errors(), c.severity == Severity::Error) << all_rules(model);
      if (c.at) EXPECT_EQ(finding->offset, c.at);
      EXPECT_FALSE(finding->field.empty());
      EXPECT_FALSE(finding->file.empty());
    }
}

TEST_F(Apr, TheTableDoesNotGrowBeyondItsLimit) {
  AprParts parts;
  parts.entries.assign(1, {"", 0, {0}, 0, 0});
  const std::string entry = parts.entries[0].bytes();
  for (int i = 0; i < 1'000'100; ++i) parts.index_extra += entry;
  parts.count = 1'000'101;
  const ModelFile model = open(parts.file(), false);
  EXPECT_EQ(model.tensors.size(), 1'000'000U);
  ASSERT_NE(find(model, "apr.index.count"), nullptr);
}

TEST_F(Apr, A01MagicAloneIsNotValid) {
  EXPECT_TRUE(open(std::string("APR\0", 4) + std::string(200, '\0')).has_errors());
  EXPECT_THROW((void)open(std::string("APR\0", 4) + std::string(30, '\0')), Error);
}

TEST_F(Apr, A03WrongOrMissingChecksum) {
  const std::string whole = good().file();
  std::string bad = whole;
  bad[40] ^= 1;
  const ModelFile wrong = open(bad, false);
  ASSERT_NE(find(wrong, "apr.header.crc"), nullptr);
  EXPECT_EQ(find(wrong, "apr.header.crc")->offset, 40U);
  EXPECT_EQ(wrong.tensors.size(), 2U) << "what can be read is shown";
  const ModelFile missing = open(whole.substr(0, whole.size() - 4), false);
  ASSERT_NE(find(missing, "apr.footer.missing"), nullptr);
}

TEST_F(Apr, TrailingBytesAndDirtyPaddingAreShown) {
  const std::string whole = good().file();
  const ModelFile longer = open(whole + "PK\x03\x04");
  EXPECT_FALSE(longer.has_errors());
  ASSERT_NE(find(longer, "apr.data.trailing"), nullptr);
  EXPECT_EQ(find(longer, "apr.data.trailing")->offset, whole.size());
  EXPECT_EQ(longer.regions.back().name, "trailing bytes");
  AprParts parts = good();
  parts.data[30] = 'x';
  const ModelFile dirty = open(parts.file());
  ASSERT_NE(find(dirty, "apr.padding"), nullptr);
  EXPECT_EQ(find(dirty, "apr.padding")->offset, kData + 30);
  EXPECT_EQ(dirty.data_checksum_ok, true);
}

TEST_F(Apr, OfEqualKeysTheLastOneCounts) {
  AprParts parts = good();
  parts.metadata = R"({"a":1,"b":2,"a":3})";
  const ModelFile model = open(parts.file());
  ASSERT_EQ(model.metadata.size(), 2U);
  EXPECT_EQ(model.find_metadata("a")->value.as_u64(), 3U);
}

TEST_F(Apr, DataOrderNeedNotBeIndexOrder) {
  AprParts parts = good();
  std::swap(parts.entries[0].name, parts.entries[1].name);
  std::swap(parts.entries[0], parts.entries[1]);
  const ModelFile model = open(parts.file());
  EXPECT_TRUE(model.findings.empty()) << all_rules(model);
  EXPECT_GT(model.tensors[0].offset, model.tensors[1].offset);
}

TEST_F(Apr, ATensorWithAnUnknownDtypeDoesNotHideTheRest) {
  AprParts parts = good();
  parts.entries[0].dtype = 200;
  const ModelFile model = open(parts.file());
  ASSERT_EQ(model.tensors.size(), 2U);
  EXPECT_FALSE(model.tensors[0].readable);
  EXPECT_EQ(model.tensors[0].raw_type, 200U);
  EXPECT_TRUE(model.tensors[1].readable);
}

TEST(AprSizes, FollowTheRowsAndBlocks) {
  const auto bytes = [](TensorType type, std::vector<std::int64_t> shape) { return apr_stored_bytes(type, shape); };
  EXPECT_EQ(bytes(TensorType::F32, {}), 4U);
  EXPECT_EQ(bytes(TensorType::F16, {3, 5}), 30U);
  EXPECT_EQ(bytes(TensorType::Q4_K, {3, 256}), 3U * 144);
  EXPECT_EQ(bytes(TensorType::Q4_K, {3, 257}), 3U * 2 * 144) << "each row is padded to whole blocks";
  EXPECT_EQ(bytes(TensorType::Q6_K, {2, 3, 10}), 6U * 210);
  EXPECT_EQ(bytes(TensorType::AprQ4, {3, 11}), 2U * 18) << "the flat data are padded, not the rows";
  EXPECT_EQ(bytes(TensorType::AprQ8, {3, 11}), 4U + 33);
  EXPECT_EQ(bytes(TensorType::F32, {1LL << 32, 1LL << 31}), std::nullopt);
  EXPECT_EQ(bytes(TensorType::Q4_K, {1LL << 61, 1LL << 2}), std::nullopt);
}

TEST(AprTables, EveryAliasHasOneCanonicalName) {
  for (const AprAlias& row : apr_metadata_aliases()) {
    EXPECT_EQ(apr_canonical_key(row.alias), row.canonical);
    EXPECT_EQ(apr_canonical_key(row.canonical), row.canonical) << "a canonical name is nobody's alias";
  }
}

TEST(AprTables, FieldsCoverTheHeader) {
  std::uint32_t covered = 0;
  for (const AprHeaderField& field : apr_header_fields()) {
    EXPECT_EQ(field.offset, covered) << field.name;
    covered += field.size;
  }
  EXPECT_EQ(covered, kAprHeaderBytes);
  EXPECT_EQ(apr_flag_names(0x0421), (std::vector<std::string_view>{"LZ4_COMPRESSED", "QUANTIZED", "LAYOUT_ROW_MAJOR"}));
}

}  // namespace
}  // namespace apr::format
