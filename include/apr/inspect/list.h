// The tensor table: chosen, sorted, summed up.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apr/format/model_file.h"

namespace apr::inspect {

enum class ListOrder : std::uint8_t { File, Offset, Size, Name, Type };

/// The tensors of one type or role, summed up.
struct ListTotal {
  std::string name;
  std::uint64_t n_tensors = 0, n_elements = 0, size_bytes = 0;
  double share = 0;                       // of the bytes of the list; 0 when there are none
  std::optional<double> bits_per_weight;  // nothing without elements
};

struct ListReport {
  std::vector<std::size_t> tensors;  // indices in ModelFile::tensors, in the order that was asked for
  ListTotal total;
  std::vector<ListTotal> types, roles;  // largest share first, equal ones by name
};
/// Offset: by file, then offset. Size: largest first. Name and type: ascending, equal ones in file order.
[[nodiscard]] ListReport list_report(const format::ModelFile& model, std::vector<std::size_t> tensors, ListOrder order);

}  // namespace apr::inspect
