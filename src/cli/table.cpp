#include "src/cli/table.h"

#include <algorithm>

namespace apr::cli {
namespace {

void append_cell(std::string& out, const Style& style, const Cell& cell, Align align, std::size_t width, bool last) {
  const std::size_t used = display_width(cell.text);
  const std::size_t pad = used < width ? width - used : 0;
  if (align == Align::Right) out.append(pad, ' ');
  style.append(out, cell.role, cell.text);
  if (align == Align::Left && !last) out.append(pad, ' ');
}

}  // namespace

void Table::append_to(std::string& out, const Style& style) const {
  std::vector<std::size_t> widths;
  bool headed = false;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = display_width(columns_[c].heading);
    headed = headed || width > 0;
    for (const auto& row : rows_)
      if (c < row.size()) width = std::max(width, std::min(display_width(row[c].text), columns_[c].max_width));
    widths.push_back(width);
  }
  const auto append_row = [&](const std::vector<Cell>& row) {
    std::size_t filled = row.size();
    while (filled > 0 && row[filled - 1].text.empty()) --filled;  // no blanks at the end of a line
    for (std::size_t c = 0; c < filled; ++c) {
      if (widths[c] == 0) continue;  // a column that no row uses takes no room
      out += "  ";
      append_cell(out, style, row[c], columns_[c].align, widths[c], c + 1 == filled);
    }
    out += '\n';
  };
  if (headed) {
    std::vector<Cell> heading;
    for (const Column& column : columns_) heading.push_back({column.heading, Role::Dim});
    append_row(heading);
  }
  for (const auto& row : rows_) append_row(row);
}

}  // namespace apr::cli
