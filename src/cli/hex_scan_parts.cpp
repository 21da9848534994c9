#include "src/cli/hex_scan_parts.h"

#include <fmt/format.h>

#include "apr/core/text.h"

namespace apr::cli {
namespace {

std::string span_text(std::string_view what, std::uint64_t first, std::uint64_t last) {
  return first == last ? fmt::format("{} {}", what, first) : fmt::format("{}s {} to {}", what, first, last);
}

}  // namespace

std::string place_text(const inspect::TensorPlace& place, const format::ModelFile& model) {
  const format::TensorInfo& tensor = model.tensors[place.tensor];
  const TypeInfo* type = find_type(tensor.type);
  const bool blocks = type != nullptr && type->block_elements > 1;
  std::string text =
      escaped(tensor.name, 80) + " " + span_text(blocks ? "block" : "element", place.first_block, place.last_block);
  if (tensor.shape.size() > 1) text += ", " + span_text("row", place.first_row, place.last_row);
  return text;
}

void put_place(Json& object, const inspect::TensorPlace& place, const format::ModelFile& model) {
  put_text(object, "tensor", model.tensors[place.tensor].name);
  object["tensor_index"] = place.tensor;
  object["first_block"] = place.first_block;
  object["last_block"] = place.last_block;
  object["first_row"] = place.first_row;
  object["last_row"] = place.last_row;
}

void append_cut(std::string& out, std::size_t n, std::uint64_t limit, std::string_view what) {
  if (n > limit) out += fmt::format("  … {} more {}; --all shows them\n", grouped(n - limit), what);
}

}  // namespace apr::cli
