// Malformed GGUF: G16 to G40, the key-value pairs.
#include "tests/support/gguf_builder.h"
#include "tests/unit/hostile/corpus.h"

namespace apr::test {
namespace {

using namespace std::string_literals;

// Offset of the entry under test: behind the header and general.architecture = "llama".
constexpr std::uint64_t kEntry = 24 + 8 + 20 + 4 + 8 + 5;
constexpr std::uint64_t kValue = kEntry + 8 + 1 + 4;  // of an entry whose key is "k"

/// A file whose only oddity is what `add` appends, followed by a sound tensor.
constexpr auto with_entry = [](const auto& add) {
  GgufBuilder b;
  b.architecture();
  add(b);
  b.f32("a", 8);
  return b.bytes();
};
const auto bad = rows_of(Outcome::Error, with_entry), odd = rows_of(Outcome::Warning, with_entry),
           fine = rows_of(Outcome::Clean, with_entry);

auto key(std::string name) {
  return [name](GgufBuilder& b) { b.kv_u32(name, 1); };
}
auto text_of(std::uint64_t length) {
  return [length](GgufBuilder& b) {
    b.key("k", kString);
    b.body().u64(length);
  };
}
auto array(std::uint32_t element, std::uint64_t count, std::string bytes = {}, std::string name = "k") {
  return [=](GgufBuilder& b) {
    b.key(name, kArray);
    b.body().u32(element).u64(count).text += bytes;
  };
}
/// `levels` arrays, each holding the next, around one u8.
auto nested(unsigned levels) {
  return [levels](GgufBuilder& b) {
    b.key("k", kArray);
    for (unsigned i = 1; i < levels; ++i) b.body().u32(kArray).u64(1);
    b.body().u32(kU8).u64(1).text += '\x2a';
  };
}
/// general.alignment = `value`, and data that really step by it where that can be.
auto alignment(std::uint32_t value, bool real) {
  return [=](GgufBuilder& b) {
    if (real) b.alignment = value;
    b.kv_u32("general.alignment", value);
  };
}

void add_keys(Cases& all) {
  all.push_back(bad("G16", "", key(""), "gguf.metadata.key.empty", kEntry, "metadata[1].key"));
  for (const bool all_ones : {true, false})
    all.push_back({"G17", all_ones ? "2_64_minus_1" : "remaining_plus_1", [all_ones](const TempFolder&) {
                     GgufBuilder b;
                     b.architecture();
                     b.body().u64(all_ones ? ~0ULL : 101).text.append(100, 'k');
                     b.n_kv = 2;
                     return error(b.header_bytes(), "gguf.metadata.key.length", kEntry, "metadata[1].key.length",
                                  all_ones ? "18446744073709551615" : "101");
                   }});
  all.push_back({"G18", "", [](const TempFolder&) {
                   const std::string name(70'000, 'k');
                   return warning(with_entry(key(name)), "gguf.metadata.key.too_long", kEntry,
                                  "metadata[\"" + name.substr(0, 80) + "...\" (70000 bytes)].key.length", "70000");
                 }});
  const std::pair<const char*, std::pair<std::string, std::uint64_t>> kNoText[] = {
      {"ansi", {"a\x1b[31m", 1}}, {"nul", {"ab\0c"s, 2}}, {"utf8", {"abc\xff", 3}}, {"delete", {"a\x7f", 1}}};
  for (const auto& [variant, c] : kNoText)
    all.push_back({"G19", variant, [c = c](const TempFolder&) {
                     return warning(with_entry(key(c.first)), "gguf.metadata.key.text", kEntry + 8 + c.second,
                                    "metadata[\"" + c.first + "\"].key");
                   }});
  all.push_back(odd("G20", "upper", key("llama.Block"), "gguf.metadata.key.case", kEntry + 8 + 6,
                    "metadata[\"llama.Block\"].key"));
  all.push_back(odd("G20", "space", key("a b"), "gguf.metadata.key.case", kEntry + 8 + 1, "metadata[\"a b\"].key"));
  const auto twins = [](GgufBuilder& b) { b.kv_u32("x", 1), b.kv_u32("X", 1); };
  all.push_back(odd("G20", "twins", twins, "gguf.metadata.key.case_twin", kEntry + 17, "metadata[\"X\"].key"));
  const auto twice = [](GgufBuilder& b) { b.kv_u32("k", 1), b.kv_u32("k", 2); };
  all.push_back(
      bad("G21", "", twice, "gguf.metadata.key.duplicate", kEntry + 17, "metadata[\"k\"].key", "first at offset 69"));
}

void add_values(Cases& all) {
  for (const std::uint32_t type : {13U, 255U, 0xFFFFFFFFU})
    all.push_back({"G22", std::to_string(type), [type](const TempFolder&) {
                     return error(with_entry([&](GgufBuilder& b) { b.kv("k", type, std::uint32_t{1}); }),
                                  "gguf.metadata.type", kEntry + 9, "metadata[\"k\"].type", std::to_string(type));
                   }});
  const auto two = [](GgufBuilder& b) { b.kv("k", kBool, std::uint8_t{2}); };
  all.push_back(odd("G23", "scalar", two, "gguf.metadata.bool", kValue, "metadata[\"k\"].value", "2"));
  all.push_back(
      odd("G23", "array", array(kBool, 3, "\0\1\7"s), "gguf.metadata.bool", kValue + 14, "metadata[\"k\"].value", "7"));
  all.push_back(bad("G24", "", text_of(~0ULL), "gguf.metadata.string.length", kValue, "metadata[\"k\"].value.length",
                    "18446744073709551615"));
  all.push_back(bad("G25", "", text_of(1ULL << 30), "gguf.metadata.string.length", kValue,
                    "metadata[\"k\"].value.length", "1073741824"));
  const char* count = "metadata[\"k\"].value.count";
  all.push_back(bad("G26", "", array(kString, 1ULL << 31), "gguf.metadata.array.count", kValue + 4, count));
  all.push_back(bad("G27", "u8", array(kU8, ~0ULL), "gguf.metadata.array.count", kValue + 4, count));
  all.push_back(
      bad("G28", "", array(13, 0), "gguf.metadata.array.type", kValue, "metadata[\"k\"].value.element_type", "13"));
  all.push_back(fine("G29", "two_levels", nested(2)));
  all.push_back(fine("G29", "eight_levels", nested(8)));
  all.push_back(bad("G30", "nine_levels", nested(9), "gguf.metadata.array.depth", kValue + 7 * 12,
                    "metadata[\"k\"].value.element_type"));
  all.push_back(bad("G30", "ten_thousand_levels", nested(10'000), "gguf.metadata.array.depth", kValue + 7 * 12,
                    "metadata[\"k\"].value.element_type"));
  for (std::uint32_t element = 0; element <= 12; ++element)
    all.push_back({"G31", "of_type_" + std::to_string(element),
                   [element](const TempFolder&) { return clean(with_entry(array(element, 0))); }});
}

void add_alignment(Cases& all) {
  constexpr std::uint64_t kAt = kEntry + 8 + 17 + 4;
  const char* value = "metadata[\"general.alignment\"].value";
  const char* type = "metadata[\"general.alignment\"].type";
  const char* rule = "gguf.alignment.value";
  all.push_back(bad("G32", "", alignment(0, false), rule, kAt, value, "0"));
  all.push_back(bad("G33", "13", alignment(13, false), rule, kAt, value, "13"));
  all.push_back(bad("G33", "3", alignment(3, false), rule, kAt, value, "3"));
  all.push_back(bad("G33", "6", alignment(6, false), rule, kAt, value, "6"));
  all.push_back(odd("G34", "1", alignment(1, true), "gguf.alignment.multiple_of_8", kAt, value, "1"));
  all.push_back(odd("G34", "4", alignment(4, true), "gguf.alignment.multiple_of_8", kAt, value, "4"));
  all.push_back(fine("G35", "", alignment(65'536, true)));
  all.push_back(bad("G36", "2_31", alignment(1U << 31, false), rule, kAt, value, "2147483648"));
  all.push_back(bad("G36", "2_25", alignment(1U << 25, false), rule, kAt, value, "33554432"));
  const auto u64 = [](GgufBuilder& b) { b.kv("general.alignment", kU64, std::uint64_t{32}); };
  all.push_back(bad("G37", "u64", u64, "gguf.alignment.type", kAt - 4, type, "u64"));
  all.push_back(bad("G37", "array", array(kU32, 1, "\x20\0\0\0"s, "general.alignment"), "gguf.alignment.type", kAt - 4,
                    type, "array of 1 u32"));
  all.push_back(bad("G37", "empty_array", array(kU32, 0, "", "general.alignment"), "gguf.alignment.type", kAt - 4, type,
                    "array of 0 u32"));
}

void add_known_keys(Cases& all) {
  const auto without = [] {
    GgufBuilder b;
    b.f32("a", 8);
    return b.bytes();
  };
  const char* field = "metadata[\"general.architecture\"]";
  all.push_back({"G38", "hex", [=](const TempFolder&) {
                   return warning(without(), "gguf.architecture.missing", 24, field, "no such key");
                 }});
  all.push_back({"G38", "run", [=](const TempFolder&) {
                   return error(without(), "model.hparams.missing", std::nullopt, "general.architecture", "no such key")
                       .at_stage(Stage::Hparams);
                 }});
  all.push_back({"G39", "", [](const TempFolder&) {
                   GgufBuilder b;
                   b.kv_u32("general.architecture", 3);
                   b.f32("a", 8);
                   return error(b.bytes(), "gguf.metadata.known_type", 24 + 8 + 20,
                                "metadata[\"general.architecture\"].type", "u32");
                 }});
  const auto file_type = [](GgufBuilder& b) { b.kv_string("general.file_type", "Q4_K"); };
  all.push_back(bad("G40", "", file_type, "gguf.metadata.known_type", kEntry + 8 + 17,
                    "metadata[\"general.file_type\"].type", "string"));
}

/// Beyond the list: products and sums that wrap.
void add_wraps(Cases& all) {
  const char* count = "metadata[\"k\"].value.count";
  const char* rule = "gguf.metadata.array.count";
  all.push_back(bad("X01", "u64_count_wraps_to_8_bytes", array(kU64, (1ULL << 61) + 1), rule, kValue + 4, count));
  all.push_back(bad("X01", "u32_count_wraps_to_0_bytes", array(kU32, 1ULL << 62), rule, kValue + 4, count));
  all.push_back(bad("X01", "u16_count_wraps_to_2_bytes", array(kU16, (1ULL << 63) + 1), rule, kValue + 4, count));
  all.push_back(bad("X01", "string_count_wraps_to_0_lengths", array(kString, 1ULL << 61), rule, kValue + 4, count));
  all.push_back(bad("X01", "array_count_times_12_wraps", array(kArray, ~0ULL / 12 + 1), rule, kValue + 4, count));
  const std::string half = le<std::uint32_t>(kU64) + le<std::uint64_t>((1ULL << 61) + 1);
  all.push_back(bad("X01", "inner_count_wraps", array(kArray, 1, half), rule, kValue + 12 + 4, count));
  for (const std::uint64_t back : {0ULL, 1ULL, 7ULL, 8ULL, 69ULL, 82ULL, 90ULL})
    all.push_back({"X02", "string_of_2_64_minus_" + std::to_string(back + 1), [back](const TempFolder&) {
                     return error(with_entry(text_of(~0ULL - back)), "gguf.metadata.string.length", kValue,
                                  "metadata[\"k\"].value.length");
                   }});
  const std::string one = le<std::uint64_t>(3) + "one";
  all.push_back(bad("X02", "string_in_an_array", array(kString, 2, one + le<std::uint64_t>(~0ULL - 10)),
                    "gguf.metadata.string.length", kValue + 12 + 11, "metadata[\"k\"].value[1].length"));
}

}  // namespace

Cases gguf_metadata_cases() {
  Cases all;
  add_keys(all);
  add_values(all);
  add_alignment(all);
  add_known_keys(all);
  add_wraps(all);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Metadata, GgufCorpus, testing::ValuesIn(gguf_metadata_cases()), case_name);

}  // namespace apr::test
