// The SafeTensors reader against the rules of the safetensors crate, and where apr is stricter on purpose.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "apr/format/model_file.h"
#include "src/format/readers.h"
#include "tests/support/json_builder.h"

namespace apr::format {
namespace {

using test::safetensors;
using test::tensor_json;
using ::testing::HasSubstr;

class SafeTensors : public ::testing::Test {
 protected:
  ModelFile open(std::string_view bytes) {
    const std::string path = folder_.write("m" + std::to_string(++n_) + ".safetensors", bytes);
    return read_safetensors(std::make_unique<MappedFile>(path), path, {});
  }
  ModelFile open_header(const std::string& header, std::size_t data = 0) {
    return open(safetensors(header, std::string(data, '\x7F')));
  }
  test::TempFolder folder_;
  int n_ = 0;
};

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

TEST_F(SafeTensors, AGoodFileHasNoFindings) {
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\",\"k\\n\":\"v\\u00e9\"}," +
                             tensor_json("a", "F32", "[2,3]", 0, 24) + "," + tensor_json("b", "BF16", "[4]", 24, 32) +
                             "}";
  const std::string padding((8 - header.size() % 8) % 8 + 8, ' ');
  const ModelFile model = open_header(header + padding, 32);
  EXPECT_TRUE(model.findings.empty()) << all_rules(model);
  ASSERT_EQ(model.tensors.size(), 2U);
  const std::uint64_t data = 8 + header.size() + padding.size();
  EXPECT_EQ(model.data_offset, data);
  EXPECT_EQ(model.tensors[0].name, "a");
  EXPECT_EQ(model.tensors[0].type, TensorType::F32);
  EXPECT_EQ(model.tensors[0].raw_type_name, "F32");
  EXPECT_EQ(model.tensors[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(model.tensors[0].n_elements, 6U);
  EXPECT_EQ(model.tensors[0].offset, data);
  EXPECT_EQ(model.tensors[0].size_bytes, 24U);
  EXPECT_EQ(model.tensors[0].info_offset, 8 + header.find("\"a\""));
  EXPECT_EQ(model.tensors[0].info_size, tensor_json("a", "F32", "[2,3]", 0, 24).size());
  EXPECT_EQ(model.tensors[1].offset, data + 24);
  EXPECT_EQ(model.data(model.tensors[1]).size(), 8U);
  ASSERT_EQ(model.metadata.size(), 2U);
  EXPECT_EQ(model.metadata[0].value.as_string(), "pt");
  EXPECT_EQ(model.metadata[0].key_offset, 8 + header.find("\"format\""));
  EXPECT_EQ(model.metadata[0].value_offset, 8 + header.find("\"pt\""));
  EXPECT_EQ(model.metadata[1].key, "k\n");
  EXPECT_EQ(model.metadata[1].value.as_string(), "v\xC3\xA9");
  std::uint64_t covered = 0;
  for (const Region& region : model.regions) {
    EXPECT_EQ(region.offset, covered) << region.name;
    covered += region.size_bytes;
  }
  EXPECT_EQ(covered, model.total_bytes());
}

TEST_F(SafeTensors, EveryDtypeHasItsSize) {
  struct Row {
    const char* dtype;
    TensorType type;
    std::uint64_t bytes_of_eight;
  };
  for (const Row& row : std::vector<Row>{{"BOOL", TensorType::Bool, 8},
                                         {"F4", TensorType::F4, 4},
                                         {"F6_E2M3", TensorType::F6_E2M3, 6},
                                         {"F6_E3M2", TensorType::F6_E3M2, 6},
                                         {"U8", TensorType::U8, 8},
                                         {"I8", TensorType::I8, 8},
                                         {"F8_E5M2", TensorType::F8_E5M2, 8},
                                         {"F8_E4M3", TensorType::F8_E4M3, 8},
                                         {"F8_E8M0", TensorType::F8_E8M0, 8},
                                         {"F8_E4M3FNUZ", TensorType::F8_E4M3FNUZ, 8},
                                         {"F8_E5M2FNUZ", TensorType::F8_E5M2FNUZ, 8},
                                         {"I16", TensorType::I16, 16},
                                         {"U16", TensorType::U16, 16},
                                         {"F16", TensorType::F16, 16},
                                         {"BF16", TensorType::BF16, 16},
                                         {"I32", TensorType::I32, 32},
                                         {"U32", TensorType::U32, 32},
                                         {"F32", TensorType::F32, 32},
                                         {"C64", TensorType::C64, 64},
                                         {"F64", TensorType::F64, 64},
                                         {"I64", TensorType::I64, 64},
                                         {"U64", TensorType::U64, 64}}) {
    const ModelFile good =
        open_header("{" + tensor_json("t", row.dtype, "[2,4]", 0, row.bytes_of_eight) + "}", row.bytes_of_eight);
    EXPECT_FALSE(good.has_errors()) << row.dtype << " " << all_rules(good);
    ASSERT_EQ(good.tensors.size(), 1U);
    EXPECT_EQ(good.tensors[0].type, row.type) << row.dtype;
    EXPECT_TRUE(good.tensors[0].readable);
    const ModelFile bad = open_header("{" + tensor_json("t", row.dtype, "[2,4]", 0, row.bytes_of_eight + 1) + "}",
                                      row.bytes_of_eight + 1);
    ASSERT_NE(find(bad, "safetensors.tensor.size"), nullptr) << row.dtype;
    EXPECT_FALSE(bad.tensors[0].readable);
  }
}

/// What open() does with the bytes of a case.
enum class Expect { Refused, Error, Warning, Clean };
struct Case {
  const char* name;
  std::string header;
  std::size_t data;
  Expect expect;
  const char* rule;                 // of the finding; of a refusal: its field
  std::optional<std::uint64_t> at;  // file offset of the fault
};

std::string one(std::string_view shape, std::string_view offsets, std::string_view dtype = "F32") {
  return "{\"t\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + std::string(shape) +
         ",\"data_offsets\":" + std::string(offsets) + "}}";
}

std::string two(const std::string& a, const std::string& b) { return "{" + a + "," + b + "}"; }

std::vector<Case> cases() {
  const std::string ok = tensor_json("a", "U8", "[4]", 0, 4);
  const std::string deep(100'000, '[');
  std::string dims = "[1";
  for (int i = 0; i < 64; ++i) dims += ",1";
  return {
      {"S02 length 0", "", 0, Expect::Refused, "header_length", 0},
      {"S05 leading space", " {" + ok + "}", 4, Expect::Warning, "safetensors.header.begins_with_brace", 8},
      {"S05 leading newline", "\n{" + ok + "}", 4, Expect::Warning, "safetensors.header.begins_with_brace", 8},
      {"S06 trailing spaces", "{" + ok + "}    ", 4, Expect::Clean, "", {}},
      {"S06 trailing NULs", "{" + ok + "}" + std::string(4, '\0'), 4, Expect::Error, "safetensors.header.json",
       8 + ok.size() + 2},
      {"S07 key no UTF-8", "{\"\xFF\":{}}", 0, Expect::Error, "safetensors.header.json", 10},
      {"S08 truncated JSON", "{" + ok, 4, Expect::Error, "safetensors.header.json", 8 + 1 + ok.size()},
      {"S08 root array", "[1]", 0, Expect::Refused, "header", 8},
      {"S08 not JSON", "\"a\"", 0, Expect::Refused, "header", 8},
      {"S09 no tensors", "{}", 0, Expect::Warning, "safetensors.tensors.none", 8},
      {"S10 deep nesting", "{\"t\":" + deep, 0, Expect::Error, "safetensors.header.json", 8 + 5 + 95},
      {"S11 duplicate", two(ok, ok), 4, Expect::Error, "safetensors.tensor.unique", 8 + 1 + ok.size() + 1},
      {"S11 duplicate, escaped, other dtype", two(ok, tensor_json("\\u0061", "I16", "[2]", 4, 8)), 8, Expect::Error,
       "safetensors.tensor.unique", 8 + 1 + ok.size() + 1},
      {"S12 metadata twice", R"({"__metadata__":{},"__metadata__":{}})", 0, Expect::Error, "safetensors.metadata.once",
       8 + 19},
      {"S13 metadata number", R"({"__metadata__":{"a":1}})", 0, Expect::Error, "safetensors.metadata.string", 8 + 21},
      {"S13 metadata object", R"({"__metadata__":{"a":{"b":"c"}}})", 0, Expect::Error, "safetensors.metadata.string",
       8 + 21},
      {"metadata key twice", R"({"__metadata__":{"a":"1","a":"2"}})", 0, Expect::Error, "safetensors.metadata.unique",
       8 + 25},
      {"metadata is an array", R"({"__metadata__":[]})", 0, Expect::Error, "safetensors.metadata.object", 8 + 16},
      {"S14 metadata null", "{\"__metadata__\":null," + ok + "}", 4, Expect::Warning, "safetensors.metadata.object",
       8 + 16},
      {"S15 -2", one("[-2]", "[0,8]"), 8, Expect::Error, "safetensors.tensor.shape", 8 + 29},
      {"S15 2.0", one("[2.0]", "[0,8]"), 8, Expect::Error, "safetensors.tensor.shape", 8 + 29},
      {"S15 2e0", one("[2e0]", "[0,8]"), 8, Expect::Error, "safetensors.tensor.shape", 8 + 29},
      {"S15 string", one("[\"2\"]", "[0,8]"), 8, Expect::Error, "safetensors.tensor.shape", 8 + 29},
      {"S15 2^64+2", one("[18446744073709551618]", "[0,8]"), 8, Expect::Error, "safetensors.tensor.shape", 8 + 29},
      {"S15 2^63", one("[9223372036854775808]", "[0,8]"), 8, Expect::Error, "safetensors.tensor.shape", 8 + 29},
      {"shape no array", one("2", "[0,8]"), 8, Expect::Error, "safetensors.tensor.shape", 8 + 28},
      {"S16 2^32 x 2^32", one("[4294967296,4294967296]", "[0,0]"), 0, Expect::Error,
       "safetensors.tensor.shape_overflow", 8 + 28},
      {"S16 wraps to 4", one("[4194305,4194305,211106198978564]", "[0,16]"), 16, Expect::Error,
       "safetensors.tensor.shape_overflow", 8 + 28},
      {"S16 65536^4", one("[65536,65536,65536,65536]", "[0,0]"), 0, Expect::Error, "safetensors.tensor.shape_overflow",
       8 + 28},
      {"S16 bits overflow", one("[1152921504606846976]", "[0,0]"), 0, Expect::Error,
       "safetensors.tensor.shape_overflow", 8 + 28},
      {"S17 reversed", one("[2]", "[8,0]"), 8, Expect::Error, "safetensors.tensor.data_offsets", 8 + 47},
      {"S17 zero length", one("[2]", "[0,0]"), 0, Expect::Error, "safetensors.tensor.size", 8 + 47},
      {"offsets not two", one("[2]", "[0,8,8]"), 8, Expect::Error, "safetensors.tensor.data_offsets", 8 + 47},
      {"offsets negative", one("[2]", "[-8,0]"), 8, Expect::Error, "safetensors.tensor.data_offsets", 8 + 47},
      {"offsets floats", one("[2]", "[0.0,8.0]"), 8, Expect::Error, "safetensors.tensor.data_offsets", 8 + 47},
      {"S18 hole", two(ok, tensor_json("b", "U8", "[4]", 5, 9)), 9, Expect::Error, "safetensors.data.no_holes", {}},
      {"S18 hole at front", one("[1]", "[4,8]"), 8, Expect::Error, "safetensors.data.no_holes", {}},
      {"S19 overlap",
       two(ok, tensor_json("b", "U8", "[4]", 2, 6)),
       6,
       Expect::Error,
       "safetensors.data.no_overlap",
       {}},
      {"S19 same bytes",
       two(ok, tensor_json("b", "U8", "[4]", 0, 4)),
       4,
       Expect::Error,
       "safetensors.data.no_overlap",
       {}},
      {"S20 one byte short", one("[2]", "[0,8]"), 7, Expect::Error, "safetensors.tensor.inside_file", 8 + 47},
      {"S20 one byte long", one("[2]", "[0,8]"), 9, Expect::Error, "safetensors.data.ends_at_file_end",
       8 + one("[2]", "[0,8]").size() + 8},
      {"offset 2^64-1", one("[2]", "[18446744073709551607,18446744073709551615]"), 8, Expect::Error,
       "safetensors.tensor.inside_file", 8 + 47},
      {"S21 size", one("[2]", "[0,12]"), 12, Expect::Error, "safetensors.tensor.size", 8 + 47},
      {"S22 Q4_K", one("[2]", "[0,8]", "Q4_K"), 8, Expect::Error, "safetensors.tensor.dtype", 8 + 14},
      {"S22 f32", one("[2]", "[0,8]", "f32"), 8, Expect::Error, "safetensors.tensor.dtype", 8 + 14},
      {"dtype a number", R"({"t":{"dtype":3,"shape":[2],"data_offsets":[0,8]}})", 8, Expect::Error,
       "safetensors.tensor.dtype", 8 + 14},
      {"S23 F4 odd", one("[3]", "[0,2]", "F4"), 2, Expect::Error, "safetensors.tensor.whole_bytes", {}},
      {"F6 not whole bytes", one("[3]", "[0,3]", "F6_E2M3"), 3, Expect::Error, "safetensors.tensor.whole_bytes", {}},
      {"F6 rows not whole, total is", one("[2,2]", "[0,3]", "F6_E2M3"), 3, Expect::Clean, "", {}},
      {"S24 scalar", one("[]", "[0,4]"), 4, Expect::Clean, "", {}},
      {"S24 [0]", one("[0]", "[0,0]"), 0, Expect::Clean, "", {}},
      {"S24 [0, 2^62]", one("[0,4611686018427387904]", "[0,0]"), 0, Expect::Warning, "safetensors.tensor.shape_large",
       8 + 28},
      {"S25 no dtype", R"({"t":{"shape":[2],"data_offsets":[0,8]}})", 8, Expect::Error,
       "safetensors.tensor.field_missing", 9},
      {"no shape", R"({"t":{"dtype":"F32","data_offsets":[0,8]}})", 8, Expect::Error,
       "safetensors.tensor.field_missing", 9},
      {"no offsets", R"({"t":{"dtype":"F32","shape":[2]}})", 0, Expect::Error, "safetensors.tensor.field_missing", 9},
      {"field twice", R"({"t":{"dtype":"U8","dtype":"I8","shape":[2],"data_offsets":[0,2]}})", 2, Expect::Error,
       "safetensors.tensor.field_twice", 8 + 19},
      {"S26 extra field", R"({"t":{"x":[{}],"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2, Expect::Warning,
       "safetensors.tensor.field_unknown", 8 + 6},
      {"entry no object", R"({"t":[]})", 0, Expect::Error, "safetensors.tensor.object", 8 + 5},
      {"S27 empty name", "{" + tensor_json("", "U8", "[1]", 0, 1) + "}", 1, Expect::Warning, "safetensors.tensor.name",
       9},
      {"S27 upper case", "{" + tensor_json("__METADATA__", "U8", "[1]", 0, 1) + "}", 1, Expect::Warning,
       "safetensors.tensor.name", 9},
      {"S27 ANSI", "{" + tensor_json("\\u001b[31m", "U8", "[1]", 0, 1) + "}", 1, Expect::Warning,
       "safetensors.tensor.name", 9},
      {"S29 other order", two(tensor_json("b", "U8", "[4]", 4, 8), ok), 8, Expect::Clean, "", {}},
      {"empty tensors between", two(ok, tensor_json("b", "F32", "[0]", 4, 4)), 4, Expect::Clean, "", {}},
      {"S32 65 dims", one(dims + "]", "[0,4]"), 4, Expect::Warning, "safetensors.tensor.rank", 8 + 28},
  };
}

TEST_F(SafeTensors, CasesOfTheCorpus) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const bool pad = c.expect == Expect::Clean;  // to a multiple of 8, as every writer does
    const std::string padding(pad ? (8 - c.header.size() % 8) % 8 : 0, ' ');
    const std::string bytes = safetensors(c.header + padding, std::string(c.data, 'd'));
    if (c.expect == Expect::Refused) {
      try {
        (void)open(bytes);
        ADD_FAILURE() << "was opened";
      } catch (const Error& error) {
        EXPECT_EQ(error.code, ErrorCode::InvalidFormat);
        EXPECT_EQ(error.field, c.rule);
        EXPECT_EQ(error.offset, c.at);
        EXPECT_FALSE(error.file.empty());
        EXPECT_FALSE(error.expected.empty());
        EXPECT_FALSE(error.found.empty());
      }
      continue;
    }
    const ModelFile model = open(bytes);
    if (c.expect == Expect::Clean) {
      EXPECT_TRUE(model.findings.empty()) << all_rules(model);
      continue;
    }
    EXPECT_EQ(model.has_errors(), c.expect == Expect::Error) << all_rules(model);
    const Finding* finding = find(model, c.rule);
    ASSERT_NE(finding, nullptr) << all_rules(model);
    EXPECT_EQ(finding->severity, c.expect == Expect::Error ? Severity::Error : Severity::Warning);
    EXPECT_FALSE(finding->file.empty());
    ASSERT_TRUE(finding->offset.has_value());
    EXPECT_LE(*finding->offset, bytes.size());
    if (c.at) EXPECT_EQ(finding->offset, c.at);
    EXPECT_FALSE(finding->field.empty() && finding->tensor.empty());
  }
}

TEST_F(SafeTensors, S01TooShortForALength) {
  for (std::size_t n = 0; n < 8; ++n) EXPECT_THROW((void)open(std::string(n, '\0')), Error) << n;
}

TEST_F(SafeTensors, S03S04HeaderLength) {
  const std::string header = "{" + tensor_json("a", "U8", "[4]", 0, 4) + "}";
  const ModelFile longer = open(test::le<std::uint64_t>(header.size() + 100) + header + "1234");
  EXPECT_TRUE(longer.has_errors());
  ASSERT_NE(find(longer, "safetensors.header.inside_file"), nullptr);
  ASSERT_EQ(longer.tensors.size(), 1U) << "what can be read is listed";
  EXPECT_FALSE(longer.tensors[0].readable);
  EXPECT_THROW((void)open(test::le<std::uint64_t>(100'000'001) + header), Error);
  EXPECT_THROW((void)open(test::le<std::uint64_t>(~0ULL) + header), Error);
}

TEST_F(SafeTensors, S28S30AppendedZipAndOddAddress) {
  const std::string header =
      "{" + tensor_json("a", "U8", "[1]", 0, 1) + "," + tensor_json("b", "F32", "[1]", 1, 5) + "}";
  const ModelFile odd = open(safetensors(header + std::string((8 - header.size() % 8) % 8, ' '), "12345"));
  EXPECT_FALSE(odd.has_errors());
  ASSERT_NE(find(odd, "safetensors.tensor.aligned"), nullptr);
  EXPECT_EQ(find(odd, "safetensors.tensor.aligned")->tensor, "b");
  const ModelFile zip = open(safetensors(header, "12345PK\x03\x04 and so on"));
  ASSERT_NE(find(zip, "safetensors.data.ends_at_file_end"), nullptr);
  EXPECT_EQ(zip.regions.back().name, "trailing bytes");
  EXPECT_EQ(zip.regions.back().size_bytes, 14U);
}

TEST_F(SafeTensors, S33ALargeHeaderIsReadInBoundedTime) {
  std::string header = "{";
  for (int i = 0; i < 120'000; ++i)
    header += (i > 0 ? "," : "") + tensor_json("m." + std::to_string(i), "U8", "[0]", 0, 0);
  const ModelFile model = open_header(header + "}");
  EXPECT_EQ(model.tensors.size(), 120'000U);
  EXPECT_TRUE(model.findings.empty());
}

TEST_F(SafeTensors, TablesDoNotGrowBeyondTheirLimits) {
  std::string dims = "[1", entries;
  for (int i = 0; i < 100'000; ++i) dims += ",1";
  const ModelFile wide = open_header(one(dims + "]", "[0,4]"), 4);
  ASSERT_NE(find(wide, "safetensors.tensor.rank"), nullptr);
  EXPECT_EQ(find(wide, "safetensors.tensor.rank")->severity, Severity::Error);
  EXPECT_EQ(wide.tensors.at(0).shape.size(), 1024U);
  EXPECT_FALSE(wide.tensors.at(0).readable);
  for (int i = 0; i < 1'000'001; ++i) entries += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
  const ModelFile many =
      open_header("{\"__metadata__\":{" + entries + "}," + tensor_json("a", "U8", "[1]", 0, 1) + "}", 1);
  ASSERT_NE(find(many, "safetensors.metadata.count"), nullptr);
  EXPECT_EQ(many.metadata.size(), 1'000'000U);
  EXPECT_EQ(many.tensors.size(), 1U) << "what follows is still read";
  std::string bad = "{";
  for (int i = 0; i < 1000; ++i) bad += (i > 0 ? "," : "") + std::string("\"") + std::to_string(i) + "\":{}";
  EXPECT_LT(open_header(bad + "}").findings.size(), 200U);
}

TEST_F(SafeTensors, AnUnknownDtypeDoesNotHideTheRest) {
  const ModelFile model =
      open_header(two(tensor_json("a", "F3_E9", "[8]", 0, 3), tensor_json("b", "F32", "[1]", 3, 7)), 7);
  ASSERT_EQ(model.tensors.size(), 2U);
  EXPECT_FALSE(model.tensors[0].readable);
  EXPECT_EQ(model.tensors[0].type, TensorType::Unknown);
  EXPECT_EQ(model.tensors[0].raw_type_name, "F3_E9");
  EXPECT_TRUE(model.tensors[1].readable);
  EXPECT_THROW((void)model.data(model.tensors[0]), Error);
  EXPECT_EQ(model.data(model.tensors[1]).size(), 4U);
}

TEST_F(SafeTensors, EveryPrefixOpensWithErrorsOrIsRefused) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," + tensor_json("a.b", "F32", "[2]", 0, 8) + "," +
                       tensor_json("b", "U8", "[3]", 8, 11) + "}";
  header.resize((header.size() + 15) / 8 * 8, ' ');
  const std::string whole = safetensors(header, "datadatadat");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    try {
      const ModelFile model = open(std::string_view(whole).substr(0, n));
      EXPECT_TRUE(model.has_errors()) << n;
      for (const Finding& finding : model.findings) EXPECT_TRUE(finding.offset.has_value() && *finding.offset <= n);
    } catch (const Error& error) {
      EXPECT_EQ(error.code, ErrorCode::InvalidFormat) << n;
      EXPECT_TRUE(error.offset.has_value() && *error.offset <= n) << n;
    }
  }
  EXPECT_TRUE(open(whole).findings.empty());
}

TEST_F(SafeTensors, EveryByteOfTheHeaderMayBeWrong) {
  const std::string whole =
      safetensors("{\"__metadata__\":{\"k\":\"v\"}," + tensor_json("a", "F16", "[2,1]", 0, 4) + "}", "data");
  for (std::size_t i = 0; i < whole.size() - 4; ++i)
    for (const int byte : {0x00, 0x22, 0x2C, 0x39, 0x5B, 0x5C, 0x7B, 0x7D, 0x80, 0xFF}) {
      std::string bad = whole;
      bad[i] = static_cast<char>(byte);
      try {
        const ModelFile model = open(bad);
        for (const TensorInfo& tensor : model.tensors)
          if (tensor.readable) EXPECT_LE(model.data(tensor).size(), bad.size());
      } catch (const Error& error) {
        EXPECT_EQ(error.code, ErrorCode::InvalidFormat);
      }
    }
}

}  // namespace
}  // namespace apr::format
