// The annotated header of each format. Layouts: docs/formats/.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "apr/core/bytes.h"
#include "apr/core/hash.h"
#include "apr/inspect/hex.h"
#include "src/inspect/fields.h"

namespace apr::inspect {
namespace {

using format::Format;
using format::ModelFile;

constexpr std::uint64_t kAprHeaderBytes = 64;
constexpr std::uint64_t kFooterBytes = 4;
constexpr std::size_t kKeptTextBytes = 4096;  // a hostile name may be as long as the file

/// Walks the fields of a section. Once a field does not fit, nothing more is added: the reader's findings say why.
class FieldWalk {
 public:
  FieldWalk(std::span<const std::byte> file, std::uint64_t offset, std::endian order, HeaderSection& section)
      : file_(file), reader_(file, order), section_(section), good_(reader_.seek(offset)) {}

  /// An unsigned number; `describe` may turn it into a meaning.
  template <class T>
  std::optional<std::uint64_t> number(std::string name, std::string meaning) {
    const std::uint64_t at = reader_.offset();
    T value{};
    if (!good_ || !reader_.read(value)) return fail();
    const auto wide = static_cast<std::uint64_t>(value);
    section_.fields.push_back(
        {at, file_.subspan(at, sizeof(T)), std::move(name), fmt::format("{}", wide), std::move(meaning), false, wide});
    return wide;
  }
  /// Text of `size` bytes, of which the report keeps a copy of at most `keep`.
  bool text(std::uint64_t size, std::string name, std::string meaning, std::size_t keep = kKeptTextBytes) {
    const std::uint64_t at = reader_.offset();
    std::string_view value;
    if (!good_ || !reader_.read_text(size, value)) return fail().has_value();
    section_.fields.push_back({at, file_.subspan(at, value.size()), std::move(name), std::string(value.substr(0, keep)),
                               std::move(meaning), value.size() > keep});
    return true;
  }
  bool bytes(std::uint64_t size, std::string name, std::string meaning) {
    if (!text(size, std::move(name), std::move(meaning), 0)) return false;
    section_.fields.back().cut = false;
    return true;
  }
  [[nodiscard]] bool seek(std::uint64_t offset) noexcept {
    good_ = good_ && reader_.seek(offset);
    return good_;
  }
  [[nodiscard]] HeaderField& last() { return section_.fields.back(); }
  [[nodiscard]] bool good() const noexcept { return good_; }

 private:
  std::optional<std::uint64_t> fail() {
    good_ = false;
    return std::nullopt;
  }
  std::span<const std::byte> file_;
  ByteReader reader_;
  HeaderSection& section_;
  bool good_;
};

void mark_hex(HeaderField& field) { field.value = fmt::format("0x{:x}", field.number.value_or(0)); }

std::string type_meaning(std::uint64_t id) {
  const TypeInfo* type = id <= UINT32_MAX ? find_ggml_type(static_cast<std::uint32_t>(id)) : nullptr;
  if (type == nullptr) return "element type: unknown to this build";
  return fmt::format("element type: {}{}", type->name, type->status == TypeStatus::Removed ? " (removed)" : "");
}

HeaderSection gguf_header(const ModelFile& model, std::uint32_t file_index) {
  HeaderSection section{"header", file_index, {}};
  FieldWalk walk(model.files[file_index]->bytes(), 0, model.byte_order, section);
  walk.text(4, "magic", "");
  walk.number<std::uint32_t>("version",
                             model.byte_order == std::endian::big ? "big-endian file" : "little-endian file");
  walk.number<std::uint64_t>("tensor_count", "tensors in this file");
  walk.number<std::uint64_t>("metadata_kv_count", "metadata entries in this file");
  return section;
}

HeaderSection gguf_tensor_entry(const ModelFile& model, const format::TensorInfo& tensor) {
  HeaderSection section{"tensor entry", tensor.file_index, {}};
  FieldWalk walk(model.files[tensor.file_index]->bytes(), tensor.info_offset, model.byte_order, section);
  const auto name_bytes = walk.number<std::uint64_t>("name.length", "bytes of the name");
  if (name_bytes) walk.text(*name_bytes, "name", "");
  const auto n_dims = walk.number<std::uint32_t>("n_dims", "innermost first");
  for (std::uint64_t i = 0; n_dims && i < *n_dims && walk.good(); ++i)
    walk.number<std::uint64_t>(fmt::format("dims[{}]", i), i == 0 ? "elements of a row" : "");
  if (const auto type = walk.number<std::uint32_t>("type", "")) walk.last().meaning = type_meaning(*type);
  if (walk.number<std::uint64_t>("offset", ""))
    walk.last().meaning = fmt::format("at 0x{:x} in the file", tensor.offset);
  return section;
}

HeaderSection safetensors_header(const ModelFile& model, std::uint32_t file_index) {
  HeaderSection section{"header", file_index, {}};
  const auto bytes = model.files[file_index]->bytes();
  FieldWalk walk(bytes, 0, std::endian::little, section);
  const auto size = walk.number<std::uint64_t>("header_size", "bytes of JSON");
  if (size) walk.text(std::min<std::uint64_t>(*size, bytes.size() - 8), "header", "JSON, UTF-8", 64);
  return section;
}

/// Where the members of a one-level JSON object begin, quotes included, and what they are called. Strings are skipped
/// over.
std::vector<std::pair<std::size_t, std::string>> member_starts(std::string_view text, std::size_t open) {
  std::vector<std::pair<std::size_t, std::string>> members;
  int depth = 0;
  bool at_key = true;
  for (std::size_t i = open; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      std::size_t end = i + 1;
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
      if (depth == 1 && at_key)
        members.emplace_back(i, std::string(text.substr(i + 1, std::min(end, text.size()) - i - 1)));
      at_key = false;
      i = end;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (c == ',' && depth == 1) {
      at_key = true;
    }
  }
  return members;
}

/// `"name":{` and then one field per member, without a gap.
HeaderSection safetensors_tensor_entry(const ModelFile& model, const format::TensorInfo& tensor) {
  HeaderSection section{"tensor entry", tensor.file_index, {}};
  const auto file = model.files[tensor.file_index]->bytes();
  FieldWalk walk(file, tensor.info_offset, std::endian::little, section);
  const auto bytes = file.subspan(tensor.info_offset, tensor.info_size);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t name_end = text.find('"', 1) == std::string_view::npos ? 0 : text.find(":", tensor.name.size());
  const std::size_t open = name_end == std::string_view::npos ? std::string_view::npos : text.find('{', name_end);
  const auto members =
      open == std::string_view::npos ? std::vector<std::pair<std::size_t, std::string>>{} : member_starts(text, open);
  if (members.empty()) {
    walk.text(tensor.info_size, "entry", "");
    return section;
  }
  walk.text(members.front().first, "name", "JSON");
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::size_t end = i + 1 < members.size() ? members[i + 1].first : text.size();
    walk.text(end - members[i].first, members[i].second, "JSON");
  }
  return section;
}

struct FlagName {
  std::uint16_t bit;
  std::string_view name;
};
constexpr FlagName kAprFlags[] = {
    {0x0001, "LZ4_COMPRESSED"}, {0x0002, "ZSTD_COMPRESSED"}, {0x0004, "ENCRYPTED"},      {0x0008, "SIGNED"},
    {0x0010, "SHARDED"},        {0x0020, "QUANTIZED"},       {0x0040, "HAS_FILTERBANK"}, {0x0080, "HAS_MODEL_CARD"},
    {0x0100, "STREAMING"},      {0x0200, "HAS_VOCAB"},       {0x0400, "ROW_MAJOR"},      {0x0800, "COLUMN_MAJOR"},
};

std::string apr_flags_meaning(std::uint64_t flags) {
  std::string out;
  for (const FlagName& flag : kAprFlags)
    if ((flags & flag.bit) != 0) out += fmt::format("{}{}", out.empty() ? "" : ", ", flag.name);
  if ((flags & 0xF000) != 0) out += fmt::format("{}unknown bits 0x{:x}", out.empty() ? "" : ", ", flags & 0xF000);
  return out.empty() ? "none set" : out;
}

void append_apr_header(const ModelFile& model, HeaderReport& report) {
  HeaderSection section{"header", 0, {}};
  const auto bytes = model.files[0]->bytes();
  FieldWalk walk(bytes, 0, std::endian::little, section);
  walk.text(4, "magic", "APR version 2");
  walk.number<std::uint8_t>("version.major", "");
  walk.number<std::uint8_t>("version.minor", "");
  if (const auto flags = walk.number<std::uint16_t>("flags", "")) {
    mark_hex(walk.last());
    walk.last().meaning = apr_flags_meaning(*flags);
  }
  walk.number<std::uint32_t>("tensor_count", "tensors in this file");
  if (walk.number<std::uint64_t>("metadata_offset", "")) mark_hex(walk.last());
  walk.number<std::uint32_t>("metadata_size", "bytes of JSON");
  if (walk.number<std::uint64_t>("tensor_index_offset", "")) mark_hex(walk.last());
  if (walk.number<std::uint64_t>("data_offset", "tensor offsets start here")) mark_hex(walk.last());
  if (const auto stored = walk.number<std::uint32_t>("header_checksum", "")) {
    mark_hex(walk.last());
    if (bytes.size() >= kAprHeaderBytes) {
      const std::uint32_t crc = crc32(bytes.subspan(44, 20), crc32(bytes.first(40)));
      walk.last().computed = crc;
      walk.last().meaning = crc == *stored ? "CRC-32, correct" : fmt::format("CRC-32, WRONG: computed 0x{:x}", crc);
    }
  }
  if (walk.bytes(20, "reserved", "")) {
    const auto reserved = walk.last().bytes;
    const bool zero = std::all_of(reserved.begin(), reserved.end(), [](std::byte b) { return b == std::byte{0}; });
    walk.last().meaning = zero ? "zero, as it must be" : "NOT ZERO";
  }
  report.sections.push_back(std::move(section));
}

HeaderSection apr_tensor_entry(const ModelFile& model, const format::TensorInfo& tensor) {
  HeaderSection section{"tensor entry", 0, {}};
  FieldWalk walk(model.files[0]->bytes(), tensor.info_offset, std::endian::little, section);
  const auto name_bytes = walk.number<std::uint16_t>("name.length", "bytes of the name");
  if (name_bytes) walk.text(*name_bytes, "name", "");
  if (walk.number<std::uint8_t>("dtype", "")) walk.last().meaning = fmt::format("element type: {}", name(tensor.type));
  const auto n_dims = walk.number<std::uint8_t>("n_dims", "outermost first");
  for (std::uint64_t i = 0; n_dims && i < *n_dims && walk.good(); ++i)
    walk.number<std::uint64_t>(fmt::format("dims[{}]", i), "");
  if (walk.number<std::uint64_t>("offset", ""))
    walk.last().meaning = fmt::format("at 0x{:x} in the file", tensor.offset);
  walk.number<std::uint64_t>("size", "bytes of data");
  return section;
}

void append_apr_footer(const ModelFile& model, HeaderReport& report) {
  const auto bytes = model.files[0]->bytes();
  const auto region = std::find_if(model.regions.begin(), model.regions.end(),
                                   [](const format::Region& r) { return r.name == "footer"; });
  if (region == model.regions.end() || region->size_bytes != kFooterBytes) return;
  HeaderSection section{"footer", 0, {}};
  FieldWalk walk(bytes, region->offset, std::endian::little, section);
  if (!walk.number<std::uint32_t>("file_checksum", "")) return;
  mark_hex(walk.last());
  walk.last().meaning = !model.data_checksum_ok   ? "CRC-32, not verified (--verify reads it all)"
                        : *model.data_checksum_ok ? "CRC-32, correct"
                                                  : "CRC-32, WRONG";
  report.sections.push_back(std::move(section));
}

/// Stored bytes of a GGUF scalar; 0 for strings and arrays.
std::uint64_t scalar_bytes(format::ValueType type) {
  constexpr std::uint64_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  const auto i = static_cast<std::size_t>(type);
  return i < std::size(kBytes) ? kBytes[i] : 0;
}

/// The fields of a GGUF array behind its type: element type, count, and the element that holds `at`.
void gguf_array(FieldWalk& walk, const ModelFile& model, const format::ArrayRef& array, std::uint64_t at) {
  if (const auto type = walk.number<std::uint32_t>("value.element_type", ""))
    walk.last().meaning = std::string(name(static_cast<format::ValueType>(*type)));
  walk.number<std::uint64_t>("value.count", "elements");
  if (!walk.good() || at < array.offset) return;
  if (const std::uint64_t width = scalar_bytes(array.element); width > 0) {
    const std::uint64_t i = (at - array.offset) / width;
    if (i < array.count && walk.seek(array.offset + i * width)) walk.bytes(width, fmt::format("value[{}]", i), "");
    return;
  }
  if (array.element != format::ValueType::String) return;
  ByteReader reader(array.bytes, model.byte_order, array.offset);
  for (std::uint64_t i = 0; i < array.count; ++i) {
    const std::uint64_t start = reader.offset();
    std::uint64_t size = 0;
    if (!reader.read(size) || !reader.skip(size)) return;
    if (at >= reader.offset()) continue;
    if (!walk.seek(start)) return;
    walk.number<std::uint64_t>(fmt::format("value[{}].length", i), "bytes of the string");
    walk.text(size, fmt::format("value[{}]", i), "");
    return;
  }
}

HeaderSection gguf_metadata_entry(const ModelFile& model, const format::MetadataEntry& entry, std::uint64_t at) {
  HeaderSection section{"metadata entry", entry.file_index, {}};
  FieldWalk walk(model.files[entry.file_index]->bytes(), entry.key_offset, model.byte_order, section);
  const auto key_bytes = walk.number<std::uint64_t>("key.length", "bytes of the key");
  if (key_bytes) walk.text(*key_bytes, "key", "");
  if (walk.number<std::uint32_t>("type", "")) walk.last().meaning = std::string(name(entry.value.type()));
  if (const auto* array = entry.value.as_array())
    gguf_array(walk, model, *array, at);
  else if (const auto text = entry.value.as_string()) {
    walk.number<std::uint64_t>("value.length", "bytes of the string");
    walk.text(text->size(), "value", "");
  } else {
    walk.bytes(scalar_bytes(entry.value.type()), "value", "");
  }
  return section;
}

}  // namespace

HeaderSection metadata_entry(const ModelFile& model, const format::MetadataEntry& entry, std::uint64_t at) {
  if (model.format == Format::Gguf) return gguf_metadata_entry(model, entry, at);
  HeaderSection section{"metadata entry", entry.file_index, {}};
  FieldWalk walk(model.files[entry.file_index]->bytes(), entry.key_offset, std::endian::little, section);
  if (entry.value_offset > entry.key_offset) walk.text(entry.value_offset - entry.key_offset, "key", "JSON");
  if (walk.seek(entry.value_offset)) walk.text(entry.end_offset - entry.value_offset, "value", "JSON");
  return section;
}

std::vector<HeaderSection> header_sections(const ModelFile& model) {
  HeaderReport report;
  for (std::uint32_t i = 0; i < model.files.size(); ++i) {
    if (model.format == Format::Gguf) report.sections.push_back(gguf_header(model, i));
    if (model.format == Format::SafeTensors) report.sections.push_back(safetensors_header(model, i));
  }
  if (model.format == Format::Apr) {
    append_apr_header(model, report);
    append_apr_footer(model, report);
  }
  return std::move(report.sections);
}

HeaderSection tensor_entry(const ModelFile& model, const format::TensorInfo& tensor) {
  switch (model.format) {
    case Format::Gguf: return gguf_tensor_entry(model, tensor);
    case Format::SafeTensors: return safetensors_tensor_entry(model, tensor);
    case Format::Apr: return apr_tensor_entry(model, tensor);
  }
  return {};
}

HeaderReport header_report(const ModelFile& model, std::uint64_t n_tensor_entries) {
  HeaderReport report;
  report.metadata = &model.metadata;
  report.n_tensor_entries = model.tensors.size();
  report.sections = header_sections(model);
  const auto footer = std::find_if(report.sections.begin(), report.sections.end(),
                                   [](const HeaderSection& s) { return s.title == "footer"; });
  std::vector<HeaderSection> entries;
  for (std::size_t i = 0; i < std::min<std::uint64_t>(n_tensor_entries, model.tensors.size()); ++i) {
    entries.push_back(tensor_entry(model, model.tensors[i]));
    entries.back().title = i == 0 ? "first tensor entry" : fmt::format("tensor entry {}", i);
  }
  report.sections.insert(footer, std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
  return report;
}

}  // namespace apr::inspect
