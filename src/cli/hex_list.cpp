// apr hex FILE --list: the tensor table.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "apr/inspect/hex.h"
#include "src/cli/hex_json_parts.h"
#include "src/cli/hex_modes.h"
#include "src/cli/hex_text_parts.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using format::ModelFile;

void append_list(std::string& out, const Style& style, const ModelFile& model, bool first) {
  if (first) append_title(out, style, model);
  append_files(out, style, model);
  const bool sharded = model.files.size() > 1;
  append_heading(out, style, "TENSORS",
                 fmt::format("{}, {} parameters", grouped(model.tensors.size()), human_count(model.n_parameters())));
  std::vector<Table::Column> columns = {
      {"#", Align::Right},    {"name"}, {"type"}, {"shape"}, {"elements", Align::Right}, {"offset"},
      {"bytes", Align::Right}};
  columns.push_back({sharded ? "file" : "", Align::Right});
  columns.push_back({""});
  Table table(std::move(columns));
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    const format::TensorInfo& t = model.tensors[i];
    table.add({{fmt::format("{}", i), Role::Dim},
               {escaped(t.name), Role::Name},
               {type_text(t), Role::Type},
               {shape_text(t.shape)},
               {grouped(t.n_elements)},
               {offset_text(t.offset), Role::Offset},
               {grouped(t.size_bytes)},
               {sharded ? fmt::format("{}", t.file_index) : ""},
               {t.readable ? "" : "unreadable", Role::Bad}});
  }
  table.append_to(out, style);
  const inspect::Summary summary = inspect::summarize(model);
  out += fmt::format("\n  {}, {} parameters, {}\n", plural(summary.n_tensors, "tensor", "tensors"),
                     grouped(summary.n_parameters), size_text(summary.tensor_bytes));
}

void put_list(Json& document, const ModelFile& model) {
  put_model(document, model);
  const inspect::Summary summary = inspect::summarize(model);
  document["n_tensors"] = summary.n_tensors;
  document["n_parameters"] = summary.n_parameters;
  document["tensor_bytes"] = summary.tensor_bytes;
  document["tensors"] = Json::array();
  for (std::size_t i = 0; i < model.tensors.size(); ++i)
    document["tensors"].push_back(tensor_info_json(i, model.tensors[i]));
}

}  // namespace

HexModeRun setup_hex_list(HexFlags&) {
  return [](HexRun& run) {
    if (run.wants_json())
      put_list(run.json, *run.model);
    else
      append_list(run.text, run.context.style, *run.model, run.first);
    return 0;
  };
}

}  // namespace apr::cli
