// Malformed GGUF: G01 to G15, what is read before the metadata.
#include "tests/support/gguf_builder.h"
#include "tests/unit/hostile/corpus.h"

namespace apr::test {
namespace {

using namespace std::string_literals;

constexpr const char* kNoModel = "not a model file that apr reads";
constexpr const char* kCutHeader = "the file ends inside the GGUF header";
constexpr const char* kVersion = "this version of GGUF is not supported";

Case foreign(const char* id, const char* variant, std::string bytes, const char* found) {
  return {id, variant, [=](const TempFolder&) { return refused(bytes, kNoModel, 0, "magic", found); }};
}

Case version(const char* variant, std::endian order, std::uint32_t number) {
  return {"G07", variant,
          [=](const TempFolder&) { return refused(small_gguf(order, number).bytes(), kVersion, 4, "header.version"); }};
}

Case count(const char* id, const char* variant, std::uint64_t number) {
  return {id, variant, [=](const TempFolder&) {
            GgufBuilder b = small_gguf();
            const bool tensors = id == "G09"s;
            (tensors ? b.n_tensors : b.n_kv) = number;
            return tensors
                       ? error(b.bytes(), "gguf.header.n_tensors", 8, "header.tensor_count", std::to_string(number))
                       : error(b.bytes(), "gguf.header.n_kv", 16, "header.metadata_kv_count", std::to_string(number));
          }};
}

/// A file whose last entry is not counted, so that it stands where the first tensor info should be.
Case hidden_entry(const char* variant, std::uint32_t type, std::size_t value_bytes, const char* rule,
                  std::uint64_t behind_key, const char* field) {
  return {"G13", variant, [=](const TempFolder&) {
            GgufBuilder b;
            b.architecture();
            const std::uint64_t at = b.key("last", type);
            if (type == kString)
              b.body().string("text");
            else
              b.body().text.append(value_bytes, '\1');
            b.f32("a", 8);
            b.f32("b", 8);
            b.n_kv = 1;
            return error(b.bytes(), rule, at + behind_key, field);
          }};
}

}  // namespace

Cases gguf_header_cases() {
  Cases all;
  all.push_back(foreign("G01", "empty", "", "0 bytes, need 24"));
  for (std::size_t length = 1; length < 24; ++length)
    all.push_back({"G02", std::to_string(length) + "_bytes", [length](const TempFolder&) {
                     const std::string bytes = small_gguf().bytes().substr(0, length);
                     if (length < 4) return refused(bytes, kNoModel, 0, "magic");
                     return refused(bytes, kCutHeader, length, "header", std::to_string(length) + " bytes, need 24");
                   }});
  // Every prefix behind the header is opened, has an error, and the error lies inside of what is there.
  all.push_back({"G02", "behind_the_header", [](const TempFolder&) {
                   return error(small_gguf().bytes().substr(0, 24), "gguf.header.n_kv", 16, "header.metadata_kv_count",
                                "3");
                 }});
  const std::string rest(32, '\1');
  for (const auto& [magic, name] : {std::pair{"GGML", "GGML"},
                                    {"lmgg", "ggml"},
                                    {"GGMF", "GGMF"},
                                    {"fmgg", "ggmf"},
                                    {"GGJT", "GGJT"},
                                    {"tjgg", "ggjt"},
                                    {"ggla", "ggla"},
                                    {"algg", "ggla"}})
    all.push_back(foreign("G03", magic, magic + rest, name));
  for (const std::uint32_t v : {2U, 3U})
    all.push_back({"G04", "big_endian_v" + std::to_string(v), [v](const TempFolder&) {
                     return clean(small_gguf(std::endian::big, v).bytes());  // decoded, and so shown
                   }});
  all.push_back(foreign("G04", "magic_reversed", "FUGG\0\0\0\3"s + std::string(32, '\0'), "magic reversed"));
  all.push_back(foreign("G05", "html", "<!DOCTYPE html><html><body>404</body></html>", "an HTML page"));
  all.push_back(foreign("G05", "json", "{\"error\":\"Invalid username or password.\"}", "an error message"));
  all.push_back(foreign("G06", "gzip", "\x1f\x8b\x08\0"s + rest, "a gzip file"));
  all.push_back(foreign("G06", "zip", "PK\x05\x06"s + std::string(18, '\0'), "a zip archive"));
  all.push_back(foreign("G06", "pytorch", "PK\x03\x04"s + std::string(22, '\0') + "\x10\0\0\0"s + "archive/data.pkl",
                        "a PyTorch checkpoint"));
  all.push_back({"G06", "safetensors", [](const TempFolder&) {  // recognised by its bytes, so not refused
                   return clean(safetensors("{" + tensor_json("a", "U8", "[8]", 0, 8) + "}   ", "datadata"));
                 }});
  all.push_back(version("0", std::endian::little, 0));
  all.push_back(version("1", std::endian::little, 1));
  all.push_back(version("4", std::endian::little, 4));
  all.push_back(version("1_big_endian", std::endian::big, 1));
  all.push_back(version("0x00030003", std::endian::little, 0x00030003));
  all.push_back({"G08", "v2", [](const TempFolder&) { return clean(small_gguf(std::endian::little, 2).bytes()); }});
  constexpr std::uint64_t k63 = (1ULL << 63) - 1;
  all.push_back(count("G09", "minus_1", ~0ULL));
  all.push_back(count("G09", "2_31", 1ULL << 31));
  all.push_back(count("G09", "2_63_minus_1", k63));
  all.push_back(count("G09", "times_24_wraps_to_8", (~0ULL / 24) + 1));
  all.push_back(count("G10", "minus_1", ~0ULL));
  all.push_back(count("G10", "2_31", 1ULL << 31));
  all.push_back(count("G10", "2_63_minus_1", k63));
  all.push_back(count("G10", "times_13_wraps_to_10", ~0ULL / 13 + 1));
  all.push_back({"G11", "", [](const TempFolder&) {
                   GgufBuilder b = small_gguf();
                   const std::uint64_t end = b.here();
                   b.n_tensors = 3;
                   // The padding is read as a name of no bytes, the data as its dimensions.
                   return error(b.bytes(), "gguf.tensor.n_dims", end + 8, "tensor[2].n_dims", "16843009");
                 }});
  all.push_back({"G12", "with_data", [](const TempFolder&) {
                   GgufBuilder b = small_gguf();
                   b.n_tensors = 1;
                   const std::string bytes = b.bytes();
                   const std::uint64_t infos_end = b.here() - (8 + 1 + 4 + 16 + 4 + 8);
                   return warning(bytes, "gguf.trailing", (infos_end + 31) / 32 * 32 + 32, "trailing bytes");
                 }});
  all.push_back({"G12", "without_data", [](const TempFolder&) {
                   GgufBuilder b;
                   b.architecture();
                   b.f32("a", 8);
                   const auto hidden = b.info("z", {0}, kGgmlF32, 0);
                   b.n_tensors = 1;
                   return warning(b.bytes(), "gguf.padding.nonzero", hidden.start, "padding");
                 }});
  // Key, type and value of the uncounted entry are read as name, n_dims and dimensions.
  all.push_back(hidden_entry("u8", kU8, 1, "gguf.tensor.name.length", 28, "tensor[1].name.length"));
  all.push_back(hidden_entry("u32", kU32, 4, "gguf.tensor.name.length", 60, "tensor[1].name.length"));
  all.push_back(hidden_entry("string", kString, 0, "gguf.tensor.n_dims", 8 + 4, "tensor[0].n_dims"));
  all.push_back(hidden_entry("u64", kU64, 8, "gguf.tensor.n_dims", 8 + 4, "tensor[0].n_dims"));
  all.push_back({"G14", "", [](const TempFolder&) {
                   GgufBuilder b = small_gguf();
                   b.n_kv = 4;  // the info of "a" is read as an entry, that of "b" a few bytes late
                   return error(b.bytes(), "gguf.tensor.name.length", b.here() - 36, "tensor[1].name.length");
                 }});
  all.push_back({"G15", "", [](const TempFolder&) {
                   return warning(GgufBuilder().header_bytes(), "gguf.tensors.none", 8, "header.tensor_count", "0");
                 }});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Header, GgufCorpus, testing::ValuesIn(gguf_header_cases()), case_name);

}  // namespace apr::test
