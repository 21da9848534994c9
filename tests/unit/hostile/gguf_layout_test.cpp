// Malformed GGUF: G64 to G76, where the data lies; and offsets beyond the list that wrap.
#include "tests/support/gguf_builder.h"
#include "tests/unit/hostile/corpus.h"

namespace apr::test {
namespace {

using Offsets = std::vector<std::uint64_t>;

struct Placed {
  std::string bytes;
  std::vector<InfoOffsets> at;
  std::uint64_t data_offset = 0;
};

/// Tensors of 8 floats each at these offsets; then `data_bytes` of data.
Placed placed(const Offsets& offsets, std::uint64_t data_bytes) {
  GgufBuilder b;
  b.architecture();
  Placed p;
  for (std::size_t i = 0; i < offsets.size(); ++i)
    p.at.push_back(b.info(std::string(1, static_cast<char>('a' + i)), {8}, kGgmlF32, offsets[i]));
  b.data().text.append(data_bytes, '\5');
  p.data_offset = b.data_offset();
  p.bytes = b.bytes();
  return p;
}

Case row(const char* id, std::string variant, Offsets offsets, std::uint64_t data_bytes, Outcome outcome,
         const char* rule, std::size_t tensor, std::string found = {}) {
  return {id, std::move(variant), [=](const TempFolder&) {
            const Placed p = placed(offsets, data_bytes);
            const std::string field = "tensor[" + std::to_string(tensor) + "].offset";
            return outcome == Outcome::Error ? error(p.bytes, rule, p.at[tensor].offset, field, found)
                                             : warning(p.bytes, rule, p.at[tensor].offset, field, found);
          }};
}
Case bad(const char* id, std::string variant, Offsets offsets, std::uint64_t data_bytes, const char* rule,
         std::size_t tensor, std::string found = {}) {
  return row(id, std::move(variant), std::move(offsets), data_bytes, Outcome::Error, rule, tensor, std::move(found));
}
Case odd(const char* id, std::string variant, Offsets offsets, std::uint64_t data_bytes, const char* rule,
         std::size_t tensor, std::string found = {}) {
  return row(id, std::move(variant), std::move(offsets), data_bytes, Outcome::Warning, rule, tensor, std::move(found));
}

/// Three tensors of 4 bytes at steps of `real`; the file declares `declared`.
std::string with_steps(std::uint64_t real, std::uint32_t declared, InfoOffsets& first, InfoOffsets& second) {
  GgufBuilder b;
  b.architecture();
  b.alignment = real;
  b.kv_u32("general.alignment", declared);
  first = b.f32("a", 1);
  second = b.f32("b", 1);
  b.f32("c", 1);
  return b.bytes();
}

void add_offsets(Cases& all) {
  const char* gap = "gguf.data.gap";
  const char* bounds = "gguf.tensor.offset.bounds";
  all.push_back(odd("G64", "", {32, 64}, 96, gap, 0, "32 bytes from file offset"));
  all.push_back(bad("G65", "", {0, 33}, 96, "gguf.tensor.offset.aligned", 1, "33"));
  all.push_back(bad("G66", "2_64_minus_32", {0, ~0ULL - 31}, 64, bounds, 1, "18446744073709551584"));
  all.push_back(bad("G66", "2_63", {0, 1ULL << 63}, 64, bounds, 1));
  all.push_back(odd("G67", "", {64, 0, 32}, 96, "gguf.data.order", 0));
  all.push_back(odd("G68", "", {0, 32, 96}, 128, gap, 2, "first 05 05"));
  all.push_back(bad("G69", "same_bytes", {0, 32, 32}, 64, "gguf.tensor.offset.overlap", 2));
  all.push_back({"G69", "inside_a_larger_one", [](const TempFolder&) {
                   GgufBuilder b;
                   b.architecture();
                   b.info("big", {64}, kGgmlF32, 0);
                   const auto inside = b.info("inside", {8}, kGgmlF32, 224);
                   b.data().text.append(256, '\1');
                   return error(b.bytes(), "gguf.tensor.offset.overlap", inside.offset, "tensor[1].offset");
                 }});
  for (const std::uint64_t missing : {1U, 18U, 31U})
    all.push_back(bad("G71", std::to_string(missing) + "_bytes_short", {0, 32}, 64 - missing, bounds, 1));
  all.push_back({"G72", "", [](const TempFolder&) {
                   GgufBuilder b;
                   b.architecture();
                   b.f32("a", 8);
                   const std::string header = b.header_bytes();
                   return error(header, "gguf.data.missing", header.size(), "tensor data");
                 }});
  // Beyond the list: offsets that wrap when the start of the data or the size is added.
  const std::uint64_t data_offset = placed({0, 0}, 64).data_offset;
  for (const auto& [variant, offset] :
       {std::pair<const char*, std::uint64_t>{"data_offset_brings_it_to_0", 0 - data_offset},
        {"size_brings_it_to_0", ~0ULL - 31},
        {"both_bring_it_to_64", 64 - data_offset - 32},
        {"the_header", 0 - data_offset + 32},
        {"largest_aligned", ~31ULL}})
    all.push_back(bad("X08", variant, {0, offset}, 64, bounds, 1));
}

void add_padding(Cases& all) {
  const auto dirty = [](std::uint64_t& header_padding, std::uint64_t& data_padding) {
    GgufBuilder b;
    b.architecture();
    b.padding_byte = '\7';
    b.f32("a", 1);
    b.f32("b", 8);
    header_padding = b.here();
    data_padding = b.data_offset() + 4;
    return b.bytes();
  };
  all.push_back({"G70", "behind_the_header", [=](const TempFolder&) {
                   std::uint64_t header = 0, data = 0;
                   const std::string bytes = dirty(header, data);
                   return warning(bytes, "gguf.padding.nonzero", header, "padding", "07 07");
                 }});
  all.push_back({"G70", "between_tensors", [=](const TempFolder&) {
                   std::uint64_t header = 0, data = 0;
                   const std::string bytes = dirty(header, data);
                   return warning(bytes, "gguf.padding.nonzero", data, "padding", "07 07").at_stage(Stage::Verify);
                 }});
  all.push_back({"G73", "zeros_of_a_kind", [](const TempFolder&) {
                   const Placed p = placed({0, 32}, 64 + 1000);
                   return warning(p.bytes, "gguf.trailing", p.data_offset + 64, "trailing bytes",
                                  "1000 bytes, 0.0 bits");
                 }});
  all.push_back({"G73", "zip", [](const TempFolder&) {
                   const Placed p = placed({0, 32}, 64);
                   return warning(p.bytes + "PK\x03\x04" + std::string(40, 'z'), "gguf.trailing", p.data_offset + 64,
                                  "trailing bytes", "a zip archive");
                 }});
  all.push_back({"G74", "coarser_declared", [](const TempFolder&) {
                   InfoOffsets a{}, b{};
                   const std::string bytes = with_steps(32, 64, a, b);
                   return error(bytes, "gguf.tensor.offset.aligned", b.offset, "tensor[1].offset", "32");
                 }});
  all.push_back({"G74", "finer_declared", [](const TempFolder&) {
                   InfoOffsets a{}, b{};
                   const std::string bytes = with_steps(64, 32, a, b);
                   return error(bytes, "gguf.alignment.inconsistent", a.offset, "metadata[\"general.alignment\"]",
                                "32");
                 }});
}

void add_many(Cases& all) {
  all.push_back({"G75", "60000_tensors", [](const TempFolder&) {
                   GgufBuilder b;
                   b.architecture();
                   const auto first = b.info("tensor.0", {0}, kGgmlF32, 0);
                   for (int i = 1; i < 60'000; ++i) b.info("tensor." + std::to_string(i), {0}, kGgmlF32, 0);
                   return warning(b.bytes(), "gguf.tensor.dim.zero", first.dims, "tensor[0].dim[0]");
                 }});
  all.push_back({"G76", "60000_entries", [](const TempFolder&) {
                   GgufBuilder b;
                   b.architecture();
                   for (int i = 0; i < 60'000; ++i) b.kv_u32("k." + std::to_string(i), 1);
                   b.f32("a", 8);
                   return clean(b.bytes());
                 }});
}

}  // namespace

Cases gguf_layout_cases() {
  Cases all;
  add_offsets(all);
  add_padding(all);
  add_many(all);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Layout, GgufCorpus, testing::ValuesIn(gguf_layout_cases()), case_name);

}  // namespace apr::test
