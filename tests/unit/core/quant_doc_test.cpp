// docs/formats/quant-types.md and the drawings in the kernel files against the tables of core.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "apr/core/tensor_type.h"
#include "tests/support/paths.h"

namespace apr {
namespace {

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(test::source_dir() + "/" + path);
  EXPECT_TRUE(file) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

/// The cells of "| a | b |".
std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out;
  std::istringstream rest(line.substr(1));
  for (std::string cell; std::getline(rest, cell, '|');) out.push_back(trimmed(cell));
  return out;
}

struct Drawn {
  std::string name;
  std::size_t offset, end;
};

/// A drawing: numbers on the first line stand over the bars of the second, names stand between the bars.
std::vector<Drawn> parse_drawing(const std::string& numbers, const std::string& bars) {
  std::vector<std::size_t> columns, offsets;
  for (std::size_t i = numbers.find("byte ") + 5; i < numbers.size();) {
    if (numbers[i] == ' ') {
      ++i;
      continue;
    }
    std::size_t used = 0;
    columns.push_back(i);
    offsets.push_back(std::stoul(numbers.substr(i), &used));
    i += used;
  }
  std::vector<Drawn> fields;
  for (std::size_t k = 0; k + 1 < columns.size(); ++k) {
    const bool bars_stand = columns[k + 1] < bars.size() && bars[columns[k]] == '|' && bars[columns[k + 1]] == '|';
    EXPECT_TRUE(bars_stand) << "no bar under a number:\n" << numbers << "\n" << bars;
    if (!bars_stand) return {};
    fields.push_back(
        {trimmed(bars.substr(columns[k] + 1, columns[k + 1] - columns[k] - 1)), offsets[k], offsets[k + 1]});
  }
  EXPECT_EQ(static_cast<std::size_t>(std::count(bars.begin(), bars.end(), '|')), columns.size()) << bars;
  return fields;
}

void expect_drawing(const TypeInfo& type, const std::vector<Drawn>& drawn, const std::string& where) {
  if (type.fields.empty()) {  // a plain type is one value
    ASSERT_EQ(drawn.size(), 1u) << where;
    EXPECT_EQ(drawn[0].end, type.block_bytes) << where;
    return;
  }
  ASSERT_EQ(drawn.size(), type.fields.size()) << where;
  for (std::size_t k = 0; k < drawn.size(); ++k) {
    const BlockField& field = type.fields[k];
    EXPECT_EQ(drawn[k].name, field.name) << where;
    EXPECT_EQ(drawn[k].offset, field.offset) << where << " " << field.name;
    EXPECT_EQ(drawn[k].end - drawn[k].offset, field.bytes) << where << " " << field.name;
  }
}

bool is_drawn(const TypeInfo& type) {
  const bool ggml = static_cast<int>(type.type) < 256;
  return type.status == TypeStatus::Live && (ggml || type.type == TensorType::AprQ4);
}

const char* encoding_name(FieldEncoding encoding) {
  static constexpr const char* kNames[] = {"U8",   "I8",  "U16", "I16",  "I32",  "I64",   "F16",
                                           "BF16", "F32", "F64", "E8M0", "E4M3", "Packed"};
  return kNames[static_cast<std::size_t>(encoding)];
}

struct Section {
  std::vector<Drawn> drawing;
  std::vector<std::vector<std::string>> table;
};

std::map<std::string, Section> doc_sections() {
  std::map<std::string, Section> sections;
  Section* current = nullptr;
  const std::vector<std::string> lines = lines_of("docs/formats/quant-types.md");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].starts_with("### ")) current = &sections[lines[i].substr(4)];
    if (current == nullptr) continue;
    if (lines[i].starts_with("byte ") && i + 1 < lines.size()) current->drawing = parse_drawing(lines[i], lines[i + 1]);
    if (lines[i].starts_with("| ") && !lines[i].starts_with("| field")) current->table.push_back(cells(lines[i]));
  }
  return sections;
}

TEST(QuantDoc, EveryDrawingIsTheBlock) {
  const std::map<std::string, Section> sections = doc_sections();
  std::size_t n_drawn = 0;
  for (const TypeInfo& type : tensor_types()) {
    if (!is_drawn(type)) continue;
    ++n_drawn;
    const auto section = sections.find(std::string(type.name));
    ASSERT_NE(section, sections.end()) << type.name << " has no section";
    expect_drawing(type, section->second.drawing, std::string(type.name));
  }
  EXPECT_EQ(sections.size(), n_drawn) << "a section of no type";
}

TEST(QuantDoc, EveryFieldTableIsTheBlock) {
  const std::map<std::string, Section> sections = doc_sections();
  std::size_t n_rows = 0;
  for (const TypeInfo& type : tensor_types()) {
    if (!is_drawn(type)) continue;
    const auto section = sections.find(std::string(type.name));
    ASSERT_NE(section, sections.end());
    ASSERT_EQ(section->second.table.size(), type.fields.size()) << type.name;
    for (std::size_t k = 0; k < type.fields.size(); ++k) {
      const BlockField& field = type.fields[k];
      const std::vector<std::string> expected = {std::string(field.name), std::to_string(field.offset),
                                                 std::to_string(field.bytes), encoding_name(field.encoding)};
      EXPECT_EQ(section->second.table[k], expected) << type.name;
      ++n_rows;
    }
  }
  EXPECT_GE(n_rows, 70u);
}

TEST(QuantDoc, TheTableOfTypesIsComplete) {
  std::map<std::string, std::vector<std::string>> rows;
  for (const std::string& line : lines_of("docs/formats/quant-types.md")) {
    if (line.starts_with("## Blocks")) break;
    if (line.starts_with("| ") && !line.starts_with("| type")) rows[cells(line)[0]] = cells(line);
  }
  EXPECT_EQ(rows.size(), tensor_types().size());
  for (const TypeInfo& type : tensor_types()) {
    const std::vector<std::string>& row = rows[std::string(type.name)];
    ASSERT_EQ(row.size(), 6u) << type.name;
    EXPECT_EQ(row[1], std::to_string(static_cast<unsigned>(type.type))) << type.name;
    EXPECT_EQ(row[2], std::to_string(type.block_elements)) << type.name;
    EXPECT_EQ(row[3], std::to_string(type.block_bytes)) << type.name;
    EXPECT_EQ(row[5] == "removed from ggml", type.status == TypeStatus::Removed) << type.name;
    if (type.status == TypeStatus::Live) {
      EXPECT_EQ(std::stod(row[4]), 8.0 * type.block_bytes / type.block_elements) << type.name;
    }
  }
}

TEST(QuantDoc, TheKernelFilesDrawTheSameBlocks) {
  std::size_t n_files = 0;
  for (const TypeInfo& type : tensor_types()) {
    if (!is_drawn(type)) continue;
    std::string file(type.name);
    std::transform(file.begin(), file.end(), file.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::string path = type.type == TensorType::AprQ4 ? std::string("kernels/container_types.cpp")
                                                            : "kernels/cpu/quant/" + file + ".inl";
    const std::vector<std::string> lines = lines_of(path);
    const auto numbers = std::find_if(lines.begin(), lines.end(),
                                      [](const std::string& line) { return line.starts_with("//   byte 0"); });
    ASSERT_TRUE(numbers != lines.end() && numbers + 1 != lines.end()) << path << " has no drawing";
    expect_drawing(type, parse_drawing(*numbers, *(numbers + 1)), path);
    ++n_files;
  }
  EXPECT_EQ(n_files, 36u);
}

}  // namespace
}  // namespace apr
