#include "src/format/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>

#include "apr/core/bytes.h"
#include "apr/core/checked.h"
#include "apr/core/text.h"
#include "src/format/json.h"

namespace apr::format {
namespace {

constexpr SafeTensorsType kTypes[] = {
    {"BOOL", TensorType::Bool, 8},
    {"F4", TensorType::F4, 4},
    {"F6_E2M3", TensorType::F6_E2M3, 6},
    {"F6_E3M2", TensorType::F6_E3M2, 6},
    {"U8", TensorType::U8, 8},
    {"I8", TensorType::I8, 8},
    {"F8_E5M2", TensorType::F8_E5M2, 8},
    {"F8_E4M3", TensorType::F8_E4M3, 8},
    {"F8_E8M0", TensorType::F8_E8M0, 8},
    {"F8_E4M3FNUZ", TensorType::F8_E4M3FNUZ, 8},
    {"F8_E5M2FNUZ", TensorType::F8_E5M2FNUZ, 8},
    {"I16", TensorType::I16, 16},
    {"U16", TensorType::U16, 16},
    {"F16", TensorType::F16, 16},
    {"BF16", TensorType::BF16, 16},
    {"I32", TensorType::I32, 32},
    {"U32", TensorType::U32, 32},
    {"F32", TensorType::F32, 32},
    {"C64", TensorType::C64, 64},
    {"F64", TensorType::F64, 64},
    {"I64", TensorType::I64, 64},
    {"U64", TensorType::U64, 64},
};
constexpr std::size_t kMaxMetadataEntries =
    1'000'000;                                // bounds the table: an entry in memory is larger than in the file
constexpr std::size_t kMaxDimensions = 1024;  // bounds the memory of a shape; no model comes near
constexpr std::size_t kManyDimensions = 8;    // as many as APR holds; fixed shape arrays of other readers end there

const SafeTensorsType* find_dtype(std::string_view dtype) {
  for (const SafeTensorsType& row : kTypes)
    if (row.name == dtype) return &row;
  return nullptr;
}

std::string dtype_names() {
  std::string out = "one of";
  for (const SafeTensorsType& row : kTypes) out.append(" ").append(row.name);
  return out;
}

/// Anything but printable characters: what a terminal would act upon.
bool has_control_characters(std::string_view name) {
  return escaped(name, name.size() + 1) != name;
}

/// Reads the JSON header of one file into the model.
class HeaderReader {
 public:
  HeaderReader(ModelFile& model, Findings& findings, const MappedFile& file, std::uint64_t header_bytes)
      : model_(model),
        findings_(findings),
        file_index_(static_cast<std::uint32_t>(model.files.size() - 1)),
        truncated_(header_bytes > file.size() - 8),
        text_(reinterpret_cast<const char*>(file.bytes().data()) + 8,
              static_cast<std::size_t>(std::min(header_bytes, file.size() - 8))),
        cursor_(text_, 8),
        data_begin_(8 + header_bytes),
        data_size_(truncated_ ? 0 : file.size() - data_begin_),
        header_end_(8 + text_.size()) {}

  void read();

 private:
  /// The three fields of a tensor's object, as far as they were found.
  struct Entry {
    const SafeTensorsType* dtype = nullptr;
    bool has_dtype = false, has_shape = false, has_offsets = false;
    bool shape_ok = true, offsets_ok = true;
    std::uint64_t begin = 0, end = 0;
    std::uint64_t dtype_at = 0, shape_at = 0, offsets_at = 0;
  };

  std::string_view keep_text() { return cursor_.has_escapes() ? model_.keep(cursor_.text()) : cursor_.raw(); }
  void report_fault();
  bool read_members();
  bool read_metadata(std::uint64_t key_at);
  bool read_tensor(std::string_view name, std::uint64_t key_at);
  bool read_fields(TensorInfo& tensor, Entry& entry);
  bool read_dtype(TensorInfo& tensor, Entry& entry);
  bool read_shape(TensorInfo& tensor, Entry& entry);
  bool read_offsets(TensorInfo& tensor, Entry& entry);
  bool claim_field(bool& seen, const TensorInfo& tensor, std::string_view field);
  void check_name(std::string_view name, std::uint64_t at);
  void check_shape(TensorInfo& tensor, Entry& entry);
  void check_size(TensorInfo& tensor, const Entry& entry);
  void check_metadata_names(std::size_t first);
  void note_alignment(const TensorInfo& tensor, const SafeTensorsType& dtype);
  void finish(std::size_t first_tensor);

  ModelFile& model_;
  Findings& findings_;
  std::uint32_t file_index_;
  bool truncated_;
  std::string_view text_;
  JsonCursor cursor_;
  std::uint64_t data_begin_, data_size_;
  std::uint64_t header_end_;  // behind the root object; of the whole text when that object does not end
  std::vector<std::uint32_t> placed_;
  bool has_metadata_ = false;
  std::uint64_t n_unaligned_ = 0;
  std::string_view first_unaligned_;
  std::uint64_t first_unaligned_at_ = 0;
};

void HeaderReader::report_fault() {
  const JsonFault& fault = cursor_.fault();
  findings_.error("safetensors.header.json", "the header is no valid JSON; what stands behind this place is not listed")
      .at(fault.offset)
      .in("header")
      .want(fault.expected)
      .got(fault.found);
}

void HeaderReader::read() {
  const std::size_t first_tensor = model_.tensors.size(), first_entry = model_.metadata.size();
  if (text_.front() != '{')
    findings_.warning("safetensors.header.begins_with_brace", "white space before the header's opening brace")
        .at(8)
        .in("header")
        .want("'{'")
        .got(fmt::format("byte 0x{:02X}", static_cast<unsigned char>(text_.front())));
  if (!read_members()) report_fault();
  model_.regions.push_back({"header", file_index_, 8, header_end_ - 8});
  if (header_end_ < 8 + text_.size())
    model_.regions.push_back({"header padding", file_index_, header_end_, 8 + text_.size() - header_end_});
  check_metadata_names(first_entry);
  finish(first_tensor);
}

bool HeaderReader::read_members() {
  cursor_.next();  // '{', as append_safetensors has seen
  while (cursor_.next() == JsonToken::Key) {
    const std::uint64_t at = cursor_.offset();
    const std::string_view name = keep_text();
    cursor_.next();
    if (!(name == "__metadata__" ? read_metadata(at) : read_tensor(name, at))) return false;
  }
  if (cursor_.token() == JsonToken::Fault) return false;
  header_end_ = cursor_.end_offset();
  return cursor_.next() == JsonToken::End;
}

bool HeaderReader::read_metadata(std::uint64_t key_at) {
  if (has_metadata_)
    findings_.error("safetensors.metadata.once", "the header has __metadata__ twice").at(key_at).in("__metadata__");
  has_metadata_ = true;
  if (cursor_.token() != JsonToken::ObjectBegin) {
    auto finding = cursor_.token() == JsonToken::Null
                       ? findings_.warning("safetensors.metadata.object", "__metadata__ is null")
                       : findings_.error("safetensors.metadata.object", "__metadata__ is no object");
    finding.at(cursor_.offset()).in("__metadata__").want("an object of strings");
    return cursor_.skip_value();
  }
  const auto keep = [this](std::string text) { return model_.keep(std::move(text)); };
  while (cursor_.next() == JsonToken::Key) {
    if (model_.metadata.size() == kMaxMetadataEntries) {
      findings_.error("safetensors.metadata.count", "more entries in __metadata__ than apr reads")
          .at(cursor_.offset())
          .in("__metadata__")
          .want(fmt::format("at most {}", kMaxMetadataEntries));
      while (cursor_.depth() > 1)
        if (cursor_.next() == JsonToken::Fault) return false;
      return true;
    }
    MetadataEntry entry;
    entry.key_offset = cursor_.offset();
    entry.key = keep_text();
    entry.file_index = file_index_;
    cursor_.next();
    entry.value_offset = cursor_.offset();
    entry.value = json_value(cursor_, text_, 8, keep);
    if (cursor_.token() == JsonToken::Fault) return false;
    entry.end_offset = cursor_.end_offset();
    if (entry.value.type() != ValueType::String)
      findings_.error("safetensors.metadata.string", "a value of __metadata__ is no string")
          .at(entry.value_offset)
          .in(fmt::format("__metadata__[\"{}\"]", escaped(entry.key, 120)))
          .want("a string")
          .got(std::string(name(entry.value.type())));
    model_.metadata.push_back(entry);
  }
  return cursor_.token() == JsonToken::ObjectEnd;
}

void HeaderReader::check_metadata_names(std::size_t first) {
  std::vector<std::uint32_t> order;
  for (std::size_t i = first; i < model_.metadata.size(); ++i) order.push_back(static_cast<std::uint32_t>(i));
  const auto& entries = model_.metadata;
  std::sort(order.begin(), order.end(), [&entries](std::uint32_t a, std::uint32_t b) {
    return entries[a].key != entries[b].key ? entries[a].key < entries[b].key : a < b;
  });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (entries[order[i]].key == entries[order[i - 1]].key)
      findings_.error("safetensors.metadata.unique", "the same key twice in __metadata__")
          .at(entries[order[i]].key_offset)
          .in(fmt::format("__metadata__[\"{}\"]", escaped(entries[order[i]].key, 120)))
          .got(fmt::format("first at offset {}", entries[order[i - 1]].key_offset));
}

void HeaderReader::check_name(std::string_view name, std::uint64_t at) {
  if (name.empty())
    findings_.warning("safetensors.tensor.name", "a tensor without a name").at(at).in("name");
  else if (has_control_characters(name))
    findings_.warning("safetensors.tensor.name", "a tensor name has characters that do not print")
        .at(at)
        .in("name")
        .tensor(name);
  else if (name.size() == 12 && std::equal(name.begin(), name.end(), "__metadata__", [](char a, char b) {
             return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
           }))
    findings_.warning("safetensors.tensor.name", "a tensor name that differs from __metadata__ by case only")
        .at(at)
        .in("name")
        .tensor(name);
}

bool HeaderReader::read_tensor(std::string_view name, std::uint64_t key_at) {
  check_name(name, key_at);
  TensorInfo tensor;
  tensor.name = name;
  tensor.file_index = file_index_;
  tensor.info_offset = key_at;
  Entry entry;
  if (cursor_.token() != JsonToken::ObjectBegin) {
    if (cursor_.token() == JsonToken::Fault) return false;
    findings_.error("safetensors.tensor.object", "a tensor's entry is no object")
        .at(cursor_.offset())
        .tensor(name)
        .want("an object with dtype, shape and data_offsets");
    return cursor_.skip_value();
  }
  if (!read_fields(tensor, entry)) return false;
  tensor.info_size = cursor_.end_offset() - key_at;
  if (!entry.has_dtype || !entry.has_shape || !entry.has_offsets) {
    findings_.error("safetensors.tensor.field_missing", "a tensor's entry lacks a field; it is not listed")
        .at(key_at)
        .tensor(name)
        .in(!entry.has_dtype   ? "dtype"
            : !entry.has_shape ? "shape"
                               : "data_offsets");
    return true;
  }
  if (!entry.shape_ok || !entry.offsets_ok || entry.dtype == nullptr) tensor.readable = false;
  if (entry.shape_ok) check_shape(tensor, entry);
  if (entry.offsets_ok) check_size(tensor, entry);
  model_.tensors.push_back(std::move(tensor));
  return true;
}

/// False and a finding when the field was there before.
bool HeaderReader::claim_field(bool& seen, const TensorInfo& tensor, std::string_view field) {
  if (!seen) return seen = true;
  findings_.error("safetensors.tensor.field_twice", "a tensor's entry has a field twice")
      .at(cursor_.offset())
      .tensor(tensor.name)
      .in(std::string(field));
  return true;
}

bool HeaderReader::read_fields(TensorInfo& tensor, Entry& entry) {
  while (cursor_.next() == JsonToken::Key) {
    const std::string field = cursor_.raw().size() <= 64 ? cursor_.text() : std::string(cursor_.raw().substr(0, 64));
    const std::uint64_t at = cursor_.offset();
    bool ok = true;
    if (field == "dtype") {
      ok = claim_field(entry.has_dtype, tensor, field) && read_dtype(tensor, entry);
    } else if (field == "shape") {
      ok = claim_field(entry.has_shape, tensor, field) && read_shape(tensor, entry);
    } else if (field == "data_offsets") {
      ok = claim_field(entry.has_offsets, tensor, field) && read_offsets(tensor, entry);
    } else {
      findings_
          .warning("safetensors.tensor.field_unknown", "a tensor's entry has a field that the format does not know")
          .at(at)
          .tensor(tensor.name)
          .in(escaped(field, 80));
      cursor_.next();
      ok = cursor_.skip_value();
    }
    if (!ok) return false;
  }
  return cursor_.token() == JsonToken::ObjectEnd;
}

bool HeaderReader::read_dtype(TensorInfo& tensor, Entry& entry) {
  const JsonToken token = cursor_.next();
  entry.dtype_at = cursor_.offset();
  if (token != JsonToken::String) {
    findings_.error("safetensors.tensor.dtype", "dtype is no string")
        .at(entry.dtype_at)
        .tensor(tensor.name)
        .in("dtype");
    return cursor_.skip_value();
  }
  tensor.raw_type_name = keep_text();
  entry.dtype = find_dtype(tensor.raw_type_name);
  tensor.type = entry.dtype != nullptr ? entry.dtype->type : TensorType::Unknown;
  if (entry.dtype == nullptr)
    findings_.error("safetensors.tensor.dtype", "unknown dtype")
        .at(entry.dtype_at)
        .tensor(tensor.name)
        .in("dtype")
        .want(dtype_names())
        .got(escaped(tensor.raw_type_name, 80));
  return true;
}

bool HeaderReader::read_shape(TensorInfo& tensor, Entry& entry) {
  tensor.shape.clear();
  const JsonToken token = cursor_.next();
  entry.shape_at = cursor_.offset();
  if (token != JsonToken::ArrayBegin) {
    entry.shape_ok = false;
    findings_.error("safetensors.tensor.shape", "shape is no array").at(entry.shape_at).tensor(tensor.name).in("shape");
    return cursor_.skip_value();
  }
  while (cursor_.next() != JsonToken::ArrayEnd) {
    if (cursor_.token() == JsonToken::Fault) return false;
    if (tensor.shape.size() == kMaxDimensions) {
      if (entry.shape_ok)
        findings_.error("safetensors.tensor.rank", "more dimensions than apr reads; the rest is not listed")
            .at(cursor_.offset())
            .tensor(tensor.name)
            .in("shape")
            .want(fmt::format("at most {}", kMaxDimensions));
      entry.shape_ok = false;
      if (!cursor_.skip_value()) return false;
      continue;
    }
    std::optional<std::uint64_t> dim;
    if (cursor_.token() == JsonToken::Number && cursor_.number().type() == ValueType::U64)
      dim = cursor_.number().as_u64();
    constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
    if (!dim || *dim > largest) {
      findings_.error("safetensors.tensor.shape", "a dimension is no integer that fits")
          .at(cursor_.offset())
          .tensor(tensor.name)
          .in(fmt::format("shape[{}]", tensor.shape.size()))
          .want(fmt::format("an integer from 0 to {}", largest))
          .got(escaped(text_.substr(cursor_.offset() - 8, cursor_.end_offset() - cursor_.offset()), 40));
      entry.shape_ok = false;
      if (!cursor_.skip_value()) return false;
      dim = 0;
    }
    tensor.shape.push_back(static_cast<std::int64_t>(*dim));
  }
  tensor.shape.shrink_to_fit();
  return true;
}

bool HeaderReader::read_offsets(TensorInfo& tensor, Entry& entry) {
  const JsonToken token = cursor_.next();
  entry.offsets_at = cursor_.offset();
  std::uint64_t bounds[2] = {0, 0};
  std::uint64_t n = 0;
  bool ok = token == JsonToken::ArrayBegin;
  if (!ok && !cursor_.skip_value()) return false;
  while (token == JsonToken::ArrayBegin && cursor_.next() != JsonToken::ArrayEnd) {
    if (cursor_.token() == JsonToken::Fault) return false;
    const bool is_u64 = cursor_.token() == JsonToken::Number && cursor_.number().type() == ValueType::U64;
    ok = ok && is_u64 && n < 2;
    if (ok) bounds[n] = cursor_.number().as_u64().value_or(0);
    ++n;
    if (!cursor_.skip_value()) return false;
  }
  entry.offsets_ok = ok && n == 2;
  entry.begin = bounds[0];
  entry.end = bounds[1];
  if (!entry.offsets_ok)
    findings_.error("safetensors.tensor.data_offsets", "data_offsets is no pair of unsigned integers")
        .at(entry.offsets_at)
        .tensor(tensor.name)
        .in("data_offsets")
        .want("[begin, end]");
  return true;
}

void HeaderReader::check_shape(TensorInfo& tensor, Entry& entry) {
  std::optional<std::uint64_t> product = 1, without_zeros = 1;
  for (const std::int64_t dim : tensor.shape) {
    const auto n = static_cast<std::uint64_t>(dim);
    if (product) product = checked_mul(*product, n);
    if (without_zeros && n != 0) without_zeros = checked_mul(*without_zeros, n);
  }
  const auto bits =
      product && entry.dtype != nullptr ? checked_mul<std::uint64_t>(*product, entry.dtype->bits) : product;
  if (!product || !bits) {
    findings_.error("safetensors.tensor.shape_overflow", "the product of the dimensions does not fit in 64 bits")
        .at(entry.shape_at)
        .tensor(tensor.name)
        .in("shape");
    tensor.readable = entry.shape_ok = false;
    return;
  }
  tensor.n_elements = *product;
  if (!without_zeros || *without_zeros > std::numeric_limits<std::int64_t>::max() / 64)
    findings_
        .warning("safetensors.tensor.shape_large", "an empty tensor whose other dimensions overflow when multiplied")
        .at(entry.shape_at)
        .tensor(tensor.name)
        .in("shape");
  if (tensor.shape.size() > kManyDimensions)
    findings_.warning("safetensors.tensor.rank", "more dimensions than other readers hold")
        .at(entry.shape_at)
        .tensor(tensor.name)
        .in("shape")
        .want(fmt::format("at most {}", kManyDimensions))
        .got(std::to_string(tensor.shape.size()));
  if (entry.dtype == nullptr) return;
  if (*bits % 8 == 0) return;
  findings_.error("safetensors.tensor.whole_bytes", "the elements do not fill whole bytes")
      .at(entry.shape_at)
      .tensor(tensor.name)
      .in("shape")
      .want("a number of bits that 8 divides")
      .got(fmt::format("{} elements of {} bits", *product, entry.dtype->bits));
  tensor.readable = entry.shape_ok = false;
}

void HeaderReader::check_size(TensorInfo& tensor, const Entry& entry) {
  tensor.offset = checked_add(data_begin_, entry.begin).value_or(std::numeric_limits<std::uint64_t>::max());
  if (entry.begin > entry.end) {
    findings_.error("safetensors.tensor.data_offsets", "data_offsets run backwards")
        .at(entry.offsets_at)
        .tensor(tensor.name)
        .in("data_offsets")
        .want("begin <= end")
        .got(fmt::format("[{}, {}]", entry.begin, entry.end));
    tensor.readable = false;
    return;
  }
  tensor.size_bytes = entry.end - entry.begin;
  if (entry.dtype != nullptr && entry.shape_ok) {
    const std::uint64_t expected = tensor.n_elements * entry.dtype->bits / 8;  // checked by check_shape
    if (expected != tensor.size_bytes) {
      findings_.error("safetensors.tensor.size", "data_offsets do not span the bytes of the shape")
          .at(entry.offsets_at)
          .tensor(tensor.name)
          .in("data_offsets")
          .want(fmt::format("{} bytes", expected))
          .got(fmt::format("{} bytes", tensor.size_bytes));
      tensor.readable = false;
    }
    note_alignment(tensor, *entry.dtype);
  }
  if (truncated_ || entry.end > data_size_) {
    tensor.readable = false;
    if (truncated_) return;  // said once, for the header
    findings_.error("safetensors.tensor.inside_file", "the data runs past the end of the file")
        .at(entry.offsets_at)
        .tensor(tensor.name)
        .in("data_offsets")
        .want(fmt::format("an end of at most {}", data_size_))
        .got(std::to_string(entry.end));
    return;
  }
  placed_.push_back(static_cast<std::uint32_t>(model_.tensors.size()));
}

void HeaderReader::note_alignment(const TensorInfo& tensor, const SafeTensorsType& dtype) {
  const std::uint64_t element = dtype.bits / 8;
  if (element < 2 || tensor.n_elements == 0 || tensor.offset % element == 0) return;
  if (n_unaligned_++ != 0) return;
  first_unaligned_ = tensor.name;
  first_unaligned_at_ = tensor.info_offset;
}

void HeaderReader::finish(std::size_t first_tensor) {
  if (n_unaligned_ != 0)
    findings_.warning("safetensors.tensor.aligned", "data that does not start at a multiple of its element size")
        .at(first_unaligned_at_)
        .tensor(first_unaligned_)
        .got(fmt::format("{} such tensors", n_unaligned_));
  if (model_.tensors.size() == first_tensor && !findings_.has_errors())
    findings_.warning("safetensors.tensors.none", "the file has no tensors").at(8).in("header");
  if (!truncated_)
    check_safetensors_layout(model_, first_tensor, std::move(placed_), {data_begin_, data_begin_ + data_size_},
                             findings_);
}

[[noreturn]] void refuse(const MappedFile& file, std::uint64_t offset, std::string rule, std::string expected,
                         std::string found) {
  throw Error(ErrorCode::InvalidFormat, std::move(rule))
      .at(file.path(), offset)
      .in(offset == 0 ? "header_length" : "header")
      .want(std::move(expected))
      .got(std::move(found));
}

/// The declared header length. Throws when nothing of a header can be read.
std::uint64_t header_length(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < 8)
    refuse(file, 0, "too short for a SafeTensors header length", "8 bytes", fmt::format("{} bytes", bytes.size()));
  const auto length = load<std::uint64_t>(bytes.data());
  if (length > kMaxSafeTensorsHeader)
    refuse(file, 0, "the header length is over the limit of the format",
           fmt::format("at most {} bytes", kMaxSafeTensorsHeader), std::to_string(length));
  if (length < 2)
    refuse(file, 0, "the header length leaves no room for a JSON object", "at least 2", std::to_string(length));
  const auto header = bytes.subspan(8, static_cast<std::size_t>(std::min<std::uint64_t>(length, bytes.size() - 8)));
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    refuse(file, 8 + std::min(first, text.size()), "the header is no JSON object", "'{'",
           first == std::string_view::npos ? "the end of the file or header"
                                           : fmt::format("byte 0x{:02X}", static_cast<unsigned char>(text[first])));
  return length;
}

}  // namespace

std::span<const SafeTensorsType> safetensors_types() noexcept {
  return kTypes;
}

void append_safetensors(ModelFile& model, std::unique_ptr<MappedFile> file, Findings& findings) {
  const std::uint64_t length = header_length(*file);
  if (model.files.empty()) model.data_offset = 8 + length;
  model.files.push_back(std::move(file));
  const MappedFile& mapped = *model.files.back();
  model.regions.push_back({"header length", static_cast<std::uint32_t>(model.files.size() - 1), 0, 8});
  if (length > mapped.size() - 8)
    findings.error("safetensors.header.inside_file", "the header runs past the end of the file")
        .at(0)
        .in("header_length")
        .want(fmt::format("at most {}", mapped.size() - 8))
        .got(std::to_string(length))
        .help("the file is cut short: fetch it again");
  HeaderReader(model, findings, mapped, length).read();
}

void add_companions(ModelFile& model, const std::string& folder) {
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                           "special_tokens_map.json"}) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    std::error_code ignored;  // a companion that cannot be asked for is not there
    if (std::filesystem::is_regular_file(path, ignored)) model.companions.push_back(path.string());
  }
}

ModelFile read_safetensors(std::unique_ptr<MappedFile> file, const std::string& user_path, const OpenOptions&) {
  ModelFile model;
  model.format = Format::SafeTensors;
  model.path = user_path;
  Findings findings(file->path());
  append_safetensors(model, std::move(file), findings);
  add_companions(model, std::filesystem::path(user_path).parent_path().string());
  model.findings = findings.take();
  return model;
}

}  // namespace apr::format
