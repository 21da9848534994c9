// What holds between the tensors of one SafeTensors file: unique names, and data that fills its section exactly.
#include <fmt/format.h>

#include <algorithm>

#include "apr/core/text.h"
#include "src/format/safetensors.h"

namespace apr::format {
namespace {

/// Sorted, not hashed: a file that picks its names cannot make this quadratic, and it costs four bytes a tensor.
void check_unique_names(const ModelFile& model, std::size_t first, Findings& findings) {
  const auto& tensors = model.tensors;
  std::vector<std::uint32_t> order(tensors.size() - first);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(first + i);
  std::sort(order.begin(), order.end(), [&tensors](std::uint32_t a, std::uint32_t b) {
    return tensors[a].name != tensors[b].name ? tensors[a].name < tensors[b].name : a < b;
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const TensorInfo &one = tensors[order[i - 1]], &two = tensors[order[i]];
    if (one.name != two.name) continue;
    findings.error("safetensors.tensor.unique", "two tensors have the same name")
        .at(two.info_offset)
        .tensor(two.name)
        .in("name")
        .got(fmt::format("first at offset {}", one.info_offset));
  }
}

void report_gap(const TensorInfo& tensor, std::uint64_t expected, std::uint64_t data_begin, const TensorInfo* previous,
                Findings& findings) {
  const std::uint64_t begin = tensor.offset;
  if (begin > expected) {
    findings.error("safetensors.data.no_holes", "bytes that belong to no tensor")
        .at(expected)
        .tensor(tensor.name)
        .in("data_offsets")
        .want(fmt::format("begin {}", expected - data_begin))
        .got(fmt::format("begin {}, a hole of {} bytes", begin - data_begin, begin - expected));
    return;
  }
  findings.error("safetensors.data.no_overlap", "two tensors share bytes")
      .at(begin)
      .tensor(tensor.name)
      .in("data_offsets")
      .want(fmt::format("begin {}", expected - data_begin))
      .got(fmt::format("begin {}, inside or before \"{}\"", begin - data_begin,
                       previous != nullptr ? escaped(previous->name, 80) : std::string()));
}

}  // namespace

void check_safetensors_layout(ModelFile& model, std::size_t first, std::vector<std::uint32_t> placed,
                              const SafeTensorsExtent& extent, Findings& findings) {
  check_unique_names(model, first, findings);
  const auto& tensors = model.tensors;
  std::sort(placed.begin(), placed.end(), [&tensors](std::uint32_t a, std::uint32_t b) {
    if (tensors[a].offset != tensors[b].offset) return tensors[a].offset < tensors[b].offset;
    return tensors[a].size_bytes != tensors[b].size_bytes ? tensors[a].size_bytes < tensors[b].size_bytes : a < b;
  });
  std::uint64_t expected = extent.data_begin;
  const TensorInfo* previous = nullptr;
  for (const std::uint32_t i : placed) {
    if (tensors[i].offset != expected) report_gap(tensors[i], expected, extent.data_begin, previous, findings);
    const std::uint64_t end = tensors[i].offset + tensors[i].size_bytes;  // inside the file, so it fits
    if (end < expected) continue;
    expected = end;
    previous = &tensors[i];
  }
  const auto file_index = static_cast<std::uint32_t>(model.files.size() - 1);
  if (expected > extent.data_begin)
    model.regions.push_back({"tensor data", file_index, extent.data_begin, expected - extent.data_begin});
  if (expected == extent.data_end) return;
  model.regions.push_back({"trailing bytes", file_index, expected, extent.data_end - expected});
  findings.error("safetensors.data.ends_at_file_end", "bytes behind the last tensor")
      .at(expected)
      .in("data_offsets")
      .want(fmt::format("a file of {} bytes", expected))
      .got(fmt::format("{} bytes more", extent.data_end - expected))
      .help("something was appended to the file, or the header lost a tensor");
}

}  // namespace apr::format
