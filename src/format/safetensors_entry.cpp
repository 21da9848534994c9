// The entry of one tensor in a SafeTensors header: its fields, and what they say together.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "apr/core/checked.h"
#include "apr/core/text.h"
#include "src/format/safetensors_header.h"

namespace apr::format {
namespace {

constexpr std::size_t kMaxDimensions = 1024;  // bounds the memory of a shape; no model comes near
constexpr std::size_t kManyDimensions = 8;    // as many as APR holds; fixed shape arrays of other readers end there

const SafeTensorsType* find_dtype(std::string_view dtype) {
  for (const SafeTensorsType& row : safetensors_types())
    if (row.name == dtype) return &row;
  return nullptr;
}

std::string dtype_names() {
  std::string out = "one of";
  for (const SafeTensorsType& row : safetensors_types()) out.append(" ").append(row.name);
  return out;
}

/// Anything but printable characters: what a terminal would act upon.
bool has_control_characters(std::string_view name) { return escaped(name, name.size() + 1) != name; }

}  // namespace

void SafeTensorsHeaderReader::check_name(std::string_view name, std::uint64_t at) {
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

bool SafeTensorsHeaderReader::read_tensor(std::string_view name, std::uint64_t key_at) {
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
bool SafeTensorsHeaderReader::claim_field(bool& seen, const TensorInfo& tensor, std::string_view field) {
  if (!seen) return seen = true;
  findings_.error("safetensors.tensor.field_twice", "a tensor's entry has a field twice")
      .at(cursor_.offset())
      .tensor(tensor.name)
      .in(std::string(field));
  return true;
}

bool SafeTensorsHeaderReader::read_fields(TensorInfo& tensor, Entry& entry) {
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

bool SafeTensorsHeaderReader::read_dtype(TensorInfo& tensor, Entry& entry) {
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

bool SafeTensorsHeaderReader::read_shape(TensorInfo& tensor, Entry& entry) {
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

bool SafeTensorsHeaderReader::read_offsets(TensorInfo& tensor, Entry& entry) {
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

void SafeTensorsHeaderReader::check_shape(TensorInfo& tensor, Entry& entry) {
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

void SafeTensorsHeaderReader::check_size(TensorInfo& tensor, const Entry& entry) {
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

void SafeTensorsHeaderReader::note_alignment(const TensorInfo& tensor, const SafeTensorsType& dtype) {
  const std::uint64_t element = dtype.bits / 8;
  if (element < 2 || tensor.n_elements == 0 || tensor.offset % element == 0) return;
  if (n_unaligned_++ != 0) return;
  first_unaligned_ = tensor.name;
  first_unaligned_at_ = tensor.info_offset;
}

}  // namespace apr::format
