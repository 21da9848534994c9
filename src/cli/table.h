// Aligned columns of coloured text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "src/cli/style.h"

namespace apr::cli {

enum class Align { Left, Right };

struct Cell {
  std::string text;
  Role role = Role::Plain;
};

/// Collects rows, then prints them with each column as wide as its widest cell, at most `max_width` (a longer cell
/// pushes its own row only). Two spaces before the first column and between columns; the last column is not padded,
/// and a column without any text is left out.
class Table {
 public:
  struct Column {
    std::string heading;  // all empty: no heading line
    Align align = Align::Left;
    std::size_t max_width = 60;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
  void append_to(std::string& out, const Style& style) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace apr::cli
