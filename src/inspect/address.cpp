#include "apr/inspect/address.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apr/core/bytes.h"
#include "apr/core/text.h"
#include "apr/kernels/dispatch.h"
#include "src/inspect/fields.h"
#include "src/inspect/numbers.h"

namespace apr::inspect {
namespace {

using format::ModelFile;
using format::TensorInfo;

constexpr std::uint32_t kAprQ8ScaleBytes = 4;

std::string_view field_of(const TypeInfo& type, const PartBits& part) {
  const BlockField* field = field_at(type, part.runs[0].first / 8U);
  return field == nullptr ? std::string_view{} : field->name;
}

/// The bits of a part in the file, byte by byte.
std::vector<FileBits> file_bits(const TypeInfo& type, const PartBits& part, std::uint64_t block_offset,
                                std::endian order) {
  std::vector<FileBits> out;
  for (std::size_t r = 0; r < part.n_runs; ++r)
    for (unsigned bit = part.runs[r].first, left = part.runs[r].width; left > 0;) {
      const unsigned width = std::min(left, 8 - bit % 8);
      const unsigned byte = order == std::endian::little ? bit / 8 : big_endian_byte(type, bit / 8);
      out.push_back({block_offset + byte, static_cast<std::uint8_t>(bit % 8), static_cast<std::uint8_t>(width)});
      bit += width;
      left -= width;
    }
  return out;
}

/// AprQ8's scale stands before the blocks, once for the tensor.
Part apr_q8_scale(const ModelFile& model, const TensorInfo& tensor) {
  const auto bits = load<std::uint32_t>(model.data(tensor).data());
  Part part;
  part.bits = {PartKind::Scale, 1, {BitRun{0, 32, 0}}};
  part.stored = bits;
  part.value = static_cast<double>(std::bit_cast<float>(bits));
  return part;
}

/// What the value of an element is, exact where a float cannot hold it.
std::optional<Number> exact_value(const TypeInfo& type, std::span<const std::byte> block, const Element& element) {
  if (auto exact = exact_numbers(type.type, block, std::endian::little, 1); exact && !exact->empty())
    return exact->front();
  if (type.type == TensorType::C64) return std::nullopt;
  return element.value;
}

}  // namespace

std::vector<std::int64_t> element_index(const TensorInfo& tensor, std::uint64_t element) {
  std::vector<std::int64_t> index(tensor.shape.size());
  for (std::size_t d = index.size(); d-- > 0;) {
    const auto size = static_cast<std::uint64_t>(tensor.shape[d]);
    index[d] = static_cast<std::int64_t>(element % size);
    element /= size;
  }
  return index;
}

std::optional<std::uint64_t> BlockGrid::element(std::uint64_t stored, std::uint64_t n_elements) const noexcept {
  const std::uint64_t column = stored % stored_row_elements;
  if (column >= row_elements) return std::nullopt;
  const std::uint64_t element = stored / stored_row_elements * row_elements + column;
  return element < n_elements ? std::optional(element) : std::nullopt;
}

std::optional<BlockGrid> block_grid(const TensorInfo& tensor) {
  const TypeInfo* type = find_type(tensor.type);
  if (!tensor.readable || type == nullptr || type->block_elements == 0 || tensor.n_elements == 0) return std::nullopt;
  BlockGrid grid{type, 1, 1, 0, 0};
  if (!tensor.shape.empty()) grid.row_elements = static_cast<std::uint64_t>(tensor.shape.back());
  grid.stored_row_elements = grid.row_elements;
  if (tensor.type == TensorType::AprQ8) grid.first_byte = kAprQ8ScaleBytes;
  if (tensor.size_bytes < grid.first_byte + type->block_bytes) return std::nullopt;
  grid.n_blocks = (tensor.size_bytes - grid.first_byte) / type->block_bytes;
  const std::uint64_t n = type->block_elements, row_blocks = (grid.row_elements - 1) / n + 1;
  const std::uint64_t n_rows = tensor.n_elements / grid.row_elements;
  if (grid.row_elements % n != 0 && tensor.type != TensorType::AprQ4 && grid.n_blocks == n_rows * row_blocks)
    grid.stored_row_elements = row_blocks * n;
  if (grid.stored(tensor.n_elements - 1) / n >= grid.n_blocks) return std::nullopt;  // every element has its block
  return grid;
}

std::vector<std::byte> little_endian_block(const ModelFile& model, const TensorInfo& tensor, const BlockGrid& grid,
                                           std::uint64_t block) {
  const auto bytes =
      model.data(tensor).subspan(grid.first_byte + block * grid.type->block_bytes, grid.type->block_bytes);
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  if (model.byte_order != std::endian::little) swap_block_bytes(*grid.type, copy);
  return copy;
}

const PartPlace& code_of(const WeightPlace& weight) {
  const auto code = std::find_if(weight.parts.begin(), weight.parts.end(), [](const PartPlace& p) {
    return p.kind == PartKind::Code || p.kind == PartKind::GridIndex;
  });
  APR_CHECK(code != weight.parts.end());
  return *code;
}

AddressMap::AddressMap(const ModelFile& model) : model_(model) {
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    const TensorInfo& t = model.tensors[i];
    if (t.readable && t.size_bytes > 0) data_.push_back({t.file_index, t.offset, t.offset + t.size_bytes, i});
    if (t.info_size > 0) infos_.push_back({t.file_index, t.info_offset, t.info_offset + t.info_size, i});
  }
  for (std::size_t i = 0; i < model.metadata.size(); ++i) {
    const auto& m = model.metadata[i];
    if (m.end_offset > m.key_offset) metadata_.push_back({m.file_index, m.key_offset, m.end_offset, i});
  }
  for (std::size_t i = 0; i < model.regions.size(); ++i) {
    const auto& r = model.regions[i];
    regions_.push_back({r.file_index, r.offset, r.offset + r.size_bytes, i});
  }
  for (auto* spans : {&data_, &infos_, &metadata_, &regions_})
    std::sort(spans->begin(), spans->end(), [](const Span& a, const Span& b) {
      return std::pair(a.file_index, a.begin) < std::pair(b.file_index, b.begin);
    });
}

const AddressMap::Span* AddressMap::find(const std::vector<Span>& spans, std::uint32_t file, std::uint64_t offset) {
  auto after =
      std::upper_bound(spans.begin(), spans.end(), std::pair(file, offset),
                       [](const auto& place, const Span& s) { return place < std::pair(s.file_index, s.begin); });
  if (after == spans.begin()) return nullptr;
  const Span& span = *--after;
  return span.file_index == file && offset < span.end ? &span : nullptr;
}

std::uint64_t AddressMap::next_begin(const std::vector<Span>& spans, std::uint32_t file, std::uint64_t offset) {
  const auto after =
      std::upper_bound(spans.begin(), spans.end(), std::pair(file, offset),
                       [](const auto& place, const Span& s) { return place < std::pair(s.file_index, s.begin); });
  return after == spans.end() || after->file_index != file ? UINT64_MAX : after->begin;
}

Label AddressMap::label(std::uint64_t offset, std::uint32_t file) const {
  if (const Span* span = find(data_, file, offset))
    return {fmt::format("tensor {}", model_.tensors[span->index].name), span->end};
  if (const Span* span = find(metadata_, file, offset))
    return {fmt::format("KV {}", model_.metadata[span->index].key), span->end};
  if (const Span* span = find(infos_, file, offset))
    return {fmt::format("tensor info {}", model_.tensors[span->index].name), span->end};
  std::uint64_t end = UINT64_MAX;
  for (const auto* spans : {&data_, &infos_, &metadata_, &regions_})
    end = std::min(end, next_begin(*spans, file, offset));
  const Span* region = find(regions_, file, offset);
  if (region == nullptr) return {{}, end};
  // Between tensors there is nothing but padding; a region that is made of entries has other bytes between them.
  const std::string& name = model_.regions[region->index].name;
  return {name == "tensor data" ? "padding" : name, std::min(end, region->end)};
}

std::optional<HeaderByte> AddressMap::header_byte(std::uint64_t offset, std::uint32_t file) const {
  HeaderSection section;
  std::string entry;
  if (const Span* span = find(metadata_, file, offset)) {
    section = metadata_entry(model_, model_.metadata[span->index], offset);
    entry = model_.metadata[span->index].key;
  } else if ((span = find(infos_, file, offset)) != nullptr) {
    section = tensor_entry(model_, model_.tensors[span->index]);
    entry = model_.tensors[span->index].name;
  } else {
    for (HeaderSection& each : header_sections(model_))
      for (const HeaderField& field : each.fields)
        if (each.file_index == file && offset >= field.offset && offset - field.offset < field.bytes.size())
          return HeaderByte{each.title, {}, field};
    return std::nullopt;
  }
  for (const HeaderField& field : section.fields)
    if (offset >= field.offset && offset - field.offset < field.bytes.size())
      return HeaderByte{section.title, entry, field};
  return std::nullopt;
}

WeightPlace AddressMap::weight(std::size_t tensor_index, std::uint64_t element) const {
  const TensorInfo& tensor = model_.tensors.at(tensor_index);
  const auto grid = block_grid(tensor);
  if (!grid || element >= tensor.n_elements) {
    if (tensor.readable && element >= tensor.n_elements)
      throw Error(ErrorCode::Usage, "no such element")
          .at(model_.path)
          .in(std::string(tensor.name))
          .want(fmt::format("an element below {}", tensor.n_elements))
          .got(fmt::format("{}", element));
    static_cast<void>(model_.data(tensor));  // throws for one that cannot be read
    throw Error(ErrorCode::InvalidFormat, "the tensor holds no element that can be addressed")
        .at(model_.path, tensor.offset)
        .in(std::string(tensor.name));
  }
  const TypeInfo& type = *grid->type;
  const std::uint64_t stored = grid->stored(element);
  WeightPlace place;
  place.tensor = tensor_index;
  place.index = element_index(tensor, element);
  place.element = element;
  place.row = element / grid->row_elements;
  place.block = stored / type.block_elements;
  place.in_block = static_cast<std::uint32_t>(stored % type.block_elements);
  place.block_offset = tensor.offset + grid->first_byte + place.block * type.block_bytes;
  place.block_bytes = type.block_bytes;
  const auto block = little_endian_block(model_, tensor, *grid, place.block);
  Element value = read_element(type, block, place.in_block);
  if (type.type == TensorType::AprQ8) {
    const Part scale = apr_q8_scale(model_, tensor);
    place.parts.push_back({PartKind::Scale, "scale", file_bits(type, scale.bits, tensor.offset, std::endian::little),
                           scale.stored, scale.value});
    value.value = static_cast<float>(value.parts[0].value) * static_cast<float>(scale.value);
  }
  for (const Part& part : value.all())
    place.parts.push_back({part.bits.kind, field_of(type, part.bits),
                           file_bits(type, part.bits, place.block_offset, model_.byte_order), part.stored, part.value});
  place.value = exact_value(type, block, value);
  return place;
}

TensorByte AddressMap::tensor_byte(std::size_t tensor_index, std::uint64_t offset, std::uint64_t most_weights) const {
  const TensorInfo& tensor = model_.tensors[tensor_index];
  TensorByte out;
  out.tensor = tensor_index;
  out.byte = offset - tensor.offset;
  out.block_offset = tensor.offset;
  const auto grid = block_grid(tensor);
  if (!grid) return out;
  const TypeInfo& type = *grid->type;
  if (out.byte < grid->first_byte) {
    const Part scale = apr_q8_scale(model_, tensor);
    out.field_name = "scale";
    out.byte_in_block = out.byte_in_field = static_cast<std::uint32_t>(out.byte);
    out.block_bytes = kAprQ8ScaleBytes;
    out.uses.push_back({PartKind::Scale, 0, 8, scale.stored, scale.value, {}});
    out.n_weights = tensor.n_elements;
    for (std::uint64_t e = 0; e < std::min(most_weights, out.n_weights); ++e)
      out.weights.push_back(weight(tensor_index, e));
    return out;
  }
  const std::uint64_t at = out.byte - grid->first_byte;
  out.block = at / type.block_bytes;
  if (out.block >= grid->n_blocks) return out;
  out.row = out.block * type.block_elements / grid->stored_row_elements;
  out.block_offset = tensor.offset + grid->first_byte + out.block * type.block_bytes;
  out.block_bytes = type.block_bytes;
  out.byte_in_block = static_cast<std::uint32_t>(at % type.block_bytes);
  out.field = field_at(type, out.byte_in_block);
  if (out.field != nullptr) {
    out.field_name = out.field->name;
    out.byte_in_field = out.byte_in_block - out.field->offset;
  }
  const std::uint32_t logical =
      model_.byte_order == std::endian::little ? out.byte_in_block : big_endian_byte(type, out.byte_in_block);
  const auto block = little_endian_block(model_, tensor, *grid, out.block);
  std::vector<bool> hit(type.block_elements);
  for (std::uint32_t e = 0; e < type.block_elements; ++e) {
    const Element element = read_element(type, block, e);
    for (const Part& part : element.all())
      for (std::size_t r = 0; r < part.bits.n_runs; ++r) {
        const BitRun& run = part.bits.runs[r];
        const unsigned from = std::max<unsigned>(run.first, logical * 8),
                       to = std::min<unsigned>(run.first + run.width, logical * 8 + 8);
        if (from >= to) continue;
        hit[e] = true;
        const auto first_bit = static_cast<std::uint8_t>(from % 8), width = static_cast<std::uint8_t>(to - from);
        const auto same = [&](const BitUse& u) {
          return u.kind == part.bits.kind && u.first_bit == first_bit && u.width == width;
        };
        auto use = std::find_if(out.uses.begin(), out.uses.end(), same);
        if (use == out.uses.end())
          use = out.uses.insert(use, {part.bits.kind, first_bit, width, part.stored, part.value, {}});
        if (use->value && std::bit_cast<std::uint64_t>(*use->value) != std::bit_cast<std::uint64_t>(part.value))
          use->value.reset();
        use->elements.push_back(e);
      }
  }
  std::sort(out.uses.begin(), out.uses.end(), [](const BitUse& a, const BitUse& b) {
    return std::tuple(a.first_bit, a.width, a.kind) < std::tuple(b.first_bit, b.width, b.kind);
  });
  for (std::uint32_t e = 0; e < type.block_elements; ++e) {
    if (!hit[e]) continue;
    const auto element = grid->element(out.block * type.block_elements + e, tensor.n_elements);
    if (!element) continue;
    if (out.n_weights++ < most_weights) out.weights.push_back(weight(tensor_index, *element));
  }
  return out;
}

Address AddressMap::at(std::uint64_t offset, std::uint32_t file_index, std::uint64_t most_weights) const {
  if (file_index >= model_.files.size())
    throw Error(ErrorCode::Usage, "no such file")
        .want(fmt::format("a number below {}", model_.files.size()))
        .got(fmt::format("{}", file_index));
  const MappedFile& file = *model_.files[file_index];
  if (offset >= file.size())
    throw Error(ErrorCode::Usage, "offset is past the end of the file")
        .at(file.path())
        .in("--at")
        .want(fmt::format("below {} (0x{:x})", file.size(), file.size()))
        .got(fmt::format("{} (0x{:x})", offset, offset));
  Address address;
  address.offset = offset;
  address.file_index = file_index;
  address.byte = std::to_integer<std::uint8_t>(file.bytes()[offset]);
  if (const Span* span = find(regions_, file_index, offset)) address.region = &model_.regions[span->index];
  if (const Span* span = find(data_, file_index, offset))
    address.tensor = tensor_byte(span->index, offset, most_weights);
  else
    address.header = header_byte(offset, file_index);
  return address;
}

WeightPlace AddressMap::weight(std::string_view address) const {
  const std::size_t bracket = address.rfind('[');
  const auto refuse = [&](std::string message, std::string want) {
    return Error(ErrorCode::Usage, std::move(message)).in("--weight").want(std::move(want)).got(std::string(address));
  };
  if (bracket == std::string_view::npos || address.back() != ']')
    throw refuse("no address of a weight", "NAME[I,J,...], the outermost index first");
  const std::vector<std::size_t> chosen = select_tensors(model_, address.substr(0, bracket));
  if (chosen.size() != 1) throw refuse("more than one tensor matches", "one tensor");
  const TensorInfo& tensor = model_.tensors[chosen[0]];
  std::string_view rest = address.substr(bracket + 1, address.size() - bracket - 2);
  std::vector<std::uint64_t> index;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string_view word = rest.substr(0, comma);
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    const auto value = parse_u64(word);
    if (!value) throw refuse("an index is no number", "NAME[I,J,...]");
    index.push_back(*value);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  if (index.size() != tensor.shape.size())
    throw refuse(fmt::format("{} indices for {} dimensions", index.size(), tensor.shape.size()),
                 fmt::format("one index per dimension of [{}]", fmt::join(tensor.shape, ", ")));
  std::uint64_t element = 0;
  for (std::size_t d = 0; d < index.size(); ++d) {
    const auto size = static_cast<std::uint64_t>(std::max<std::int64_t>(0, tensor.shape[d]));
    if (index[d] >= size)
      throw refuse(fmt::format("index {} of dimension {} is out of range", index[d], d), fmt::format("below {}", size));
    element = element * size + index[d];
  }
  return weight(chosen[0], element);
}

}  // namespace apr::inspect
