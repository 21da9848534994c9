// Malformed APR: A01 to A07, and sections, offsets and sizes beyond the list that wrap.
#include "tests/support/apr_builder.h"
#include "tests/unit/hostile/corpus.h"

namespace apr::test {
namespace {

/// Two tensors, `a` f32 [2,3] and `b` f16 [5].
AprParts good() {
  AprParts parts;
  parts.metadata = R"({"model_type":"qwen2","hidden_size":64,"license":null,"rope_theta":1e6})";
  parts.entries = {{"a", 0, {2, 3}, 0, 24}, {"b", 1, {5}, 64, 10}};
  parts.data = AprParts::pad(std::string(24, 'a')) + std::string(10, 'b');
  return parts;
}
constexpr std::uint64_t kIndex = 192, kData = 320;  // of good(): 72 bytes of metadata, 66 of entries
constexpr std::uint64_t kFooter = kData + 128;
// Fields of the entry of `a`.
constexpr std::uint64_t kDtype = kIndex + 3, kDims = kIndex + 5, kOffset = kIndex + 21, kSize = kIndex + 29;

constexpr auto with_change = [](const auto& change) {
  AprParts parts = good();
  change(parts);
  return parts.file();
};
const auto bad = rows_of(Outcome::Error, with_change), odd = rows_of(Outcome::Warning, with_change);

auto first(AprEntry entry) {
  return [entry](AprParts& p) { p.entries[0] = entry; };
}

Case cut(const char* variant, std::size_t length, const char* rule, std::uint64_t offset, const char* field) {
  return {"A02", variant,
          [=](const TempFolder&) { return error(good().file().substr(0, length), rule, offset, field); }};
}

void add_whole_file(Cases& all) {
  all.push_back({"A01", "zeros", [](const TempFolder&) {
                   return error(std::string("APR\0", 4) + std::string(200, '\0'), "apr.header.crc", 40, "header_crc");
                 }});
  all.push_back({"A01", "text", [](const TempFolder&) {
                   return error(std::string("APR\0", 4) + std::string(200, 'x'), "apr.header.version", 4,
                                "version_major", "120");
                 }});
  all.push_back({"A01", "short", [](const TempFolder&) {
                   return refused(std::string("APR\0", 4) + std::string(30, '\0'),
                                  "too short for the header of an APR file", 34, "header", "34 bytes");
                 }});
  const std::size_t size = good().file().size();
  all.push_back({"A02", "5_percent", [size](const TempFolder&) {
                   return refused(good().file().substr(0, size / 20), "too short for the header of an APR file",
                                  size / 20, "header");
                 }});
  all.push_back(cut("50_percent", size / 2, "apr.sections.inside_file", 32, "data_offset"));
  all.push_back(cut("in_the_index", kIndex + 40, "apr.index.truncated", kIndex + 37, "tensor[1]"));
  all.push_back(cut("last_byte", size - 1, "apr.footer.missing", size - 1, "footer"));
  all.push_back({"A03", "header", [](const TempFolder&) {
                   std::string bytes = good().file();
                   bytes[40] ^= 1;
                   return error(bytes, "apr.header.crc", 40, "header_crc");
                 }});
  all.push_back({"A03", "data", [](const TempFolder&) {
                   std::string bytes = good().file();
                   bytes[kData + 3] ^= 1;
                   return error(bytes, "apr.footer.crc", kFooter, "footer").at_stage(Stage::Verify);
                 }});
  all.push_back({"A03", "footer_missing", [](const TempFolder&) {
                   const std::string bytes = good().file();
                   return error(bytes.substr(0, bytes.size() - 4), "apr.footer.missing", bytes.size() - 4, "footer");
                 }});
  all.push_back(bad(
      "A04", "major_1", [](AprParts& p) { p.major = 1; }, "apr.header.version", 4, "version_major", "1"));
  for (const char* magic : {"APRN", "APR1", "APR2"})
    all.push_back({"A04", magic, [magic](const TempFolder&) {
                     return refused(magic + std::string(100, '\1'), "not a model file that apr reads", 0, "magic",
                                    magic);
                   }});
}

void add_index(Cases& all) {
  all.push_back(bad(
      "A05", "unsorted", [](AprParts& p) { std::swap(p.entries[0], p.entries[1]); }, "apr.index.sorted", kIndex + 29,
      "tensor[1].name", "a"));
  all.push_back(bad(
      "A05", "duplicated", [](AprParts& p) { p.entries[1].name = "a"; }, "apr.index.unique", kIndex + 37,
      "tensor[1].name"));
  const char* outside = "apr.tensor.inside_file";
  all.push_back(
      bad("A05", "out_of_bounds", first({"a", 0, {2, 3}, 1 << 20, 24}), outside, kOffset, "tensor[0].offset"));
  all.push_back(
      bad("A05", "size_out_of_bounds", first({"a", 0, {1000}, 0, 4000}), outside, kOffset - 8, "tensor[0].offset"));
  all.push_back(odd(
      "A06", "flag", [](AprParts& p) { p.flags |= 0x200; }, "apr.flags.has_vocab", 6, "flags"));
  all.push_back(odd(
      "A06", "vocabulary", [](AprParts& p) { p.metadata = R"({"tokenizer.vocabulary":["a"]})"; }, "apr.flags.has_vocab",
      6, "flags"));
  // Bytes that hold another type than the id says: what realizar writes under a GGUF number, and the reverse.
  all.push_back(
      bad("A07", "id_10", first({"a", 10, {256}, 0, 84}), "apr.tensor.dtype", kDtype, "tensor[0].dtype", "10"));
  all.push_back(bad("A07", "8_bit_under_q4_1", first({"a", 3, {32}, 0, 36}), "apr.tensor.size", kSize - 8,
                    "tensor[0].size", "36 bytes"));
  all.push_back(bad("A07", "8_bit_under_q4_k", first({"a", 12, {256}, 0, 260}), "apr.tensor.size", kSize - 8,
                    "tensor[0].size", "260 bytes"));
}

/// Beyond the list: sums and products that wrap.
void add_wraps(Cases& all) {
  const char* outside = "apr.tensor.inside_file";
  all.push_back(bad("X14", "offset_brings_data_to_0", first({"a", 0, {2, 3}, 0 - kData, 24}), outside, kOffset,
                    "tensor[0].offset"));
  all.push_back(
      bad("X14", "offset_2_64_minus_64", first({"a", 0, {2, 3}, ~63ULL, 24}), outside, kOffset, "tensor[0].offset"));
  all.push_back(
      bad("X14", "offset_2_63", first({"a", 0, {2, 3}, 1ULL << 63, 24}), outside, kOffset, "tensor[0].offset"));
  all.push_back(
      bad("X14", "size_2_64_minus_1", first({"a", 0, {2, 3}, 0, ~0ULL}), "apr.tensor.size", kSize, "tensor[0].size"));
  const char* shape = "apr.tensor.shape_overflow";
  all.push_back(
      bad("X15", "wraps_to_0", first({"a", 0, {1ULL << 32, 1ULL << 32}, 0, 0}), shape, kDims, "tensor[0].dims"));
  all.push_back(bad("X15", "wraps_to_4", first({"a", 0, {4194305, 4194305, 211106198978564}, 0, 16}), shape, kDims,
                    "tensor[0].dims"));
  all.push_back(bad("X15", "dim_2_63", first({"a", 0, {1ULL << 63}, 0, 0}), shape, kDims, "tensor[0].dims"));
  all.push_back(bad("X15", "bytes_wrap_to_0", first({"a", 0, {1ULL << 62}, 0, 0}), "apr.tensor.size", kSize - 8,
                    "tensor[0].size"));
  all.push_back(bad("X15", "bytes_wrap_to_4", first({"a", 0, {(1ULL << 62) + 1}, 0, 4}), "apr.tensor.size", kSize - 8,
                    "tensor[0].size"));
  all.push_back(bad("X15", "blocks_wrap", first({"a", 12, {1ULL << 60, 17}, 0, 144}), shape, kDims, "tensor[0].dims"));
  const char* far = "apr.sections.inside_file";
  all.push_back(bad(
      "X16", "metadata_2_64_minus_2", [](AprParts& p) { p.metadata_offset = -2; }, far, 12, "metadata_offset"));
  all.push_back(bad(
      "X16", "metadata_size", [](AprParts& p) { p.metadata_size = 0xFFFFFFFF; }, "apr.metadata.inside_file", 20,
      "metadata_size", "4294967295"));
  all.push_back(bad(
      "X16", "index_2_64_minus_64", [](AprParts& p) { p.index_offset = -64; }, far, 24, "tensor_index_offset"));
  all.push_back(bad(
      "X16", "data_2_64_minus_64", [](AprParts& p) { p.data_offset = -64; }, far, 32, "data_offset"));
  all.push_back(bad(
      "X16", "data_in_the_header", [](AprParts& p) { p.data_offset = 0; }, "apr.sections.order", 32, "data_offset"));
  all.push_back(bad(
      "X16", "count_2_32_minus_1", [](AprParts& p) { p.count = 0xFFFFFFFF; }, "apr.index.count", 8, "tensor_count",
      "4294967295"));
  all.push_back(bad(
      "X17", "name_of_65535", [](AprParts& p) { p.index_extra = "\xFF\xFF" + std::string(62, 'n'), p.count = 3; },
      "apr.index.truncated", kIndex + 66, "tensor[2]"));
  all.push_back(bad("X17", "ndim_255", first({"a", 0, std::vector<std::uint64_t>(255, 1), 0, 4}), "apr.tensor.ndim",
                    kDtype + 1, "tensor[0].ndim", "255"));
}

}  // namespace

Cases apr_cases() {
  Cases all;
  add_whole_file(all);
  add_index(all);
  add_wraps(all);
  return all;
}
INSTANTIATE_TEST_SUITE_P(File, AprCorpus, testing::ValuesIn(apr_cases()), case_name);

}  // namespace apr::test
