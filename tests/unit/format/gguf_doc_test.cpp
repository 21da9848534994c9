// The drawing in docs/formats/gguf.md against real bytes: a drawing that is not tested goes wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "apr/core/text.h"
#include "apr/format/model_file.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/open_bytes.h"
#include "tests/support/paths.h"

namespace apr::format {
namespace {

struct Row {
  std::uint64_t offset = 0, size = 0;
  std::string field, bytes;  // bytes: hexadecimal pairs, or "zero" or "data"
};

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out;
  std::istringstream in(line);
  std::string cell;
  std::getline(in, cell, '|');
  while (std::getline(in, cell, '|')) {
    const std::size_t first = cell.find_first_not_of(" `"), last = cell.find_last_not_of(" `");
    out.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return out;
}

/// Lines of the document between two headings.
std::vector<std::string> section(const std::string& heading) {
  std::ifstream in(test::source_dir() + "/docs/formats/gguf.md");
  EXPECT_TRUE(in.good());
  std::vector<std::string> lines;
  std::string line;
  bool inside = false;
  while (std::getline(in, line)) {
    if (line.starts_with("## ")) inside = line == "## " + heading;
    if (inside) lines.push_back(line);
  }
  return lines;
}

std::vector<Row> example_rows() {
  std::vector<Row> rows;
  for (const std::string& line : section("A whole file")) {
    const auto row = cells(line);
    if (row.size() < 4 || !parse_u64(row[0])) continue;
    rows.push_back({*parse_u64(row[0]), parse_u64(row[1]).value_or(0), row[2], row[3]});
  }
  return rows;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    char pair[4];
    std::snprintf(pair, sizeof pair, "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    text += (text.empty() ? "" : " ") + std::string(pair);
  }
  return text;
}

TEST(GgufDoc, TheExampleIsTheFileByteForByte) {
  const std::string file = test::small_gguf().bytes();
  const std::vector<Row> rows = example_rows();
  ASSERT_GT(rows.size(), 30U);
  std::uint64_t next = 0;
  for (const Row& row : rows) {
    ASSERT_EQ(row.offset, next) << row.field;
    ASSERT_LE(row.offset + row.size, file.size()) << row.field;
    const std::string bytes = file.substr(row.offset, row.size);
    if (row.bytes == "zero") {
      EXPECT_EQ(bytes, std::string(row.size, '\0')) << row.field;
    } else if (row.bytes != "data") {
      EXPECT_EQ(hex(bytes), row.bytes) << row.field;
    }
    next = row.offset + row.size;
  }
  EXPECT_EQ(next, file.size());
}

TEST(GgufDoc, TheReaderSeesTheExampleAsItIsDrawn) {
  const auto opened = test::open_bytes(test::small_gguf().bytes());
  ASSERT_TRUE(clean(opened));
  const std::vector<Row> rows = example_rows();
  const auto offset_of = [&](const std::string& field) {
    for (const Row& row : rows)
      if (row.field == field) return row.offset;
    ADD_FAILURE() << "the drawing has no row " << field;
    return std::uint64_t{0};
  };
  EXPECT_EQ(opened.model->metadata[0].key_offset, offset_of("metadata[0].key.length"));
  EXPECT_EQ(opened.model->metadata[1].value_offset, offset_of("metadata[1].value"));
  EXPECT_EQ(opened.model->metadata[2].value_offset, offset_of("metadata[2].value.element_type"));
  EXPECT_EQ(opened.model->tensors[0].info_offset, offset_of("tensor[0].name.length"));
  EXPECT_EQ(opened.model->tensors[1].info_offset, offset_of("tensor[1].name.length"));
  EXPECT_EQ(opened.model->tensors[0].offset, offset_of("data of tensor[0]"));
  EXPECT_EQ(opened.model->tensors[1].offset, offset_of("data of tensor[1]"));
}

TEST(GgufDoc, TheValueTypesAreThoseOfTheLibrary) {
  std::size_t n = 0;
  for (const std::string& line : section("Value types")) {
    const auto row = cells(line);
    if (row.size() < 3 || !parse_u64(row[0])) continue;
    EXPECT_EQ(*parse_u64(row[0]), n);
    EXPECT_EQ(row[1], name(static_cast<ValueType>(n)));
    ++n;
  }
  EXPECT_EQ(n, 13U);
}

/// Every rule that the reader can report stands in the document, and the document names no rule that is gone.
TEST(GgufDoc, EveryRuleIsListed) {
  std::vector<std::string> documented, used;
  for (const std::string& line : section("Rules")) {
    const auto row = cells(line);
    if (row.size() >= 3 && row[0].starts_with("gguf.")) documented.push_back(row[0]);
  }
  for (const auto& entry : std::filesystem::directory_iterator(test::source_dir() + "/src/format")) {
    if (!entry.path().filename().string().starts_with("gguf")) continue;
    std::ifstream in(entry.path());
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    for (std::size_t at = text.find("\"gguf."); at != std::string::npos; at = text.find("\"gguf.", at + 1))
      used.push_back(text.substr(at + 1, text.find('"', at + 1) - at - 1));
  }
  for (auto* list : {&documented, &used}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  ASSERT_GT(used.size(), 30U);
  EXPECT_EQ(documented, used);
}

}  // namespace
}  // namespace apr::format
