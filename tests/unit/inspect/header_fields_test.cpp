// Every header field, metadata entry and tensor entry at the offset where a builder that shares no code with the
// readers put it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apr/inspect/address.h"
#include "apr/inspect/hex.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/json_builder.h"

namespace apr::inspect {
namespace {

using test::GgufBuilder;
using test::TempFolder;

const HeaderField& field(const HeaderSection& section, std::string_view name) {
  for (const HeaderField& f : section.fields)
    if (f.name == name) return f;
  ADD_FAILURE() << "no field " << name;
  return section.fields[0];
}

// Red when the walk of a header reads the version as u64 or swaps the two counts.
TEST(F_HEX_001, EveryFieldOfAGgufHeaderStandsWhereItWasWritten) {
  for (const std::endian order : {std::endian::little, std::endian::big}) {
    GgufBuilder b(order);
    b.architecture();
    const std::uint64_t number_at = b.kv_u32("llama.block_count", 7);
    const std::uint64_t text_at = b.kv_string("general.name", "a name");
    const test::InfoOffsets first = b.tensor("first", {32, 2}, test::kGgmlQ4_0, 36);
    const test::InfoOffsets second = b.f32("second", 8);
    const TempFolder folder;
    const format::ModelFile model = format::open_model(folder.write("m.gguf", b.bytes()));
    const HeaderReport report = header_report(model, UINT64_MAX);
    ASSERT_EQ(report.sections.size(), 3U);
    EXPECT_EQ(report.n_tensor_entries, 2U);
    const HeaderSection& header = report.sections[0];
    const std::tuple<const char*, std::uint64_t, std::size_t, std::uint64_t> expected[] = {
        {"version", 4, 4, 3}, {"tensor_count", 8, 8, 2}, {"metadata_kv_count", 16, 8, 3}};
    for (const auto& [name, offset, size, value] : expected) {
      EXPECT_EQ(field(header, name).offset, offset) << name;
      EXPECT_EQ(field(header, name).bytes.size(), size) << name;
      EXPECT_EQ(field(header, name).number, value) << name;
    }
    EXPECT_EQ(model.metadata[1].key_offset, number_at);
    EXPECT_EQ(model.metadata[1].value_offset, number_at + 8 + 17 + 4);
    EXPECT_EQ(model.metadata[1].end_offset, number_at + 8 + 17 + 4 + 4);
    EXPECT_EQ(model.metadata[2].key_offset, text_at);
    EXPECT_EQ(model.metadata[2].end_offset, text_at + 8 + 12 + 4 + 8 + 6);
    for (const auto& [section, at] : {std::pair(report.sections[1], first), std::pair(report.sections[2], second)}) {
      EXPECT_EQ(section.fields[0].offset, at.start);
      EXPECT_EQ(field(section, "n_dims").offset, at.n_dims);
      EXPECT_EQ(field(section, "dims[0]").offset, at.dims);
      EXPECT_EQ(field(section, "type").offset, at.type);
      EXPECT_EQ(field(section, "offset").offset, at.offset);
    }
    EXPECT_EQ(field(report.sections[1], "type").number, test::kGgmlQ4_0);
    EXPECT_EQ(field(report.sections[2], "offset").number, 64U);
  }
}

// Red when a member begins a byte late.
TEST(F_HEX_001, MembersOfASafeTensorsEntryHaveTheirSpans) {
  const std::string header =
      R"({"__metadata__":{"k":"v"},"x\"{y":{"dtype":"F32", "shape":[1,2],"data_offsets":[0,8]}})";
  const TempFolder folder;
  const format::ModelFile model =
      format::open_model(folder.write("m.safetensors", test::safetensors(header, std::string(8, '\0'))));
  ASSERT_EQ(model.tensors.size(), 1U);
  const HeaderReport report = header_report(model, 1);
  const HeaderSection& entry = report.sections.back();
  for (const char* name : {"dtype", "shape", "data_offsets"}) {
    const std::string key = "\"" + std::string(name) + "\"";
    EXPECT_EQ(field(entry, name).offset, 8 + header.find(key)) << name;
    EXPECT_EQ(field(entry, name).value.substr(0, key.size()), key);
  }
  std::uint64_t next = entry.fields[0].offset;
  for (const HeaderField& f : entry.fields) {
    EXPECT_EQ(f.offset, next);
    next += f.bytes.size();
  }
  EXPECT_EQ(next, model.tensors[0].info_offset + model.tensors[0].info_size);
}

// Red when what lies between two tensors has the name of its region.
TEST(Labels, WalkOverAFileWithoutAGap) {
  GgufBuilder b = test::small_gguf();
  b.f32("c", 1);  // 28 bytes of padding behind it
  b.f32("d", 8);
  const TempFolder folder;
  const std::string bytes = b.bytes() + "tail";
  const format::ModelFile model = format::open_model(folder.write("m.gguf", bytes));
  const AddressMap map(model);
  std::vector<std::string> labels;
  for (std::uint64_t at = 0; at < bytes.size();) {
    const Label label = map.label(at);
    ASSERT_GT(label.end, at);
    labels.push_back(label.text);
    at = label.end;
  }
  EXPECT_EQ(labels[0], "header");
  EXPECT_EQ(labels[1], "KV general.architecture");
  EXPECT_THAT(labels, testing::Contains("tensor info b"));
  EXPECT_THAT(labels, testing::Contains("tensor a"));
  EXPECT_EQ(map.label(model.find_tensor("c")->offset + 4).text, "padding");
  EXPECT_EQ(map.label(model.find_tensor("c")->offset + 4).end, model.find_tensor("d")->offset);
  EXPECT_EQ(labels.back(), "trailing bytes");
}

}  // namespace
}  // namespace apr::inspect
