#include "apr/inspect/list.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apr/core/checked.h"
#include "apr/diag/diag.h"

namespace apr::inspect {
namespace {

using format::ModelFile;
using format::TensorInfo;

void add_to(ListTotal& total, const TensorInfo& tensor) {
  ++total.n_tensors;
  total.n_elements = checked_add(total.n_elements, tensor.n_elements).value_or(UINT64_MAX);
  total.size_bytes = checked_add(total.size_bytes, tensor.size_bytes).value_or(UINT64_MAX);
}

void finish(ListTotal& total, std::uint64_t all_bytes) {
  const auto bytes = static_cast<double>(total.size_bytes), elements = static_cast<double>(total.n_elements);
  if (all_bytes > 0) total.share = bytes / static_cast<double>(all_bytes);
  if (total.n_elements > 0) total.bits_per_weight = 8 * bytes / elements;
}

std::string type_name(const TensorInfo& tensor) {
  if (tensor.type != TensorType::Unknown) return std::string(name(tensor.type));
  return tensor.raw_type_name.empty() ? fmt::format("unknown ({})", tensor.raw_type)
                                      : fmt::format("unknown ({})", tensor.raw_type_name);
}

std::vector<ListTotal> sorted(std::map<std::string, ListTotal> totals, std::uint64_t all_bytes) {
  std::vector<ListTotal> out;
  for (auto& [key, total] : totals) {
    total.name = key;
    finish(total, all_bytes);
    out.push_back(std::move(total));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const ListTotal& a, const ListTotal& b) { return a.size_bytes > b.size_bytes; });
  return out;
}

bool comes_before(const TensorInfo& a, const TensorInfo& b, ListOrder order) {
  switch (order) {
    case ListOrder::File: return false;
    case ListOrder::Offset: return std::pair(a.file_index, a.offset) < std::pair(b.file_index, b.offset);
    case ListOrder::Size: return a.size_bytes > b.size_bytes;
    case ListOrder::Name: return a.name < b.name;
    case ListOrder::Type: return type_name(a) < type_name(b);
  }
  return false;
}

}  // namespace

ListReport list_report(const ModelFile& model, std::vector<std::size_t> tensors, ListOrder order) {
  ListReport report;
  report.tensors = std::move(tensors);
  std::stable_sort(report.tensors.begin(), report.tensors.end(), [&](std::size_t a, std::size_t b) {
    return comes_before(model.tensors[a], model.tensors[b], order);
  });
  std::map<std::string, ListTotal> types, roles;
  for (const std::size_t i : report.tensors) {
    const TensorInfo& tensor = model.tensors[i];
    add_to(report.total, tensor);
    add_to(types[type_name(tensor)], tensor);
    add_to(roles[diag::role_of(tensor.name).role], tensor);
  }
  finish(report.total, report.total.size_bytes);
  report.types = sorted(std::move(types), report.total.size_bytes);
  report.roles = sorted(std::move(roles), report.total.size_bytes);
  return report;
}

}  // namespace apr::inspect
