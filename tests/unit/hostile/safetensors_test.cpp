// Malformed SafeTensors: S01 to S35.
#include "tests/support/gguf_builder.h"
#include "tests/unit/hostile/corpus.h"

namespace apr::test {
namespace {

using namespace std::string_literals;

struct Row {
  const char* id;
  const char* variant;
  std::string header;
  std::size_t data_bytes;
  Outcome outcome;
  const char* rule;
  std::uint64_t offset;
  const char* field;
  const char* found = "";
};

Case as_case(const Row& row) {
  return {row.id, row.variant, [row](const TempFolder&) {
            // A sound header is padded to a multiple of 8, as every writer does.
            const std::string padding(row.outcome == Outcome::Clean ? (8 - row.header.size() % 8) % 8 : 0, ' ');
            const std::string bytes = safetensors(row.header + padding, std::string(row.data_bytes, 'd'));
            switch (row.outcome) {
              case Outcome::Refused: return refused(bytes, row.rule, row.offset, row.field, row.found);
              case Outcome::Error: return error(bytes, row.rule, row.offset, row.field, row.found);
              case Outcome::Warning: return warning(bytes, row.rule, row.offset, row.field, row.found);
              case Outcome::Clean: break;
            }
            return clean(bytes);
          }};
}

/// One tensor `t`. Its fields stand at 8 + kDtype, kShape and, for a shape of three characters, kOffsets.
std::string one(std::string_view shape, std::string_view offsets, std::string_view dtype = "F32") {
  return "{\"t\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + std::string(shape) +
         ",\"data_offsets\":" + std::string(offsets) + "}}";
}
constexpr std::uint64_t kName = 8 + 1, kDtype = 8 + 14, kShape = 8 + 28, kFirstDim = 8 + 29, kOffsets = 8 + 47;
std::string two(const std::string& a, const std::string& b) { return "{" + a + "," + b + "}"; }
const std::string kSound = tensor_json("a", "U8", "[4]", 0, 4);
const std::uint64_t kBehindSound = 8 + 1 + kSound.size();  // the comma, or the closing brace

constexpr auto kRefused = Outcome::Refused;
constexpr auto kError = Outcome::Error;
constexpr auto kWarning = Outcome::Warning;
constexpr auto kClean = Outcome::Clean;
constexpr const char* kJson = "safetensors.header.json";
constexpr const char* kBadShape = "safetensors.tensor.shape";
constexpr const char* kOverflow = "safetensors.tensor.shape_overflow";
constexpr const char* kBadOffsets = "safetensors.tensor.data_offsets";
constexpr const char* kBadName = "safetensors.tensor.name";

Case raw(const char* id, const char* variant, std::string bytes, const char* message, std::uint64_t offset,
         const char* field, const char* found = "") {
  return {id, variant, [=](const TempFolder&) { return refused(bytes, message, offset, field, found); }};
}

void add_lengths(Cases& all) {
  const char* no_model = "not a model file that apr reads";
  all.push_back(raw("S01", "0_bytes", "", no_model, 0, "magic", "0 bytes"));
  all.push_back(raw("S01", "7_bytes", std::string("\x10\0\0\0\0\0\0", 7), no_model, 0, "magic", "7 unknown bytes"));
  all.push_back(raw("S02", "", le<std::uint64_t>(0) + std::string(24, '\1'), no_model, 0, "magic"));
  all.push_back({"S03", "", [](const TempFolder&) {
                   const std::string header = "{" + kSound + "}";
                   return error(le<std::uint64_t>(header.size() + 100) + header + "1234",
                                "safetensors.header.inside_file", 0, "header_length",
                                std::to_string(header.size() + 100));
                 }});
  const char* limit = "the header length is over the limit of the format";
  for (const auto& [variant, length] : {std::pair<const char*, std::uint64_t>{"100000001", 100'000'001},
                                        {"2_64_minus_1", ~0ULL},
                                        {"2_63", 1ULL << 63},
                                        {"2_64_minus_8", ~7ULL}})  // plus 8 it wraps to 0
    all.push_back(raw("S04", variant, le<std::uint64_t>(length) + "{" + kSound + "}dddd", limit, 0, "header_length"));
}

void add_json(Cases& all) {
  const std::string ok = "{" + kSound + "}";
  const Row rows[] = {
      {"S05", "space", " " + ok, 4, kWarning, "safetensors.header.begins_with_brace", 8, "header", "0x20"},
      {"S05", "newline", "\n" + ok, 4, kWarning, "safetensors.header.begins_with_brace", 8, "header", "0x0A"},
      {"S06", "spaces", ok + "    ", 4, kClean, "", 0, ""},
      {"S06", "nuls", ok + std::string(4, '\0'), 4, kError, kJson, kBehindSound + 1, "header", "0x00"},
      {"S07", "", "{\"\xFF\":{}}", 0, kError, kJson, 10, "header", "0xFF"},
      {"S08", "truncated", "{" + kSound, 4, kError, kJson, kBehindSound, "header", "the end of the text"},
      {"S08", "root_array", "[1]", 0, kRefused, "the header is no JSON object", 8, "header", "0x5B"},
      {"S09", "", "{}", 0, kWarning, "safetensors.tensors.none", 8, "header"},
      {"S10", "arrays", "{\"t\":" + std::string(100'000, '['), 0, kError, kJson, 8 + 5 + 95, "header", "one more"},
      {"S11", "same", two(kSound, kSound), 4, kError, "safetensors.tensor.unique", kBehindSound + 1, "name",
       "first at offset 9"},
      {"S11", "other_dtype", two(kSound, tensor_json("a", "I16", "[2]", 4, 8)), 8, kError, "safetensors.tensor.unique",
       kBehindSound + 1, "name"},
      {"S11", "escaped", two(kSound, tensor_json("\\u0061", "U8", "[4]", 4, 8)), 8, kError, "safetensors.tensor.unique",
       kBehindSound + 1, "name"},
      {"S12", "", R"({"__metadata__":{},"__metadata__":{}})", 0, kError, "safetensors.metadata.once", 8 + 19,
       "__metadata__"},
      {"S13", "number", R"({"__metadata__":{"a":1}})", 0, kError, "safetensors.metadata.string", 8 + 21,
       "__metadata__[\"a\"]", "u64"},
      {"S13", "object", R"({"__metadata__":{"a":{"b":"c"}}})", 0, kError, "safetensors.metadata.string", 8 + 21,
       "__metadata__[\"a\"]", "object"},
      {"S14", "", "{\"__metadata__\":null," + kSound + "}", 4, kWarning, "safetensors.metadata.object", 8 + 16,
       "__metadata__"},
      {"S25", "", R"({"t":{"shape":[2],"data_offsets":[0,8]}})", 8, kError, "safetensors.tensor.field_missing", 9,
       "dtype"},
      {"S26", "", R"({"t":{"x":[{}],"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2, kWarning,
       "safetensors.tensor.field_unknown", 8 + 6, "x"},
      {"S27", "empty", "{" + tensor_json("", "U8", "[1]", 0, 1) + "}", 1, kWarning, kBadName, kName, "name"},
      {"S27", "upper_case", "{" + tensor_json("__METADATA__", "U8", "[1]", 0, 1) + "}", 1, kWarning, kBadName, kName,
       "name"},
      {"S27", "ansi", "{" + tensor_json("\\u001b[31m", "U8", "[1]", 0, 1) + "}", 1, kWarning, kBadName, kName, "name"},
      {"X11", "lone_surrogate", "{\"\\ud800\":{}}", 0, kError, kJson, 8 + 2, "header", "a high surrogate alone"},
      {"X11", "control_in_string", "{\"a\nb\":{}}", 0, kError, kJson, 8 + 3, "header", "0x0A"},
      {"X11", "text_behind", ok + "{}", 4, kError, kJson, kBehindSound + 1, "header", "'{'"},
  };
  for (const Row& row : rows) all.push_back(as_case(row));
}

void add_shapes(Cases& all) {
  std::string dims = "[1";
  for (int i = 0; i < 64; ++i) dims += ",1";
  const Row rows[] = {
      {"S15", "minus_2", one("[-2]", "[0,8]"), 8, kError, kBadShape, kFirstDim, "shape[0]", "-2"},
      {"S15", "2_0", one("[2.0]", "[0,8]"), 8, kError, kBadShape, kFirstDim, "shape[0]", "2.0"},
      {"S15", "2e0", one("[2e0]", "[0,8]"), 8, kError, kBadShape, kFirstDim, "shape[0]", "2e0"},
      {"S15", "string", one("[\"2\"]", "[0,8]"), 8, kError, kBadShape, kFirstDim, "shape[0]"},
      {"S15", "2_64_plus_2", one("[18446744073709551618]", "[0,8]"), 8, kError, kBadShape, kFirstDim, "shape[0]",
       "18446744073709551618"},
      {"S16", "wraps_to_0", one("[4294967296,4294967296]", "[0,0]"), 0, kError, kOverflow, kShape, "shape"},
      {"S16", "wraps_to_4", one("[4194305,4194305,211106198978564]", "[0,16]"), 16, kError, kOverflow, kShape, "shape"},
      {"S16", "four_wrap_to_0", one("[65536,65536,65536,65536]", "[0,0]"), 0, kError, kOverflow, kShape, "shape"},
      {"S16", "2_63", one("[9223372036854775808]", "[0,8]"), 8, kError, kBadShape, kFirstDim, "shape[0]",
       "9223372036854775808"},
      {"S16", "bits_wrap_to_0", one("[576460752303423488]", "[0,0]"), 0, kError, kOverflow, kShape, "shape"},
      {"S16", "bits_wrap_to_8", one("[1152921504606846977]", "[0,1]", "U16"), 1, kError, kOverflow, kShape, "shape"},
      {"S21", "", one("[2]", "[0,12]"), 12, kError, "safetensors.tensor.size", kOffsets, "data_offsets"},
      {"S22", "q4_k", one("[2]", "[0,8]", "Q4_K"), 8, kError, "safetensors.tensor.dtype", kDtype, "dtype", "Q4_K"},
      {"S22", "f32", one("[2]", "[0,8]", "f32"), 8, kError, "safetensors.tensor.dtype", kDtype, "dtype", "f32"},
      {"S23", "", one("[3]", "[0,2]", "F4"), 2, kError, "safetensors.tensor.whole_bytes", kShape - 1, "shape",
       "3 elements of 4 bits"},
      {"S24", "scalar", one("[]", "[0,4]"), 4, kClean, "", 0, ""},
      {"S24", "0", one("[0]", "[0,0]"), 0, kClean, "", 0, ""},
      {"S24", "0_and_2_62", one("[0,4611686018427387904]", "[0,0]"), 0, kWarning, "safetensors.tensor.shape_large",
       kShape, "shape"},
      {"S32", "", one(dims + "]", "[0,4]"), 4, kWarning, "safetensors.tensor.rank", kShape, "shape", "65"},
      {"X12", "2_62_times_4", one("[4611686018427387904,4]", "[0,0]"), 0, kError, kOverflow, kShape, "shape"},
      {"X12", "zero_last", one("[4611686018427387904,4611686018427387904,0]", "[0,0]"), 0, kError, kOverflow, kShape,
       "shape"},
      {"X12", "f64_bits_wrap_to_64", one("[288230376151711745]", "[0,8]", "F64"), 8, kError, kOverflow, kShape,
       "shape"},
  };
  for (const Row& row : rows) all.push_back(as_case(row));
}

}  // namespace

Cases safetensors_header_cases() {
  Cases all;
  add_lengths(all);
  add_json(all);
  add_shapes(all);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Header, SafeTensorsCorpus, testing::ValuesIn(safetensors_header_cases()), case_name);

namespace {

void add_ranges(Cases& all) {
  const std::string at_2 = tensor_json("b", "U8", "[4]", 2, 6), at_0 = tensor_json("b", "U8", "[4]", 0, 4);
  const std::uint64_t with_b = 8 + two(kSound, at_2).size();  // where the data begin
  const std::uint64_t with_t = 8 + one("[2]", "[0,8]").size();
  const Row rows[] = {
      {"S17", "reversed", one("[2]", "[8,0]"), 8, kError, kBadOffsets, kOffsets, "data_offsets"},
      {"S17", "zero_length", one("[2]", "[0,0]"), 0, kError, "safetensors.tensor.size", kOffsets, "data_offsets"},
      {"S18", "between", two(kSound, tensor_json("b", "U8", "[4]", 5, 9)), 9, kError, "safetensors.data.no_holes",
       with_b + 4, "data_offsets", "a hole of 1 bytes"},
      {"S18", "front", one("[1]", "[4,8]"), 8, kError, "safetensors.data.no_holes", with_t, "data_offsets"},
      {"S19", "partial", two(kSound, at_2), 6, kError, "safetensors.data.no_overlap", with_b + 2, "data_offsets"},
      {"S19", "same_bytes", two(kSound, at_0), 4, kError, "safetensors.data.no_overlap", with_b, "data_offsets"},
      {"S20", "short", one("[2]", "[0,8]"), 7, kError, "safetensors.tensor.inside_file", kOffsets, "data_offsets", "8"},
      {"S20", "long", one("[2]", "[0,8]"), 9, kError, "safetensors.data.ends_at_file_end", with_t + 8, "data_offsets",
       "1 bytes more"},
      {"S29", "", two(tensor_json("b", "U8", "[4]", 4, 8), kSound), 8, kClean, "", 0, ""},
      {"X13", "end_at_2_64_minus_1", one("[2]", "[18446744073709551607,18446744073709551615]"), 8, kError,
       "safetensors.tensor.inside_file", kOffsets, "data_offsets", "18446744073709551615"},
      {"X13", "length_wraps", one("[2]", "[18446744073709551612,4]"), 8, kError, kBadOffsets, kOffsets, "data_offsets"},
      {"X13", "beyond_2_64", one("[2]", "[0,18446744073709551616]"), 8, kError, kBadOffsets, kOffsets, "data_offsets"},
      {"X13", "begin_brings_the_data_to_0", one("[2]", "[18446744073709551600,18446744073709551608]"), 8, kError,
       "safetensors.tensor.inside_file", kOffsets, "data_offsets"},
  };
  for (const Row& row : rows) all.push_back(as_case(row));
  all.push_back({"S28", "", [](const TempFolder&) {
                   const std::string header = one("[2]", "[0,8]");
                   return error(safetensors(header, "ddddddddPK\x03\x04 and so on"),
                                "safetensors.data.ends_at_file_end", 8 + header.size() + 8, "data_offsets",
                                "14 bytes more");
                 }});
  all.push_back({"S30", "", [](const TempFolder&) {
                   std::string header = two(tensor_json("a", "U8", "[1]", 0, 1), tensor_json("b", "F32", "[1]", 1, 5));
                   const std::uint64_t b = 8 + header.find("\"b\"");
                   header.resize((header.size() + 7) / 8 * 8, ' ');
                   return warning(safetensors(header, "12345"), "safetensors.tensor.aligned", b, "", "1 such tensors");
                 }});
  all.push_back({"S31", "nan", [](const TempFolder&) {
                   const std::string header = one("[2]", "[0,8]");
                   return error(safetensors(header, le(1.0F) + le<std::uint32_t>(0x7FC00000)), "qa.values.nan",
                                8 + header.size() + 4, "block[1]", "1 of 2")
                       .at_stage(Stage::Gate);
                 }});
  all.push_back({"S31", "inf", [](const TempFolder&) {
                   const std::string header = one("[2]", "[0,8]");
                   return error(safetensors(header, le(1.0F) + le<std::uint32_t>(0xFF800000)), "qa.values.inf",
                                8 + header.size() + 4, "block[1]", "1 of 2")
                       .at_stage(Stage::Gate);
                 }});
  all.push_back({"S33", "120000_entries", [](const TempFolder&) {
                   std::string header = "{";
                   for (int i = 0; i < 120'000; ++i)
                     header += (i > 0 ? "," : "") + tensor_json("m." + std::to_string(i), "U8", "[0]", 0, 0);
                   return clean(safetensors(header + "}"));
                 }});
}

void shard(const TempFolder& folder, const std::string& name, const std::vector<std::string>& tensors) {
  std::string header = "{";
  for (std::size_t i = 0; i < tensors.size(); ++i)
    header += (i > 0 ? "," : "") + tensor_json(tensors[i], "F32", "[1]", 4 * i, 4 * i + 4);
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  folder.write(name, safetensors(header, std::string(4 * tensors.size(), 'd')));
}

/// Two shards with a, b and c, and this index; the offset is that of `at` in the index.
Case index(const char* variant, std::string json, const char* rule, std::string at, const char* field,
           const char* found = "") {
  return {"S34", variant, [=](const TempFolder& folder) {
            shard(folder, "s1.safetensors", {"a", "b"});
            shard(folder, "s2.safetensors", {"c"});
            folder.write("model.safetensors.index.json", json);
            const auto offset = at.empty() ? std::nullopt : std::optional<std::uint64_t>(json.find(at));
            return error(folder.path(), rule, offset, field, found).from_path();
          }};
}

void add_indices(Cases& all) {
  const auto map = [](const std::string& rows, const std::string& before = {}) {
    return "{" + before + "\"weight_map\":{" + rows + "}}";
  };
  const std::string ab = R"("a":"s1.safetensors","b":"s1.safetensors",)", good = ab + R"("c":"s2.safetensors")";
  all.push_back(index("missing_shard", map(ab + R"("c":"s3.safetensors")"), "safetensors.index.shard_missing", "",
                      "weight_map", "No such file"));
  all.push_back({"S34", "tensor_in_two_shards", [=](const TempFolder& folder) {
                   shard(folder, "s1.safetensors", {"a", "b"});
                   shard(folder, "s2.safetensors", {"c", "b"});
                   folder.write("model.safetensors.index.json", map(good));
                   return error(folder.path(), "safetensors.index.tensor_in_two_shards",
                                8 + 1 + tensor_json("c", "F32", "[1]", 0, 4).size() + 1, "", "s1.safetensors")
                       .from_path();
                 }});
  all.push_back(index("shard_lacks_tensor", map(R"("a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors")"),
                      "safetensors.index.tensor_missing", "\"b\"", "weight_map", "it is in"));
  all.push_back(index("total_size", map(good, R"("metadata":{"total_size":13},)"), "safetensors.index.total_size", "13",
                      "metadata.total_size", "13"));
  all.push_back(index("total_size_wraps_in_64_bits", map(good, R"("metadata":{"total_size":18446744073709551628},)"),
                      "safetensors.index.total_size", "18446744073709551628", "metadata.total_size"));
  for (const auto& [variant, name] : {std::pair{"parent", "../s1.safetensors"},
                                      {"absolute", "/etc/passwd"},
                                      {"folder", "sub/s1.safetensors"},
                                      {"backslash", "a\\\\b"},
                                      {"nul", "s1\\u0000"}})
    all.push_back(index(variant, map(std::string("\"a\":\"") + name + "\""), "safetensors.index.shard_name",
                        std::string("\"") + name, "weight_map"));
}

void add_foreign(Cases& all) {
  const char* no_model = "not a model file that apr reads";
  all.push_back(
      raw("S35", "pickle", "\x80\x02}q\0."s + std::string(30, '\1'), no_model, 0, "magic", "a Python pickle"));
  all.push_back(raw("S35", "legacy_checkpoint", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s, no_model, 0,
                    "magic", "a PyTorch checkpoint"));
  all.push_back(raw("S35", "html", "<html><title>404</title></html>", no_model, 0, "magic", "an HTML page"));
}

}  // namespace

Cases safetensors_data_cases() {
  Cases all;
  add_ranges(all);
  add_indices(all);
  add_foreign(all);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Data, SafeTensorsCorpus, testing::ValuesIn(safetensors_data_cases()), case_name);

}  // namespace apr::test
