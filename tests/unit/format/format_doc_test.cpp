// The tables of docs/formats/safetensors.md and apr.md against real bytes and the library: what is not tested goes
// wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "apr/core/text.h"
#include "apr/format/apr_header.h"
#include "src/format/readers.h"
#include "src/format/safetensors.h"
#include "tests/support/apr_builder.h"
#include "tests/support/json_builder.h"
#include "tests/support/paths.h"

namespace apr::format {
namespace {

using Cells = std::vector<std::string>;

Cells cells(const std::string& line) {
  Cells out;
  std::istringstream in(line);
  std::string cell;
  std::getline(in, cell, '|');
  while (std::getline(in, cell, '|')) {
    const std::size_t first = cell.find_first_not_of(' '), last = cell.find_last_not_of(' ');
    out.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return out;
}

/// The rows of the table under a heading, without its two lines of head.
std::vector<Cells> table(const std::string& document, const std::string& heading) {
  std::ifstream in(test::source_dir() + "/docs/formats/" + document);
  EXPECT_TRUE(in.good()) << document;
  std::vector<Cells> rows;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## ")) inside = line == "## " + heading;
    if (inside && line.starts_with("| ")) rows.push_back(cells(line));
  }
  if (!rows.empty()) rows.erase(rows.begin());  // the line |---| does not begin with "| "
  EXPECT_FALSE(rows.empty()) << document << ": " << heading;
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

/// Compares a drawn file with its bytes; every byte is drawn once.
void expect_drawn(const std::string& document, const std::string& file) {
  std::uint64_t next = 0;
  for (const Cells& row : table(document, "A whole file")) {
    ASSERT_GE(row.size(), 4U);
    const auto offset = parse_u64(row[0]), size = parse_u64(row[1]);
    ASSERT_TRUE(offset && size) << row[0];
    EXPECT_EQ(*offset, next) << row[2];
    ASSERT_LE(*offset + *size, file.size()) << row[2];
    const std::string bytes = file.substr(*offset, *size);
    if (row[3] == "zero")
      EXPECT_EQ(bytes, std::string(*size, '\0')) << row[2];
    else if (row[3] == "spaces")
      EXPECT_EQ(bytes, std::string(*size, ' ')) << row[2];
    else if (row[3] == "text")
      EXPECT_TRUE(row.size() > 4 && (row[4].empty() || row[4].starts_with("`" + bytes + "`"))) << bytes;
    else if (row[3] != "data")
      EXPECT_EQ(hex(bytes), row[3]) << row[2];
    next = *offset + *size;
  }
  EXPECT_EQ(next, file.size());
}

std::uint64_t drawn_offset(const std::string& document, const std::string& field) {
  for (const Cells& row : table(document, "A whole file"))
    if (row[2] == field) return parse_u64(row[0]).value();
  ADD_FAILURE() << document << " draws no " << field;
  return 0;
}

/// Every rule that the code can report stands in the document, and the document names no rule that is gone.
void expect_rules(const std::string& document, const std::string& prefix) {
  std::vector<std::string> documented, used;
  for (const Cells& row : table(document, "Rules")) documented.push_back(row[0]);
  for (const auto& entry : std::filesystem::directory_iterator(test::source_dir() + "/src/format")) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    const std::string text = test::read_whole(entry.path().string());
    const std::string quoted = "\"" + prefix + ".";
    for (std::size_t at = text.find(quoted); at != std::string::npos; at = text.find(quoted, at + 1))
      used.push_back(text.substr(at + 1, text.find('"', at + 1) - at - 1));
  }
  for (auto* list : {&documented, &used}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  ASSERT_GT(used.size(), 30U);
  EXPECT_EQ(documented, used);
}

ModelFile open(const test::TempFolder& folder, const std::string& bytes) {
  return open_model(folder.write("drawn", bytes), {.verify_data = true});
}

TEST(SafeTensorsDoc, TheExampleIsDrawnByteForByte) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},)"
      R"("b":{"dtype":"U8","shape":[],"data_offsets":[12,13]}})";
  const std::string file = test::safetensors(header + "   ", std::string(13, 'd'));
  expect_drawn("safetensors.md", file);
  const test::TempFolder folder;
  const ModelFile model = open(folder, file);
  EXPECT_TRUE(model.findings.empty());
  EXPECT_EQ(model.tensors[0].info_offset, drawn_offset("safetensors.md", "entry of w"));
  EXPECT_EQ(model.tensors[1].info_offset, drawn_offset("safetensors.md", "entry of b"));
  EXPECT_EQ(model.tensors[0].offset, drawn_offset("safetensors.md", "data of w"));
  EXPECT_EQ(model.tensors[1].offset, drawn_offset("safetensors.md", "data of b"));
}

TEST(SafeTensorsDoc, TheTypesAreThoseOfTheLibrary) {
  const auto rows = table("safetensors.md", "Types");
  ASSERT_EQ(rows.size(), safetensors_types().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i][0], safetensors_types()[i].name);
    EXPECT_EQ(rows[i][1], std::to_string(safetensors_types()[i].bits));
  }
}

TEST(SafeTensorsDoc, EveryRuleIsListed) { expect_rules("safetensors.md", "safetensors"); }

TEST(AprDoc, TheExampleIsDrawnByteForByte) {
  test::AprParts parts;
  parts.entries = {{"a", 0, {2}, 0, 8}};
  parts.data = test::le(1.0F) + test::le(2.0F);
  const std::string file = parts.file();
  ASSERT_EQ(file.size(), 260U);
  expect_drawn("apr.md", file);
  const test::TempFolder folder;
  const ModelFile model = open(folder, file);
  EXPECT_TRUE(model.findings.empty());
  EXPECT_EQ(model.tensors[0].info_offset, drawn_offset("apr.md", "tensor[0].name_len"));
  EXPECT_EQ(model.tensors[0].offset, drawn_offset("apr.md", "data of tensor[0]"));
  for (const AprHeaderField& field : apr_header_fields())
    EXPECT_EQ(field.offset, drawn_offset("apr.md", std::string(field.name)));
}

TEST(AprDoc, TheFlagsAreThoseOfTheLibrary) {
  const auto rows = table("apr.md", "Flags");
  ASSERT_EQ(rows.size(), apr_flag_table().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(parse_u64(rows[i][0]), apr_flag_table()[i].bit);
    EXPECT_EQ(rows[i][1], apr_flag_table()[i].name);
  }
}

TEST(AprDoc, TheDtypeBytesAreThoseOfTheLibrary) {
  const auto rows = table("apr.md", "dtype bytes");
  ASSERT_EQ(rows.size(), apr_dtypes().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ASSERT_GE(rows[i].size(), 4U);
    EXPECT_EQ(rows[i][0], std::to_string(apr_dtypes()[i].id));
    EXPECT_EQ(rows[i][1], apr_dtypes()[i].name);
    EXPECT_EQ(rows[i][3], apr_dtypes()[i].other);
  }
}

TEST(AprDoc, TheAliasesAreThoseOfTheLibrary) {
  const auto rows = table("apr.md", "Metadata");
  ASSERT_EQ(rows.size(), apr_metadata_aliases().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i][0], apr_metadata_aliases()[i].alias);
    EXPECT_EQ(rows[i][1], apr_metadata_aliases()[i].canonical);
  }
}

TEST(AprDoc, EveryRuleIsListed) { expect_rules("apr.md", "apr"); }

}  // namespace
}  // namespace apr::format
